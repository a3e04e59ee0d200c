//! Going through a whole segment, checksum by checksum: done when something in it was not as expected.

use crate::io::{RandomFile, read_up_to};
use crate::read::Snapshot;
use crate::segment::{Index, IndexEntry};
use crate::shared::{LogCell, Shared};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use yak_protocol::batch::{self, BatchHeader, HEADER_BYTES};
use yak_protocol::ids::{LeaderEpoch, Offset};

/// A stretch of a segment: one sound batch, or what lies damaged between two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) position: u64,
    pub(crate) length: u64,
    pub(crate) sound: bool,
    /// Of a sound batch.
    leader_epoch: LeaderEpoch,
    max_timestamp: i64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Survey {
    pub(crate) pieces: Vec<Piece>,
}

/// How much of the file is read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// A file seen through a window that follows where it is looked at.
pub(crate) struct Window {
    file: Arc<dyn RandomFile>,
    /// How much of the file counts.
    bytes: u64,
    at: u64,
    buffer: Vec<u8>,
}

impl Window {
    pub(crate) fn new(file: Arc<dyn RandomFile>, bytes: u64) -> Self {
        Self { file, bytes, at: 0, buffer: Vec::new() }
    }

    /// How much of the file counts.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `length` bytes at `position`, fewer at the end of what there is.
    pub(crate) fn get(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let end = self.bytes.min(position + length as u64);
        if position < self.at || end > self.at + self.buffer.len() as u64 {
            let left = usize::try_from(self.bytes.saturating_sub(position)).map_err(io::Error::other)?;
            self.buffer.resize(left.min(length.max(WINDOW_BYTES)), 0);
            self.at = position;
            let filled = read_up_to(self.file.as_ref(), &mut self.buffer, position)?;
            self.buffer.truncate(filled);
        }
        let from = usize::try_from(position - self.at).map_err(io::Error::other)?.min(self.buffer.len());
        let to = (from + length).min(self.buffer.len());
        Ok(&self.buffer[from..to])
    }

    /// The sound batch at `position`, if one is there that may be.
    pub(crate) fn sound(
        &mut self,
        position: u64,
        may_be: impl Fn(&BatchHeader) -> bool,
    ) -> io::Result<Option<BatchHeader>> {
        let Ok(header) = BatchHeader::parse(self.get(position, HEADER_BYTES)?) else { return Ok(None) };
        if !may_be(&header) {
            return Ok(None);
        }
        if position + header.size_bytes() as u64 > self.bytes {
            return Ok(None);
        }
        Ok(batch::verify(self.get(position, header.size_bytes())?).ok())
    }

    /// The first sound batch that may be, after something unsound at `position`; its base offset is within
    /// `offsets`.
    pub(crate) fn resume(
        &mut self,
        position: u64,
        offsets: &Range<u64>,
        may_be: impl Fn(&BatchHeader) -> bool,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        let may_be = |header: &BatchHeader| offsets.contains(&header.base_offset.0) && may_be(header);
        // Most damage leaves the header alone, and its length leads to the next batch.
        if let Ok(header) = BatchHeader::parse(self.get(position, HEADER_BYTES)?) {
            let next = position + header.size_bytes() as u64;
            if let Some(header) = self.sound(next, may_be)? {
                return Ok(Some((next, header)));
            }
        }
        let mut at = position + 1;
        while at + (HEADER_BYTES as u64) <= self.bytes {
            let window = self.get(at, WINDOW_BYTES / 2)?;
            let skip = window.windows(HEADER_BYTES).position(|bytes| looks_like_header(bytes, offsets));
            match skip {
                Some(skip) => {
                    at += skip as u64;
                    if let Some(header) = self.sound(at, may_be)? {
                        return Ok(Some((at, header)));
                    }
                    at += 1;
                }
                None if window.len() < HEADER_BYTES => return Ok(None),
                None => at += (window.len() - HEADER_BYTES + 1) as u64,
            }
        }
        Ok(None)
    }
}

fn looks_like_header(bytes: &[u8], offsets: &Range<u64>) -> bool {
    bytes[16] == 2 && offsets.contains(&crate::wal::u64_at(bytes, 0))
}

/// Goes through the part of a segment's file that counts. A file that is too short, or not there, is
/// damaged where the bytes are missing.
pub(crate) fn survey(shared: &Shared, log: &LogCell, snapshot: &Snapshot) -> io::Result<Survey> {
    let file = match shared.files.open(log.id, snapshot.segment) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Survey { pieces: vec![missing(snapshot, snapshot.segment, 0)] });
        }
        Err(error) => return Err(error),
    };
    let bytes = snapshot.bytes.min(file.len()?);
    let mut window = Window::new(file, bytes);
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut position, mut expected) = (0, snapshot.segment);
    while expected < snapshot.end {
        let found = match window.sound(position, |header| snapshot.admits(header, expected))? {
            Some(header) => Some((position, header)),
            None => window.resume(position, &(expected + 1..snapshot.end), |header| {
                snapshot.admits(header, header.base_offset.0)
            })?,
        };
        let Some((at, header)) = found else {
            pieces.push(missing(snapshot, expected, position));
            break;
        };
        if at > position {
            pieces.push(Piece {
                from: expected,
                to: header.base_offset.0,
                position,
                length: at - position,
                sound: false,
                leader_epoch: LeaderEpoch::ZERO,
                max_timestamp: i64::MAX,
            });
        }
        pieces.push(Piece {
            from: header.base_offset.0,
            to: header.next_offset().0,
            position: at,
            length: header.size_bytes() as u64,
            sound: true,
            leader_epoch: header.leader_epoch,
            max_timestamp: header.max_timestamp,
        });
        position = at + header.size_bytes() as u64;
        expected = header.next_offset().0;
    }
    Ok(Survey { pieces })
}

/// From here to the segment's end nothing is sound.
fn missing(snapshot: &Snapshot, from: u64, position: u64) -> Piece {
    Piece {
        from,
        to: snapshot.end,
        position,
        length: snapshot.bytes - position,
        sound: false,
        leader_epoch: LeaderEpoch::ZERO,
        max_timestamp: i64::MAX,
    }
}

impl Survey {
    /// Where the batch (or the damage) that begins with `offset` lies.
    pub(crate) fn position_of(&self, offset: Offset) -> Option<u64> {
        self.pieces.iter().find(|piece| piece.from == offset.0).map(|piece| piece.position)
    }

    /// The batch, or the damage, that holds `offset`.
    pub(crate) fn around(&self, offset: Offset) -> Option<&Piece> {
        self.pieces.iter().find(|piece| piece.from <= offset.0 && offset.0 < piece.to)
    }

    /// The damaged stretches.
    pub(crate) fn damaged(&self) -> impl Iterator<Item = (Offset, Offset)> {
        self.pieces.iter().filter(|piece| !piece.sound).map(|piece| (Offset(piece.from), Offset(piece.to)))
    }

    /// The index entries that belong to what was found: at intervals, and where damage ends, since nobody gets
    /// across it from batch to batch.
    pub(crate) fn index(&self, interval: u64) -> Vec<IndexEntry> {
        let mut entries = Vec::new();
        let (mut covered, mut before, mut behind_damage) = (0, i64::MIN, false);
        for piece in &self.pieces {
            if piece.sound && (piece.position >= covered + interval || behind_damage) {
                covered = piece.position;
                entries.push(IndexEntry {
                    offset: piece.from,
                    position: piece.position,
                    leader_epoch: piece.leader_epoch,
                    max_timestamp_before: before,
                });
            }
            before = before.max(piece.max_timestamp);
            behind_damage = !piece.sound;
        }
        entries
    }

    /// Marks the damage and replaces the index, unless the log has changed meanwhile.
    pub(crate) fn settle(&self, shared: &Shared, log: &Arc<LogCell>, snapshot: &Snapshot) {
        let entries = self.index(shared.config.index_interval_bytes);
        let _files = log.files.get();
        let mut state = log.state.get();
        if state.generation != snapshot.generation {
            return;
        }
        let mut news = false;
        for (from, to) in self.damaged() {
            if state.damaged.mark(from, to) {
                news = true;
                tracing::error!(log = %log.id, %from, %to, "found damaged records");
            }
        }
        // Readers that went by a wrong index must not find it again, nor what they remember of it.
        state.generation += 1;
        log.cursors.get().clear();
        let Some(segment) = state.segments.iter_mut().find(|segment| segment.base == snapshot.segment) else {
            return;
        };
        let later = segment.index.entries.iter().copied().filter(|entry| entry.position >= snapshot.bytes);
        let (whole, covered) =
            (entries.iter().copied().chain(later).collect::<Vec<_>>(), segment.index.covered);
        segment.index = Index { entries: whole, complete: true, persisted: 0, covered };
        drop(state);
        if news {
            shared.list(log);
            shared.note_change(false);
        }
    }
}
