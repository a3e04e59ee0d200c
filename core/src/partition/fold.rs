//! Keeps the producer state in step with the log: folded when a batch is written, judged together with
//! the batches that are still on their way to the disk, rebuilt when the log was cut.

use super::disk::Rollback;
use super::event::BatchHead;
use super::producers::{Producers, Sequence, Stamped, Verdict};
use super::queue::{pop_back_if, pop_front_if};
use std::collections::VecDeque;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::Offset;

/// How many batches are kept while a rebuild runs; with more it starts again.
const REBUILD_BATCHES_MAX: usize = 10_000;

/// See the module.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Fold {
    state: State,
    /// Appended, not yet written; in log order.
    unwritten: VecDeque<Stamped>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum State {
    Ready(Producers),
    /// Must be rebuilt from the log.
    Unknown,
    /// The shell folds the log up to `end`. At most one rebuild is under way, so its answer is known.
    Rebuilding {
        end: Offset,
        /// The log was cut below `end` since: the answer is worth nothing.
        stale: bool,
        /// Written since.
        since: Vec<Stamped>,
    },
}

impl Fold {
    /// Of a log that was just recovered.
    pub(super) fn recovered(log_end: Offset) -> Self {
        // A log that retention has emptied still has a snapshot of its producers.
        let empty = log_end == Offset::ZERO;
        let state = if empty { State::Ready(Producers::default()) } else { State::Unknown };
        Self { state, unwritten: VecDeque::new() }
    }

    /// Where to rebuild to, if that must be asked for.
    pub(super) fn ask(&mut self, written_end: Offset) -> Option<Offset> {
        if self.state != State::Unknown {
            return None;
        }
        self.state = State::Rebuilding { end: written_end, stale: false, since: Vec::new() };
        Some(written_end)
    }

    /// The answer.
    pub(super) fn rebuilt(&mut self, mut producers: Producers, folded_to: Offset) {
        let State::Rebuilding { end, stale, since } = &self.state else { return };
        if *stale || *end != folded_to {
            self.state = State::Unknown;
            return;
        }
        for batch in since {
            producers.fold(batch);
        }
        self.state = State::Ready(producers);
    }

    /// A batch with a stamp was appended.
    pub(super) fn appended(&mut self, base: Offset, head: &BatchHead) {
        if let Some(sequence) = head.sequence {
            self.unwritten.push_back(Stamped { base, count: head.count, sequence });
        }
    }

    /// Everything below `end` is written.
    pub(super) fn written(&mut self, end: Offset) {
        while let Some(batch) = pop_front_if(&mut self.unwritten, |batch| batch.base < end) {
            match &mut self.state {
                State::Ready(producers) => producers.fold(&batch),
                State::Unknown => {}
                State::Rebuilding { stale, since, .. } => {
                    if since.len() >= REBUILD_BATCHES_MAX {
                        *stale = true;
                        since.clear();
                    }
                    if !*stale {
                        since.push(batch);
                    }
                }
            }
        }
    }

    /// Operations have failed. Behind a cut that did not happen are batches that are not folded.
    pub(super) fn rolled_back(&mut self, rollback: Rollback) {
        self.drop_unwritten(rollback.lowest);
        if rollback.reshaped {
            self.cut(rollback.lowest);
        }
    }

    fn drop_unwritten(&mut self, end: Offset) {
        while pop_back_if(&mut self.unwritten, |batch| batch.base >= end).is_some() {}
    }

    /// The log was set aside and begins anew: nothing that the old one said counts.
    pub(super) fn reset(&mut self) {
        self.unwritten.clear();
        match &mut self.state {
            State::Rebuilding { stale, since, .. } => {
                *stale = true;
                since.clear();
            }
            State::Ready(_) | State::Unknown => self.state = State::Unknown,
        }
    }

    /// The log was cut at `to`.
    pub(super) fn cut(&mut self, to: Offset) {
        self.drop_unwritten(to);
        match &mut self.state {
            State::Rebuilding { end, stale, since } => {
                *stale |= to <= *end;
                since.retain(|batch| batch.end() <= to);
            }
            State::Ready(_) | State::Unknown => self.state = State::Unknown,
        }
    }

    /// The state up to the end of what is written, if it is known.
    pub(super) fn known(&self) -> Option<&Producers> {
        match &self.state {
            State::Ready(producers) => Some(producers),
            State::Unknown | State::Rebuilding { .. } => None,
        }
    }

    /// What a publish with this stamp means.
    pub(super) fn judge(&self, sequence: Sequence, count: u32) -> Verdict {
        match &self.state {
            State::Ready(producers) => producers.judge(sequence, count, self.unwritten.iter()),
            State::Unknown | State::Rebuilding { .. } => Verdict::Refused(WireError::new(
                ErrorCode::NotReady,
                "the partition still reads back what it knows of its producers",
            )),
        }
    }
}
