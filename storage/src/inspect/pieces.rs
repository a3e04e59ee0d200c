//! A segment's file as what it holds: batches, and what lies damaged between them.

use crate::io::Io;
use crate::survey::Window;
use bytes::Bytes;
use std::io;
use std::path::Path;
use yak_protocol::batch::{self, BatchHeader, HEADER_BYTES};

/// So many bytes are looked at at once for whether all of them are zero.
const ZEROS_AT_ONCE: usize = 64 << 10;

/// A batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// The byte where it begins.
    pub at: u64,
    /// What its header says.
    pub header: BatchHeader,
    /// All of it.
    pub bytes: Bytes,
    /// What is wrong with it: its checksum is another, though its place and length fit.
    pub problem: Option<String>,
}

/// Bytes that are no batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bad {
    /// The byte where they begin.
    pub at: u64,
    /// How many they are.
    pub length: u64,
    /// What is wrong with them.
    pub what: String,
    /// Whether they are what an unclean stop leaves: the end of the file, and a batch that was begun or zeros.
    pub torn: bool,
}

/// A piece of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// A batch.
    Batch(Batch),
    /// Bytes that are no batch.
    Bad(Bad),
}

/// The pieces of a segment's file, in order: together they are its bytes.
pub struct Pieces {
    window: Window,
    at: u64,
    /// The offset after the last batch.
    next: u64,
    /// Whether all of the file counts, so that its end must be whole.
    counted: bool,
}

impl Pieces {
    /// All of a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn of_file(io: &dyn Io, path: &Path) -> io::Result<Self> {
        let file = io.open(path)?;
        let bytes = file.len()?;
        Ok(Self { window: Window::new(file, bytes), at: 0, next: 0, counted: false })
    }

    /// The first `bytes` bytes of a file, which are known to be a log's.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn counted(io: &dyn Io, path: &Path, bytes: u64) -> io::Result<Self> {
        let file = io.open(path)?;
        let bytes = bytes.min(file.len()?);
        Ok(Self { window: Window::new(file, bytes), at: 0, next: 0, counted: true })
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let (at, end) = (self.at, self.window.bytes());
        if at >= end {
            return Ok(None);
        }
        if let Some(header) = self.window.sound(at, |_| true)? {
            return self.batch(header, None).map(Some);
        }
        let parsed = BatchHeader::parse(self.window.get(at, HEADER_BYTES)?);
        if let Ok(header) = parsed {
            let after = at + header.size_bytes() as u64;
            // Its length is outside of the checksum. What follows vouches for it.
            if after == end || after < end && self.window.sound(after, |_| true)?.is_some() {
                let wrong = batch::verify(self.window.get(at, header.size_bytes())?).err();
                return self.batch(header, wrong.map(|error| error.problem.to_string())).map(Some);
            }
        }
        let (length, torn) = match self.window.resume(at, &(self.next..u64::MAX), |_| true)? {
            Some((found, _)) => (found - at, None),
            None => (end - at, self.unfinished()?),
        };
        self.at += length;
        let what = match (&torn, parsed) {
            (Some(what), _) => what.clone(),
            (None, Ok(header)) => format!("no batch of {} bytes begins here", header.size_bytes()),
            (None, Err(error)) => format!("no batch begins here: {}", error.problem),
        };
        let torn = torn.is_some() && !self.counted;
        Ok(Some(Piece::Bad(Bad { at, length, what, torn })))
    }

    fn batch(&mut self, header: BatchHeader, problem: Option<String>) -> io::Result<Piece> {
        let at = self.at;
        let bytes = Bytes::copy_from_slice(self.window.get(at, header.size_bytes())?);
        self.at += bytes.len() as u64;
        self.next = header.next_offset().0;
        Ok(Piece::Batch(Batch { at, header, bytes, problem }))
    }

    /// What the rest of the file is, if an unclean stop may have left it.
    fn unfinished(&mut self) -> io::Result<Option<String>> {
        let (mut at, end) = (self.at, self.window.bytes());
        let there = end - at;
        let head = self.window.get(at, HEADER_BYTES)?;
        match BatchHeader::parse(head) {
            Ok(header) => {
                let needed = header.size_bytes() as u64;
                let (from, to) = (header.base_offset, header.next_offset());
                let what =
                    format!("the batch of offsets {from} to {to} has {needed} bytes, {there} are here");
                return Ok((needed > there).then_some(what));
            }
            Err(_) if head.len() < HEADER_BYTES => {
                return Ok(Some(format!("{there} bytes, fewer than the header of a batch")));
            }
            Err(_) => {}
        }
        while at < end {
            let some = self.window.get(at, ZEROS_AT_ONCE)?;
            if some.is_empty() || some.iter().any(|byte| *byte != 0) {
                return Ok(None);
            }
            at += some.len() as u64;
        }
        Ok(Some(format!("{there} zeros")))
    }
}
