//! From a frame to a line, without recursion: a stack of what is still to come at each depth.

use super::{BASE64, BIN, ID, KIND, VERSION};
use crate::defaults::{NESTING_MAX, PROTOCOL_VERSION};
use crate::envelope::decode_head;
use crate::envelope::walk::{Value, Walk};
use crate::frame::FrameError;
use std::fmt::Write as _;

/// What is shown of payload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Payload {
    Shown,
    /// Only how long it is.
    Masked,
}

/// The key of plain records: all strings below it are payload.
const RECORDS: &str = "records";

/// Writes a frame, without its length, as one line (no line break at its end): `id`, `kind`, `v` if it is
/// not 1, the body's keys in their order, and `bin` as base64. [`super::read_message`] reads it back.
///
/// Byte strings that are printable UTF-8 become strings, others `{"b64": ".."}`.
///
/// # Errors
/// [`FrameError::Malformed`]: the frame is none.
pub fn write_message(frame: &[u8]) -> Result<String, FrameError> {
    write(frame, Payload::Shown)
}

/// As [`write_message`], with `{"masked": bytes}` in the place of every string of a record and of `bin`:
/// what people sent stays private, what the system did with it is shown.
///
/// # Errors
/// As [`write_message`].
pub fn write_masked(frame: &[u8]) -> Result<String, FrameError> {
    write(frame, Payload::Masked)
}

/// Writes the body of a frame alone, an object.
///
/// # Errors
/// As [`write_message`].
pub fn write_body(body: &[u8]) -> Result<String, FrameError> {
    Walk::new(body, 0).skip(1)?;
    let mut out = String::with_capacity(2 * body.len());
    put_pairs(&mut out, body, Payload::Shown)?;
    // Each pair has a comma before it.
    out.replace_range(..out.len().min(1), "{");
    out.push('}');
    Ok(out)
}

fn write(frame: &[u8], payload: Payload) -> Result<String, FrameError> {
    let head = decode_head(frame)?;
    let (body, bin) = head.rest(frame)?;
    let bin = &frame[bin];
    let mut out = String::with_capacity(2 * body.len() + bin.len() + bin.len() / 2);
    let _ = write!(out, "{{\"{ID}\":{},\"{KIND}\":", head.id);
    put_text(&mut out, head.kind);
    if head.version != PROTOCOL_VERSION {
        let _ = write!(out, ",\"{VERSION}\":{}", head.version);
    }
    put_pairs(&mut out, &frame[body], payload)?;
    if !bin.is_empty() {
        let _ = write!(out, ",\"{BIN}\":");
        match payload {
            Payload::Shown => put_base64(&mut out, bin),
            Payload::Masked => put_masked(&mut out, bin),
        }
    }
    out.push('}');
    Ok(out)
}

/// A container that is being written.
#[derive(Clone, Copy)]
struct Open {
    /// How many values are still to come; keys count.
    left: u64,
    is_map: bool,
    /// Whether it stands below the key of records.
    in_records: bool,
}

/// Writes the pairs of a checked map, each with a comma before it.
fn put_pairs(out: &mut String, map: &[u8], payload: Payload) -> Result<(), FrameError> {
    let mut walk = Walk::new(map, 0);
    let pairs = walk.map("a map")?;
    // The envelope's array counts as one, so there is always room for one more.
    let mut stack = [Open { left: 0, is_map: true, in_records: false }; NESTING_MAX];
    let mut depth = 0;
    stack[0].left = 2 * pairs;
    let mut first = false;
    let mut below_records = false;
    loop {
        let open = &mut stack[depth];
        if open.left == 0 {
            if depth == 0 {
                return Ok(());
            }
            out.push(if open.is_map { '}' } else { ']' });
            depth -= 1;
            first = false;
            continue;
        }
        let is_key = open.is_map && open.left.is_multiple_of(2);
        open.left -= 1;
        if (is_key || !open.is_map) && !first {
            out.push(',');
        }
        first = false;
        let in_records = open.in_records || (below_records && open.is_map);
        let at = walk.at();
        let value = walk.value()?;
        if is_key {
            if let Value::Array(_) | Value::Map(_) = value {
                walk = Walk::new(map, at);
                walk.skip(0)?;
            }
            below_records = matches!(value, Value::Str(key) if key == RECORDS.as_bytes());
            put_key(out, value);
            out.push(':');
            continue;
        }
        let (left, is_map) = match value {
            Value::Array(count) => (count, false),
            Value::Map(pairs) => (2 * pairs, true),
            leaf => {
                match leaf {
                    Value::Str(bytes) | Value::Bin(bytes) if in_records && payload == Payload::Masked => {
                        put_masked(out, bytes);
                    }
                    leaf => put_leaf(out, leaf),
                }
                continue;
            }
        };
        out.push(if is_map { '{' } else { '[' });
        depth += 1;
        stack[depth] = Open { left, is_map, in_records };
        first = true;
    }
}

/// A key of a map. JSON knows only strings; any other value stands as its own JSON in one.
fn put_key(out: &mut String, key: Value<'_>) {
    match key {
        Value::Str(bytes) => put_text(out, &String::from_utf8_lossy(bytes)),
        Value::Array(_) | Value::Map(_) => out.push_str("\"<container>\""),
        other => {
            let mut text = String::new();
            put_leaf(&mut text, other);
            put_text(out, &text);
        }
    }
}

fn put_leaf(out: &mut String, value: Value<'_>) {
    let _ = match value {
        Value::Nil | Value::Array(_) | Value::Map(_) => out.write_str("null"),
        Value::Bool(value) => write!(out, "{value}"),
        Value::Unsigned(number) => write!(out, "{number}"),
        Value::Signed(number) => write!(out, "{number}"),
        // JSON has no NaN and no infinity.
        Value::Float(number) => out.write_str(&serde_json::json!(number).to_string()),
        Value::Str(bytes) => {
            match std::str::from_utf8(bytes) {
                Ok(text) => put_text(out, text),
                Err(_) => put_base64(out, bytes),
            }
            Ok(())
        }
        Value::Bin(bytes) => {
            match std::str::from_utf8(bytes) {
                Ok(text) if is_printable(text) => put_text(out, text),
                _ => put_base64(out, bytes),
            }
            Ok(())
        }
        Value::Extension(kind, bytes) => {
            let _ = write!(out, "{{\"ext\":{kind},\"{BASE64}\":\"");
            data_encoding::BASE64.encode_append(bytes, out);
            out.write_str("\"}")
        }
    };
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

fn put_text(out: &mut String, text: &str) {
    // A string can always be written as JSON.
    let json = serde_json::to_string(text).unwrap_or_default();
    // JSON lets some control characters stand that steer a terminal.
    for c in json.chars() {
        if c.is_control() {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
}

fn put_base64(out: &mut String, bytes: &[u8]) {
    let _ = write!(out, "{{\"{BASE64}\":\"");
    data_encoding::BASE64.encode_append(bytes, out);
    out.push_str("\"}");
}

fn put_masked(out: &mut String, bytes: &[u8]) {
    let _ = write!(out, "{{\"masked\":{}}}", bytes.len());
}
