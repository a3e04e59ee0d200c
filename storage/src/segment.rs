//! One segment of a partition: a file of batches, and the sparse index over it.

use serde::{Deserialize, Serialize};
use yak_protocol::batch::BatchHeader;
use yak_protocol::ids::LeaderEpoch;

/// What is known of a segment without opening it. `bytes` and `end` say how much of the file counts;
/// anything after that is left over from something that was cut.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// The offset where it begins, which names its file.
    pub(crate) base: u64,
    /// The offset after its last record.
    pub(crate) end: u64,
    /// How many bytes of the file are the log's.
    pub(crate) bytes: u64,
    /// No record in it has a greater timestamp (ms since 1970). May be too great after a truncation.
    pub(crate) max_timestamp: i64,
    /// The index over it; sealed segments have theirs in the file only.
    #[serde(skip)]
    pub(crate) index: Index,
}

impl Segment {
    pub(crate) fn new(base: u64) -> Self {
        let index = Index { complete: true, ..Index::default() };
        Self { base, end: base, bytes: 0, max_timestamp: i64::MIN, index }
    }

    /// Takes note of a batch that now follows.
    pub(crate) fn grow(&mut self, batch: &BatchHeader, interval: u64) {
        if self.bytes >= self.index.covered + interval {
            self.index.entries.push(IndexEntry {
                offset: batch.base_offset.0,
                position: self.bytes,
                leader_epoch: batch.leader_epoch,
                max_timestamp_before: self.max_timestamp,
            });
            self.index.covered = self.bytes;
        }
        self.bytes += batch.size_bytes() as u64;
        self.end = batch.next_offset().0;
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp);
    }

    /// Forgets what lies from this byte on.
    pub(crate) fn cut(&mut self, to: u64, position: u64) {
        self.end = to;
        self.bytes = position;
        while self.index.entries.last().is_some_and(|entry| entry.position >= position) {
            self.index.entries.pop();
        }
        self.index.persisted = self.index.persisted.min(self.index.entries.len());
        self.index.covered = self.index.covered.min(position);
    }
}

/// A place in a segment where a batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IndexEntry {
    /// The base offset of the batch.
    pub(crate) offset: u64,
    /// The byte where it begins.
    pub(crate) position: u64,
    /// The leader epoch of the batch. Where offset and leader epoch are those of the entry, everything
    /// before is what it was when the entry was made; else a truncation has left the entry behind.
    pub(crate) leader_epoch: LeaderEpoch,
    /// The greatest timestamp of what lies before it in the segment.
    pub(crate) max_timestamp_before: i64,
}

/// The part of a segment's index that is in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Index {
    /// Ascending. Without `complete`, those at the front are missing: they are in the file.
    pub(crate) entries: Vec<IndexEntry>,
    /// Whether `entries` is all there is.
    pub(crate) complete: bool,
    /// How many of `entries` the file holds; counted only when `complete`.
    pub(crate) persisted: usize,
    /// The byte up to which batches have been considered for entries.
    pub(crate) covered: u64,
}

impl Index {
    /// The bytes of `.index` and `.timeindex` for these entries.
    pub(crate) fn encode(base: u64, entries: &[IndexEntry]) -> (Vec<u8>, Vec<u8>) {
        let mut offsets = Vec::with_capacity(entries.len() * OFFSET_ENTRY);
        let mut times = Vec::with_capacity(entries.len() * TIME_ENTRY);
        for entry in entries {
            let relative = u32::try_from(entry.offset - base).unwrap_or(u32::MAX);
            let position = u32::try_from(entry.position).unwrap_or(u32::MAX);
            offsets.extend_from_slice(&relative.to_be_bytes());
            offsets.extend_from_slice(&position.to_be_bytes());
            times.extend_from_slice(&entry.max_timestamp_before.to_be_bytes());
            times.extend_from_slice(&relative.to_be_bytes());
            times.extend_from_slice(&entry.leader_epoch.0.to_be_bytes());
        }
        (offsets, times)
    }

    /// Reads both files back; `None` if they do not make sense together for a segment of `bytes` bytes.
    pub(crate) fn decode(base: u64, bytes: u64, offsets: &[u8], times: &[u8]) -> Option<Vec<IndexEntry>> {
        let mut entries: Vec<IndexEntry> = Vec::with_capacity(offsets.len() / OFFSET_ENTRY);
        for (offset, time) in offsets.chunks_exact(OFFSET_ENTRY).zip(times.chunks_exact(TIME_ENTRY)) {
            if offset[..4] != time[8..12] {
                return None;
            }
            let mut stamp = [0; 8];
            stamp.copy_from_slice(&time[..8]);
            let entry = IndexEntry {
                offset: base + u64::from(crate::wal::u32_at(offset, 0)),
                position: u64::from(crate::wal::u32_at(offset, 4)),
                leader_epoch: LeaderEpoch(crate::wal::u32_at(time, 12)),
                max_timestamp_before: i64::from_be_bytes(stamp),
            };
            if entry.position >= bytes {
                break;
            }
            let fits = entries.last().is_none_or(|last| {
                last.offset < entry.offset
                    && last.position < entry.position
                    && last.max_timestamp_before <= entry.max_timestamp_before
            });
            if !fits {
                return None;
            }
            entries.push(entry);
        }
        Some(entries)
    }
}

/// Bytes of one entry in `.index`.
pub(crate) const OFFSET_ENTRY: usize = 8;
/// Bytes of one entry in `.timeindex`.
pub(crate) const TIME_ENTRY: usize = 16;

/// The last entry whose batch begins at or before `offset`; `None` = begin at the segment's front.
pub(crate) fn floor(entries: &[IndexEntry], offset: u64) -> Option<IndexEntry> {
    let after = entries.partition_point(|entry| entry.offset <= offset);
    after.checked_sub(1).map(|index| entries[index])
}

/// Where to begin looking for the first record at or after a time.
pub(crate) fn floor_by_time(entries: &[IndexEntry], timestamp: i64) -> Option<IndexEntry> {
    let reached = entries.partition_point(|entry| entry.max_timestamp_before < timestamp);
    reached.checked_sub(1).map(|index| entries[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::{Offset, ProducerEpoch, ProducerId};

    const RECORD: u64 = 100;

    fn one_record(offset: u64, timestamp: i64) -> BatchHeader {
        BatchHeader {
            base_offset: Offset(offset),
            batch_length: u32::try_from(RECORD).unwrap() - 12,
            leader_epoch: LeaderEpoch(3),
            crc: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: -1,
            record_count: 1,
        }
    }

    fn segment() -> Segment {
        let mut segment = Segment::new(100);
        for n in 0..10 {
            segment.grow(&one_record(100 + n, 1000 + i64::try_from(n).unwrap()), 2 * RECORD);
        }
        segment
    }

    #[test]
    fn index_survives_its_files_and_finds_floors() {
        let segment = segment();
        let (offsets, times) = Index::encode(100, &segment.index.entries);
        let back = Index::decode(100, segment.bytes, &offsets, &times).unwrap();
        assert_eq!(back, segment.index.entries);
        assert_eq!(floor(&back, 101), None);
        assert_eq!(floor(&back, 103).unwrap().offset, 102);
        assert_eq!(floor(&back, 500).unwrap().offset, 108);
        assert_eq!(floor_by_time(&back, 900), None);
        // The batch with time 1002 lies after the entry at offset 102, before which all is older.
        assert_eq!(floor_by_time(&back, 1002).unwrap().offset, 102);
        assert_eq!(floor_by_time(&back, 1001), None);
    }

    #[test]
    fn entries_that_make_no_sense_are_refused_and_those_beyond_the_end_ignored() {
        let segment = segment();
        let (offsets, times) = Index::encode(100, &segment.index.entries);
        let short = Index::decode(100, 5 * RECORD, &offsets, &times).unwrap();
        assert_eq!(short.len(), 2);
        let mut bad = offsets.clone();
        bad[3] ^= 1;
        assert_eq!(Index::decode(100, segment.bytes, &bad, &times), None);
    }

    #[test]
    fn a_cut_forgets_entries_behind_it() {
        let mut segment = segment();
        segment.index.persisted = segment.index.entries.len();
        segment.cut(104, 4 * RECORD);
        assert_eq!(segment.index.entries.len(), 1);
        assert_eq!(segment.index.persisted, 1);
        segment.grow(&one_record(104, 0), 2 * RECORD);
        assert_eq!((segment.end, segment.bytes), (105, 5 * RECORD));
    }
}
