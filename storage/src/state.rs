//! What is known of one log in memory, and how each change of the write-ahead log alters it.
//!
//! The same [`LogState::apply`] runs while the store lives and when the write-ahead log is replayed, so
//! both reach the same state: which segment a batch falls into and at which byte is settled in the log.

use crate::damage::Damages;
use crate::segment::Segment;
use crate::wal::round::Change;
use bytes::Bytes;
use std::collections::VecDeque;
use yak_protocol::batch;
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset};

/// A batch in memory.
#[derive(Clone, Debug)]
pub(crate) struct TailBatch {
    /// Its base offset.
    pub(crate) from: u64,
    /// The offset after its last record.
    pub(crate) next: u64,
    /// The base of the segment that it belongs to.
    pub(crate) segment: u64,
    /// Where in the segment's file.
    pub(crate) position: u64,
    /// The round that brought it.
    pub(crate) lsn: u64,
    /// Whether the bytes are not what was written (found so in a synced round at recovery).
    pub(crate) damaged: bool,
    pub(crate) bytes: Bytes,
}

/// Something to do to a partition's files, in order, before more bytes are written to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileOp {
    /// Cut the segment's file.
    Cut { segment: u64, to: u64 },
    /// Remove the segment's files.
    Remove { segment: u64 },
    /// Move the segment's file to where this round's things are set aside.
    Aside { segment: u64, lsn: u64 },
    /// Drop producer snapshots above this offset.
    DropProducers { above: u64 },
    /// Move the whole folder to the orphans.
    Orphan { lsn: u64 },
    /// Remove the whole folder.
    Delete { lsn: u64 },
}

#[derive(Debug, Default)]
pub(crate) struct LogState {
    /// The last round that changed it.
    pub(crate) lsn: u64,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) epochs: Vec<EpochStart>,
    pub(crate) promise: Option<(LeaderEpoch, BrokerId)>,
    /// Ascending; the last one takes appends.
    pub(crate) segments: Vec<Segment>,
    pub(crate) damaged: Damages,
    /// Recent batches, ascending, ending at `end` unless empty.
    pub(crate) tail: VecDeque<TailBatch>,
    /// Everything below is in the segments' files (perhaps not synced).
    pub(crate) flushed_end: Offset,
    /// What is to be done to the files before the unflushed batches are written.
    pub(crate) file_ops: Vec<FileOp>,
    /// Counts what takes bytes away, so that whoever used them without the lock notices.
    pub(crate) generation: u64,
    /// An operation failed and its submitter has not said yet that it knows.
    pub(crate) failed: bool,
    /// Deleted or set aside; the handle is dead.
    pub(crate) gone: bool,
}

impl LogState {
    /// Applies one change of round `lsn`; `round` holds an append's bytes. Returns how many bytes now wait
    /// to be written to the segment. `good` = the append's bytes are as they were written.
    pub(crate) fn apply(
        &mut self,
        lsn: u64,
        change: &Change,
        round: &Bytes,
        good: bool,
        interval: u64,
    ) -> u64 {
        self.lsn = lsn;
        match *change {
            Change::Append { base, end, epoch, roll, payload } => {
                let bytes = round.slice(payload.range());
                let length = bytes.len() as u64;
                if roll || self.segments.is_empty() {
                    self.segments.push(Segment::new(base.0));
                }
                self.start_epoch(EpochStart { epoch, start: base });
                if good {
                    self.append(lsn, base, &bytes, interval);
                } else {
                    self.append_damaged(lsn, base, end, bytes);
                }
                self.end = end;
                return length;
            }
            Change::Truncate { to, segment, position } => self.truncate(to, segment, position),
            Change::Lose { from, to } => self.lose(from, to),
            Change::Reset { start } => self.reset(start, lsn),
            Change::Epoch(start) => self.start_epoch(start),
            Change::MoveLogStart { to } => self.move_start(to),
            Change::Promise { epoch, leader } => self.promise = Some((epoch, leader)),
            Change::Delete => self.vanish(FileOp::Delete { lsn }),
            Change::SetAside => self.vanish(FileOp::Orphan { lsn }),
        }
        0
    }

    fn append(&mut self, lsn: u64, base: Offset, bytes: &Bytes, interval: u64) {
        let (mut from, mut at) = (base.0, 0);
        for found in batch::batches(bytes) {
            let (header, one) = found.expect("the batches of a round were walked before it was written");
            let next = header.next_offset().0;
            let segment = self.segments.last_mut().expect("an append has a segment");
            self.tail.push_back(TailBatch {
                from,
                next,
                segment: segment.base,
                position: segment.bytes,
                lsn,
                damaged: false,
                bytes: bytes.slice(at..at + one.len()),
            });
            segment.grow(&header, interval);
            at += one.len();
            from = next;
        }
    }

    /// The bytes are kept as they are, so that everything after them lies where it belongs.
    fn append_damaged(&mut self, lsn: u64, base: Offset, end: Offset, bytes: Bytes) {
        let segment = self.segments.last_mut().expect("an append has a segment");
        self.damaged.mark(base, end);
        let length = bytes.len() as u64;
        self.tail.push_back(TailBatch {
            from: base.0,
            next: end.0,
            segment: segment.base,
            position: segment.bytes,
            lsn,
            damaged: true,
            bytes,
        });
        segment.bytes += length;
        segment.end = end.0;
        // What times are in there is not known: it must not be skipped.
        segment.max_timestamp = i64::MAX;
    }

    /// From here on records belong to this epoch. Entries that start here too left no record.
    fn start_epoch(&mut self, start: EpochStart) {
        if self.epochs.last().is_none_or(|last| last.epoch < start.epoch) {
            self.epochs.retain(|epoch| epoch.start < start.start);
            self.epochs.push(start);
        }
    }

    fn truncate(&mut self, to: Offset, segment: u64, position: u64) {
        if to == self.end {
            self.epochs.retain(|epoch| epoch.start < to);
            return;
        }
        self.generation += 1;
        while let Some(last) = self.segments.last_mut() {
            if last.base < segment || last.base == segment && position > 0 {
                if last.base == segment {
                    last.cut(to.0, position);
                    self.file_ops.push(FileOp::Cut { segment, to: position });
                }
                break;
            }
            self.file_ops.push(FileOp::Remove { segment: last.base });
            self.segments.pop();
        }
        self.file_ops.push(FileOp::DropProducers { above: to.0 });
        self.cut_tail(to, segment, position);
        self.damaged.cut(to);
        self.epochs.retain(|epoch| epoch.start < to);
        self.end = to;
        self.flushed_end = self.flushed_end.min(to);
    }

    fn cut_tail(&mut self, to: Offset, segment: u64, position: u64) {
        while let Some(last) = self.tail.back_mut().filter(|batch| batch.next > to.0) {
            // What is damaged may be several batches, of which the first ones stay.
            let kept = position.saturating_sub(last.position);
            if last.damaged && last.from < to.0 && last.segment == segment && kept > 0 {
                last.next = to.0;
                last.bytes.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
                return;
            }
            self.tail.pop_back();
        }
    }

    /// A cut went through damage: where in it `to` lay is not known, so all of its bytes went. The offsets below
    /// `to` stay, damaged as they were, in a segment that nothing is appended to: a repair writes them at its end.
    fn lose(&mut self, from: Offset, to: Offset) {
        if self.segments.last().is_none_or(|last| last.end < to.0) {
            // What times will be in there is not known: it must not be skipped.
            self.segments.push(Segment { end: to.0, max_timestamp: i64::MAX, ..Segment::new(from.0) });
        }
        self.segments.push(Segment::new(to.0));
        self.damaged.cut(from);
        self.damaged.mark(from, to);
    }

    fn reset(&mut self, start: Offset, lsn: u64) {
        self.generation += 1;
        for segment in self.segments.drain(..) {
            self.file_ops.push(FileOp::Aside { segment: segment.base, lsn });
        }
        self.file_ops.push(FileOp::DropProducers { above: 0 });
        self.tail.clear();
        self.damaged.clear();
        self.epochs.clear();
        (self.start, self.end, self.flushed_end) = (start, start, start);
    }

    fn move_start(&mut self, to: Offset) {
        if to <= self.start {
            return;
        }
        self.start = to;
        self.generation += 1;
        let gone = self.segments.partition_point(|segment| segment.end <= to.0);
        for segment in self.segments.drain(..gone) {
            self.file_ops.push(FileOp::Remove { segment: segment.base });
            self.flushed_end = self.flushed_end.max(Offset(segment.end));
        }
        // What lies below in a segment that stays must still be written: no holes.
        while self.tail.front().is_some_and(|batch| batch.next <= to.0.min(self.flushed_end.0)) {
            self.tail.pop_front();
        }
        self.damaged.drop_below(to);
        // The last epoch that starts at or before the new start still covers it.
        let covering = self.epochs.partition_point(|epoch| epoch.start <= to).saturating_sub(1);
        self.epochs.drain(..covering);
    }

    fn vanish(&mut self, op: FileOp) {
        self.generation += 1;
        self.gone = true;
        self.segments.clear();
        self.tail.clear();
        self.damaged.clear();
        self.file_ops = vec![op];
        self.flushed_end = self.end;
    }

    /// The batches that are not in their files yet, in order.
    pub(crate) fn unflushed(&self) -> impl Iterator<Item = &TailBatch> {
        let from = self.tail.partition_point(|batch| batch.next <= self.flushed_end.0);
        self.tail.range(from..)
    }

    /// How far the segment's file holds what the segment does: the offset after it, and its bytes. `None` if
    /// there is no such file yet. Behind that the file may hold what has been cut.
    pub(crate) fn in_file(&self, segment: &Segment) -> Option<(u64, u64)> {
        match self.unflushed().next() {
            Some(first) if first.segment < segment.base => None,
            Some(first) if first.segment == segment.base => Some((first.from, first.position)),
            _ => Some((segment.end, segment.bytes)),
        }
    }

    /// The bytes of [`Self::in_file`]; 0 without a file.
    pub(crate) fn bytes_in_file(&self, segment: &Segment) -> u64 {
        self.in_file(segment).map_or(0, |(_, bytes)| bytes)
    }

    /// Lets go of batches of rounds up to `lsn` that are in their files.
    pub(crate) fn evict(&mut self, lsn: u64) {
        while let Some(first) = self.tail.front() {
            if first.lsn > lsn || first.next > self.flushed_end.0 {
                break;
            }
            self.tail.pop_front();
        }
    }

    /// The leader epoch that the record before `offset` was written in.
    pub(crate) fn epoch_before(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.epochs.partition_point(|epoch| epoch.start < offset);
        after.checked_sub(1).map(|index| self.epochs[index].epoch)
    }

    /// How many bytes its segments hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }
}
