//! What a partition remembers of its idempotent producers: a fold of its log (invariant I12).
//!
//! A producer numbers the records of one partition without gaps, from 0 in each producer epoch and round
//! from `i32::MAX` to 0. The last [`PRODUCER_BATCHES`] batches of each producer are remembered with their
//! offsets, so a repeat of one of them is answered with the offset of the first time.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use yak_protocol::defaults::PRODUCER_BATCHES;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{Offset, ProducerEpoch, ProducerId};

/// How many producers a partition remembers. Beyond it the one whose last batch is oldest is forgotten:
/// if it comes back in the middle of its sequence it is told so (`UNKNOWN_PRODUCER_ID`). Part of the
/// fold, so it must be the same on every replica.
pub const PRODUCERS_MAX: usize = 10_000;

/// A batch's producer stamp.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sequence {
    /// Who wrote it.
    pub producer: ProducerId,
    /// In which life.
    pub epoch: ProducerEpoch,
    /// The sequence number of its first record.
    pub base: i32,
}

/// A batch of a producer, and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamped {
    /// The offset of its first record.
    pub base: Offset,
    /// How many offsets it takes.
    pub count: u32,
    /// Its stamp.
    pub sequence: Sequence,
}

impl Stamped {
    /// The offset after the batch.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.base.advance(u64::from(self.count))
    }
}

/// A remembered batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
struct Remembered {
    base: Offset,
    sequence: i32,
    count: u32,
}

/// What is remembered of one producer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Producer {
    epoch: ProducerEpoch,
    /// Oldest first; never empty, at most [`PRODUCER_BATCHES`].
    batches: VecDeque<Remembered>,
    /// Whether the sequence has passed `i32::MAX` in this epoch.
    wrapped: bool,
}

/// Producer state of one partition. Serializable, for snapshots.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Producers {
    by_id: BTreeMap<ProducerId, Producer>,
}

/// What a publish with a stamp means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is new and in order.
    Append,
    /// The log has this very batch.
    Duplicate {
        /// The offset of its first record.
        base: Offset,
        /// The offset after it.
        end: Offset,
    },
    /// The log has its records somewhere below this offset.
    OldDuplicate {
        /// The first offset that is remembered.
        below: Offset,
    },
    /// Definitely refused.
    Refused(WireError),
}

/// The sequence number `count` after `base`, round from `i32::MAX` to 0.
fn sequence_after(base: i32, count: u32) -> i32 {
    let sum = (u64::from(base.unsigned_abs()) + u64::from(count)) & 0x7FFF_FFFF;
    i32::try_from(sum).expect("31 bits fit")
}

/// How many steps `to` lies after `from`, round the circle of 2^31 numbers.
fn steps(from: i32, to: i32) -> u32 {
    to.wrapping_sub(from).cast_unsigned() & 0x7FFF_FFFF
}

impl Producers {
    /// Folds one batch of the log. Total: whatever a leader has accepted is taken as it is.
    pub fn fold(&mut self, batch: &Stamped) {
        let Sequence { producer, epoch, base } = batch.sequence;
        let remembered = Remembered { base: batch.base, sequence: base, count: batch.count };
        if let Some(known) = self.by_id.get_mut(&producer) {
            known.take(epoch, remembered);
            return;
        }
        if self.by_id.len() >= PRODUCERS_MAX {
            self.forget_oldest();
        }
        self.by_id.insert(producer, Producer::new(epoch, remembered));
    }

    fn forget_oldest(&mut self) {
        let oldest = self.by_id.iter().min_by_key(|(id, producer)| (producer.newest().base, **id));
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.by_id.remove(&id);
        }
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Judges a publish against the fold and the batches behind it that are not folded yet.
    #[must_use]
    pub fn judge(&self, sequence: Sequence, count: u32, unfolded: impl Iterator<Item = Stamped>) -> Verdict {
        let mut with_unfolded: Option<Producer> = None;
        for batch in unfolded.filter(|batch| batch.sequence.producer == sequence.producer) {
            let remembered =
                Remembered { base: batch.base, sequence: batch.sequence.base, count: batch.count };
            match with_unfolded.as_mut() {
                Some(producer) => producer.take(batch.sequence.epoch, remembered),
                None => {
                    with_unfolded = Some(match self.by_id.get(&sequence.producer) {
                        None => Producer::new(batch.sequence.epoch, remembered),
                        Some(folded) => {
                            let mut producer = folded.clone();
                            producer.take(batch.sequence.epoch, remembered);
                            producer
                        }
                    });
                }
            }
        }
        match with_unfolded.as_ref().or_else(|| self.by_id.get(&sequence.producer)) {
            Some(producer) => producer.judge(sequence, count),
            None => judge_first(sequence),
        }
    }
}

/// The first batch of a producer that the partition does not know.
fn judge_first(sequence: Sequence) -> Verdict {
    if sequence.base == 0 {
        return Verdict::Append;
    }
    let message = format!(
        "producer {} comes with sequence {} but this partition does not know it (forgotten, or never seen)",
        sequence.producer.0, sequence.base
    );
    Verdict::Refused(WireError::new(ErrorCode::UnknownProducerId, message))
}

impl Producer {
    fn new(epoch: ProducerEpoch, batch: Remembered) -> Self {
        Self { epoch, batches: VecDeque::from([batch]), wrapped: wraps(&batch) }
    }

    fn take(&mut self, epoch: ProducerEpoch, batch: Remembered) {
        if epoch != self.epoch {
            *self = Self::new(epoch, batch);
            return;
        }
        self.wrapped |= wraps(&batch);
        if self.batches.len() >= PRODUCER_BATCHES {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }

    fn newest(&self) -> &Remembered {
        self.batches.back().expect("a producer is remembered by a batch")
    }

    fn oldest(&self) -> &Remembered {
        self.batches.front().expect("a producer is remembered by a batch")
    }

    fn judge(&self, sequence: Sequence, count: u32) -> Verdict {
        if sequence.epoch < self.epoch {
            let message = format!(
                "producer {} has a newer life: epoch {} of it is over, {} is current",
                sequence.producer.0, sequence.epoch.0, self.epoch.0
            );
            return Verdict::Refused(WireError::new(ErrorCode::ProducerFenced, message));
        }
        if sequence.epoch > self.epoch {
            return match sequence.base {
                0 => Verdict::Append,
                _ => out_of_order(sequence, 0),
            };
        }
        let next = sequence_after(self.newest().sequence, self.newest().count);
        if sequence.base == next {
            return Verdict::Append;
        }
        let same = |batch: &&Remembered| batch.sequence == sequence.base && batch.count == count;
        if let Some(batch) = self.batches.iter().find(same) {
            let end = batch.base.advance(u64::from(batch.count));
            return Verdict::Duplicate { base: batch.base, end };
        }
        if self.lies_before_the_window(sequence.base, next) {
            return Verdict::OldDuplicate { below: self.oldest().base };
        }
        out_of_order(sequence, next)
    }

    /// Whether the log must have had `base` in this epoch, before the oldest batch that is remembered.
    fn lies_before_the_window(&self, base: i32, next: i32) -> bool {
        let oldest = self.oldest().sequence;
        let behind = steps(base, next);
        behind > steps(oldest, next) && behind < steps(next, base) && (self.wrapped || base < oldest)
    }
}

fn wraps(batch: &Remembered) -> bool {
    sequence_after(batch.sequence, batch.count) < batch.sequence
}

fn out_of_order(sequence: Sequence, next: i32) -> Verdict {
    let message = format!(
        "producer {} sent sequence {} where {next} comes next; nothing was written",
        sequence.producer.0, sequence.base
    );
    Verdict::Refused(WireError::new(ErrorCode::OutOfOrderSequence, message))
}

#[cfg(test)]
#[path = "producers_tests.rs"]
mod tests;
