//! The index files, read when the index in memory does not reach far enough.

use crate::io::{RandomFile, read_up_to, read_whole, write_all};
use crate::layout::{PartitionFile, partition_file};
use crate::segment::{Index, IndexEntry, OFFSET_ENTRY, TIME_ENTRY};
use crate::shared::Shared;
use std::io;
use yak_protocol::batch::{BatchHeader, HEADER_BYTES};
use yak_protocol::ids::TopicPartition;

/// The entries of a segment's index files for its first `in_file` bytes, which must be what its file holds
/// (after a cut it goes on holding what was cut until it is written again); none if they are missing or make no sense: the index only
/// saves time, and what it leads to is checked.
///
/// A truncation leaves entries of what was cut in the files, and they may lie within what was appended
/// since. A batch of the entry's offset and leader epoch vouches for everything before it, so entries are
/// dropped from the end until one stands for what is there.
pub(crate) fn entries_in_file(
    shared: &Shared,
    id: TopicPartition,
    segment: u64,
    in_file: u64,
) -> io::Result<Vec<IndexEntry>> {
    let read = |file| read_whole(shared.io.as_ref(), &partition_file(&shared.root, id, file));
    let mut entries = match (read(PartitionFile::Index(segment)), read(PartitionFile::TimeIndex(segment))) {
        (Ok(offsets), Ok(times)) => Index::decode(segment, in_file, &offsets, &times).unwrap_or_default(),
        _ => Vec::new(),
    };
    if !entries.is_empty() {
        let file = shared.files.open(id, segment)?;
        while let Some(last) = entries.last()
            && !stands_for(file.as_ref(), *last)?
        {
            entries.pop();
        }
    }
    Ok(entries)
}

fn stands_for(file: &dyn RandomFile, entry: IndexEntry) -> io::Result<bool> {
    let mut head = [0; HEADER_BYTES];
    let filled = read_up_to(file, &mut head, entry.position)?;
    Ok(BatchHeader::parse(&head[..filled]).is_ok_and(|header| {
        (header.base_offset.0, header.leader_epoch) == (entry.offset, entry.leader_epoch)
    }))
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
