//! The bytes of a frame with a label for each range of them, as docs/PROTOCOL.md shows its examples.

use crate::batch::{
    BatchHeader, BatchProblem, Compression, HEADER_BYTES, HEADER_FIELDS, OwnedRecords, Record, batches,
};
use crate::defaults::{FRAME_PREFIX_BYTES, NESTING_MAX, UNPACKED_BATCH_BYTES_MAX};
use crate::envelope::walk::{Value, Walk};
use crate::frame::FrameError;
use bytes::Bytes;
use std::fmt::Write as _;
use std::ops::Range;

/// A range of bytes and what it is. The labels of a frame follow each other without gaps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// Which bytes of the frame, its length included.
    pub range: Range<usize>,
    /// How deep in the frame's structure it stands.
    pub depth: usize,
    /// What it is.
    pub text: String,
}

/// Bytes of hex in a line.
const LINE_BYTES: usize = 16;
/// How much of a text a label repeats, in characters.
const SHOWN_CHARS: usize = 48;

/// Labels every byte of `whole`, a frame with its length. What cannot be read has one label that says why.
#[must_use]
pub fn annotate(whole: &[u8]) -> Vec<Label> {
    let mut labels = Labels { all: Vec::new(), end: 0, base: 0 };
    let Some(prefix) = whole.first_chunk::<FRAME_PREFIX_BYTES>() else {
        labels.put(whole.len(), 0, "too few bytes for a length");
        return labels.all;
    };
    let (says, follow) = (u32::from_be_bytes(*prefix) as usize, whole.len() - FRAME_PREFIX_BYTES);
    let missing = if says == follow { String::new() } else { format!(", {follow} are here") };
    labels.put(FRAME_PREFIX_BYTES, 0, format!("{says} bytes follow{missing}"));
    labels.base = FRAME_PREFIX_BYTES;
    let frame = &whole[FRAME_PREFIX_BYTES..];
    if let Err(error) = annotate_envelope(frame, &mut labels) {
        labels.put(frame.len(), 0, format!("not decoded: {error}"));
    }
    labels.all
}

/// Labels as lines: 16 bytes in hex, then `#`, where in the stream they stand, and the label. [`crate::decode`]
/// reads such lines back.
#[must_use]
pub fn render(at: u64, whole: &[u8], labels: &[Label]) -> String {
    let mut out = String::with_capacity(whole.len() * 4 + labels.len() * 80);
    for label in labels {
        for (index, line) in whole[label.range.clone()].chunks(LINE_BYTES).enumerate() {
            let mut hex = String::with_capacity(LINE_BYTES * 3);
            for (place, byte) in line.iter().enumerate() {
                let _ = write!(hex, "{}{byte:02x}", if place == 0 { "" } else { " " });
            }
            if index == 0 {
                let at = at + label.range.start as u64;
                let indent = "  ".repeat(label.depth);
                let _ = writeln!(out, "{hex:<47}  # {at:>4}  {indent}{}", label.text);
            } else {
                let _ = writeln!(out, "{hex}");
            }
        }
    }
    out
}

struct Labels {
    all: Vec<Label>,
    /// Where the last label ends.
    end: usize,
    /// What is added to the places that are given.
    base: usize,
}

impl Labels {
    /// Labels everything from the last label to `end`; nothing if there is nothing.
    fn put(&mut self, end: usize, depth: usize, text: impl Into<String>) {
        let end = self.base + end;
        if end > self.end {
            self.all.push(Label { range: self.end..end, depth, text: text.into() });
            self.end = end;
        }
    }
}

fn annotate_envelope(frame: &[u8], labels: &mut Labels) -> Result<(), FrameError> {
    let mut walk = Walk::new(frame, 0);
    let count = walk.array("the array [version, id, kind, body(, bin)]")?;
    labels.put(walk.at(), 0, format!("array of {count}"));
    let version = walk.unsigned("the version")?;
    labels.put(walk.at(), 0, format!("version {version}"));
    let id = walk.unsigned("the id")?;
    labels.put(walk.at(), 0, format!("id {id}"));
    let kind = walk.text("the kind")?;
    labels.put(walk.at(), 0, format!("kind {}", quoted(kind.as_bytes())));
    let body_at = walk.at();
    let pairs = walk.map("the body, a map,")?;
    // Everything below is sound once this has passed.
    Walk::new(frame, body_at).skip(1)?;
    labels.put(walk.at(), 0, format!("body: map of {pairs}"));
    annotate_pairs(frame, &mut walk, pairs, labels)?;
    if count > 4 {
        let bin = walk.binary("the batches, a byte string,")?;
        let start = walk.at() - bin.len();
        labels.put(start, 0, format!("bin: {} bytes", bin.len()));
        annotate_batches(start, bin, labels);
    }
    match walk.left() {
        0 => Ok(()),
        left => Err(FrameError::Malformed { at: walk.at(), what: format!("{left} bytes too many") }),
    }
}

/// Labels `pairs` pairs of a checked map, each key with its value, or with its value's head.
fn annotate_pairs<'a>(
    frame: &'a [u8],
    walk: &mut Walk<'a>,
    pairs: u64,
    labels: &mut Labels,
) -> Result<(), FrameError> {
    let mut stack = [(0u64, true); NESTING_MAX + 1];
    let mut depth = 0;
    stack[0] = (pairs, true);
    loop {
        let (left, is_map) = &mut stack[depth];
        if *left == 0 {
            if depth == 0 {
                return Ok(());
            }
            depth -= 1;
            continue;
        }
        *left -= 1;
        let mut text = String::new();
        if *is_map {
            let at = walk.at();
            match walk.value()? {
                Value::Str(key) => {
                    let _ = write!(text, "{}: ", String::from_utf8_lossy(key).escape_debug());
                }
                Value::Array(_) | Value::Map(_) => {
                    *walk = Walk::new(frame, at);
                    walk.skip(0)?;
                    text.push_str("<container>: ");
                }
                other => {
                    let _ = write!(text, "{}: ", leaf(other));
                }
            }
        }
        match walk.value()? {
            Value::Array(count) => {
                let _ = write!(text, "array of {count}");
                labels.put(walk.at(), depth + 1, text);
                depth += 1;
                stack[depth] = (count, false);
            }
            Value::Map(pairs) => {
                let _ = write!(text, "map of {pairs}");
                labels.put(walk.at(), depth + 1, text);
                depth += 1;
                stack[depth] = (pairs, true);
            }
            value => {
                text.push_str(&leaf(value));
                labels.put(walk.at(), depth + 1, text);
            }
        }
    }
}

fn leaf(value: Value<'_>) -> String {
    match value {
        Value::Nil => "nil".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Signed(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Str(bytes) => quoted(bytes),
        Value::Bin(bytes) => format!("bytes {}", quoted(bytes)),
        Value::Extension(kind, bytes) => format!("extension {kind} of {} bytes", bytes.len()),
        Value::Array(count) => format!("array of {count}"),
        Value::Map(pairs) => format!("map of {pairs}"),
    }
}

/// The text in quotes, or how many bytes there are.
fn quoted(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().count() <= SHOWN_CHARS => format!("{text:?}"),
        Ok(text) => {
            let begin: String = text.chars().take(SHOWN_CHARS).collect();
            format!("{begin:?}.. ({} bytes)", bytes.len())
        }
        Err(_) => format!("({} bytes)", bytes.len()),
    }
}

/// Labels the batches that begin at `start` of the frame.
fn annotate_batches(start: usize, bin: &[u8], labels: &mut Labels) {
    let mut walk = batches(bin);
    let mut position = 0;
    while let Some(batch) = walk.next() {
        let at = start + position;
        match batch {
            Ok((header, batch)) => annotate_batch(at, &header, batch, labels),
            Err(error) => labels.put(start + bin.len(), 1, format!("not decoded: {}", error.problem)),
        }
        position = walk.position();
    }
}

fn annotate_batch(at: usize, header: &BatchHeader, batch: &[u8], labels: &mut Labels) {
    let opened = OwnedRecords::open(&Bytes::copy_from_slice(batch), UNPACKED_BATCH_BYTES_MAX);
    for field in HEADER_FIELDS {
        let bytes = &batch[field.at..field.at + field.size];
        let number = bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        let number = match field.name {
            "CRC-32C" => match &opened {
                Err(error) if matches!(error.problem, BatchProblem::Checksum { .. }) => {
                    format!("{number:#010x}, which is not that of the bytes")
                }
                _ => format!("{number:#010x}"),
            },
            "attributes" => format!("{number:#06x}, codec {}", header.compression()),
            _ if field.signed => {
                let unused = 64 - 8 * u32::try_from(field.size).unwrap_or(8);
                (number.cast_signed() << unused >> unused).to_string()
            }
            _ => number.to_string(),
        };
        let depth = if field.at == 0 { 1 } else { 2 };
        let head = if field.at == 0 { "batch: " } else { "" };
        labels.put(at + field.at + field.size, depth, format!("{head}{} {number}", field.name));
    }
    let end = at + batch.len();
    match opened {
        Ok(records) if records.header().compression() == Compression::None => {
            let mut walk = records.iter();
            while let Some(record) = walk.next() {
                match record {
                    Ok(record) => labels.put(end - walk.left_bytes(), 2, record_label(&record)),
                    Err(error) => labels.put(end, 2, format!("not decoded: {}", error.problem)),
                }
            }
        }
        Ok(_) => {
            let bytes = batch.len() - HEADER_BYTES;
            labels.put(
                end,
                2,
                format!("{} records in {bytes} bytes of {}", header.record_count, header.compression()),
            );
        }
        Err(error) => labels.put(end, 2, format!("records not opened: {}", error.problem)),
    }
}

fn record_label(record: &Record<'_>) -> String {
    let part = |bytes: Option<&[u8]>| bytes.map_or_else(|| "none".to_owned(), quoted);
    let mut text =
        format!("record: offset {}, key {}, value {}", record.offset, part(record.key), part(record.value));
    for (name, value) in record.headers {
        let _ = write!(text, ", header {} {}", quoted(name.as_bytes()), quoted(value));
    }
    text
}
