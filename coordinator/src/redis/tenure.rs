//! A term from the inside: the end of the journal, and what is added there.

use super::entry::{Header, Kind, Reading, encode};
use super::keeper::{Keeper, lost};
use super::link::Link;
use super::{SNAPSHOT_GROWTH, Shared, scripts};
use std::sync::Arc;
use std::time::{Duration, Instant};
use yak_core::cluster::Record;

/// How many entries one script adds: the stack of Lua has its limit.
const ENTRIES_AT_ONCE_MAX: usize = 500;
/// How many bytes of entries one script adds, unless one alone is longer.
const BYTES_AT_ONCE_MAX: usize = 4 << 20;

/// A term of this process. After a failure it is over, and is not used any more.
#[derive(Debug)]
pub(super) struct Tenure {
    shared: Arc<Shared>,
    token: u64,
    keeper: Keeper,
    link: Link,
    end: Option<Header>,
    length: u64,
    bytes: u64,
    snapshot_bytes: u64,
}

impl Tenure {
    /// Nothing is written yet: what is there is `journal`.
    pub(super) fn new(
        shared: Arc<Shared>,
        token: u64,
        keeper: Keeper,
        link: Link,
        journal: &Reading,
    ) -> Self {
        let (end, length) = (journal.end, journal.entries);
        let (bytes, snapshot_bytes) = (journal.bytes, journal.snapshot_bytes);
        shared.board.totals_are(bytes, length.saturating_sub(1));
        Self { shared, token, keeper, link, end, length, bytes, snapshot_bytes }
    }

    pub(super) fn token(&self) -> u64 {
        self.token
    }

    pub(super) fn remaining(&self) -> Duration {
        self.keeper.remaining()
    }

    pub(super) async fn over(&mut self) -> String {
        self.keeper.over().await
    }

    /// Gives the lease back.
    pub(super) async fn release(self) {
        let Self { shared, token, keeper, mut link, .. } = self;
        drop(keeper); // not renewed any more
        shared.release(&mut link, token).await;
    }

    pub(super) fn end(&self) -> Option<Header> {
        self.end
    }

    /// Whether a snapshot would make the journal much shorter.
    pub(super) fn wants_snapshot(&self) -> bool {
        self.bytes >= self.shared.config.snapshot_bytes_min
            && self.bytes >= self.snapshot_bytes.saturating_mul(SNAPSHOT_GROWTH)
    }

    /// Keeps decisions, each as one entry.
    pub(super) async fn append(&mut self, decisions: &[Vec<Record>]) -> Result<(), String> {
        let mut entries = Vec::new();
        let (mut end, mut bytes) = (self.end, 0);
        for records in decisions {
            let (header, entry) = self.encode(Kind::Decision, end, records)?;
            bytes += entry.len();
            entries.push(entry);
            end = Some(header);
            if entries.len() >= ENTRIES_AT_ONCE_MAX || bytes >= BYTES_AT_ONCE_MAX {
                self.add(header, std::mem::take(&mut entries), "behind").await?;
                bytes = 0;
            }
        }
        match end {
            Some(end) if !entries.is_empty() => self.add(end, entries, "behind").await,
            _ => Ok(()),
        }
    }

    /// Replaces the journal by a snapshot; one that is empty begins with it.
    pub(super) async fn replace(&mut self, records: &[Record]) -> Result<(), String> {
        let (header, entry) = self.encode(Kind::Snapshot, self.end, records)?;
        let (before, after) = (self.bytes, entry.len() as u64);
        self.add(header, vec![entry], "instead").await?;
        self.snapshot_bytes = after;
        if before > 0 {
            tracing::info!(before_bytes = before, after_bytes = after, "journal replaced by a snapshot");
        }
        Ok(())
    }

    fn encode(
        &self,
        kind: Kind,
        end: Option<Header>,
        records: &[Record],
    ) -> Result<(Header, Vec<u8>), String> {
        let (sequence, previous) = end.map_or((1, 0), |end| (end.sequence + 1, end.crc));
        encode(kind, sequence, self.token, previous, records)
            .map_err(|error| format!("an entry cannot be encoded: {error}"))
    }

    async fn add(&mut self, end: Header, entries: Vec<Vec<u8>>, place: &str) -> Result<(), String> {
        let left = self.keeper.remaining();
        if left.is_zero() {
            return Err("the lease ran out".to_owned());
        }
        let shared = &self.shared;
        let token = self.token.to_string();
        let expected = self.end.map(|end| end.to_string()).unwrap_or_default();
        let (length, new_end) = (self.length.to_string(), end.to_string());
        let name = shared.config.name.as_str();
        let mut arguments: Vec<&[u8]> =
            [name, &token, &expected, &length, &new_end, place].map(str::as_bytes).to_vec();
        arguments.extend(entries.iter().map(Vec::as_slice));
        let began = Instant::now();
        let answer =
            self.link.eval(scripts::APPEND, &shared.keys, &arguments, left).await.map_err(|t| t.words())?;
        let host = &shared.host;
        match answer.text(0).as_str() {
            "kept" => {}
            "fenced" => return Err(lost(host, self.token, &answer.text(1), &answer.text(2))),
            _ => {
                return Err(format!(
                    "the journal in redis at {host} is not as it was left: it ends with {:?} ({} entries), not \
                     with {expected:?} ({length})",
                    answer.text(1),
                    answer.text(2)
                ));
            }
        }
        let added = entries.iter().map(|entry| entry.len() as u64).sum::<u64>();
        let instead = place == "instead";
        let snapshot = instead && self.bytes > 0; // not the one that every journal begins with
        self.bytes = if instead { added } else { self.bytes + added };
        self.length = if instead { 1 } else { self.length + entries.len() as u64 };
        self.end = Some(end);
        shared.note_seen(|seen| seen.raise(Some(end)));
        let bytes = self.bytes;
        let since = self.length - 1;
        shared.board.written(end, self.length, |totals| {
            totals.syncs += 1;
            totals.sync_time += began.elapsed();
            totals.snapshots += u64::from(snapshot);
            (totals.bytes, totals.since_snapshot) = (bytes, since);
        });
        Ok(())
    }
}
