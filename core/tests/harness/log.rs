//! One replica's log as a simulated disk has it: batches, each with a digest of everything up to it,
//! so that "these two logs agree up to here" is one comparison.

use yak_core::partition::{BatchIds, OpSeq, Producers, RecoveredLog, Sequence, Stamped};
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset};

/// A batch; its `value` stands for the bytes and is unique in a run.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Batch {
    pub base: u64,
    pub count: u32,
    pub epoch: u32,
    pub value: u64,
    pub sequence: Option<Sequence>,
    /// In a log: of its records that stayed, with the time of the append.
    pub ids: Option<BatchIds>,
}

impl Batch {
    pub fn end(&self) -> u64 {
        self.base + u64::from(self.count)
    }
}

/// Folds a batch into the digest of what lies before it.
pub fn digest(before: u64, batch: &Batch) -> u64 {
    let stamp =
        batch.sequence.map_or(0, |s| (s.producer.0 as u64) << 20 ^ (s.epoch.0 as u64) << 40 ^ s.base as u64);
    let mut x = before;
    let records = batch.ids.iter().flat_map(|ids| ids.records.iter());
    let ids = records.fold(0, |sum: u64, record| {
        sum.wrapping_mul(31).wrapping_add(u64::from(record.index) << 50 ^ record.id.0 as u64)
    });
    let time = batch.ids.as_ref().map_or(0, |ids| ids.time_ms as u64);
    let words = [batch.base, u64::from(batch.count), u64::from(batch.epoch), batch.value, stamp, ids, time];
    for word in words {
        x = (x ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x ^= x >> 29;
    }
    x
}

/// What one operation of the write-ahead log does to the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// Batches in a row; `None` as base means "where the log ends" never happens: position is checked.
    Append {
        base: u64,
        batches: Vec<Batch>,
    },
    Truncate(u64),
    /// `before` is the digest of the committed log up to `start`.
    Reset {
        start: u64,
        epochs: Vec<EpochStart>,
        before: u64,
    },
    MoveStart(u64),
    Promise(LeaderEpoch, BrokerId),
    StartEpoch(EpochStart),
}

/// A change and its number.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Op {
    pub seq: OpSeq,
    pub change: Change,
}

/// A log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Log {
    start: u64,
    /// Where the first kept batch begins (at most `start`), and the digest of what lay before it.
    first: u64,
    before: u64,
    batches: Vec<(Batch, u64)>,
    epochs: Vec<EpochStart>,
    promise: Option<(LeaderEpoch, BrokerId)>,
    /// The last checkpointed high watermark.
    pub hint: u64,
    /// Damaged ranges `[from, to)`.
    pub damaged: Vec<(u64, u64)>,
    /// What the dropped batches said of their producers: kept for longer than they are.
    pub dropped: Producers,
    /// Damage that nobody has come across yet.
    pub latent: Vec<(u64, u64)>,
}

impl Log {
    pub fn start(&self) -> u64 {
        self.start
    }

    pub fn end(&self) -> u64 {
        self.batches.last().map_or(self.first, |(b, _)| b.end())
    }

    pub fn promise(&self) -> Option<(LeaderEpoch, BrokerId)> {
        self.promise
    }

    pub fn epochs(&self) -> &[EpochStart] {
        &self.epochs
    }

    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter().map(|(b, _)| b)
    }

    /// The digest of everything below `offset`, if that is a batch's edge which this log has.
    pub fn digest_at(&self, offset: u64) -> Option<u64> {
        if offset == self.first {
            return Some(self.before);
        }
        let at = self.batches.partition_point(|(b, _)| b.end() < offset);
        self.batches.get(at).filter(|(b, _)| b.end() == offset).map(|(_, digest)| *digest)
    }

    /// Whether this log has what lies below `end` in the log whose digest there is `digest`.
    pub fn agrees(&self, end: u64, digest: u64) -> bool {
        // Retention may have dropped everything up to beyond that point; only committed data goes.
        end < self.first || self.digest_at(end) == Some(digest)
    }

    /// The batch that holds `offset`.
    pub fn batch_at(&self, offset: u64) -> Option<&Batch> {
        let at = self.batches.partition_point(|(b, _)| b.end() <= offset);
        self.batches.get(at).map(|(b, _)| b).filter(|b| b.base <= offset)
    }

    /// Up to `max` whole batches from `from` on, none of them damaged.
    pub fn read(&self, from: u64, max: usize) -> Vec<Batch> {
        let at = self.batches.partition_point(|(b, _)| b.end() <= from);
        let bad = || self.damaged.iter().chain(&self.latent);
        let whole = |b: &Batch| !bad().any(|(lo, hi)| b.base < *hi && *lo < b.end());
        self.batches
            .get(at..)
            .unwrap_or_default()
            .iter()
            .map(|(b, _)| b)
            .take(max)
            .take_while(|b| whole(b))
            .cloned()
            .collect()
    }

    /// A read at `at` comes across damage, if there is any.
    pub fn notice(&mut self, at: u64) -> Option<(u64, u64)> {
        let place = self.latent.iter().position(|(lo, hi)| *lo <= at && at < *hi)?;
        let range = self.latent.remove(place);
        self.damaged.push(range);
        self.damaged.sort_unstable();
        Some(range)
    }

    pub fn is_damaged_below(&self, end: u64) -> bool {
        self.damaged.iter().any(|(lo, _)| *lo < end)
    }

    /// Carries out one change; `false` if it does not fit where the log ends.
    pub fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::Append { base, batches } => {
                if *base != self.end() {
                    return false;
                }
                for batch in batches {
                    assert_eq!(batch.base, self.end(), "a batch that does not continue the log: {batch:?}");
                    let before = self.batches.last().map_or(self.before, |(_, digest)| *digest);
                    if self.epochs.last().is_none_or(|last| last.epoch.0 != batch.epoch) {
                        self.begin_epoch(EpochStart {
                            epoch: LeaderEpoch(batch.epoch),
                            start: Offset(batch.base),
                        });
                    }
                    self.batches.push((batch.clone(), digest(before, batch)));
                }
            }
            Change::Truncate(to) => {
                if *to > self.end() {
                    return false;
                }
                self.batches.retain(|(b, _)| b.end() <= *to);
                self.epochs.retain(|e| e.start.0 < *to);
                self.damaged.retain(|(_, hi)| *hi <= *to);
                self.latent.retain(|(_, hi)| *hi <= *to);
                self.hint = self.hint.min(*to);
                assert_eq!(self.end(), (*to).max(self.first), "cut inside a batch");
            }
            Change::Reset { start, epochs, before } => {
                let promise = self.promise;
                *self = Self { start: *start, first: *start, before: *before, promise, ..Self::default() };
                self.epochs = epochs.clone();
            }
            Change::MoveStart(to) => {
                if *to > self.end() {
                    return false;
                }
                self.move_start(*to);
            }
            Change::Promise(epoch, leader) => self.promise = Some((*epoch, *leader)),
            Change::StartEpoch(start) => {
                if start.start.0 != self.end() {
                    return false;
                }
                self.begin_epoch(*start);
            }
        }
        true
    }

    fn begin_epoch(&mut self, start: EpochStart) {
        // An epoch that starts there and left no record is forgotten.
        self.epochs.retain(|e| e.start < start.start);
        if self.epochs.last().is_none_or(|last| last.epoch != start.epoch) {
            self.epochs.push(start);
        }
    }

    /// Drops whole batches below `to`.
    pub fn move_start(&mut self, to: u64) {
        if to <= self.start {
            return;
        }
        self.start = to;
        let gone = self.batches.partition_point(|(b, _)| b.end() <= to);
        for (batch, digest) in self.batches.drain(..gone) {
            if let Some(sequence) = batch.sequence {
                self.dropped.fold(&Stamped { base: Offset(batch.base), count: batch.count, sequence });
            }
            self.first = batch.end();
            self.before = digest;
        }
        self.damaged.retain(|(_, hi)| *hi > self.first);
        self.latent.retain(|(_, hi)| *hi > self.first);
    }

    /// Puts the other log's batches in the place of a damaged range; `false` if it lacks them.
    pub fn repair(&mut self, from: u64, to: u64, source: &Log) -> bool {
        let intact = |log: &Log, at: u64| log.digest_at(at);
        let edge = self.batch_at(to.saturating_sub(1)).map_or(to, Batch::end);
        if intact(source, edge).is_none() || intact(source, edge) != intact(self, edge) {
            return false;
        }
        if source.damaged.iter().chain(&source.latent).any(|(lo, hi)| *lo < to && from < *hi)
            || source.start > from
        {
            return false;
        }
        self.damaged.retain(|range| *range != (from, to));
        true
    }

    /// What the machine is told after a restart.
    pub fn recovered(&self) -> RecoveredLog {
        RecoveredLog {
            log_start: Offset(self.start),
            log_end: Offset(self.end()),
            epochs: self.epochs.clone(),
            promise: self.promise,
            high_watermark_hint: Offset(self.hint.min(self.end())),
            damaged: self.damaged.iter().map(|(lo, hi)| (Offset(*lo), Offset(*hi))).collect(),
        }
    }
}
