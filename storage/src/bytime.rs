//! Where to begin looking for a time.

use crate::lookup::entries_in_file;
use crate::segment::floor_by_time;
use crate::shared::{LogCell, Shared};
use yak_protocol::ids::Offset;

/// An offset before which no record has a timestamp of at least `timestamp`, as near as the index tells;
/// `None` if the log has none such at all.
pub(crate) fn start(shared: &Shared, log: &LogCell, timestamp: i64) -> Option<Offset> {
    let (base, in_file, from_memory, start) = {
        let state = log.state.get();
        let segment = state.segments.iter().find(|segment| segment.max_timestamp >= timestamp)?;
        let index = &segment.index;
        let known = index.complete || floor_by_time(&index.entries, timestamp).is_some();
        let found = known.then(|| floor_by_time(&index.entries, timestamp));
        (segment.base, state.bytes_in_file(segment), found, state.start)
    };
    let entry = match from_memory {
        Some(found) => found,
        // Without the index the segment is read from its front, and then what is wrong with it shows.
        None => floor_by_time(&entries_in_file(shared, log.id, base, in_file).unwrap_or_default(), timestamp),
    };
    let from = entry.map_or(base, |entry| entry.offset);
    Some(Offset(from).max(start))
}
