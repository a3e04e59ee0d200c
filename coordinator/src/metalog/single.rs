//! The metadata log of a coordinator that is alone: a file, synced before anybody hears of what it holds.

use super::{Active, Look, Lost, MetaLog, Standing, Term, Totals};
use crate::RunError;
use crate::clock::ms_since_1970;
use crate::journal::{self, Journal};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use yak_core::cluster::{Cluster, Record};
use yak_protocol::ids::ClusterId;
use yak_protocol::text::{Value, rfc3339};

/// See the module.
pub(crate) struct Single {
    dir: PathBuf,
    active: Active,
    journal: Option<Journal>,
    view: Arc<View>,
    standing: watch::Sender<Standing>,
}

/// What was last seen of the journal.
#[derive(Default)]
struct View(Mutex<Option<Seen>>);

struct Seen {
    path: PathBuf,
    bytes: u64,
    snapshot_bytes: u64,
    last_entry: u64,
    totals: journal::Totals,
    look: journal::Look,
}

impl Single {
    /// In this data dir; `active` is how this process is reached.
    pub(crate) fn new(dir: PathBuf, active: Active) -> Self {
        let standing = watch::Sender::new(Standing::default());
        Self { dir, active, journal: None, view: Arc::default(), standing }
    }

    /// Runs what blocks on the disk where it may, with the journal moved there and back.
    async fn blocking<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Journal) -> R + Send + 'static,
    ) -> Result<R, Lost> {
        let Some(mut journal) = self.journal.take() else {
            return Err(Lost::Deposed("no term has begun".to_owned()));
        };
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut journal);
            (journal, result)
        });
        // It does not panic, and a runtime that is torn down takes this task with it.
        let (journal, result) = done.await.expect("the journal's thread ended early");
        self.keep(journal);
        Ok(result)
    }

    fn keep(&mut self, journal: Journal) {
        let seen = Seen {
            path: journal.path(),
            bytes: journal.bytes(),
            snapshot_bytes: journal.snapshot_bytes(),
            last_entry: journal.last_entry(),
            totals: journal.totals(),
            look: journal.look(),
        };
        *self.view.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        self.journal = Some(journal);
    }
}

fn fatal(error: journal::JournalError) -> Lost {
    Lost::Fatal(RunError::Journal(error))
}

impl MetaLog for Single {
    async fn campaign(&mut self) -> Result<Term, RunError> {
        let cluster_id = ClusterId(uuid::Uuid::new_v4().as_u128());
        let dir = self.dir.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let (mut journal, recovered) = Journal::open(&dir, || Cluster::format(cluster_id))?;
            let mut records = recovered.records;
            let term = Cluster::next_term(&records);
            journal.append(&[vec![term.clone()]])?;
            records.push(term);
            Ok::<_, journal::JournalError>((journal, records, recovered.created, recovered.cut_bytes))
        });
        let (journal, records, created, cut_bytes) = opened.await.expect("opening it does not panic")?;
        if cut_bytes > 0 {
            tracing::warn!(bytes = cut_bytes, "an unfinished entry at the journal's end was cut");
        }
        self.keep(journal);
        self.standing.send_replace(Standing { active: Some(self.active.clone()), ..Standing::default() });
        Ok(Term { records, created })
    }

    async fn append(&mut self, decisions: Vec<Vec<Record>>) -> Result<(), Lost> {
        self.blocking(move |journal| journal.append(&decisions)).await?.map_err(fatal)
    }

    fn held(&self) -> bool {
        true
    }

    async fn deposed(&mut self) -> Lost {
        std::future::pending().await
    }

    async fn compact(&mut self, snapshot: impl FnOnce() -> Vec<Record> + Send) -> Result<(), Lost> {
        let Some(journal) = self.journal.as_ref().filter(|journal| journal.wants_snapshot()) else {
            return Ok(());
        };
        let (snapshot, before_bytes) = (snapshot(), journal.bytes());
        self.blocking(move |journal| journal.replace(&snapshot)).await?.map_err(fatal)?;
        let after_bytes = self.journal.as_ref().map(Journal::bytes);
        tracing::info!(before_bytes, after_bytes, "journal replaced by a snapshot");
        Ok(())
    }

    async fn resign(&mut self) {}

    fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    fn look(&self) -> Arc<dyn Look> {
        self.view.clone()
    }
}

impl Look for View {
    fn describe(&self) -> Vec<(&'static str, Value)> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = seen.as_ref() else { return vec![("backend", "own".into())] };
        let (totals, last) = (seen.totals, seen.totals.last_sync);
        let took = last.map(|(_, took)| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        vec![
            ("backend", "own".into()),
            ("file", seen.path.display().to_string().into()),
            ("bytes", seen.bytes.into()),
            ("snapshot_bytes", seen.snapshot_bytes.into()),
            ("records_since_snapshot", totals.records_since_snapshot.into()),
            ("last_entry", seen.last_entry.into()),
            ("snapshots", totals.snapshots.into()),
            ("syncs", totals.syncs.into()),
            ("last_sync", last.map(|(at, _)| rfc3339(ms_since_1970(at))).into()),
            ("last_sync_us", took.into()),
        ]
    }

    fn totals(&self) -> Totals {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map_or_else(Totals::default, |seen| Totals {
            bytes: seen.bytes,
            since_snapshot: seen.totals.records_since_snapshot,
            snapshots: seen.totals.snapshots,
            syncs: seen.totals.syncs,
            sync_time: seen.totals.sync_time,
        })
    }

    fn trouble(&self) -> Option<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().and_then(|seen| seen.look.trouble())
    }
}
