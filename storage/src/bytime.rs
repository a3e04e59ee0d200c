//! Where to begin looking for a time.

use crate::lookup::{begins_batch, entries_in_file};
use crate::segment::floor_by_time;
use crate::shared::{LogCell, Shared};
use yak_protocol::ids::Offset;

/// An offset before which no record has a timestamp of at least `timestamp`, as near as the index tells;
/// `None` if the log has none such at all.
pub(crate) fn start(shared: &Shared, log: &LogCell, timestamp: i64) -> Option<Offset> {
    let (base, bytes, from_memory, start) = {
        let state = log.state.get();
        let segment = state.segments.iter().find(|segment| segment.max_timestamp >= timestamp)?;
        let index = &segment.index;
        let known = index.complete || floor_by_time(&index.entries, timestamp).is_some();
        let found = known.then(|| floor_by_time(&index.entries, timestamp));
        (segment.base, segment.bytes, found, state.start)
    };
    let entry = match from_memory {
        Some(found) => found,
        None => {
            let entries = entries_in_file(shared, log.id, base, bytes);
            let found = floor_by_time(&entries, timestamp);
            let file = shared.files.open(log.id, base).ok()?;
            found.filter(|entry| begins_batch(file.as_ref(), *entry).unwrap_or(false))
        }
    };
    let from = entry.map_or(base, |entry| entry.offset);
    Some(Offset(from).max(start))
}
