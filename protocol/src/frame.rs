//! Frames: how messages are cut out of a byte stream.
//!
//! ```text
//! +----------------+------------------------------------------------------+
//! | u32 BE length  | one MessagePack value: [version, id, kind, body(, bin)] |
//! +----------------+------------------------------------------------------+
//! ```
//!
//! The length is at least 1 and at most [`FRAME_BYTES_CEILING`], so the first byte of a frame is 0x00 to
//! 0x07: that is what tells a frame from text, HTTP, TLS and the rest on the same port.

use crate::defaults::{FRAME_BYTES_CEILING, FRAME_PREFIX_BYTES};
use crate::error::{ErrorCode, WireError};
use bytes::{Buf, Bytes, BytesMut};

/// How much room is made at once for a frame of which little has arrived yet, in bytes.
pub const RESERVE_STEP_BYTES: usize = 64 << 10;

/// With less room than this, more is made before the next read, in bytes.
const READ_BYTES_LEAST: usize = 4 << 10;

/// Cuts frames out of a stream, and puts the length in front of them.
///
/// Never makes room for more than has arrived: the room for a frame grows with what is there of it (or
/// with the largest frame that this very connection has already delivered), whatever its length claims.
/// Frames are slices of the receive buffer; nothing is copied. After an error the codec is of no more
/// use: the place where the next frame starts is not known.
#[derive(Debug)]
pub struct FrameCodec {
    max_frame_bytes: u32,
    /// Where in the stream the next frame starts.
    position: u64,
    /// The largest frame that has arrived whole.
    largest: usize,
}

impl FrameCodec {
    /// A codec that takes frames of up to `max_frame_bytes`, and never above [`FRAME_BYTES_CEILING`].
    #[must_use]
    pub fn new(max_frame_bytes: u32) -> Self {
        Self { max_frame_bytes: max_frame_bytes.min(FRAME_BYTES_CEILING), position: 0, largest: 0 }
    }

    /// The next frame without its length, or `None` until more bytes are there.
    ///
    /// # Errors
    /// A length of zero or above the limit.
    pub fn next_frame(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(length) = self.peek_length(buffer)? else { return Ok(None) };
        let whole = FRAME_PREFIX_BYTES + length;
        if buffer.len() < whole {
            let missing = whole - buffer.len();
            let room = buffer.capacity() - buffer.len();
            if room < missing.min(READ_BYTES_LEAST) {
                let step = RESERVE_STEP_BYTES.max(self.largest);
                buffer.reserve(missing.min(step));
            }
            return Ok(None);
        }
        buffer.advance(FRAME_PREFIX_BYTES);
        let frame = buffer.split_to(length).freeze();
        self.position += whole as u64;
        self.largest = self.largest.max(length);
        if buffer.is_empty() && length > RESERVE_STEP_BYTES {
            // Otherwise an idle connection would keep the memory of its last large frame alive.
            *buffer = BytesMut::new();
        }
        Ok(Some(frame))
    }

    /// What is wrong with a stream that ended with `buffer` left over; `None` if it ended between frames.
    #[must_use]
    pub fn end(&self, buffer: &BytesMut) -> Option<FrameError> {
        if buffer.is_empty() {
            return None;
        }
        let want = match buffer.first_chunk::<FRAME_PREFIX_BYTES>() {
            Some(prefix) => FRAME_PREFIX_BYTES as u64 + u64::from(u32::from_be_bytes(*prefix)),
            None => FRAME_PREFIX_BYTES as u64,
        };
        Some(FrameError::CutShort { at: self.position, have: buffer.len() as u64, want })
    }

    fn peek_length(&self, buffer: &BytesMut) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = buffer.first_chunk::<FRAME_PREFIX_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes(*prefix);
        if length == 0 {
            return Err(FrameError::Empty { at: self.position });
        }
        if length > self.max_frame_bytes {
            return Err(FrameError::TooLong { at: self.position, length, max: self.max_frame_bytes });
        }
        Ok(Some(length as usize))
    }
}

#[cfg(feature = "net")]
impl tokio_util::codec::Decoder for FrameCodec {
    type Item = Bytes;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        self.next_frame(buffer)
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        match self.next_frame(buffer)? {
            Some(frame) => Ok(Some(frame)),
            None => self.end(buffer).map_or(Ok(None), Err),
        }
    }
}

#[cfg(feature = "net")]
impl tokio_util::codec::Encoder<Bytes> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Bytes, buffer: &mut BytesMut) -> Result<(), FrameError> {
        if frame.is_empty() {
            return Err(FrameError::Empty { at: 0 });
        }
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        if length > self.max_frame_bytes {
            return Err(FrameError::TooLong { at: 0, length, max: self.max_frame_bytes });
        }
        buffer.reserve(FRAME_PREFIX_BYTES + frame.len());
        buffer.extend_from_slice(&length.to_be_bytes());
        buffer.extend_from_slice(&frame);
        Ok(())
    }
}

/// What was wrong with a frame, and where.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is zero.
    #[error("frame at byte {at} of the connection: its length is 0, the least is 1")]
    Empty {
        /// Where the frame starts in the stream.
        at: u64,
    },
    /// The length is above the limit.
    #[error("frame at byte {at} of the connection: its length is {length} bytes, the most is {max}{}", spelled(*length))]
    TooLong {
        /// Where the frame starts in the stream.
        at: u64,
        /// What it claims, in bytes.
        length: u32,
        /// What is taken, in bytes.
        max: u32,
    },
    /// The stream ended within a frame.
    #[error("frame at byte {at} of the connection: the connection ended after {have} of {want} bytes")]
    CutShort {
        /// Where the frame starts in the stream.
        at: u64,
        /// How many bytes of it arrived, its length included.
        have: u64,
        /// How many it should have had (4 if not even its length arrived).
        want: u64,
    },
    /// The frame is not the value that it should be.
    #[error("byte {at} of the frame: {what}")]
    Malformed {
        /// Where in the frame, not counting its length.
        at: usize,
        /// What was found there and what should have been.
        what: String,
    },
    /// The stream broke.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Four letters where a length should be: the peer speaks something else.
fn spelled(length: u32) -> String {
    let bytes = length.to_be_bytes();
    if bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        return format!(" (its bytes read `{}`: the peer does not speak frames)", bytes.escape_ascii());
    }
    String::new()
}

impl FrameError {
    /// The error as it is answered before the connection closes.
    #[must_use]
    pub fn to_wire(&self) -> WireError {
        let code = match self {
            Self::TooLong { .. } => ErrorCode::FrameTooLarge,
            _ => ErrorCode::BadFrame,
        };
        WireError::new(code, self.to_string())
    }
}
