//! What goes into one round: which of the queued operations fit where their logs end.

use super::round::{Change, Draft, Entry, Payload};
use super::writer::storage_full;
use crate::LogOp;
use crate::read::{Cut, place_of_cut};
use crate::segment::Segment;
use crate::shared::{Job, LogCell, Shared};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use yak_protocol::batch;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{LeaderEpoch, Offset};

/// A round takes no more once it holds this many bytes of batches; one larger append still fits.
const ROUND_BYTES_MAX: usize = 1 << 20;
/// A round takes no more once it holds this many entries.
const ROUND_ENTRIES_MAX: usize = 16 << 10;
/// Offsets in a segment's index are relative, in 32 bits.
const SEGMENT_OFFSETS_MAX: u64 = u32::MAX as u64;

/// One log in the round.
struct Touched {
    log: Arc<LogCell>,
    /// Where it will end.
    end: Offset,
    start: Offset,
    /// The newest epoch of its history.
    epoch: LeaderEpoch,
    /// Base and size of the segment that will take the next batch.
    segment: Option<(u64, u64)>,
    gone: bool,
    /// Its drafts.
    drafts: Vec<usize>,
    /// The operations that are in the round.
    first_seq: Option<u64>,
    last_seq: u64,
    /// The first operation that is not.
    failed: Option<(u64, WireError)>,
    /// Whether everything is dropped until the submitter has taken note of an earlier failure.
    deaf: bool,
}

pub(crate) struct Plan<'a> {
    shared: &'a Shared,
    pub(crate) drafts: Vec<Draft>,
    touched: Vec<Touched>,
    index: HashMap<usize, usize>,
    bytes: usize,
    vanished: Vec<SyncSender<()>>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            drafts: Vec::new(),
            touched: Vec::new(),
            index: HashMap::new(),
            bytes: 0,
            vanished: Vec::new(),
        }
    }

    /// Takes jobs from the front as long as they fit into one round.
    pub(crate) fn fill(&mut self, jobs: &mut VecDeque<Job>) {
        if self.shared.space.is_full() {
            self.shared.space.check(false);
        }
        while self.drafts.len() < ROUND_ENTRIES_MAX {
            let Some(job) = jobs.front() else { return };
            if !self.drafts.is_empty() && self.must_wait(job) {
                return;
            }
            match jobs.pop_front() {
                Some(Job::Op { log, seq, op }) => self.op(&log, seq, op),
                Some(Job::Resume(log)) => {
                    log.state.get().failed = false;
                    let touched = self.touch(&log);
                    self.touched[touched].deaf = false;
                }
                Some(Job::Vanish { logs, change, done }) => self.vanish(&logs, change, done),
                None => return,
            }
        }
    }

    fn must_wait(&self, job: &Job) -> bool {
        match job {
            Job::Op { op: LogOp::Append { batches, .. }, .. } => self.bytes + batches.len() > ROUND_BYTES_MAX,
            // Where a truncation cuts is looked up in what the log holds, so nothing may be on its way.
            Job::Op { log, op: LogOp::Truncate { .. }, .. } => self.index.contains_key(&key(log)),
            // A failure that is not reported yet comes before what follows the submitter's answer to it.
            Job::Resume(log) => self.index.contains_key(&key(log)),
            _ => false,
        }
    }

    fn touch(&mut self, log: &Arc<LogCell>) -> usize {
        let key = key(log);
        if let Some(&found) = self.index.get(&key) {
            return found;
        }
        let state = log.state.get();
        self.touched.push(Touched {
            log: Arc::clone(log),
            end: state.end,
            start: state.start,
            epoch: state.epochs.last().map_or(LeaderEpoch::ZERO, |last| last.epoch),
            segment: state.segments.last().map(|segment: &Segment| (segment.base, segment.bytes)),
            gone: state.gone,
            drafts: Vec::new(),
            first_seq: None,
            last_seq: 0,
            failed: None,
            deaf: state.failed,
        });
        let at = self.touched.len() - 1;
        self.index.insert(key, at);
        at
    }

    fn op(&mut self, log: &Arc<LogCell>, seq: u64, op: LogOp) {
        let at = self.touch(log);
        if self.touched[at].deaf || self.touched[at].failed.is_some() {
            return;
        }
        let outcome = match op {
            _ if self.touched[at].gone => {
                Err(WireError::new(ErrorCode::UnknownPartition, "the log was deleted"))
            }
            LogOp::Append { base, leader_epoch, batches } => self.append(at, base, leader_epoch, batches),
            LogOp::Truncate { to } => self.truncate(at, to),
            LogOp::Reset { start, epochs } => {
                self.push(at, Change::Reset { start }, Bytes::new(), None);
                let newest = epochs.last().map_or(LeaderEpoch::ZERO, |last| last.epoch);
                for epoch in epochs {
                    self.push(at, Change::Epoch(epoch), Bytes::new(), None);
                }
                let touched = &mut self.touched[at];
                touched.epoch = newest;
                (touched.start, touched.end, touched.segment) = (start, start, None);
                Ok(())
            }
            LogOp::MoveLogStart { to } if to > self.touched[at].end => Err(misfit(format!(
                "the log start cannot move to {to}: the log ends at {}",
                self.touched[at].end
            ))),
            LogOp::MoveLogStart { to } => {
                self.push(at, Change::MoveLogStart { to }, Bytes::new(), None);
                let touched = &mut self.touched[at];
                touched.start = touched.start.max(to);
                Ok(())
            }
            LogOp::Promise { epoch, leader } => {
                self.push(at, Change::Promise { epoch, leader }, Bytes::new(), None);
                Ok(())
            }
            LogOp::StartEpoch(start) if start.start != self.touched[at].end => {
                let end = self.touched[at].end;
                Err(misfit(format!(
                    "epoch {} cannot start at {}: the log ends at {end}",
                    start.epoch, start.start
                )))
            }
            LogOp::StartEpoch(start) => {
                self.push(at, Change::Epoch(start), Bytes::new(), None);
                let touched = &mut self.touched[at];
                touched.epoch = touched.epoch.max(start.epoch);
                Ok(())
            }
        };
        let touched = &mut self.touched[at];
        match outcome {
            Ok(()) => {
                touched.first_seq.get_or_insert(seq);
                touched.last_seq = seq;
            }
            Err(error) => touched.failed = Some((seq, error)),
        }
    }

    fn push(&mut self, at: usize, change: Change, batches: Bytes, stamp: Option<LeaderEpoch>) {
        let touched = &mut self.touched[at];
        touched.drafts.push(self.drafts.len());
        self.bytes += batches.len();
        self.drafts.push(Draft { entry: Entry { id: touched.log.id, change }, batches, stamp });
    }

    fn append(
        &mut self,
        at: usize,
        base: Offset,
        stamp: Option<LeaderEpoch>,
        batches: Bytes,
    ) -> Result<(), WireError> {
        if self.shared.space.is_full() {
            return Err(storage_full(&self.shared.space.reason()));
        }
        let touched = &self.touched[at];
        if base != touched.end {
            return Err(misfit(format!("an append at {base} does not fit: the log ends at {}", touched.end)));
        }
        let runs = walk(&batches, base, touched.epoch, stamp)?;
        let limit = match self.touched[at].log.segment_bytes.load(Ordering::Relaxed) {
            0 => self.shared.config.segment_bytes,
            bytes => bytes,
        };
        let close_before = self.touched[at].log.close_before.load(Ordering::Relaxed);
        let mut base = base;
        for Run { end, epoch, bytes } in runs {
            let batches = batches.slice(bytes);
            let length = batches.len() as u64;
            let touched = &mut self.touched[at];
            let roll = touched.segment.is_none_or(|(segment, bytes)| {
                bytes > 0 && (bytes + length > limit || segment < close_before)
                    || end.0 - segment > SEGMENT_OFFSETS_MAX
            });
            touched.segment = match touched.segment {
                Some((segment, bytes)) if !roll => Some((segment, bytes + length)),
                _ => Some((base.0, length)),
            };
            (touched.end, touched.epoch) = (end, epoch);
            let change = Change::Append { base, end, epoch, roll, payload: Payload::default() };
            self.push(at, change, batches, stamp);
            base = end;
        }
        Ok(())
    }

    fn truncate(&mut self, at: usize, to: Offset) -> Result<(), WireError> {
        let touched = &self.touched[at];
        if to > touched.end || to < touched.start {
            let (start, end) = (touched.start, touched.end);
            return Err(misfit(format!("cannot truncate to {to}: the log holds {start} to {end}")));
        }
        let Cut { segment, position, lost_from } = place_of_cut(self.shared, &touched.log, to)?;
        self.push(at, Change::Truncate { to, segment, position }, Bytes::new(), None);
        if let Some(from) = lost_from {
            self.push(at, Change::Lose { from, to }, Bytes::new(), None);
        }
        let touched = &mut self.touched[at];
        let epochs = touched.log.state.get().epochs.iter().rfind(|epoch| epoch.start < to).copied();
        touched.epoch = epochs.map_or(LeaderEpoch::ZERO, |last| last.epoch);
        touched.end = to;
        // What lies in front of the cut segment is not looked up: a roll too many does no harm.
        touched.segment = match lost_from {
            Some(_) => Some((to.0, 0)),
            None => (position > 0).then_some((segment, position)),
        };
        Ok(())
    }

    fn vanish(&mut self, logs: &[Arc<LogCell>], change: Change, done: SyncSender<()>) {
        for log in logs {
            let at = self.touch(log);
            if !self.touched[at].gone {
                self.push(at, change, Bytes::new(), None);
                self.touched[at].gone = true;
            }
        }
        self.vanished.push(done);
    }

    /// The round is written: every log takes its changes over, each at once.
    pub(crate) fn apply(&mut self, lsn: u64, round: &Bytes) {
        let interval = self.shared.config.index_interval_bytes;
        let mut appended = 0;
        for touched in &self.touched {
            if touched.drafts.is_empty() {
                continue;
            }
            let mut state = touched.log.state.get();
            for &draft in &touched.drafts {
                appended += state.apply(lsn, &self.drafts[draft].entry.change, round, true, interval);
            }
            let gone = state.gone;
            assert!(gone || state.end == touched.end, "{:?}: the plan and the log agree", touched.log.id);
            drop(state);
            if gone {
                let mut logs = self.shared.logs.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                if logs.get(&touched.log.id).is_some_and(|log| Arc::ptr_eq(log, &touched.log)) {
                    logs.remove(&touched.log.id);
                }
            }
            self.shared.list(&touched.log);
        }
        self.shared.appended_bytes.fetch_add(appended, Ordering::AcqRel);
    }

    /// The logs that the round changed.
    pub(crate) fn logs(&self) -> Vec<Arc<LogCell>> {
        self.touched.iter().filter(|log| !log.drafts.is_empty()).map(|log| Arc::clone(&log.log)).collect()
    }

    pub(crate) fn report_written(&self) {
        self.report(|observer, seq| observer.written(seq));
    }

    pub(crate) fn report_synced(&mut self) {
        self.report(|observer, seq| observer.synced(seq));
        for done in self.vanished.drain(..) {
            let _ = done.send(());
        }
    }

    fn report(&self, tell: impl Fn(&dyn crate::Observer, u64)) {
        for touched in self.touched.iter().filter(|touched| touched.first_seq.is_some()) {
            let observer = Arc::clone(&touched.log.observer.get());
            tell(observer.as_ref(), touched.last_seq);
        }
    }

    /// The round was not written.
    pub(crate) fn fail_all(&mut self, error: &WireError) {
        for touched in &mut self.touched {
            if let Some(first) = touched.first_seq {
                touched.failed = Some((first, error.clone()));
            }
        }
        self.vanished.clear();
    }

    /// Tells of operations that are not in the log, once what came before them is.
    pub(crate) fn report_failures(&mut self) {
        for touched in &mut self.touched {
            if let Some((seq, error)) = touched.failed.take() {
                touched.log.state.get().failed = true;
                let observer = Arc::clone(&touched.log.observer.get());
                observer.failed(seq, error);
            }
        }
        // A request that needed no round (nothing to delete) is done.
        for done in self.vanished.drain(..) {
            let _ = done.send(());
        }
    }
}

fn key(log: &Arc<LogCell>) -> usize {
    Arc::as_ptr(log) as usize
}

fn misfit(message: String) -> WireError {
    WireError::new(ErrorCode::Internal, message)
}

/// Batches of one epoch, side by side in an append.
struct Run {
    end: Offset,
    epoch: LeaderEpoch,
    bytes: std::ops::Range<usize>,
}

/// Walks the batches of an append. Headers only: the caller has verified them. A leader's (`stamp`) are one
/// run, whatever they carry; a follower's may be of several epochs, none older than what the log has.
fn walk(
    bytes: &Bytes,
    base: Offset,
    newest: LeaderEpoch,
    stamp: Option<LeaderEpoch>,
) -> Result<Vec<Run>, WireError> {
    let (mut at, mut end) = (0, base);
    let mut runs: Vec<Run> = Vec::with_capacity(1);
    for found in batch::batches(bytes) {
        let (header, one) = found.map_err(|error| WireError::new(ErrorCode::BadBatch, error.to_string()))?;
        if stamp.is_none() && header.base_offset != end {
            return Err(misfit(format!("a batch at {} where one at {end} belongs", header.base_offset)));
        }
        let epoch = stamp.unwrap_or(header.leader_epoch);
        let before = runs.last().map_or(newest, |run| run.epoch);
        if epoch < before {
            return Err(misfit(format!("a batch of epoch {epoch} at {end}, after epoch {before}")));
        }
        end = end.advance(u64::from(header.count()));
        let to = at + one.len();
        match runs.last_mut() {
            Some(run) if run.epoch == epoch => (run.end, run.bytes.end) = (end, to),
            _ => runs.push(Run { end, epoch, bytes: at..to }),
        }
        at = to;
    }
    if runs.is_empty() {
        return Err(WireError::new(ErrorCode::BadBatch, "an append without a batch"));
    }
    Ok(runs)
}
