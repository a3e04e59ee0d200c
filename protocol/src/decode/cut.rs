use super::foreign::Foreign;
use super::problem::{Found, Problem};
use crate::defaults::{FRAME_BYTES_CEILING, FRAME_PREFIX_BYTES};
use crate::frame::{FrameCodec, FrameError};
use bytes::{Bytes, BytesMut};

/// The longest line that is kept together, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;
/// With so many bytes every protocol of [`Foreign`] can be told.
const TELLING_BYTES: usize = 16;

/// Cuts one direction of a connection into pieces. Together the pieces are the very bytes that went in.
#[derive(Debug)]
pub struct Cutter {
    buffer: BytesMut,
    /// Where the buffer stands in the stream.
    at: u64,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    /// Too little has come to tell.
    Undecided,
    Frames(FrameCodec),
    Lines,
    /// Something that cannot be read came before.
    Lost,
}

/// A piece of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Where in the stream it begins.
    pub at: u64,
    /// What it is.
    pub what: What,
}

/// What a piece is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A frame, without its length.
    Frame(Bytes),
    /// A line of a text session with its line break, if it has one; very long ones come in parts.
    Line(Bytes),
    /// Bytes that cannot be read, and why, if it has not been said yet.
    Unknown(Bytes, Option<Found>),
}

impl Piece {
    /// How many bytes of the stream it is.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match &self.what {
            What::Frame(frame) => FRAME_PREFIX_BYTES + frame.len(),
            What::Line(bytes) | What::Unknown(bytes, _) => bytes.len(),
        }
    }
}

impl Default for Cutter {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), at: 0, mode: Mode::Undecided }
    }
}

impl Cutter {
    /// Takes what came next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether the stream is known not to be one of frames.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.mode, Mode::Lines | Mode::Lost)
    }

    /// The next whole piece; `None` until more comes.
    pub fn next_piece(&mut self) -> Option<Piece> {
        self.next(false)
    }

    /// The next piece of a stream that has ended; `None` when all have been taken.
    pub fn last_piece(&mut self) -> Option<Piece> {
        self.next(true)
    }

    /// Gives up on the stream, of which `bytes` are missing now; what was buffered cannot be read.
    pub fn lose(&mut self, bytes: u64) -> Piece {
        let found = Problem::Gap { bytes }.at(self.at + self.buffer.len() as u64);
        self.mode = Mode::Lost;
        let piece = self.unknown(Some(found));
        self.at += bytes;
        piece
    }

    fn next(&mut self, ended: bool) -> Option<Piece> {
        if self.buffer.is_empty() {
            return None;
        }
        if matches!(self.mode, Mode::Undecided) {
            match self.decide(ended) {
                Ok(mode) => self.mode = mode?,
                Err(problem) => return Some(self.give_up(problem)),
            }
        }
        match &mut self.mode {
            Mode::Undecided => None,
            Mode::Lost => Some(self.unknown(None)),
            Mode::Lines => self.line(ended),
            Mode::Frames(codec) => match codec.next_frame(&mut self.buffer) {
                Ok(Some(frame)) => {
                    if self.at == 0
                        && let Some(foreign) = Foreign::framed(&frame)
                    {
                        // What else the stream holds is none of ours either.
                        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes();
                        self.buffer = [&length[..], &frame, &self.buffer].concat()[..].into();
                        return Some(self.give_up(Problem::Foreign(foreign)));
                    }
                    let piece = Piece { at: self.at, what: What::Frame(frame) };
                    self.at += piece.size_bytes() as u64;
                    Some(piece)
                }
                Ok(None) if ended => {
                    let foreign = (self.at == 0 && self.buffer.len() > FRAME_PREFIX_BYTES)
                        .then(|| Foreign::framed(&self.buffer[FRAME_PREFIX_BYTES..]))
                        .flatten();
                    let problem = match (foreign, codec.end(&self.buffer)) {
                        (Some(foreign), _) => Problem::Foreign(foreign),
                        (None, Some(FrameError::CutShort { have, want, .. }))
                            if self.buffer.len() >= FRAME_PREFIX_BYTES =>
                        {
                            Problem::Truncated { need: want, have }
                        }
                        _ => Problem::trailing(&self.buffer),
                    };
                    Some(self.give_up(problem))
                }
                Ok(None) => None,
                Err(_) => {
                    let problem = Problem::trailing(&self.buffer);
                    Some(self.give_up(problem))
                }
            },
        }
    }

    /// What the stream speaks, by its first bytes; `None` while they are too few.
    fn decide(&self, ended: bool) -> Result<Option<Mode>, Problem> {
        let bytes = &self.buffer[..];
        let first = bytes[0];
        if first <= FRAME_BYTES_CEILING.to_be_bytes()[0] {
            return Ok(Some(Mode::Frames(FrameCodec::new(FRAME_BYTES_CEILING))));
        }
        if let Some(foreign) = Foreign::of(bytes) {
            return Err(Problem::Foreign(foreign));
        }
        if bytes.len() < TELLING_BYTES && !bytes.contains(&b'\n') && !ended {
            return Ok(None);
        }
        let text =
            matches!(first, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0xff) || bytes.starts_with(b"\xef\xbb\xbf");
        if text { Ok(Some(Mode::Lines)) } else { Err(Problem::NeitherFrameNorText(first)) }
    }

    fn line(&mut self, ended: bool) -> Option<Piece> {
        let looked_at = &self.buffer[..self.buffer.len().min(LINE_BYTES_MAX)];
        let length = match looked_at.iter().position(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if ended || looked_at.len() == LINE_BYTES_MAX => looked_at.len(),
            None => return None,
        };
        let piece = Piece { at: self.at, what: What::Line(self.buffer.split_to(length).freeze()) };
        self.at += length as u64;
        Some(piece)
    }

    fn give_up(&mut self, problem: Problem) -> Piece {
        self.mode = Mode::Lost;
        let found = problem.at(self.at);
        self.unknown(Some(found))
    }

    fn unknown(&mut self, found: Option<Found>) -> Piece {
        let bytes = self.buffer.split().freeze();
        let piece = Piece { at: self.at, what: What::Unknown(bytes, found) };
        self.at += piece.size_bytes() as u64;
        piece
    }
}
