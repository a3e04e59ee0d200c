//! The envelope: the one MessagePack value that a frame holds.
//!
//! ```text
//! [ version: uint, id: uint, kind: str, body: map (, bin: byte string) ]
//! ```
//!
//! The head (version, id, kind) is read by hand, so that a request of the wrong kind or role is refused
//! before anything looks into its body. Before serde sees a body, a walk without recursion has checked
//! that its nesting is at most [`crate::defaults::NESTING_MAX`] and that every count and length fits into the bytes that
//! are there. The batches of a frame are its last element, sliced out without a copy.

mod body;
mod encode;
pub(crate) mod walk;

pub use body::{body, outcome, refusal, says_ok};
pub(crate) use body::{has_key, unsigned_at};
pub use encode::{EncodeError, Encoded, encode, encode_packed, encode_reply};

use crate::defaults::KIND_BYTES_MAX;
use crate::frame::FrameError;
use crate::message;
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use walk::Walk;

/// The kind of a frame that answers something that could not even be read as a request.
pub const ERROR_KIND: &str = "error";

/// The name of a message kind. Costs no allocation for the kinds that this version knows.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Kind(Cow<'static, str>);

impl Kind {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match message::lookup(name) {
            Some((known, _)) => Self(Cow::Borrowed(known)),
            None => Self(Cow::Owned(name.to_owned())),
        }
    }
}

impl From<&'static str> for Kind {
    fn from(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl Deref for Kind {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Kind {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Kind {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a frame says before its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head<'a> {
    /// The protocol version of the sender.
    pub version: u8,
    /// Matches a reply to its request; 0 in frames that a server sends on its own.
    pub id: u64,
    /// What the message is.
    pub kind: &'a str,
    /// Whether a byte string follows the body.
    has_bin: bool,
    /// Where the body starts.
    body_at: usize,
}

/// A frame taken apart. `body` and `bin` are slices of the frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// The protocol version of the sender.
    pub version: u8,
    /// Matches a reply to its request.
    pub id: u64,
    /// What the message is.
    pub kind: Kind,
    /// The body: one well-formed MessagePack map.
    pub body: Bytes,
    /// Record batches or other bytes; empty if absent.
    pub bin: Bytes,
}

/// Reads version, id and kind, and nothing of the body.
///
/// # Errors
/// [`FrameError::Malformed`] that names the byte and what should have been there.
pub fn decode_head(frame: &[u8]) -> Result<Head<'_>, FrameError> {
    let mut walk = Walk::new(frame, 0);
    let count = walk.array("the array [version, id, kind, body(, bin)]")?;
    if !(4..=5).contains(&count) {
        let what = format!("an array of {count} where [version, id, kind, body(, bin)] should be");
        return Err(FrameError::Malformed { at: 0, what });
    }
    let at = walk.at();
    let version = walk.unsigned("the version")?;
    let version = u8::try_from(version)
        .map_err(|_| FrameError::Malformed { at, what: format!("the version {version} is above 255") })?;
    let id = walk.unsigned("the id")?;
    let at = walk.at();
    let kind = walk.text("the kind")?;
    if kind.is_empty() || kind.len() > KIND_BYTES_MAX {
        let what = format!("a kind of {} bytes; it has 1 to {KIND_BYTES_MAX}", kind.len());
        return Err(FrameError::Malformed { at, what });
    }
    Ok(Head { version, id, kind, has_bin: count == 5, body_at: walk.at() })
}

impl Head<'_> {
    /// Where the body begins, in bytes of the frame without its length.
    #[must_use]
    pub fn body_at(&self) -> usize {
        self.body_at
    }

    /// Where body and bin lie in the frame, after a check of everything that is left of it.
    ///
    /// # Errors
    /// [`FrameError::Malformed`]: the body is no map, nests too deeply, claims more than there is, or
    /// bytes are left over.
    pub(crate) fn rest(
        &self,
        frame: &[u8],
    ) -> Result<(std::ops::Range<usize>, std::ops::Range<usize>), FrameError> {
        Walk::new(frame, self.body_at).map("the body, a map,")?;
        let mut walk = Walk::new(frame, self.body_at);
        walk.skip(1)?;
        let body = self.body_at..walk.at();
        let bin = if self.has_bin {
            let length = walk.binary("the batches, a byte string,")?.len();
            walk.at() - length..walk.at()
        } else {
            walk.at()..walk.at()
        };
        match walk.left() {
            0 => Ok((body, bin)),
            left => Err(FrameError::Malformed { at: walk.at(), what: format!("{left} bytes too many") }),
        }
    }

    /// Takes the frame of this head apart. Nothing of it is copied.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] that names the byte and what should have been there.
    pub fn open(&self, frame: &Bytes) -> Result<Envelope, FrameError> {
        let (body, bin) = self.rest(frame)?;
        Ok(Envelope {
            version: self.version,
            id: self.id,
            kind: Kind::named(self.kind),
            body: frame.slice(body),
            bin: if bin.is_empty() { Bytes::new() } else { frame.slice(bin) },
        })
    }
}

/// Takes a frame apart. Nothing of it is copied.
///
/// # Errors
/// [`FrameError::Malformed`] that names the byte and what should have been there.
#[expect(clippy::needless_pass_by_value, reason = "a frame is taken apart once")]
pub fn decode(frame: Bytes) -> Result<Envelope, FrameError> {
    decode_head(&frame)?.open(&frame)
}
