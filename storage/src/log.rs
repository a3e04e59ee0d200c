//! The handle on one log.

use crate::error::{ReadError, RepairError};
use crate::read::{self, Recent};
use crate::shared::{Job, LogCell, Shared};
use crate::{Observer, producers};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use yak_protocol::batch::{self, BatchHeader, Records};
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset, TopicPartition};

/// A change of a log. All of them go through the write-ahead log, in the order of submission.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogOp {
    /// Append whole batches at the log's end.
    Append {
        /// The log's end.
        base: Offset,
        /// `Some`: a leader's append; base offset and this epoch are stamped into the batches while they are
        /// copied. `None`: a follower's; they are kept as they are, and follow each other without a gap from
        /// `base` on.
        leader_epoch: Option<LeaderEpoch>,
        /// The batches. Their checksums have been verified by the caller; only the headers are looked at.
        batches: Bytes,
    },
    /// Cut everything from `to` on, the epoch history too. `to` must be where a batch begins (or the end).
    Truncate {
        /// The new end.
        to: Offset,
    },
    /// Set the segments aside (they go to `orphan/`, as far as they have been written) and begin an empty log.
    Reset {
        /// The new start and end.
        start: Offset,
        /// The epoch history of what lies before it.
        epochs: Vec<EpochStart>,
    },
    /// Drop everything below `to`, which is at most the end; a lower start than now changes nothing.
    MoveLogStart {
        /// The new start.
        to: Offset,
    },
    /// Remember the promise (rule R14). Whether it may be given is the caller's to know.
    Promise {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Who leads in it.
        leader: BrokerId,
    },
    /// An epoch starts at the log's end. An epoch that is not newer than the last changes nothing.
    StartEpoch(EpochStart),
}

/// A segment, for retention and for whoever describes the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentInfo {
    /// The offset where it begins.
    pub base: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// Its size.
    pub bytes: u64,
    /// No record in it has a greater timestamp (ms since 1970); may be too great after a truncation.
    pub max_timestamp: i64,
}

/// A log of the store. Cheap to clone; a handle keeps nothing alive once the store is closed or dropped.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    cell: Arc<LogCell>,
}

/// How much [`Log::heads`] reads at once.
const HEADS_BYTES: usize = 1 << 20;
/// How large the records of one batch may become when a compressed one is opened to look for a time.
const BATCH_OPENED_BYTES_MAX: usize = 64 << 20;

impl Log {
    pub(crate) fn new(shared: Arc<Shared>, cell: Arc<LogCell>) -> Self {
        Self { shared, cell }
    }

    /// Which log it is.
    #[must_use]
    pub fn id(&self) -> TopicPartition {
        self.cell.id
    }

    /// Queues a change. Never blocks; the observer hears of it from the writer's thread.
    ///
    /// `seq` numbers the changes of this log, ascending; reports are cumulative in it. After
    /// [`Observer::failed`] everything submitted to this log is dropped without a report, until
    /// [`Log::resume`]: what was queued before its submitter learned of the failure was meant for a log
    /// that does not exist. After the store has stopped nothing is reported at all.
    pub fn submit(&self, seq: u64, op: LogOp) {
        if let LogOp::Truncate { to } = &op {
            // What is cut was not committed after all, on an operator's word.
            self.cell.hint.fetch_min(to.0, Ordering::Relaxed);
        }
        self.shared.submit(Job::Op { log: Arc::clone(&self.cell), seq, op });
    }

    /// Says that the submitter knows of the failure: changes submitted from here on count again. Called
    /// once for each [`Observer::failed`], before the first submission that takes it into account.
    pub fn resume(&self) {
        self.shared.submit(Job::Resume(Arc::clone(&self.cell)));
    }

    /// The first offset of the log and its end, as far as written (not necessarily synced).
    #[must_use]
    pub fn bounds(&self) -> (Offset, Offset) {
        let state = self.cell.state.get();
        (state.start, state.end)
    }

    /// Whole batches from memory: never blocks on the disk. The first is the one that holds `from`, even if
    /// it is larger than `max_bytes`; batches that reach beyond `below` are left out; empty at the end.
    /// `None` if memory does not reach back that far, or [`Log::read`] has something else to say.
    #[must_use]
    pub fn read_recent(&self, from: Offset, max_bytes: usize, below: Offset) -> Option<Vec<Bytes>> {
        match read::recent(&self.cell.state.get(), from, max_bytes, below) {
            Recent::Batches(batches) => Some(batches),
            Recent::Older | Recent::Damaged | Recent::Outside | Recent::Gone => None,
        }
    }

    /// Whole batches, as [`Log::read_recent`], from the files if need be: may block. Every checksum of what
    /// comes from files is looked at. One call stops at the end of a segment; an empty answer below `below`
    /// means that no whole batch lies there.
    ///
    /// # Errors
    /// See [`ReadError`]. Damage that is found is marked, and reported by [`Log::damaged`] from then on.
    pub fn read(&self, from: Offset, max_bytes: usize, below: Offset) -> Result<Vec<Bytes>, ReadError> {
        read::from_file(&self.shared, &self.cell, from, max_bytes, below)
    }

    /// The offset of the first record below `below` whose timestamp (ms since 1970) is at least this.
    ///
    /// # Errors
    /// As [`Log::read`]; damage is in the way only where the record might lie in it.
    pub fn offset_at(&self, timestamp: i64, below: Offset) -> Result<Option<Offset>, ReadError> {
        let mut from = match crate::bytime::start(&self.shared, &self.cell, timestamp) {
            Some(from) => from,
            None => return Ok(None),
        };
        while from < below {
            let batches = self.read(from, HEADS_BYTES, below)?;
            if batches.is_empty() {
                return Ok(None);
            }
            for bytes in &batches {
                let header = parsed(bytes)?;
                let may = header.max_timestamp >= timestamp;
                if let Some(found) =
                    may.then(|| first_at(bytes, &header, timestamp, self.bounds().0)).flatten()
                {
                    return Ok(Some(found).filter(|offset| *offset < below));
                }
                from = header.next_offset();
            }
        }
        Ok(None)
    }

    /// All batches of `[from, to)`, in order; what the producer state is folded from.
    pub fn batches(
        &self,
        from: Offset,
        to: Offset,
    ) -> impl Iterator<Item = Result<(BatchHeader, Bytes), ReadError>> {
        Batches { log: self.clone(), next: from, to, read: VecDeque::new(), failed: false }
    }

    /// Their headers.
    pub fn heads(&self, from: Offset, to: Offset) -> impl Iterator<Item = Result<BatchHeader, ReadError>> {
        self.batches(from, to).map(|found| found.map(|(header, _)| header))
    }

    /// Damaged ranges `[from, to)`, ascending, disjoint (rule R17).
    #[must_use]
    pub fn damaged(&self) -> Vec<(Offset, Offset)> {
        self.cell.state.get().damaged.ranges().to_vec()
    }

    /// Puts verified bytes in the place of a damaged range, exactly as [`Log::damaged`] names it, syncs them
    /// and unmarks the range. Blocks.
    ///
    /// # Errors
    /// See [`RepairError`]: the batches must verify, cover the range without a gap in bytes, and be as long as
    /// what was there. On an error the range stays marked.
    pub fn repair(&self, from: Offset, to: Offset, batches: &[u8]) -> Result<(), RepairError> {
        crate::repair::repair(&self.shared, &self.cell, from, to, batches)
    }

    /// Sets the size at which segments are closed, in bytes, in place of the store's; at most
    /// [`crate::SEGMENT_BYTES_CEILING`]. Holds until the store is closed.
    pub fn set_segment_bytes(&self, bytes: u64) {
        let bytes = bytes.clamp(1, crate::SEGMENT_BYTES_CEILING);
        self.cell.segment_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Closes the segment that begins here if it takes appends: the next append begins another one.
    pub fn close_segment(&self, base: Offset) {
        self.cell.close_before.fetch_max(base.0.saturating_add(1), Ordering::Relaxed);
    }

    /// Takes note of a lower bound of the high watermark. Cheap; lands in the next checkpoint.
    pub fn set_high_watermark_hint(&self, hint: Offset) {
        self.cell.hint.fetch_max(hint.0, Ordering::Relaxed);
    }

    /// Saves a snapshot of the producer state at `offset` (which must be at most the end), made from what was
    /// read since [`Log::generation`] was this; if it has changed, nothing is saved. Blocks. The last
    /// two are kept; a truncation drops those above the cut. Nothing is saved before the first segment
    /// exists: then the log is short enough to be folded.
    ///
    /// # Errors
    /// What the file system said. No harm is done: the state can be folded from the log.
    pub fn save_producers(&self, offset: Offset, snapshot: &[u8], generation: u64) -> std::io::Result<()> {
        producers::save(&self.shared, &self.cell, offset, snapshot, generation)
    }

    /// Changes whenever something was taken away from the log. What was read from it while this stayed the
    /// same belongs together.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.cell.state.get().generation
    }

    /// The newest snapshot at or below `below` that belongs to what the log holds, with its offset. Blocks.
    ///
    /// # Errors
    /// What the file system said.
    pub fn load_producers(&self, below: Offset) -> std::io::Result<Option<(Offset, Bytes)>> {
        producers::load(&self.shared, &self.cell, below)
    }

    /// The epoch history, as far as written: where each leader epoch starts, ascending.
    #[must_use]
    pub fn epochs(&self) -> Vec<EpochStart> {
        self.cell.state.get().epochs.clone()
    }

    /// The segments, ascending; the last one takes appends.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let state = self.cell.state.get();
        let of = |segment: &crate::segment::Segment| SegmentInfo {
            base: Offset(segment.base),
            end: Offset(segment.end),
            bytes: segment.bytes,
            max_timestamp: segment.max_timestamp,
        };
        state.segments.iter().map(of).collect()
    }

    /// How many bytes its segments hold.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.cell.state.get().bytes()
    }

    /// Lets somebody else hear of changes from the next round on.
    pub(crate) fn observe(&self, observer: Arc<dyn Observer>) {
        *self.cell.observer.get() = observer;
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Log").field(&self.cell.id).finish()
    }
}

/// The first record of the batch at or after a time. A batch that cannot be opened counts by its header.
fn first_at(bytes: &[u8], header: &BatchHeader, timestamp: i64, start: Offset) -> Option<Offset> {
    let Ok(records) = Records::open(bytes, BATCH_OPENED_BYTES_MAX) else {
        return Some(header.base_offset.max(start));
    };
    records
        .iter()
        .map_while(Result::ok)
        .find(|record| record.timestamp_ms >= timestamp && record.offset >= start)
        .map(|record| record.offset)
}

/// The header of a batch that a read returned.
fn parsed(bytes: &[u8]) -> Result<BatchHeader, ReadError> {
    BatchHeader::parse(bytes).map_err(|error| ReadError::Io {
        path: "memory".into(),
        source: std::io::Error::other(error.to_string()),
    })
}

struct Batches {
    log: Log,
    next: Offset,
    to: Offset,
    read: VecDeque<(BatchHeader, Bytes)>,
    failed: bool,
}

impl Iterator for Batches {
    type Item = Result<(BatchHeader, Bytes), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.read.is_empty() && self.next < self.to && !self.failed {
            let outcome = self.log.read(self.next, HEADS_BYTES, self.to).and_then(|batches| {
                let all = batches.iter().flat_map(|bytes| batch::batches(bytes).map(move |one| (bytes, one)));
                for (bytes, found) in all {
                    let (header, one) = found.map_err(|error| ReadError::Io {
                        path: "memory".into(),
                        source: std::io::Error::other(error.to_string()),
                    })?;
                    self.next = header.next_offset();
                    self.read.push_back((header, bytes.slice_ref(one)));
                }
                Ok(batches.is_empty())
            });
            match outcome {
                Ok(false) => {}
                Ok(true) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.read.pop_front().map(Ok)
    }
}
