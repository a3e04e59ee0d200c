//! What was seen, as lines for people.

use super::Payload;
use super::events::{Ends, SHOWN_BYTES, timestamp};
use crate::text;
use std::fmt::Write as _;
use std::time::Duration;
use yak_protocol::batch::Record;
use yak_protocol::decode::{Direction, Event, Frame, OpenedBatch, Seen};
use yak_protocol::json;

/// How much of a key or a value is shown, in characters.
const SHOWN_CHARS: usize = 80;

/// The first line of an event: where, when, what.
pub(super) fn head(ends: Option<&Ends>, event: &Event, fault: Option<&str>) -> String {
    let mut line = String::new();
    if let Some(ends) = ends {
        let arrow = match event.direction {
            Direction::ToServer => "->",
            Direction::ToClient => "<-",
            Direction::Unknown => "--",
        };
        let _ = write!(line, "#{} {arrow} ", ends.connection);
    }
    if let Some(time) = event.time {
        let _ = write!(line, "{}  ", clock(time));
    }
    let _ = write!(line, "byte {}  ", event.at);
    match &event.seen {
        Seen::Frame(frame) => line.push_str(&frame_head(frame, event.latency)),
        Seen::Line(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let _ = write!(line, "text  {}", text.trim_end_matches(['\r', '\n']).escape_debug());
        }
        Seen::Unknown(bytes, _) => {
            let _ = write!(
                line,
                "{} not decoded: {}",
                text::count(bytes.len() as u64, "byte"),
                first_bytes(bytes)
            );
        }
    }
    if let Some(fault) = fault {
        let _ = write!(line, "  [{fault}]");
    }
    line
}

fn frame_head(frame: &Frame, latency: Option<Duration>) -> String {
    let length = frame.bytes.len();
    let mut line = format!("length {length} (0x{length:x})");
    if let Some((version, id, kind)) = &frame.head {
        let shape = frame.shape().map_or("", |shape| shape.name());
        let _ = write!(line, "  v{version}  {kind} {shape}  id {id}");
    }
    if let Some(latency) = latency {
        let _ = write!(line, "  after {}", milliseconds(latency));
    }
    line
}

/// The body as one line of JSON, if it is sound; nothing for an empty one.
pub(super) fn body(frame: &Frame) -> Option<String> {
    let envelope = frame.envelope.as_ref()?;
    let body = json::write_body(&envelope.body).ok().filter(|body| body != "{}");
    let bin =
        (!envelope.bin.is_empty()).then(|| format!("+ {}", text::count(envelope.bin.len() as u64, "byte")));
    let parts: Vec<_> = body.into_iter().chain(bin).collect();
    (!parts.is_empty()).then(|| parts.join("  "))
}

/// A batch and its records.
pub(in crate::commands) fn batch(batch: &OpenedBatch, payload: Payload) -> Vec<String> {
    let OpenedBatch { place, at, header, size_bytes, records, .. } = batch;
    let crc = if batch.crc_is_good { "ok" } else { "BAD" };
    let mut first = format!(
        "batch{}{place}  byte {at}  {}  {}  {}  crc {:08x} {crc}  base offset {}  leader epoch {}",
        if place.is_empty() { "" } else { " " },
        text::count(*size_bytes as u64, "byte"),
        text::count(u64::from(header.record_count), "record"),
        header.compression(),
        header.crc,
        header.base_offset,
        header.leader_epoch,
    );
    if header.producer_id.is_some() {
        let (id, epoch) = (header.producer_id.0, header.producer_epoch.0);
        let _ = write!(first, "  producer {id} epoch {epoch} sequence {}", header.base_sequence);
    }
    let records = records
        .iter()
        .flat_map(|records| records.iter().flatten().map(|each| record(&each, payload)).collect::<Vec<_>>());
    std::iter::once(first).chain(records.map(|line| format!("  {line}"))).collect()
}

fn record(record: &Record<'_>, payload: Payload) -> String {
    let quoted = |bytes: &[u8]| match payload {
        Payload::Shown => quoted(bytes),
        Payload::Masked => text::count(bytes.len() as u64, "byte"),
    };
    let time = jiff::Timestamp::from_millisecond(record.timestamp_ms)
        .map_or_else(|_| record.timestamp_ms.to_string(), |time| format!("{time:.3}"));
    let mut line = format!("{}  {time}", record.offset);
    for (name, bytes) in [("key", record.key), ("value", record.value)] {
        let shown = bytes.map_or_else(|| "none".to_owned(), &quoted);
        let _ = write!(line, "  {name} {shown}");
    }
    for (name, value) in record.headers {
        let _ = write!(line, "  {}={}", name.escape_debug(), quoted(value));
    }
    line
}

fn quoted(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().nth(SHOWN_CHARS).is_none() => format!("{text:?}"),
        Ok(text) => {
            let begin: String = text.chars().take(SHOWN_CHARS).collect();
            format!("{begin:?}.. ({} bytes)", bytes.len())
        }
        Err(_) => first_bytes(bytes),
    }
}

fn first_bytes(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN_BYTES { ".." } else { "" };
    format!("0x{}{more}", super::events::hex(bytes))
}

/// The local time of day, to the microsecond.
pub(super) fn clock(since: Duration) -> String {
    let zone = jiff::tz::TimeZone::system();
    timestamp(since).map(|time| time.to_zoned(zone).strftime("%H:%M:%S%.6f").to_string()).unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
