//! The index files of a segment, line by line.

use super::{Finding, Level};
use crate::io::{Io, read_whole};
use crate::segment::{OFFSET_ENTRY, TIME_ENTRY};
use crate::wal::{u32_at, u64_at};
use serde::Serialize;
use std::io;
use std::path::Path;
use yak_protocol::batch::BatchHeader;

/// One entry of an index file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct IndexLine {
    /// The byte of the file where it begins.
    pub at: u64,
    /// The offset of a batch, from the segment's base on.
    pub relative_offset: u32,
    /// Of `.index`: the byte of the segment where the batch begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// Of `.timeindex`: the greatest timestamp of what lies before the batch in the segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_timestamp_before: Option<i64>,
    /// Of `.timeindex`: the batch's leader epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<u32>,
}

/// The entries of a `.index` file, or of a `.timeindex` file if `times`; and how many bytes are too few for
/// a further one.
///
/// # Errors
/// When it cannot be read.
pub fn index_lines(io: &dyn Io, path: &Path, times: bool) -> io::Result<(Vec<IndexLine>, usize)> {
    let bytes = read_whole(io, path)?;
    let size = if times { TIME_ENTRY } else { OFFSET_ENTRY };
    let line = |(number, entry): (usize, &[u8])| {
        let at = (number * size) as u64;
        match times {
            false => IndexLine {
                at,
                relative_offset: u32_at(entry, 0),
                position: Some(u32_at(entry, 4)),
                max_timestamp_before: None,
                leader_epoch: None,
            },
            true => IndexLine {
                at,
                relative_offset: u32_at(entry, 8),
                position: None,
                max_timestamp_before: Some(u64_at(entry, 0).cast_signed()),
                leader_epoch: Some(u32_at(entry, 12)),
            },
        }
    };
    let entries = bytes.chunks_exact(size);
    let rest = entries.remainder().len();
    Ok((entries.enumerate().map(line).collect(), rest))
}

/// A batch of the segment that the index is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Indexed {
    pub(super) at: u64,
    pub(super) header: BatchHeader,
    /// The greatest timestamp of what lies before it in the segment.
    pub(super) before: i64,
}

/// Holds both index files of a segment against its batches, ascending. They are not synced, and a truncation
/// leaves entries of what was cut behind: the store drops entries from the end until one stands for a batch.
/// So does this; what is wrong before such a one is damage.
pub(super) fn check(
    io: &dyn Io,
    segment: &Path,
    base: u64,
    batches: &[Indexed],
    findings: &mut Vec<Finding>,
) -> io::Result<()> {
    let paths = [segment.with_extension("index"), segment.with_extension("timeindex")];
    let mut read = Vec::with_capacity(2);
    for (path, times) in paths.iter().zip([false, true]) {
        match index_lines(io, path, times) {
            Ok((lines, rest)) => {
                if rest > 0 {
                    let what = format!("{rest} bytes, fewer than an entry");
                    let at = lines.last().map_or(0, |last| last.at + if times { 16 } else { 8 });
                    findings.push(Finding { level: Level::Torn, file: path.clone(), at, what });
                }
                read.push(lines);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => read.push(Vec::new()),
            Err(error) => return Err(super::dir::within(path, &error)),
        }
    }
    let (offsets, times) = (&read[0], &read[1]);
    let wrong: Vec<_> = (0..offsets.len().max(times.len()))
        .map(|at| wrong(base, offsets.get(at), times.get(at), batches))
        .collect();
    let stands = wrong.iter().rposition(Option::is_none).map_or(0, |last| last + 1);
    for (number, found) in wrong.into_iter().enumerate() {
        let Some((in_times, what)) = found else { continue };
        let lines = if in_times { times } else { offsets };
        let at = lines.get(number).map_or(0, |line| line.at);
        let file = paths[usize::from(in_times)].clone();
        let (level, what) = match number < stands {
            true => (Level::Damage, what),
            false => (Level::Note, format!("{what}; it is behind the last entry that counts, and not used")),
        };
        findings.push(Finding { level, file, at, what });
    }
    Ok(())
}

/// What is wrong with an entry, and whether in the time index.
fn wrong(
    base: u64,
    offset: Option<&IndexLine>,
    time: Option<&IndexLine>,
    batches: &[Indexed],
) -> Option<(bool, String)> {
    let (Some(offset), Some(time)) = (offset, time) else {
        let in_times = offset.is_none();
        return Some((in_times, "the other index file has no such entry".to_owned()));
    };
    let position = u64::from(offset.position.unwrap_or_default());
    let of = base + u64::from(offset.relative_offset);
    let Ok(found) = batches.binary_search_by_key(&position, |batch| batch.at) else {
        return Some((
            false,
            format!("it says that offset {of} is at byte {position}, where no batch begins"),
        ));
    };
    let batch = &batches[found];
    let header = &batch.header;
    if header.base_offset.0 != of {
        let is = header.base_offset;
        return Some((
            false,
            format!("it says that offset {of} is at byte {position}, where offset {is} is"),
        ));
    }
    if time.relative_offset != offset.relative_offset {
        let says = base + u64::from(time.relative_offset);
        return Some((true, format!("it is about offset {says}, the entry of the index about offset {of}")));
    }
    if time.leader_epoch != Some(header.leader_epoch.0) {
        let says = time.leader_epoch.unwrap_or_default();
        let is = header.leader_epoch;
        return Some((true, format!("it says that offset {of} is of leader epoch {says}, it is of {is}")));
    }
    let says = time.max_timestamp_before.unwrap_or(i64::MIN);
    if says < batch.before {
        let is = batch.before;
        return Some((
            true,
            format!("it says that nothing before offset {of} is newer than {says}, but {is} is"),
        ));
    }
    None
}
