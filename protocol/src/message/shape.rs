use super::{Message, Replicate, WithMessage, with_kind};
use crate::defaults::{NESTING_MAX, PROTOCOL_VERSION};
use crate::envelope::{self, ERROR_KIND, EncodeError, Encoded};
use crate::error::{ErrorCode, WireError};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Which of a kind's bodies a frame carries. The frame itself tells: every answer has the key `ok`, and
/// what a server sends on its own has the id 0. On a replication stream both sides may send that; there the
/// follower's frames are known by their keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Shape {
    /// The message.
    Request,
    /// Its reply, with `ok: true`.
    Reply,
    /// An error, with `ok: false`.
    Refusal,
    /// A reply's body that nobody asked for, without `ok`.
    Push,
}

/// The keys of a follower's frames, none of which a leader's have.
pub(crate) const FOLLOWER_KEYS: [&str; 5] = ["cluster_id", "broker_id", "open", "ack", "close"];

impl Shape {
    /// The shape of a checked body in a frame with this id and kind.
    #[must_use]
    pub fn of(id: u64, kind: &str, body: &[u8]) -> Self {
        match envelope::says_ok(body) {
            Some(true) => Self::Reply,
            Some(false) => Self::Refusal,
            None if id != 0 => Self::Request,
            None if kind == Replicate::KIND
                && FOLLOWER_KEYS.iter().any(|key| envelope::has_key(body, key)) =>
            {
                Self::Request
            }
            None => Self::Push,
        }
    }

    /// Its name, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
            Self::Refusal => "refusal",
            Self::Push => "push",
        }
    }
}

/// A body as its type has it.
pub struct Typed {
    /// The frame that the type writes: shortest forms, keys in the type's order, defaults as it leaves
    /// them out.
    pub frame: Result<Encoded, EncodeError>,
    /// The keys that this version does not know, as paths: `records.0.colour`.
    pub unknown_keys: Vec<String>,
}

/// Reads a checked body as the type that its kind and shape say, and writes it again.
///
/// # Errors
/// `UNKNOWN_KIND`, or `BAD_REQUEST` that names the key.
pub fn typed(id: u64, kind: &str, body: &[u8], bin: Bytes) -> Result<Typed, WireError> {
    let shape = Shape::of(id, kind, body);
    let bin = vec![bin];
    if shape == Shape::Refusal {
        let (error, unknown_keys) = read::<WireError>(body)?;
        return Ok(Typed { frame: envelope::encode_reply::<()>(id, kind, Err(&error), bin), unknown_keys });
    }
    let unknown = || WireError::new(ErrorCode::UnknownKind, format!("no message is called `{kind}`"));
    if kind == ERROR_KIND {
        return Err(unknown());
    }
    with_kind(kind, Read { shape, id, body, bin }).unwrap_or_else(|| Err(unknown()))
}

struct Read<'a> {
    shape: Shape,
    id: u64,
    body: &'a [u8],
    bin: Vec<Bytes>,
}

impl WithMessage for Read<'_> {
    type Output = Result<Typed, WireError>;

    fn with<M: Message>(self) -> Self::Output {
        let Self { shape, id, body, bin } = self;
        let (frame, unknown_keys) = match shape {
            Shape::Reply => {
                let (reply, unknown) = read::<M::Reply>(body)?;
                (envelope::encode_reply(id, M::KIND, Ok(&reply), bin), unknown)
            }
            Shape::Push => written::<M::Reply>(id, M::KIND, body, bin)?,
            Shape::Request | Shape::Refusal => written::<M>(id, M::KIND, body, bin)?,
        };
        Ok(Typed { frame, unknown_keys })
    }
}

type Written = (Result<Encoded, EncodeError>, Vec<String>);

fn written<T: Serialize + DeserializeOwned>(
    id: u64,
    kind: &str,
    body: &[u8],
    bin: Vec<Bytes>,
) -> Result<Written, WireError> {
    let (value, unknown) = read::<T>(body)?;
    Ok((envelope::encode(PROTOCOL_VERSION, id, kind, &value, bin), unknown))
}

/// A body, and the keys of it that its type does not have.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<(T, Vec<String>), WireError> {
    let mut unknown = Vec::new();
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(NESTING_MAX);
    let read = serde_ignored::deserialize(&mut deserializer, |path| {
        let path = path.to_string();
        // Beside the keys of every answer.
        if path != "ok" {
            unknown.push(path);
        }
    });
    match read {
        Ok(value) => Ok((value, unknown)),
        // Once more, for an error that names the key.
        Err(error) => Err(match envelope::body::<T>(body) {
            Err(named) => named,
            Ok(_) => WireError::bad_request(error.to_string()),
        }),
    }
}
