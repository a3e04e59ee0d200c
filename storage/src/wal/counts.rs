//! What the write-ahead log has done, for whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the write-ahead log has done since the store was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WalTotals {
    /// Rounds that were written.
    pub rounds: u64,
    /// Rounds that were synced.
    pub syncs: u64,
    /// Bytes of the rounds that were written.
    pub bytes: u64,
    /// How long the syncs took in all.
    pub sync_time: Duration,
}

/// Changed by the writer's thread only.
#[derive(Default)]
pub(crate) struct WalCounts {
    rounds: AtomicU64,
    syncs: AtomicU64,
    bytes: AtomicU64,
    sync_nanos: AtomicU64,
}

impl WalCounts {
    pub(crate) fn written(&self, bytes: usize) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self, took: Duration) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn totals(&self) -> WalTotals {
        WalTotals {
            rounds: self.rounds.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            sync_time: Duration::from_nanos(self.sync_nanos.load(Ordering::Relaxed)),
        }
    }
}
