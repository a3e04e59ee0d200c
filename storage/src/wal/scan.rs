//! Going through the write-ahead log at start, and telling a torn tail from damage.
//!
//! A round is written only after the one before it was synced. So a round that does not parse, with
//! nothing valid after it, is one whose sync had not returned: nobody was told of it, and it is cut. With
//! something valid after it, it *was* synced: what it held is damaged, never cut.

use super::round::{ALIGN, End, Found, RoundHeader, read};
use super::writer::Position;
use super::{COPIES_AT, FileHeader, HEADER_BYTES, NUMBER_MAX, ROUNDS_FROM, u64_at};
use crate::io::{Io, read_whole, write_all};
use crate::layout::{WAL, parse_wal, wal_file};
use bytes::Bytes;
use std::io;
use std::path::Path;

/// What a scan ends with.
pub(crate) struct Scanned {
    /// Where the writer goes on.
    pub(crate) next: Position,
    /// Every file with its length and the last round that it may hold.
    pub(crate) files: Vec<(u32, u64, u64)>,
    /// Whether rounds were cut off as torn.
    pub(crate) torn: bool,
}

/// Where a round lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The file's slot.
    pub(crate) slot: u32,
    /// The byte where it begins.
    pub(crate) at: u64,
}

/// The newest round, with the header of its file.
pub(crate) struct Last {
    place: Place,
    header: FileHeader,
    round: Bytes,
}

/// Why the log cannot be gone through.
pub(crate) enum ScanError {
    Io(String, io::Error),
    Corrupt(String),
}

struct WalFile {
    slot: u32,
    length: u64,
    header: Option<FileHeader>,
}

/// Hands every round after `from_lsn`, damaged ones too, to `sink`, in order.
///
/// The last round is written again (with its file's header) and synced: after a failed sync the pages of a file look clean and
/// read as written, though the disk has never seen them.
pub(crate) fn scan(
    io: &dyn Io,
    root: &Path,
    from_lsn: u64,
    mut sink: impl FnMut(&Found, Bytes) -> Result<(), ScanError>,
) -> Result<Scanned, ScanError> {
    let (scanned, last) = look(io, root, from_lsn, |found, round, _| sink(found, round))?;
    if let Some(Last { place, header, round }) = last {
        let path = wal_file(root, place.slot);
        io.open(&path)
            .and_then(|file| {
                header.write(file.as_ref())?;
                write_all(file.as_ref(), &round, place.at)?;
                file.sync()
            })
            .map_err(|error| ScanError::Io(path.display().to_string(), error))?;
    }
    Ok(scanned)
}

/// The same, and nothing is written.
pub(crate) fn look(
    io: &dyn Io,
    root: &Path,
    from_lsn: u64,
    mut sink: impl FnMut(&Found, Bytes, Place) -> Result<(), ScanError>,
) -> Result<(Scanned, Option<Last>), ScanError> {
    if from_lsn > NUMBER_MAX {
        return Err(ScanError::Corrupt(format!(
            "the checkpoint ends at round {from_lsn}, which no log reaches"
        )));
    }
    let mut files = list(io, root)?;
    files.sort_by_key(|file| file.header.map_or(0, |header| header.id));
    let headed: Vec<(u32, FileHeader)> =
        files.iter().filter_map(|file| Some((file.slot, file.header?))).collect();
    let first = headed.iter().rposition(|(_, header)| header.first_lsn <= from_lsn + 1);
    if first.is_none() && (from_lsn > 0 || !headed.is_empty()) {
        return Err(ScanError::Corrupt(format!(
            "the write-ahead log does not hold round {}, where the checkpoint ends",
            from_lsn + 1
        )));
    }
    let mut state = Progress { next: 1, crc: 0, torn: None };
    let mut newest = None;
    for (at, (slot, header)) in headed.iter().enumerate().skip(first.unwrap_or(0)) {
        let path = wal_file(root, *slot);
        let limit = headed.get(at + 1).map(|(_, next)| next.first_lsn);
        let bytes =
            read_whole(io, &path).map_err(|error| ScanError::Io(path.display().to_string(), error))?;
        (state.next, state.crc) = (header.first_lsn, header.previous_crc);
        let mut within = |found: &Found, round: Bytes, at: u64| sink(found, round, Place { slot: *slot, at });
        let last = scan_file(&Bytes::from(bytes), header, limit, from_lsn, &mut state, &mut within)
            .map_err(|error| error.within(&path))?;
        if limit.is_none() {
            newest =
                last.map(|(at, round)| Last { place: Place { slot: *slot, at }, header: *header, round });
        }
    }
    let next = Position {
        lsn: state.next.max(from_lsn.saturating_add(1)),
        previous_crc: state.crc,
        file_id: headed.last().map_or(1, |(_, header)| header.id + 1),
    };
    let last_of = |slot: u32| {
        let at = headed.iter().position(|(of, _)| *of == slot)?;
        Some(headed.get(at + 1).map_or(next.lsn - 1, |(_, header)| header.first_lsn.saturating_sub(1)))
    };
    let files = files.iter().map(|file| (file.slot, file.length, last_of(file.slot).unwrap_or(0))).collect();
    Ok((Scanned { next, files, torn: state.torn.is_some() }, newest))
}

/// Goes through one file on its own: every round in it, whole or damaged, and how it ends.
pub(crate) fn look_at_file(
    bytes: &Bytes,
    header: &FileHeader,
    mut sink: impl FnMut(&Found, Bytes, u64),
) -> Result<Option<Rest>, String> {
    let mut progress = Progress { next: header.first_lsn, crc: header.previous_crc, torn: None };
    let from = header.first_lsn.saturating_sub(1);
    let outcome = scan_file(bytes, header, None, from, &mut progress, &mut |found: &Found, round, at| {
        sink(found, round, at);
        Ok(())
    });
    match outcome {
        Ok(_) => Ok(progress.torn),
        Err(ScanError::Corrupt(what)) => Err(what),
        Err(ScanError::Io(path, error)) => Err(format!("{path}: {error}")),
    }
}

impl ScanError {
    fn within(self, path: &Path) -> Self {
        match self {
            Self::Corrupt(what) => Self::Corrupt(format!("{}: {what}", path.display())),
            other => other,
        }
    }
}

fn list(io: &dyn Io, root: &Path) -> Result<Vec<WalFile>, ScanError> {
    let dir = root.join(WAL);
    let fault = |path: &Path, error| ScanError::Io(path.display().to_string(), error);
    let mut files = Vec::new();
    for entry in io.list(&dir).map_err(|error| fault(&dir, error))? {
        let Some(slot) = parse_wal(&entry.name) else {
            tracing::warn!(file = %dir.join(&entry.name).display(), "a file that the store did not write is ignored");
            continue;
        };
        let path = dir.join(&entry.name);
        let mut head = vec![0; COPIES_AT[1] + HEADER_BYTES];
        let file = io.open(&path).map_err(|error| fault(&path, error))?;
        let length = file.len().map_err(|error| fault(&path, error))?;
        crate::io::read_up_to(file.as_ref(), &mut head, 0).map_err(|error| fault(&path, error))?;
        let header = FileHeader::find(&head);
        let written = |at: &usize| head[*at..*at + HEADER_BYTES].iter().any(|byte| *byte != 0);
        if header.is_none() && COPIES_AT.iter().all(written) {
            return Err(ScanError::Corrupt(format!("both headers of {} are damaged", path.display())));
        }
        files.push(WalFile { slot, length, header });
    }
    Ok(files)
}

struct Progress {
    /// The LSN of the round that should come next.
    next: u64,
    /// The CRC of the last one.
    crc: u32,
    torn: Option<Rest>,
}

/// What follows the last whole round of the newest file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rest {
    /// The byte where it begins.
    pub(crate) at: u64,
    /// Whether it is certainly a round of this use of the file, begun and not finished. What is not may also
    /// be left over from an earlier use.
    pub(crate) begun: bool,
}

/// One file. Returns its last whole round with its position.
fn scan_file(
    bytes: &Bytes,
    header: &FileHeader,
    limit: Option<u64>,
    from_lsn: u64,
    progress: &mut Progress,
    sink: &mut impl FnMut(&Found, Bytes, u64) -> Result<(), ScanError>,
) -> Result<Option<(u64, Bytes)>, ScanError> {
    let seed = header.seed();
    let mut position = usize::try_from(ROUNDS_FROM).unwrap_or_default();
    let mut last = None;
    while limit.is_none_or(|limit| progress.next < limit) {
        let here = bytes.get(position..).and_then(|bytes| RoundHeader::decode(bytes, seed));
        let here = here.filter(|(found, end)| *end == End::Front && found.lsn == progress.next);
        let round = here.map(|(found, _)| read(&bytes[position..], found, seed));
        if let Some(round) = round.as_ref().filter(|round| round.is_next(progress.crc)) {
            let from = position;
            position = emit(bytes, from, round, from_lsn, progress, sink)?;
            last = Some((from as u64, bytes.slice(from..position)));
            continue;
        }
        let after = look_after(bytes, position, seed, progress.next);
        // A file that follows was begun after the last round in here was synced.
        if after.later.is_none() && limit.is_none() {
            let begun = round.is_some() || after.own_end.is_some();
            progress.torn =
                (begun || anything_at(bytes, position)).then_some(Rest { at: position as u64, begun });
            return Ok(last);
        }
        let whole_at = match (round, after.own_end) {
            (Some(round), _) => Some((position, round)),
            // Its trailing header tells where it began.
            (None, Some((end_at, found))) => (end_at + super::round::HEADER_BYTES)
                .checked_sub(found.length as usize)
                .filter(|at| *at >= position)
                .map(|at| (at, read(&bytes[at..], found, seed))),
            (None, None) => None,
        };
        if let Some((at, round)) = whole_at {
            position = emit(bytes, at, &round, from_lsn, progress, sink)?;
            continue;
        }
        // Both its headers are damaged, so it is not known what it held. That harms nobody if the
        // checkpoint covers it.
        let next =
            after.later.map(|(_, found)| found.lsn).or(limit).unwrap_or(progress.next.saturating_add(1));
        if next > from_lsn + 1 {
            let (first, last) = (progress.next.max(from_lsn + 1), next - 1);
            let what = format!("rounds {first} to {last} are unreadable from byte {position} on");
            return Err(ScanError::Corrupt(what));
        }
        let Some((at, found)) = after.later else {
            progress.next = next;
            return Ok(last);
        };
        (position, progress.next, progress.crc) = (at, found.lsn, found.previous_crc);
    }
    Ok(last)
}

/// Hands a round on and returns where the next one begins.
fn emit(
    bytes: &Bytes,
    at: usize,
    found: &Found,
    from_lsn: u64,
    progress: &mut Progress,
    sink: &mut impl FnMut(&Found, Bytes, u64) -> Result<(), ScanError>,
) -> Result<usize, ScanError> {
    let end = at + found.header.length as usize;
    if found.header.lsn > from_lsn {
        sink(found, bytes.slice(at..end.min(bytes.len())), at as u64)?;
    }
    progress.next = found.header.lsn.saturating_add(1);
    progress.crc = found.header.crc;
    Ok(end)
}

/// What lies behind a round that does not parse.
struct After {
    /// Its own trailing header.
    own_end: Option<(usize, RoundHeader)>,
    /// The first sign of a later round: where that begins, and its header. It proves that the round in
    /// question was synced.
    later: Option<(usize, RoundHeader)>,
}

fn look_after(bytes: &[u8], from: usize, seed: u32, lsn: u64) -> After {
    let mut own_end = None;
    let mut at = from;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= super::round::HEADER_BYTES) {
        // Cheap things first: a byte of the magic, the LSN, and only then the checksum.
        if rest[0] == b'Y' && u64_at(rest, 8) >= lsn {
            match RoundHeader::decode(rest, seed) {
                Some((found, End::Back)) if found.lsn == lsn => own_end = Some((at, found)),
                Some((found, End::Front)) if found.lsn > lsn => {
                    return After { own_end, later: Some((at, found)) };
                }
                Some((found, End::Back)) if found.lsn > lsn => {
                    let begins = (at + super::round::HEADER_BYTES).saturating_sub(found.length as usize);
                    return After { own_end, later: Some((begins.max(from), found)) };
                }
                _ => {}
            }
        }
        at += ALIGN;
    }
    After { own_end, later: None }
}

/// Whether anything was written there.
fn anything_at(bytes: &[u8], from: usize) -> bool {
    bytes.get(from..from + ALIGN).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0))
}
