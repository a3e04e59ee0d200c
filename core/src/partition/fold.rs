//! Keeps what is remembered of producers and of message ids in step with the log: folded when a batch is written,
//! judged together with the batches that are still on their way to the disk, rebuilt when the log was cut.

use super::disk::Rollback;
use super::event::BatchHead;
use super::ids::{self, BatchIds, Ids, Repeats, UnfoldedIds};
use super::producers::{Producers, Sequence, Stamped, Verdict};
use super::queue::{pop_back_if, pop_front_if};
use std::collections::VecDeque;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::Offset;

/// How many batches are kept while a rebuild runs; with more it starts again.
const REBUILD_BATCHES_MAX: usize = 10_000;
/// How many ids they may have.
const REBUILD_IDS_MAX: usize = 1_000_000;

/// A batch that means something to the fold.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Noted {
    base: Offset,
    count: u32,
    sequence: Option<Sequence>,
    ids: Option<BatchIds>,
}

impl Noted {
    fn end(&self) -> Offset {
        self.base.advance(u64::from(self.count))
    }

    fn stamped(&self) -> Option<Stamped> {
        Some(Stamped { base: self.base, count: self.count, sequence: self.sequence? })
    }

    fn fold_into(&self, known: &mut Known) {
        if let Some(stamped) = self.stamped() {
            known.producers.fold(&stamped);
        }
        if let Some(ids) = &self.ids {
            known.ids.fold(self.base, ids);
        }
    }
}

/// What the log says.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Known {
    producers: Producers,
    ids: Ids,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Fold {
    state: State,
    /// Appended, not yet written; in log order.
    unwritten: VecDeque<Noted>,
    unwritten_ids: UnfoldedIds,
    /// For how long ids are remembered; 0 = not at all.
    window_ms: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum State {
    Ready(Known),
    /// Must be rebuilt from the log.
    Unknown,
    /// The shell folds the log up to `end`. At most one rebuild is under way, so its answer is known.
    Rebuilding {
        end: Offset,
        /// The log was cut below `end` since: the answer is worth nothing.
        stale: bool,
        /// Written since.
        since: Vec<Noted>,
    },
}

impl Fold {
    /// Of a log that was just recovered.
    pub(super) fn recovered(log_end: Offset) -> Self {
        // A log that retention has emptied still has a snapshot of its producers.
        let empty = log_end == Offset::ZERO;
        let state = if empty { State::Ready(Known::default()) } else { State::Unknown };
        Self { state, unwritten: VecDeque::new(), unwritten_ids: UnfoldedIds::default(), window_ms: 0 }
    }

    /// For how long ids are remembered from now on.
    pub(super) fn set_window(&mut self, window_ms: u64) {
        self.window_ms = window_ms;
        if let State::Ready(known) = &mut self.state
            && !known.ids.set_window(window_ms)
        {
            self.state = State::Unknown;
        }
    }

    pub(super) fn window_ms(&self) -> u64 {
        self.window_ms
    }

    /// Ids of records that are no longer in the log are free again.
    pub(super) fn log_starts_at(&mut self, start: Offset) {
        if let State::Ready(known) = &mut self.state {
            known.ids.log_starts_at(start);
        }
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
    pub(super) fn rebuilt(&mut self, producers: Producers, ids: Ids, folded_to: Offset) {
        let State::Rebuilding { end, stale, since } = &self.state else { return };
        let mut known = Known { producers, ids };
        if *stale || *end != folded_to || !known.ids.set_window(self.window_ms) {
            self.state = State::Unknown;
            return;
        }
        since.iter().for_each(|batch| batch.fold_into(&mut known));
        self.state = State::Ready(known);
    }

    /// A batch was appended; `ids` are those of its records that stayed.
    pub(super) fn appended(&mut self, base: Offset, head: &BatchHead, ids: Option<BatchIds>) {
        if head.sequence.is_none() && ids.is_none() {
            return;
        }
        if let Some(ids) = &ids {
            self.unwritten_ids.add(base, ids);
        }
        self.unwritten.push_back(Noted { base, count: head.count, sequence: head.sequence, ids });
    }

    /// Everything below `end` is written.
    pub(super) fn written(&mut self, end: Offset) {
        while let Some(batch) = pop_front_if(&mut self.unwritten, |batch| batch.base < end) {
            if let Some(ids) = &batch.ids {
                self.unwritten_ids.folded(batch.base, ids);
            }
            match &mut self.state {
                State::Ready(known) => batch.fold_into(known),
                State::Unknown => {}
                State::Rebuilding { stale, since, .. } => {
                    let ids: usize =
                        since.iter().filter_map(|b| b.ids.as_ref()).map(|i| i.records.len()).sum();
                    if since.len() >= REBUILD_BATCHES_MAX || ids >= REBUILD_IDS_MAX {
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
        let mut dropped = false;
        while pop_back_if(&mut self.unwritten, |batch| batch.base >= end).is_some() {
            dropped = true;
        }
        if dropped {
            let left = self.unwritten.iter().filter_map(|batch| Some((batch.base, batch.ids.as_ref()?)));
            self.unwritten_ids = UnfoldedIds::of(left);
        }
    }

    /// The log was set aside and begins anew: nothing that the old one said counts.
    pub(super) fn reset(&mut self) {
        self.unwritten.clear();
        self.unwritten_ids = UnfoldedIds::default();
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
    pub(super) fn known(&self) -> Option<(&Producers, &Ids)> {
        match &self.state {
            State::Ready(known) => Some((&known.producers, &known.ids)),
            State::Unknown | State::Rebuilding { .. } => None,
        }
    }

    /// What a publish with this stamp means.
    pub(super) fn judge(&self, sequence: Sequence, count: u32) -> Verdict {
        match &self.state {
            State::Ready(known) => {
                let unfolded = self.unwritten.iter().filter_map(Noted::stamped);
                known.producers.judge(sequence, count, unfolded)
            }
            State::Unknown | State::Rebuilding { .. } => Verdict::Refused(reads_back("its producers")),
        }
    }

    /// What the ids of a publish mean whose batch is, or would be, appended at `base`.
    pub(super) fn judge_ids(&self, ids: &BatchIds, base: Offset) -> Result<Repeats, WireError> {
        match &self.state {
            State::Ready(known) => Ok(ids::judge(&known.ids, &self.unwritten_ids, ids, base)),
            State::Unknown | State::Rebuilding { .. } => Err(reads_back("message ids")),
        }
    }

    /// Where the records are of a batch with ids that the log has at `base`; see [`ids::places`].
    pub(super) fn places(&self, ids: &BatchIds, base: Offset) -> Option<Vec<(u32, Offset)>> {
        match &self.state {
            State::Ready(known) => ids::places(&known.ids, &self.unwritten_ids, ids, base),
            State::Unknown | State::Rebuilding { .. } => None,
        }
    }
}

fn reads_back(what: &str) -> WireError {
    let message = format!("the partition still reads back what it knows of {what}");
    WireError::new(ErrorCode::NotReady, message)
}
