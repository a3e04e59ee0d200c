//! Bodies: from a checked MessagePack map to a message, with errors that name the key.

use super::walk::{Walk, name};
use crate::defaults::NESTING_MAX;
use crate::error::{ErrorCode, WireError};
use rmp::Marker;
use serde::de::DeserializeOwned;
use std::fmt::Write;

/// Reads a body that [`super::decode`] has checked.
///
/// # Errors
/// `BAD_REQUEST` that names the key: `batches[0][2]: invalid type: string "x", expected u32`.
pub fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(NESTING_MAX);
    T::deserialize(&mut deserializer).map_err(|error| {
        let message = match error {
            rmp_serde::decode::Error::TypeMismatch(found) => {
                format!("{} is the wrong type here", name(found))
            }
            other => other.to_string(),
        };
        let path = path_of_failure::<T>(bytes, &message);
        let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
        WireError::bad_request(format!("{place}{message}"))
    })
}

/// Reads the body of an answer: the reply, or the error if it says `ok: false`.
///
/// # Errors
/// The error in the answer, or `BAD_FRAME` if the answer cannot be read.
pub fn outcome<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, WireError> {
    if let Some(error) = refusal(bytes) {
        return Err(error);
    }
    body(bytes).map_err(|error| WireError::new(ErrorCode::BadFrame, format!("answer: {}", error.message)))
}

/// The error in the body of an answer; `None` if it does not say `ok: false`.
#[must_use]
pub fn refusal(bytes: &[u8]) -> Option<WireError> {
    match says_ok(bytes)? {
        false => Some(body(bytes).unwrap_or_else(|error| {
            WireError::new(ErrorCode::Internal, format!("an error that cannot be read: {}", error.message))
        })),
        true => None,
    }
}

/// What the key `ok` of a checked body says; `None` if the body is no answer.
#[must_use]
pub fn says_ok(bytes: &[u8]) -> Option<bool> {
    match find(bytes, "ok")? {
        Marker::True => Some(true),
        Marker::False => Some(false),
        _ => None,
    }
}

/// The unsigned number under `key` of a checked map.
pub(crate) fn unsigned_at(map: &[u8], key: &str) -> Option<u64> {
    walk_to(map, key)?.unsigned(key).ok()
}

/// Whether a checked map has this key.
pub(crate) fn has_key(map: &[u8], key: &str) -> bool {
    walk_to(map, key).is_some()
}

/// What the value under `key` of a checked map begins with.
fn find(map: &[u8], key: &str) -> Option<Marker> {
    walk_to(map, key)?.peek()
}

/// A walk that stands before the value under `key` of a checked map.
fn walk_to<'a>(map: &'a [u8], key: &str) -> Option<Walk<'a>> {
    let mut walk = Walk::new(map, 0);
    for _ in 0..walk.map("a map").ok()? {
        match walk.peek()? {
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                if walk.text("a key").ok()? == key {
                    return Some(walk);
                }
            }
            _ => walk.skip(0).ok()?,
        }
        walk.skip(0).ok()?;
    }
    None
}

/// Where in the body the decoding failed, as a path of keys and indexes.
///
/// Only failures pay for this: the body is decoded once more by a reader that knows how far it got, and
/// the path leads to the innermost value that it had entered by then.
fn path_of_failure<T: DeserializeOwned>(bytes: &[u8], message: &str) -> String {
    let mut deserializer = rmp_serde::Deserializer::new(std::io::Cursor::new(bytes));
    deserializer.set_max_depth(NESTING_MAX);
    if T::deserialize(&mut deserializer).is_ok() {
        return String::new();
    }
    let stop = usize::try_from(deserializer.position()).unwrap_or(usize::MAX);
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    path_to(bytes, stop, missing)
}

/// The path to the innermost value that holds the byte before `stop`; with `missing`, to the innermost
/// map among them that ends there and lacks this key.
fn path_to(bytes: &[u8], stop: usize, missing: Option<&str>) -> String {
    let mut path = String::new();
    let mut found = String::new();
    let mut at = 0;
    loop {
        let mut walk = Walk::new(bytes, at);
        match walk.peek() {
            Some(Marker::FixMap(_) | Marker::Map16 | Marker::Map32) => {
                if missing.is_some_and(|key| find(&bytes[at..], key).is_none()) {
                    found.clone_from(&path);
                }
                let Some((key, value_at)) = enter_map(&mut walk, stop) else { break };
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&key);
                at = value_at;
            }
            Some(Marker::FixArray(_) | Marker::Array16 | Marker::Array32) => {
                let Some((index, value_at)) = enter_array(&mut walk, stop) else { break };
                let _ = write!(path, "[{index}]");
                at = value_at;
            }
            _ => break,
        }
    }
    if missing.is_some() { found } else { path }
}

fn enter_map(walk: &mut Walk<'_>, stop: usize) -> Option<(String, usize)> {
    for _ in 0..walk.map("a map").ok()? {
        let key = match walk.peek()? {
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                walk.text("a key").ok()?.to_owned()
            }
            other => {
                walk.skip(0).ok()?;
                format!("<{}>", name(other))
            }
        };
        let value_at = walk.at();
        walk.skip(0).ok()?;
        if stop <= walk.at() {
            return (stop > value_at).then_some((key, value_at));
        }
    }
    None
}

fn enter_array(walk: &mut Walk<'_>, stop: usize) -> Option<(u64, usize)> {
    for index in 0..walk.array("an array").ok()? {
        let value_at = walk.at();
        walk.skip(0).ok()?;
        if stop <= walk.at() {
            return (stop > value_at).then_some((index, value_at));
        }
    }
    None
}
