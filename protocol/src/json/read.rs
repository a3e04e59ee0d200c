//! From a line to a message: the body's MessagePack is written while the JSON is read, so that nothing
//! is kept twice and nothing recurses deeper than a body may nest.

use super::{BASE64, BIN, HEX, ID, KIND, VERSION};
use crate::defaults::{FRAME_VALUES_MAX, KIND_BYTES_MAX, NESTING_MAX, PROTOCOL_VERSION};
use crate::envelope::walk::{Value, Walk};
use crate::error::{ErrorCode, WireError};
use bytes::Bytes;
use data_encoding::{BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use rmp::Marker;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt::{self, Write as _};

/// A message that was written as JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JsonMessage {
    /// The protocol version; 1 if it is not said.
    pub version: u8,
    /// The id; 1 if it is not said.
    pub id: u64,
    /// What the message is: 1 to [`KIND_BYTES_MAX`] bytes.
    pub kind: String,
    /// The body: one MessagePack map, in the order of the line.
    pub body: Bytes,
    /// The byte string after the body; empty if absent.
    pub bin: Bytes,
}

/// How deep the message's own object stands in a frame: below the array of the envelope.
const BODY_DEPTH: usize = 2;
/// How much of a key is repeated in an error, in characters.
const SHOWN_KEY_CHARS: usize = 40;
/// The id of a message that says none.
const DEFAULT_ID: u64 = 1;

/// Reads one message. Blanks around it are fine; so are line breaks in it.
///
/// # Errors
/// `BAD_REQUEST` that names line, column and key: no JSON, no `kind`, nested too deeply, bytes that are no
/// base64, a value of the wrong type at top level. The body's keys are judged by who takes the message.
pub fn read_message(line: &[u8]) -> Result<JsonMessage, WireError> {
    let mut draft = Draft { out: Vec::with_capacity(line.len()), path: Vec::new(), values: 0 };
    let mut json = serde_json::Deserializer::from_slice(line);
    let message = json.deserialize_map(Top(&mut draft)).and_then(|message| json.end().map(|()| message));
    message.map_err(|error| {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let what = text.strip_suffix(&place).unwrap_or(&text);
        let key = if draft.path.is_empty() { String::new() } else { format!(", {}", Path(&draft.path)) };
        let (line, column) = (error.line(), error.column());
        let error = WireError::new(
            ErrorCode::BadRequest,
            format!("JSON at line {line} column {column}{key}: {what}"),
        );
        error.hint(r#"a message is an object with a kind and the keys of its body: {"kind":"metadata"}"#)
    })
}

/// The body while it grows, and where the reader is.
struct Draft {
    out: Vec<u8>,
    path: Vec<Step>,
    values: u64,
}

/// One step to the value that is being read. Taken back only when the value has been read, so that after
/// an error the path leads to it.
enum Step {
    Key(String),
    Index(u64),
}

struct Path<'a>(&'a [Step]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) => {
                    if at > 0 {
                        f.write_char('.')?;
                    }
                    key.chars().take(SHOWN_KEY_CHARS).try_for_each(|c| write!(f, "{}", c.escape_debug()))?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Draft {
    /// Puts the head of a container in front of what was written since `start`, where one byte was left
    /// free for it.
    fn close(&mut self, start: usize, count: u64, small: fn(u8) -> Marker, wide: [Marker; 2]) {
        let count = u32::try_from(count).expect("at most FRAME_VALUES_MAX values were read");
        match (u8::try_from(count), u16::try_from(count)) {
            (Ok(count), _) if count < 16 => self.out[start] = small(count).to_u8(),
            (_, Ok(count)) => {
                let [high, low] = count.to_be_bytes();
                self.out.splice(start..=start, [wide[0].to_u8(), high, low]);
            }
            _ => {
                let mut head = vec![wide[1].to_u8()];
                head.extend_from_slice(&count.to_be_bytes());
                self.out.splice(start..=start, head);
            }
        }
    }

    fn close_map(&mut self, start: usize, pairs: u64) {
        self.close(start, pairs, Marker::FixMap, [Marker::Map16, Marker::Map32]);
    }

    /// Turns the map with one pair that was written since `start` into the bytes that it stands for.
    fn close_bytes<E: Error>(&mut self, start: usize, value_at: usize, form: Form) -> Result<(), E> {
        let Ok(Value::Str(text)) = Walk::new(&self.out, value_at).value() else {
            self.close_map(start, 1);
            return Ok(());
        };
        let bytes = form.decode(text).map_err(E::custom)?;
        self.out.truncate(start);
        rmp::encode::write_bin(&mut self.out, &bytes).map_err(E::custom)
    }
}

/// How a byte string is written in JSON.
#[derive(Clone, Copy)]
enum Form {
    Base64,
    Hex,
}

impl Form {
    fn of(key: &str) -> Option<Self> {
        match key {
            BASE64 => Some(Self::Base64),
            HEX => Some(Self::Hex),
            _ => None,
        }
    }

    fn decode(self, text: &[u8]) -> Result<Vec<u8>, String> {
        let (decoded, name) = match self {
            Self::Base64 => {
                // With its padding or without.
                let padding = text.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
                (BASE64_NOPAD.decode(&text[..text.len() - padding]), "base64")
            }
            Self::Hex => (HEXLOWER_PERMISSIVE.decode(text), "hex"),
        };
        decoded.map_err(|error| format!("this is not {name}: {error}"))
    }
}

/// Reads the message's own object.
struct Top<'a>(&'a mut Draft);

impl<'de> Visitor<'de> for Top<'_> {
    type Value = JsonMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message, an object with the key `kind`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<JsonMessage, A::Error> {
        let Self(draft) = self;
        let (mut version, mut id, mut kind, mut bin) = (None, None, None, None);
        let mut pairs = 0;
        draft.out.push(0);
        while let Some(key) = entries.next_key::<String>()? {
            draft.path.push(Step::Key(key.clone()));
            match key.as_str() {
                KIND => once(&mut kind, entries.next_value::<String>()?)?,
                ID => once(&mut id, entries.next_value::<u64>()?)?,
                VERSION => once(&mut version, entries.next_value::<u8>()?)?,
                BIN => once(&mut bin, read_bin(draft, &mut entries)?)?,
                _ => {
                    put_str(draft, &key)?;
                    entries.next_value_seed(Tree { draft, depth: BODY_DEPTH + 1 })?;
                    pairs += 1;
                }
            }
            draft.path.pop();
        }
        draft.close_map(0, pairs);
        let kind = kind.ok_or_else(|| A::Error::custom("the message has no key `kind`"))?;
        if kind.is_empty() || kind.len() > KIND_BYTES_MAX {
            let what = format!("a kind of {} bytes; it has 1 to {KIND_BYTES_MAX}", kind.len());
            return Err(A::Error::custom(what));
        }
        Ok(JsonMessage {
            version: version.unwrap_or(PROTOCOL_VERSION),
            id: id.unwrap_or(DEFAULT_ID),
            kind,
            body: std::mem::take(&mut draft.out).into(),
            bin: bin.unwrap_or_default(),
        })
    }
}

fn once<T, E: Error>(place: &mut Option<T>, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("this key stands twice in the message")),
    }
}

/// The bytes after the body: a string, or one of the forms of a byte string.
fn read_bin<'de, A: MapAccess<'de>>(draft: &mut Draft, entries: &mut A) -> Result<Bytes, A::Error> {
    let start = draft.out.len();
    entries.next_value_seed(Tree { draft, depth: BODY_DEPTH + 1 })?;
    let bytes = match Walk::new(&draft.out, start).value() {
        Ok(Value::Str(bytes) | Value::Bin(bytes)) => Bytes::copy_from_slice(bytes),
        _ => return Err(A::Error::custom(r#"bytes are a string, {"b64": ".."} or {"hex": ".."}"#)),
    };
    draft.out.truncate(start);
    Ok(bytes)
}

fn put_str<E: Error>(draft: &mut Draft, text: &str) -> Result<(), E> {
    rmp::encode::write_str(&mut draft.out, text).map_err(E::custom)
}

/// Reads one value and everything in it, and appends it as MessagePack.
struct Tree<'a> {
    draft: &'a mut Draft,
    /// How deep a container would stand here.
    depth: usize,
}

impl Tree<'_> {
    fn enter<E: Error>(&self) -> Result<(), E> {
        if self.depth > NESTING_MAX {
            return Err(E::custom(format!("nested more than {NESTING_MAX} deep")));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.draft.values += 1;
        if self.draft.values > FRAME_VALUES_MAX {
            return Err(D::Error::custom(format!("more than {FRAME_VALUES_MAX} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.draft.out.push(Marker::Null.to_u8());
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.draft.out.push(if value { Marker::True } else { Marker::False }.to_u8());
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        rmp::encode::write_uint(&mut self.draft.out, value).map(|_| ()).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        rmp::encode::write_sint(&mut self.draft.out, value).map(|_| ()).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        rmp::encode::write_f64(&mut self.draft.out, value).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        put_str(self.draft, value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.enter()?;
        let Self { draft, depth } = self;
        let start = draft.out.len();
        draft.out.push(0);
        let mut count = 0;
        loop {
            draft.path.push(Step::Index(count));
            let item = items.next_element_seed(Tree { draft: &mut *draft, depth: depth + 1 })?;
            draft.path.pop();
            if item.is_none() {
                break;
            }
            count += 1;
        }
        draft.close(start, count, Marker::FixArray, [Marker::Array16, Marker::Array32]);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.enter()?;
        let Self { draft, depth } = self;
        let start = draft.out.len();
        draft.out.push(0);
        let mut pairs = 0;
        let mut bytes = None;
        while let Some(key) = entries.next_key::<String>()? {
            put_str(draft, &key)?;
            if pairs == 0 {
                bytes = Form::of(&key).map(|form| (draft.out.len(), form));
            }
            draft.path.push(Step::Key(key));
            entries.next_value_seed(Tree { draft: &mut *draft, depth: depth + 1 })?;
            draft.path.pop();
            pairs += 1;
        }
        match bytes {
            Some((value_at, form)) if pairs == 1 => draft.close_bytes(start, value_at, form),
            _ => {
                draft.close_map(start, pairs);
                Ok(())
            }
        }
    }
}
