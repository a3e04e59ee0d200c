//! A simulated disk: one write-ahead log for all partitions of a broker, in rounds. What is queued while
//! a round is written and synced goes with the next one. A crash keeps what is synced and any prefix of
//! the round that was written.

use super::log::{Change, Log, Op};
use std::collections::{BTreeMap, BTreeSet};
use yak_core::partition::OpSeq;
use yak_protocol::ids::{BrokerEpoch, BrokerId, ClusterId, CoordinatorEpoch, DataDirId, TopicPartition};

/// What a data dir remembers of the broker; always durable at once.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Identity {
    pub data_dir: DataDirId,
    pub cluster_id: Option<ClusterId>,
    pub broker_id: Option<BrokerId>,
    pub broker_epoch: BrokerEpoch,
    pub coordinator_epoch: CoordinatorEpoch,
    pub clean_shutdown: bool,
    pub same_boot: bool,
}

/// What an operation of the write-ahead log is when the disk is full.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Space {
    /// There is some.
    #[default]
    Free,
    /// Appends fail; the small records that the reserve is for pass.
    AppendsFail,
    /// Everything fails.
    AllFail,
}

/// What the disk reports for one log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    Written(OpSeq),
    Synced(OpSeq),
    Failed(OpSeq),
}

/// One broker's disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Disk {
    pub identity: Identity,
    pub space: Space,
    /// What survives a crash.
    durable: BTreeMap<TopicPartition, Log>,
    /// What can be read: all that was written.
    live: BTreeMap<TopicPartition, Log>,
    /// What was set aside.
    orphans: BTreeMap<TopicPartition, Log>,
    /// Watermark hints that the next checkpoint writes.
    hints: BTreeMap<TopicPartition, u64>,
    /// Logs whose submitter has yet to learn of a failure: what it submits meanwhile is dropped.
    deaf: BTreeSet<TopicPartition>,
    queued: Vec<(TopicPartition, Op)>,
    written: Vec<(TopicPartition, Op)>,
}

impl Disk {
    pub fn new(data_dir: DataDirId) -> Self {
        let identity = Identity { data_dir, same_boot: true, ..Identity::default() };
        Self { identity, ..Self::default() }
    }

    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.durable.keys().copied()
    }

    /// The log as it can be read.
    pub fn live(&self, id: TopicPartition) -> Option<&Log> {
        self.live.get(&id)
    }

    /// The log as a crash would leave it at worst.
    pub fn durable(&self, id: TopicPartition) -> Option<&Log> {
        self.durable.get(&id)
    }

    /// The log that was set aside.
    pub fn orphan(&self, id: TopicPartition) -> Option<&Log> {
        self.orphans.get(&id)
    }

    /// Makes the folder of a partition.
    pub fn open(&mut self, id: TopicPartition) -> &Log {
        self.durable.entry(id).or_default();
        self.live.entry(id).or_default()
    }

    /// Sets a log aside, or deletes it.
    pub fn remove(&mut self, id: TopicPartition, keep: bool) {
        let log = self.durable.remove(&id);
        self.orphans.extend(log.filter(|_| keep).map(|log| (id, log)));
        self.live.remove(&id);
        self.queued.retain(|(of, _)| *of != id);
        self.written.retain(|(of, _)| *of != id);
        self.deaf.remove(&id);
    }

    pub fn submit(&mut self, id: TopicPartition, op: Op) {
        assert!(self.live.contains_key(&id), "an operation on a log that was not opened");
        if !self.deaf.contains(&id) {
            self.queued.push((id, op));
        }
    }

    /// The submitter knows of the failure: what it submits from here on counts again.
    pub fn resume(&mut self, id: TopicPartition) {
        self.deaf.remove(&id);
    }

    pub fn set_hint(&mut self, id: TopicPartition, high_watermark: u64) {
        self.hints.insert(id, high_watermark);
    }

    pub fn can_write(&self) -> bool {
        self.written.is_empty() && !self.queued.is_empty()
    }

    pub fn can_sync(&self) -> bool {
        !self.written.is_empty()
    }

    /// Writes a round: everything queued. One report for each log, the last written operation.
    pub fn write(&mut self) -> Vec<(TopicPartition, Report)> {
        assert!(self.can_write(), "a round is written only after the one before is synced");
        let mut done: BTreeMap<TopicPartition, OpSeq> = BTreeMap::new();
        let mut failed: BTreeMap<TopicPartition, OpSeq> = BTreeMap::new();
        for (id, op) in std::mem::take(&mut self.queued) {
            let log = self.live.get_mut(&id).expect("opened before use");
            let refused = match self.space {
                Space::Free => false,
                Space::AppendsFail => matches!(op.change, Change::Append { .. }),
                Space::AllFail => true,
            };
            // What follows a failed operation of the same log fails with it.
            if failed.contains_key(&id) || refused || !log.apply(&op.change) {
                failed.entry(id).or_insert(op.seq);
                continue;
            }
            done.insert(id, op.seq);
            self.written.push((id, op));
        }
        self.deaf.extend(failed.keys().copied());
        let written = done.into_iter().map(|(id, seq)| (id, Report::Written(seq)));
        written.chain(failed.into_iter().map(|(id, seq)| (id, Report::Failed(seq)))).collect()
    }

    /// Syncs the written round, and checkpoints the watermark hints with it.
    pub fn sync(&mut self) -> Vec<(TopicPartition, Report)> {
        let mut done = BTreeMap::new();
        for (id, op) in std::mem::take(&mut self.written) {
            let fits = self.durable.get_mut(&id).is_none_or(|log| log.apply(&op.change));
            assert!(fits, "replay differs from what was written: {op:?}");
            done.insert(id, op.seq);
        }
        self.checkpoint();
        done.into_iter().map(|(id, seq)| (id, Report::Synced(seq))).collect()
    }

    /// Writes the watermark hints.
    pub fn checkpoint(&mut self) {
        for (id, hint) in std::mem::take(&mut self.hints) {
            for log in [self.durable.get_mut(&id), self.live.get_mut(&id)].into_iter().flatten() {
                log.hint = log.hint.max(hint.min(log.end()));
            }
        }
    }

    /// How many operations were written and not synced: a crash keeps any prefix of them.
    pub fn unsynced(&self) -> usize {
        self.written.len()
    }

    /// Power fails: what is synced stays, and the first `keep` operations of the round that was written.
    pub fn crash(&mut self, keep: usize) {
        for (id, op) in self.written.drain(..).take(keep) {
            let fits = self.durable.get_mut(&id).is_none_or(|log| log.apply(&op.change));
            assert!(fits, "replay differs from what was written: {op:?}");
        }
        self.queued.clear();
        self.deaf.clear();
        self.hints.clear();
        self.live = self.durable.clone();
        self.identity.clean_shutdown = false;
    }

    /// Changes what is on the platter, between two lives of the broker.
    pub fn tamper(&mut self, id: TopicPartition, mut change: impl FnMut(&mut Log)) {
        for log in [self.durable.get_mut(&id), self.live.get_mut(&id)].into_iter().flatten() {
            change(log);
        }
    }

    /// Repairs a damaged range from another log.
    pub fn repair(&mut self, id: TopicPartition, from: u64, to: u64, source: &Log) -> bool {
        let live = self.live.get_mut(&id).is_some_and(|log| log.repair(from, to, source));
        if live {
            let durable = self.durable.get_mut(&id).expect("both images hold the same partitions");
            durable.damaged.retain(|range| *range != (from, to));
        }
        live
    }
}
