//! The index files, read when the index in memory does not reach far enough.

use crate::io::{RandomFile, read_up_to, read_whole, write_all};
use crate::layout::{PartitionFile, partition_file};
use crate::read::Snapshot;
use crate::segment::{Index, IndexEntry, OFFSET_ENTRY, TIME_ENTRY, floor};
use crate::shared::Shared;
use std::io;
use yak_protocol::ids::{Offset, TopicPartition};

/// The entries of a segment's index files; none if they are missing or make no sense: the index only
/// saves time, and what it leads to is checked.
pub(crate) fn entries_in_file(
    shared: &Shared,
    id: TopicPartition,
    segment: u64,
    bytes: u64,
) -> Vec<IndexEntry> {
    let read = |file| read_whole(shared.io.as_ref(), &partition_file(&shared.root, id, file));
    match (read(PartitionFile::Index(segment)), read(PartitionFile::TimeIndex(segment))) {
        (Ok(offsets), Ok(times)) => Index::decode(segment, bytes, &offsets, &times).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Position and offset of a batch at or before `from`, by the index file.
pub(crate) fn floor_in_file(
    shared: &Shared,
    id: TopicPartition,
    snapshot: &Snapshot,
    from: Offset,
) -> io::Result<Option<(u64, u64)>> {
    let entries = entries_in_file(shared, id, snapshot.segment, snapshot.bytes);
    let Some(entry) = floor(&entries, from.0) else { return Ok(None) };
    // An entry that a truncation left behind leads to the middle of something.
    let file = shared.files.open(id, snapshot.segment)?;
    Ok(begins_batch(file.as_ref(), entry)?.then_some((entry.position, entry.offset)))
}

pub(crate) fn begins_batch(file: &dyn RandomFile, entry: IndexEntry) -> io::Result<bool> {
    let mut head = [0; yak_protocol::batch::HEADER_BYTES];
    let filled = read_up_to(file, &mut head, entry.position)?;
    let header = yak_protocol::batch::BatchHeader::parse(&head[..filled]);
    Ok(header.is_ok_and(|header| header.base_offset.0 == entry.offset))
}

/// Writes entries from number `at` on.
pub(crate) fn write_entries(
    shared: &Shared,
    id: TopicPartition,
    segment: u64,
    at: usize,
    entries: &[IndexEntry],
) -> io::Result<()> {
    let (offsets, times) = Index::encode(segment, entries);
    for (file, bytes, entry_bytes) in [
        (PartitionFile::Index(segment), offsets, OFFSET_ENTRY),
        (PartitionFile::TimeIndex(segment), times, TIME_ENTRY),
    ] {
        let file = shared.io.create(&partition_file(&shared.root, id, file))?;
        write_all(file.as_ref(), &bytes, (at * entry_bytes) as u64)?;
        file.set_len((at * entry_bytes + bytes.len()) as u64)?;
    }
    Ok(())
}
