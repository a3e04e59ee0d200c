//! Writing frames: the head and the body into one buffer, the batches beside it as they are.

use crate::defaults::{FRAME_BYTES_CEILING, FRAME_PREFIX_BYTES, PROTOCOL_VERSION};
use crate::error::WireError;
use bytes::Bytes;
use rmp::Marker;
use serde::Serialize;

/// A frame ready to be sent: its length, head and body in one buffer, then the bytes of its `bin` in the
/// pieces in which they were given, for a vectored write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    head: Vec<u8>,
    parts: Vec<Bytes>,
    size: usize,
}

impl Encoded {
    /// The whole frame's size in bytes, its length prefix included.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.size
    }

    /// How many pieces there are.
    #[must_use]
    pub fn pieces(&self) -> usize {
        1 + self.parts.len()
    }

    /// The pieces in order: head first. `None` past the end.
    #[must_use]
    pub fn piece(&self, index: usize) -> Option<&[u8]> {
        match index {
            0 => Some(&self.head),
            _ => self.parts.get(index - 1).map(|part| &part[..]),
        }
    }

    /// The frame in one buffer (a copy), its length prefix included.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut whole = Vec::with_capacity(self.size);
        whole.extend_from_slice(&self.head);
        self.parts.iter().for_each(|part| whole.extend_from_slice(part));
        whole.into()
    }
}

/// Why a frame could not be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// The frame would be longer than any listener may take.
    #[error("the frame would have {0} bytes, the most is {FRAME_BYTES_CEILING}")]
    TooLong(usize),
    /// The body is not a map of encodable values.
    #[error("the body cannot be written as MessagePack: {0}")]
    Body(String),
}

/// Room for a usual head and body, in bytes, so that most frames cost one allocation.
const HEAD_BYTES_USUAL: usize = 256;

/// Writes a frame. The bytes of `bin` are not copied; without any the frame has no fifth element.
///
/// # Errors
/// A body that is no map, or more bytes than [`FRAME_BYTES_CEILING`].
pub fn encode<B: Serialize + ?Sized>(
    version: u8,
    id: u64,
    kind: &str,
    body: &B,
    bin: Vec<Bytes>,
) -> Result<Encoded, EncodeError> {
    let mut draft = Draft::begin(version, id, kind, bin);
    let start = draft.head.len();
    draft.body(body)?;
    draft.check_map(start)?;
    draft.finish()
}

/// Writes a frame whose body is MessagePack already, a map; `bin` as in [`encode`].
///
/// # Errors
/// As [`encode`].
pub fn encode_packed(
    version: u8,
    id: u64,
    kind: &str,
    body: &[u8],
    bin: Vec<Bytes>,
) -> Result<Encoded, EncodeError> {
    let mut draft = Draft::begin(version, id, kind, bin);
    let start = draft.head.len();
    draft.head.extend_from_slice(body);
    draft.check_map(start)?;
    draft.finish()
}

/// Writes the answer to the request `id` of this `kind`: the reply with `ok: true`, or the error with
/// `ok: false`.
///
/// # Errors
/// As [`encode`].
pub fn encode_reply<R: Serialize + ?Sized>(
    id: u64,
    kind: &str,
    outcome: Result<&R, &WireError>,
    bin: Vec<Bytes>,
) -> Result<Encoded, EncodeError> {
    let mut draft = Draft::begin(PROTOCOL_VERSION, id, kind, bin);
    match outcome {
        Ok(reply) => draft.body_with_ok(reply, true)?,
        Err(error) => draft.body_with_ok(error, false)?,
    }
    draft.finish()
}

struct Draft {
    head: Vec<u8>,
    parts: Vec<Bytes>,
    bin_bytes: usize,
}

impl Draft {
    fn begin(version: u8, id: u64, kind: &str, mut parts: Vec<Bytes>) -> Self {
        parts.retain(|part| !part.is_empty());
        let bin_bytes = parts.iter().map(Bytes::len).sum();
        let mut head = Vec::with_capacity(HEAD_BYTES_USUAL);
        head.extend_from_slice(&[0; FRAME_PREFIX_BYTES]);
        head.push(Marker::FixArray(if parts.is_empty() { 4 } else { 5 }).to_u8());
        // Writing to a Vec cannot fail.
        let _ = rmp::encode::write_uint(&mut head, u64::from(version));
        let _ = rmp::encode::write_uint(&mut head, id);
        let _ = rmp::encode::write_str(&mut head, kind);
        Self { head, parts, bin_bytes }
    }

    fn body<B: Serialize + ?Sized>(&mut self, body: &B) -> Result<(), EncodeError> {
        let mut serializer = rmp_serde::Serializer::new(&mut self.head).with_struct_map();
        body.serialize(&mut serializer).map_err(|error| EncodeError::Body(error.to_string()))
    }

    fn check_map(&self, start: usize) -> Result<(), EncodeError> {
        match self.head.get(start).map(|byte| Marker::from_u8(*byte)) {
            Some(Marker::FixMap(_) | Marker::Map16 | Marker::Map32) => Ok(()),
            _ => Err(EncodeError::Body("it is not a map".to_owned())),
        }
    }

    /// The body with the pair `ok` put in front of its own.
    ///
    /// The pair's four bytes are left free before the body; then the map's marker moves to the front of
    /// them with its count raised by one, so that nothing after it has to move.
    fn body_with_ok<B: Serialize + ?Sized>(&mut self, body: &B, ok: bool) -> Result<(), EncodeError> {
        let pair = [0xa2, b'o', b'k', if ok { Marker::True.to_u8() } else { Marker::False.to_u8() }];
        let start = self.head.len();
        let old = start + pair.len();
        self.head.extend_from_slice(&pair);
        self.body(body)?;
        self.check_map(old)?;
        match Marker::from_u8(self.head[old]) {
            Marker::FixMap(count) if count < 15 => {
                self.head[start] = Marker::FixMap(count + 1).to_u8();
                self.head[start + 1..=old].copy_from_slice(&pair);
            }
            Marker::FixMap(count) => {
                let front = [&[Marker::Map16.to_u8(), 0, count + 1], &pair[..]].concat();
                self.head.splice(start..=old, front);
            }
            Marker::Map16 => {
                let count = u16::from_be_bytes([self.head[old + 1], self.head[old + 2]]);
                let raised =
                    count.checked_add(1).ok_or_else(|| EncodeError::Body("too many keys".to_owned()))?;
                self.head[start] = Marker::Map16.to_u8();
                self.head[start + 1..start + 3].copy_from_slice(&raised.to_be_bytes());
                self.head[start + 3..start + 7].copy_from_slice(&pair);
            }
            _ => return Err(EncodeError::Body("too many keys".to_owned())),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Encoded, EncodeError> {
        if self.bin_bytes > 0 {
            let length = u32::try_from(self.bin_bytes).map_err(|_| EncodeError::TooLong(self.bin_bytes))?;
            let _ = rmp::encode::write_bin_len(&mut self.head, length);
        }
        let size = self.head.len() + self.bin_bytes;
        let length = size - FRAME_PREFIX_BYTES;
        match u32::try_from(length) {
            Ok(length) if length <= FRAME_BYTES_CEILING => {
                self.head[..FRAME_PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
            }
            _ => return Err(EncodeError::TooLong(length)),
        }
        Ok(Encoded { head: self.head, parts: self.parts, size })
    }
}
