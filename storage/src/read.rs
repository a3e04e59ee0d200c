//! Reading batches: from memory, or from the segments with every checksum looked at.

use crate::error::ReadError;
use crate::io::{RandomFile, read_up_to};
use crate::lookup::entries_in_file;
use crate::segment::floor;
use crate::shared::{LogCell, Shared};
use crate::state::{LogState, TailBatch};
use crate::survey::survey;
use bytes::Bytes;
use std::sync::Arc;
use yak_protocol::batch::{self, BatchHeader, HEADER_BYTES};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{EpochStart, Offset};

/// Read at once when looking for a batch.
const CHUNK_BYTES: usize = 64 << 10;

/// How often one read looks through a segment for what is wrong with it.
const SURVEYS_MAX: usize = 3;

/// Where the last few readers of files stopped: the next read of a consumer that goes through the log
/// begins there and needs no index.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    places: [Option<Cursor>; 4],
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Cursor {
    generation: u64,
    offset: u64,
    segment: u64,
    position: u64,
}

impl Cursors {
    fn take(&mut self, generation: u64, offset: u64, segment: u64) -> Option<u64> {
        let found = self.places.iter_mut().find(|place| {
            place.is_some_and(|c| c.generation == generation && c.offset == offset && c.segment == segment)
        })?;
        found.take().map(|cursor| cursor.position)
    }

    fn put(&mut self, cursor: Cursor) {
        self.places[self.next] = Some(cursor);
        self.next = (self.next + 1) % self.places.len();
    }

    pub(crate) fn clear(&mut self) {
        self.places = Default::default();
    }
}

/// What a read from memory found.
pub(crate) enum Recent {
    Batches(Vec<Bytes>),
    /// It lies in the files.
    Older,
    /// It is damaged.
    Damaged,
    Outside,
    Gone,
}

/// Whole batches from memory.
pub(crate) fn recent(state: &LogState, from: Offset, max_bytes: usize, below: Offset) -> Recent {
    if state.gone {
        return Recent::Gone;
    }
    if from < state.start || from > state.end {
        return Recent::Outside;
    }
    if state.damaged.at(from).is_some() {
        return Recent::Damaged;
    }
    let below = below.min(state.end);
    if from >= below {
        return Recent::Batches(Vec::new());
    }
    if state.tail.front().is_none_or(|first| first.from > from.0) {
        return Recent::Older;
    }
    let mut batches = Vec::new();
    let mut bytes = 0;
    let first = state.tail.partition_point(|batch| batch.next <= from.0);
    for batch in state.tail.range(first..) {
        let full = !batches.is_empty() && bytes + batch.bytes.len() > max_bytes;
        if full || batch.next > below.0 || state.damaged.at(Offset(batch.from)).is_some() {
            break;
        }
        bytes += batch.bytes.len();
        batches.push(batch.bytes.clone());
    }
    Recent::Batches(batches)
}

/// One segment as it was when the lock was held.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) segment: u64,
    /// The offset after what the file holds.
    pub(crate) end: u64,
    /// How many bytes the file holds.
    pub(crate) bytes: u64,
    /// Where to begin looking, with the offset of the batch there.
    place: Option<(u64, u64)>,
    /// Whether the index in memory is all there is.
    indexed: bool,
    epochs: Vec<EpochStart>,
}

impl Snapshot {
    /// Whether a batch with this header belongs at `expected`. Base offset and leader epoch are outside of
    /// the batch's checksum: that it follows the one before it, and what the epoch history says of its
    /// place, are what they are checked against.
    pub(crate) fn admits(&self, header: &BatchHeader, expected: u64) -> bool {
        let after = self.epochs.partition_point(|epoch| epoch.start <= header.base_offset);
        let epoch = after.checked_sub(1).map(|at| self.epochs[at].epoch);
        header.base_offset.0 == expected
            && header.next_offset().0 <= self.end
            && epoch.is_none_or(|epoch| epoch == header.leader_epoch)
    }
}

/// The part of the segment around `from` that its file holds.
pub(crate) fn snapshot(state: &LogState, from: Offset) -> Option<Snapshot> {
    let at = state.segments.partition_point(|segment| segment.end <= from.0);
    let segment = state.segments.get(at)?;
    let (end, bytes) = state.in_file(segment)?;
    let place = floor(&segment.index.entries, from.0).map(|at| (at.position, at.offset));
    Some(Snapshot {
        generation: state.generation,
        segment: segment.base,
        end,
        bytes,
        place,
        indexed: segment.index.complete,
        epochs: state.epochs.clone(),
    })
}

/// Whole batches from the file that holds `from`.
pub(crate) fn from_file(
    shared: &Shared,
    log: &Arc<LogCell>,
    from: Offset,
    max_bytes: usize,
    below: Offset,
) -> Result<Vec<Bytes>, ReadError> {
    let mut surveys = 0;
    loop {
        if shared.is_stopped() {
            return Err(ReadError::Gone("the store has stopped"));
        }
        let (snapshot, below) = {
            let state = log.state.get();
            if let Recent::Batches(batches) = recent(&state, from, max_bytes, below) {
                return Ok(batches);
            }
            let (start, end) = (state.start, state.end);
            if state.gone {
                return Err(ReadError::Gone("it was deleted"));
            }
            if from < start || from > end {
                return Err(ReadError::OutOfRange { from, start, end });
            }
            if let Some((from, to)) = state.damaged.at(from) {
                return Err(ReadError::Damaged { from, to });
            }
            let bound = state.damaged.first_from(from).map_or(below, |(damage, _)| below.min(damage));
            let Some(snapshot) = snapshot(&state, from) else { return Ok(Vec::new()) };
            (snapshot, bound)
        };
        match read_segment(shared, log, &snapshot, from, max_bytes, below) {
            // After a cut the bytes may be those of the records that were cut, or a mixture.
            Ok(batches) if log.state.get().generation == snapshot.generation => return Ok(batches),
            Ok(_) => {}
            Err(_) if log.state.get().generation != snapshot.generation => {}
            Err(Trouble::Io(source)) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ReadError::Io { path: shared.files.path(log.id, snapshot.segment), source });
            }
            // Something is there that does not belong there: the index, or the segment itself. A survey
            // tells which, and either repairs the index or marks the damage; then the read is tried again.
            Err(_) if surveys == SURVEYS_MAX => {
                let source = std::io::Error::other("the file keeps changing under the reader");
                return Err(ReadError::Io { path: shared.files.path(log.id, snapshot.segment), source });
            }
            Err(_) => {
                surveys += 1;
                let found = survey(shared, log, &snapshot).map_err(|source| ReadError::Io {
                    path: shared.files.path(log.id, snapshot.segment),
                    source,
                })?;
                found.settle(shared, log, &snapshot);
            }
        }
    }
}

/// Why a segment could not be read as expected.
enum Trouble {
    Io(std::io::Error),
    Unexpected,
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn read_segment(
    shared: &Shared,
    log: &Arc<LogCell>,
    snapshot: &Snapshot,
    from: Offset,
    max_bytes: usize,
    below: Offset,
) -> Result<Vec<Bytes>, Trouble> {
    let file = shared.files.open(log.id, snapshot.segment)?;
    let known = log.cursors.get().take(snapshot.generation, from.0, snapshot.segment);
    let start = match (known, snapshot.place) {
        (Some(position), _) => (position, from.0),
        (None, Some(place)) => place,
        (None, None) if snapshot.indexed || from.0 <= snapshot.segment => (0, snapshot.segment),
        (None, None) => {
            let entries = entries_in_file(shared, log.id, snapshot.segment, snapshot.bytes)?;
            floor(&entries, from.0).map_or((0, snapshot.segment), |entry| (entry.position, entry.offset))
        }
    };
    let position = find(file.as_ref(), snapshot, start, from)?;
    let (batches, next, after) = collect(file.as_ref(), snapshot, position, max_bytes, below)?;
    if !batches.is_empty() && after < snapshot.bytes {
        log.cursors.get().put(Cursor {
            generation: snapshot.generation,
            offset: next,
            segment: snapshot.segment,
            position: after,
        });
    }
    Ok(batches)
}

/// The position of the first batch that ends after `from`, looked for from a batch that is known.
fn find(file: &dyn RandomFile, snapshot: &Snapshot, start: (u64, u64), from: Offset) -> Result<u64, Trouble> {
    let (mut position, mut expected) = start;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut chunk_at = position;
    let mut filled = 0;
    loop {
        if position + HEADER_BYTES as u64 > snapshot.bytes {
            return Err(Trouble::Unexpected);
        }
        if position < chunk_at || position + HEADER_BYTES as u64 > chunk_at + filled as u64 {
            chunk_at = position;
            filled = read_up_to(file, &mut chunk, chunk_at)?;
        }
        let at = usize::try_from(position - chunk_at).map_err(|_| Trouble::Unexpected)?;
        let header = BatchHeader::parse(&chunk[at.min(filled)..filled]).map_err(|_| Trouble::Unexpected)?;
        if !snapshot.admits(&header, expected) {
            return Err(Trouble::Unexpected);
        }
        if header.next_offset() > from {
            return Ok(position);
        }
        expected = header.next_offset().0;
        position += header.size_bytes() as u64;
    }
}

/// Verified batches from `position` on; the offset and the position after the last.
fn collect(
    file: &dyn RandomFile,
    snapshot: &Snapshot,
    position: u64,
    max_bytes: usize,
    below: Offset,
) -> Result<(Vec<Bytes>, u64, u64), Trouble> {
    let left = usize::try_from(snapshot.bytes - position).map_err(|_| Trouble::Unexpected)?;
    let mut buffer = vec![0; left.min(max_bytes.max(CHUNK_BYTES))];
    let filled = read_up_to(file, &mut buffer, position)?;
    buffer.truncate(filled);
    let header = BatchHeader::parse(&buffer).map_err(|_| Trouble::Unexpected)?;
    let size = header.size_bytes();
    if size > left {
        return Err(Trouble::Unexpected);
    }
    if size > buffer.len() {
        buffer.resize(size, 0);
        if read_up_to(file, &mut buffer[filled..], position + filled as u64)? < size - filled {
            return Err(Trouble::Unexpected);
        }
    }
    let buffer = Bytes::from(buffer);
    let mut batches = Vec::new();
    let (mut at, mut expected) = (0, header.base_offset.0);
    while at < buffer.len() && (batches.is_empty() || at < max_bytes) {
        // A batch that is cut off by the end of the buffer is for the next read.
        let Ok(header) = BatchHeader::parse(&buffer[at..]) else {
            if buffer.len() - at < HEADER_BYTES {
                break;
            }
            return found_so_far(batches, expected, position + at as u64);
        };
        let to = at + header.size_bytes();
        if to > buffer.len() || !batches.is_empty() && to > max_bytes {
            break;
        }
        if batch::verify(&buffer[at..to]).is_err() || !snapshot.admits(&header, expected) {
            return found_so_far(batches, expected, position + at as u64);
        }
        if header.next_offset() > below {
            break;
        }
        batches.push(buffer.slice(at..to));
        expected = header.next_offset().0;
        at = to;
    }
    Ok((batches, expected, position + at as u64))
}

/// What comes before something unsound is served; the unsound is looked into when it is asked for.
fn found_so_far(batches: Vec<Bytes>, next: u64, after: u64) -> Result<(Vec<Bytes>, u64, u64), Trouble> {
    if batches.is_empty() { Err(Trouble::Unexpected) } else { Ok((batches, next, after)) }
}

/// Where a truncation cuts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// The base of the segment.
    pub(crate) segment: u64,
    /// The byte in it.
    pub(crate) position: u64,
    /// Damage around the wanted offset begins here: its bytes go as a whole, since nothing in them can be told
    /// apart.
    pub(crate) lost_from: Option<Offset>,
}

/// Where a truncation to `to` cuts.
pub(crate) fn place_of_cut(shared: &Shared, log: &Arc<LogCell>, to: Offset) -> Result<Cut, WireError> {
    let snapshot = {
        let state = log.state.get();
        let exact = |segment, position| Ok(Cut { segment, position, lost_from: None });
        if to == state.end {
            return state.segments.last().map_or(exact(0, 0), |segment| exact(segment.base, segment.bytes));
        }
        let at = state.tail.partition_point(|batch| batch.next <= to.0);
        match state.tail.get(at) {
            Some(batch) if batch.from == to.0 => return exact(batch.segment, batch.position),
            Some(batch) if batch.from < to.0 && batch.damaged => {
                let TailBatch { segment, position, from, .. } = *batch;
                return Ok(Cut { segment, position, lost_from: Some(Offset(from)) });
            }
            _ => {}
        }
        if let Some(segment) = state.segments.iter().find(|segment| segment.base >= to.0) {
            let before = state.segments.iter().rev().find(|before| before.base < segment.base);
            if before.is_none_or(|before| before.end <= to.0) {
                return exact(segment.base, 0);
            }
        }
        snapshot(&state, to)
    };
    let unknown =
        |why: String| WireError::new(ErrorCode::Internal, format!("cannot truncate to {to}: {why}"));
    let Some(snapshot) = snapshot else { return Err(unknown("no segment holds it".into())) };
    let found = survey(shared, log, &snapshot).map_err(|error| unknown(error.to_string()))?;
    let around = found.around(to).filter(|piece| piece.from == to.0 || !piece.sound);
    let Some(piece) = around else { return Err(unknown("no batch begins there".into())) };
    let lost_from = (piece.from < to.0).then_some(Offset(piece.from));
    Ok(Cut { segment: snapshot.segment, position: piece.position, lost_from })
}
