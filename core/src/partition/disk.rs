//! The replica's log as the disk has it: its ends, and the operations that are under way.
//!
//! `log_end` is where the log ends once everything that was emitted has succeeded. What is *written* or
//! *synced* trails it. A failed operation takes all later ones with it: the log is again what it was
//! before them.
//!
//! Invariant: `synced_end <= written_end <= log_end` and `log_start <= log_end`.

use super::effect::{DiskOp, Effect};
use super::epochs::Epochs;
use super::event::{OpSeq, RecoveredLog};
use super::queue::{pop_back_if, pop_front_if};
use std::collections::VecDeque;
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset};

/// An operation that the disk has not confirmed as synced.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct InFlight {
    seq: OpSeq,
    written: bool,
    /// The log's end once it has happened.
    end: Offset,
    undo: Undo,
}

/// What brings back the state before an operation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Undo {
    /// An append without a new epoch.
    End(Offset),
    /// Anything else: rare, so it keeps a whole copy.
    Shape(Box<Shape>),
}

/// What operations change.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Shape {
    start: Offset,
    end: Offset,
    epochs: Epochs,
    promise: Option<(LeaderEpoch, BrokerId)>,
}

/// What was undone by a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rollback {
    /// From here on, nothing that was appended has happened.
    pub(super) lowest: Offset,
    /// Whether a cut or a new start was undone, so that older records are back.
    pub(super) reshaped: bool,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Log {
    shape: Shape,
    /// The end after the last operation that is written / synced, cuts under way not considered.
    disk_written: Offset,
    disk_synced: Offset,
    in_flight: VecDeque<InFlight>,
    /// How many operations in flight may end before an earlier one does.
    cuts: u32,
    last_seq: OpSeq,
}

impl Log {
    pub(super) fn recovered(log: &RecoveredLog) -> Self {
        assert!(log.log_start <= log.log_end, "a log starts before it ends");
        let shape = Shape {
            start: log.log_start,
            end: log.log_end,
            epochs: Epochs::from_history(&log.epochs),
            promise: log.promise,
        };
        Self {
            shape,
            disk_written: log.log_end,
            disk_synced: log.log_end,
            in_flight: VecDeque::new(),
            cuts: 0,
            last_seq: OpSeq::default(),
        }
    }

    pub(super) fn start(&self) -> Offset {
        self.shape.start
    }

    pub(super) fn end(&self) -> Offset {
        self.shape.end
    }

    pub(super) fn epochs(&self) -> &Epochs {
        &self.shape.epochs
    }

    /// The promise as emitted (rule R14); it is durable before anything that follows it.
    pub(super) fn promise(&self) -> Option<(LeaderEpoch, BrokerId)> {
        self.shape.promise
    }

    /// The promise that would be found after a crash now.
    pub(super) fn durable_promise(&self) -> Option<(LeaderEpoch, BrokerId)> {
        let before = |op: &InFlight| match &op.undo {
            Undo::End(_) => None,
            Undo::Shape(before) => Some(before.promise),
        };
        self.in_flight.iter().find_map(before).unwrap_or(self.shape.promise)
    }

    /// The end of what is written and no operation under way takes away again.
    pub(super) fn written_end(&self) -> Offset {
        self.stable_end(self.disk_written, |op| !op.written)
    }

    /// The end of what is synced and no operation under way takes away again.
    pub(super) fn synced_end(&self) -> Offset {
        self.stable_end(self.disk_synced, |_| true)
    }

    fn stable_end(&self, reached: Offset, under_way: impl Fn(&InFlight) -> bool) -> Offset {
        if self.cuts == 0 {
            return reached;
        }
        self.in_flight.iter().filter(|op| under_way(op)).map(|op| op.end).fold(reached, Offset::min)
    }

    /// Whether every operation is synced.
    pub(super) fn settled(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Emits an append that ends at `end`, its batches' epochs given as `(epoch, base)`.
    pub(super) fn append(
        &mut self,
        op: DiskOp,
        end: Offset,
        epochs: impl Iterator<Item = (LeaderEpoch, Offset)>,
        effects: &mut Vec<Effect>,
    ) -> OpSeq {
        let mut undo = Undo::End(self.shape.end);
        assert!(end > self.shape.end, "an append makes the log longer");
        for (epoch, base) in epochs {
            if epoch != self.shape.epochs.newest() {
                if matches!(undo, Undo::End(_)) {
                    undo = Undo::Shape(Box::new(self.shape.clone()));
                }
                self.shape.epochs.assign(epoch, base);
            }
        }
        self.shape.end = end;
        self.emit(op, undo, effects)
    }

    /// Emits any operation but an append.
    pub(super) fn change(&mut self, op: DiskOp, effects: &mut Vec<Effect>) -> OpSeq {
        let undo = Undo::Shape(Box::new(self.shape.clone()));
        let shape = &mut self.shape;
        match &op {
            DiskOp::Append { .. } | DiskOp::AppendPushed { .. } => unreachable!("appends have their own way"),
            DiskOp::Truncate { to } => {
                assert!(shape.start <= *to && *to <= shape.end, "a cut lies within the log");
                shape.end = *to;
                shape.epochs.truncate(*to);
            }
            DiskOp::Reset { start, epochs } => {
                shape.start = *start;
                shape.end = *start;
                shape.epochs = Epochs::from_history(epochs);
            }
            DiskOp::MoveLogStart { to } => {
                assert!(shape.start <= *to && *to <= shape.end, "a log start moves on within the log");
                shape.start = *to;
            }
            DiskOp::Promise { leader_epoch, leader } => shape.promise = Some((*leader_epoch, *leader)),
            DiskOp::StartEpoch(EpochStart { epoch, start }) => {
                assert!(*start == shape.end, "an epoch starts where the log ends");
                shape.epochs.assign(*epoch, *start);
            }
        }
        self.emit(op, undo, effects)
    }

    fn emit(&mut self, op: DiskOp, undo: Undo, effects: &mut Vec<Effect>) -> OpSeq {
        self.cuts += u32::from(cuts(&undo, self.shape.end));
        self.last_seq = OpSeq(self.last_seq.0.checked_add(1).expect("operations of a process fit 64 bits"));
        let in_flight = InFlight { seq: self.last_seq, written: false, end: self.shape.end, undo };
        self.in_flight.push_back(in_flight);
        effects.push(Effect::Disk(self.last_seq, op));
        self.last_seq
    }

    /// Everything up to `seq` is written.
    pub(super) fn on_written(&mut self, seq: OpSeq) {
        for op in self.in_flight.iter_mut().take_while(|op| op.seq <= seq).filter(|op| !op.written) {
            op.written = true;
            self.disk_written = op.end;
        }
    }

    /// Everything up to `seq` is synced, so it is written too.
    pub(super) fn on_synced(&mut self, seq: OpSeq) {
        self.on_written(seq);
        while let Some(op) = pop_front_if(&mut self.in_flight, |op| op.seq <= seq) {
            self.disk_synced = op.end;
            self.cuts -= u32::from(cuts(&op.undo, op.end));
        }
    }

    /// `seq` and everything after it has not happened.
    pub(super) fn on_failed(&mut self, seq: OpSeq) -> Option<Rollback> {
        let mut rollback: Option<Rollback> = None;
        while let Some(op) = pop_back_if(&mut self.in_flight, |op| op.seq >= seq) {
            assert!(!op.written, "a written operation cannot fail any more");
            let start = self.shape.start;
            self.cuts -= u32::from(cuts(&op.undo, op.end));
            match op.undo {
                Undo::End(end) => self.shape.end = end,
                Undo::Shape(shape) => self.shape = *shape,
            }
            let before = rollback.unwrap_or(Rollback { lowest: op.end, reshaped: false });
            rollback = Some(Rollback {
                lowest: before.lowest.min(op.end).min(self.shape.end),
                reshaped: before.reshaped || start != self.shape.start || op.end < self.shape.end,
            });
        }
        rollback
    }

    pub(super) fn assert_invariants(&self) {
        let (synced, written, end) = (self.synced_end(), self.written_end(), self.end());
        assert!(synced <= written && written <= end, "synced {synced} <= written {written} <= end {end}");
        assert!(self.start() <= end, "log start {} <= log end {end}", self.start());
    }
}

/// Whether an operation that ends at `end` takes away something that was there before.
fn cuts(undo: &Undo, end: Offset) -> bool {
    match undo {
        Undo::End(_) => false,
        Undo::Shape(before) => end < before.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(end: u64) -> Log {
        Log::recovered(&RecoveredLog { log_end: Offset(end), ..RecoveredLog::default() })
    }

    fn append(log: &mut Log, epoch: u32, count: u64) -> OpSeq {
        let base = log.end();
        let op = DiskOp::Append { base, leader_epoch: LeaderEpoch(epoch), rewrite: None };
        let epochs = std::iter::once((LeaderEpoch(epoch), base));
        log.append(op, base.advance(count), epochs, &mut Vec::new())
    }

    fn ends(log: &Log) -> (u64, u64, u64) {
        log.assert_invariants();
        (log.synced_end().0, log.written_end().0, log.end().0)
    }

    #[test]
    fn written_and_synced_trail_the_end() {
        let mut log = log(10);
        let first = append(&mut log, 1, 2);
        let second = append(&mut log, 1, 3);
        assert_eq!(ends(&log), (10, 10, 15));
        log.on_written(first);
        assert_eq!(ends(&log), (10, 12, 15));
        log.on_synced(second);
        assert_eq!(ends(&log), (15, 15, 15));
        assert!(log.settled());
    }

    #[test]
    fn a_failed_operation_takes_the_later_ones_with_it() {
        let mut log = log(10);
        let kept = append(&mut log, 1, 2);
        let failed = append(&mut log, 2, 3);
        append(&mut log, 2, 4);
        log.on_written(kept);
        assert_eq!(log.on_failed(failed), Some(Rollback { lowest: Offset(12), reshaped: false }));
        assert_eq!(ends(&log), (10, 12, 12));
        assert_eq!(log.epochs().newest(), LeaderEpoch(1));
        assert_eq!(log.on_failed(failed), None, "told twice");
        let next = append(&mut log, 2, 1);
        assert!(next > failed, "a number is never used again");
        assert_eq!(ends(&log), (10, 12, 13));
    }

    #[test]
    fn what_a_cut_under_way_takes_away_does_not_count() {
        let mut log = log(10);
        let grown = append(&mut log, 1, 5);
        let cut = log.change(DiskOp::Truncate { to: Offset(7) }, &mut Vec::new());
        let again = append(&mut log, 2, 4);
        assert_eq!(ends(&log), (7, 7, 11));
        log.on_written(grown);
        assert_eq!(ends(&log), (7, 7, 11));
        log.on_synced(cut);
        assert_eq!(ends(&log), (7, 7, 11));
        log.on_synced(again);
        assert_eq!(ends(&log), (11, 11, 11));
    }

    #[test]
    fn a_promise_counts_as_durable_once_it_is_synced() {
        let mut log = log(10);
        let promise = |log: &mut Log, epoch| {
            let op = DiskOp::Promise { leader_epoch: LeaderEpoch(epoch), leader: BrokerId(1) };
            log.change(op, &mut Vec::new())
        };
        let first = promise(&mut log, 1);
        append(&mut log, 1, 2);
        let second = promise(&mut log, 2);
        assert_eq!(log.durable_promise(), None);
        log.on_synced(first);
        assert_eq!(log.durable_promise(), Some((LeaderEpoch(1), BrokerId(1))));
        log.on_synced(second);
        assert_eq!(log.durable_promise(), Some((LeaderEpoch(2), BrokerId(1))));
    }

    #[test]
    fn a_failed_cut_brings_everything_back() {
        let mut log = log(10);
        let cut = log.change(DiskOp::Truncate { to: Offset(7) }, &mut Vec::new());
        append(&mut log, 1, 1);
        assert_eq!(log.on_failed(cut), Some(Rollback { lowest: Offset(7), reshaped: true }));
        assert_eq!(ends(&log), (10, 10, 10));
    }
}
