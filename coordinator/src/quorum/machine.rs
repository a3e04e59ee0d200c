//! What the entries of the log lead to: the cluster's state, the newest term, and who belongs to the quorum.
//! In memory; its snapshots are on disk, and what follows the last one is in the log.

use super::convert;
use super::error::QuorumError;
use super::file;
use super::types::{
    Begun, Entry, LogId, Outcome, Proposal, SnapshotMeta, StorageError, StoredMembership, TypeConfig,
};
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, RaftSnapshotBuilder, Snapshot, StorageIOError};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use yak_core::cluster::{Cluster, Record, State};
use yak_protocol::ids::{ClusterId, CoordinatorEpoch};
use yak_protocol::message::{LogPosition, Peers};

pub(crate) const SNAPSHOT: &str = "quorum.snapshot";
const MAGIC: [u8; 4] = *b"YAKP";

/// The first block of a snapshot's file; the second one is the records.
#[derive(Serialize, Deserialize)]
struct Head {
    id: String,
    last: Option<LogPosition>,
    peers: Peers,
    peers_since: Option<LogPosition>,
}

/// Clones are the same machine.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    id: u64,
    applied: Mutex<Applied>,
    /// Up to where the snapshot on disk goes. One is written at a time, and never an older one over a newer
    /// one. Only held on threads that may block.
    written: Mutex<Option<LogId>>,
    /// Held as long as something may be written.
    _lock: Arc<File>,
}

#[derive(Default)]
struct Applied {
    state: State,
    last: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<(SnapshotMeta, Vec<u8>)>,
    snapshots: u64,
}

impl Applied {
    fn formatted(&self) -> bool {
        self.state.cluster_id() != ClusterId::default()
    }

    fn apply(&mut self, id: u64, proposal: Proposal) -> Outcome {
        match proposal {
            Proposal::Begin { epoch, by, new_cluster } => {
                if epoch <= self.state.coordinator_epoch() {
                    return Outcome::Fenced(self.state.coordinator_epoch());
                }
                let created = !self.formatted();
                if created {
                    self.apply_all(&Cluster::format(new_cluster));
                }
                let mut records = if by == id { self.state.snapshot() } else { Vec::new() };
                let term = Record::CoordinatorEpoch { epoch };
                self.state.apply(&term);
                if by != id {
                    return Outcome::Done;
                }
                records.push(term);
                Outcome::Begun(Box::new(Begun { records, created }))
            }
            Proposal::Decisions { epoch, decisions } => {
                if epoch != self.state.coordinator_epoch() {
                    return Outcome::Fenced(self.state.coordinator_epoch());
                }
                decisions.iter().for_each(|records| self.apply_all(records));
                Outcome::Done
            }
            Proposal::CarryOver { records } => {
                if !self.formatted() {
                    self.apply_all(&records);
                }
                Outcome::Done
            }
        }
    }

    fn apply_all(&mut self, records: &[Record]) {
        records.iter().for_each(|record| self.state.apply(record));
    }
}

impl Machine {
    /// Begins where the snapshot in the dir ends, if there is one. Blocks.
    pub(crate) fn open(dir: &Path, id: u64, lock: Arc<File>) -> Result<Self, QuorumError> {
        let mut applied = Applied::default();
        let path = dir.join(SNAPSHOT);
        if path.exists() {
            let bytes = std::fs::read(&path).map_err(QuorumError::io("read the snapshot", &path))?;
            let found = file::parse(&path, MAGIC, &bytes)?;
            // It came with a rename as a whole: nothing of it is ever unfinished.
            let (true, [head, records]) = (found.end == bytes.len(), &found.blocks[..]) else {
                return Err(QuorumError::damaged(&path, found.end, "a snapshot has two blocks"));
            };
            let head: Head = file::read(&path, &bytes, head)?;
            let records: Vec<Record> = file::read(&path, &bytes, records)?;
            let meta = SnapshotMeta {
                last_log_id: head.last.as_ref().map(convert::log_id),
                last_membership: StoredMembership::new(
                    head.peers_since.as_ref().map(convert::log_id),
                    convert::membership(&head.peers),
                ),
                snapshot_id: head.id,
            };
            let data = rmp_serde::to_vec_named(&records)
                .map_err(|error| QuorumError::damaged(&path, 0, error.to_string()))?;
            applied.install(meta, &records, data);
        }
        let written = Mutex::new(applied.last);
        let (dir, applied) = (dir.to_owned(), Mutex::new(applied));
        Ok(Self(Arc::new(Shared { dir, id, applied, written, _lock: lock })))
    }

    /// The cluster's id; `None` before the first term.
    pub(crate) fn cluster_id(&self) -> Option<ClusterId> {
        let applied = self.0.applied();
        applied.formatted().then(|| applied.state.cluster_id())
    }

    /// The newest term that has begun, as far as it is known here.
    pub(crate) fn epoch(&self) -> CoordinatorEpoch {
        self.0.applied().state.coordinator_epoch()
    }

    /// The last entry that was carried out.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.0.applied().last
    }

    /// How many snapshots were taken here since this process was started.
    pub(crate) fn snapshots(&self) -> u64 {
        self.0.applied().snapshots
    }

    /// Writes a snapshot's file, on a thread that may block.
    async fn write(&self, meta: &SnapshotMeta, records: Vec<Record>) -> Result<(), StorageError> {
        let head = Head {
            id: meta.snapshot_id.clone(),
            last: meta.last_log_id.as_ref().map(convert::position),
            peers: convert::peers(meta.last_membership.membership()),
            peers_since: meta.last_membership.log_id().as_ref().map(convert::position),
        };
        let (shared, last) = (self.0.clone(), meta.last_log_id);
        let written = tokio::task::spawn_blocking(move || {
            let mut written = shared.written.lock().unwrap_or_else(PoisonError::into_inner);
            if *written > last {
                return Ok(());
            }
            let mut bytes = file::header(MAGIC);
            let path = shared.dir.join(SNAPSHOT);
            file::encode(1, &head, &mut bytes)
                .and_then(|()| file::encode(2, &records, &mut bytes))
                .map_err(QuorumError::io("encode", &path))?;
            file::replace(&shared.dir, SNAPSHOT, &bytes)?;
            *written = last;
            Ok(())
        });
        let written = written.await.unwrap_or_else(|error| Err(QuorumError::Stopped(error.to_string())));
        written.map_err(|error| write_failed(meta, &error).into())
    }
}

fn write_failed(meta: &SnapshotMeta, error: &(impl std::error::Error + 'static)) -> StorageIOError<u64> {
    StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(error))
}

impl Shared {
    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Applied {
    fn install(&mut self, meta: SnapshotMeta, records: &[Record], data: Vec<u8>) {
        self.state = State::replay(records);
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.snapshot = Some((meta, data));
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let (meta, records) = {
            let mut applied = self.0.applied();
            applied.snapshots += 1;
            let place = applied.last.map_or_else(|| "0".to_owned(), |last| last.to_string());
            let meta = SnapshotMeta {
                last_log_id: applied.last,
                last_membership: applied.membership.clone(),
                snapshot_id: format!("{place}-{}", applied.snapshots),
            };
            (meta, applied.records())
        };
        let data = rmp_serde::to_vec_named(&records).map_err(|error| write_failed(&meta, &error))?;
        self.write(&meta, records).await?;
        let mut applied = self.0.applied();
        if applied.snapshot_last() <= meta.last_log_id {
            applied.snapshot = Some((meta.clone(), data.clone()));
        }
        drop(applied);
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(data)) })
    }
}

impl Applied {
    fn snapshot_last(&self) -> Option<LogId> {
        self.snapshot.as_ref().and_then(|(meta, _)| meta.last_log_id)
    }

    /// A history that leads here; empty if there is none.
    fn records(&self) -> Vec<Record> {
        if self.formatted() { self.state.snapshot() } else { Vec::new() }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let applied = self.0.applied();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut applied = self.0.applied();
        let outcomes = entries.into_iter().map(|Entry { log_id, payload }| {
            applied.last = Some(log_id);
            match payload {
                EntryPayload::Blank => Outcome::Done,
                EntryPayload::Membership(membership) => {
                    applied.membership = StoredMembership::new(Some(log_id), membership);
                    Outcome::Done
                }
                EntryPayload::Normal(proposal) => applied.apply(self.0.id, proposal),
            }
        });
        Ok(outcomes.collect())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let data = snapshot.into_inner();
        let records: Vec<Record> = rmp_serde::from_slice(&data)
            .map_err(|error| StorageIOError::read_snapshot(Some(meta.signature()), AnyError::new(&error)))?;
        self.write(meta, records.clone()).await?;
        self.0.applied().install(meta.clone(), &records, data);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        Ok(self.0.applied().snapshot.as_ref().map(|(meta, data)| Snapshot {
            meta: meta.clone(),
            snapshot: Box::new(Cursor::new(data.clone())),
        }))
    }
}
