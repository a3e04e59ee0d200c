//! What was seen, as objects with stable keys: one line of JSON each.

use super::Payload;
use serde::Serialize;
use serde_json::value::RawValue;
use std::net::SocketAddr;
use std::time::Duration;
use yak_protocol::batch::Record;
use yak_protocol::decode::{Direction, Event, Found, Frame, OpenedBatch, Seen};

/// How many unknown bytes are shown.
pub(super) const SHOWN_BYTES: usize = 64;

/// The connection on which something was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Its number, from 1.
    pub(super) connection: usize,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

/// One line.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    at: u64,
    #[serde(flatten)]
    seen: What<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Place>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Frame {
        length: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        shape: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        batches: Option<Vec<Batch>>,
    },
    Line {
        length: usize,
        text: String,
    },
    Unknown {
        unknown_bytes: usize,
        hex: String,
    },
}

/// What is wrong, and where in the stream.
#[derive(Serialize)]
struct Place {
    at: u64,
    what: String,
}

#[derive(Serialize)]
pub(in crate::commands) struct Batch {
    #[serde(skip_serializing_if = "String::is_empty")]
    place: String,
    at: u64,
    bytes: usize,
    codec: &'static str,
    crc: &'static str,
    base_offset: u64,
    leader_epoch: u32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    record_count: u32,
    records: Option<Vec<Shown>>,
}

#[derive(Serialize)]
struct Shown {
    offset: u64,
    timestamp_ms: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, Bytes)>,
}

/// Bytes as a string where they are one.
#[derive(Serialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Other { b64: String },
    Masked { masked: usize },
}

impl Bytes {
    fn of(bytes: &[u8], payload: Payload) -> Self {
        match std::str::from_utf8(bytes) {
            _ if payload == Payload::Masked => Self::Masked { masked: bytes.len() },
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Other { b64: data_encoding::BASE64.encode(bytes) },
        }
    }
}

/// Everything of an event that its line has.
pub(super) fn line<'a>(
    ends: Option<&Ends>,
    event: &'a Event,
    batches: Option<&[OpenedBatch]>,
    problems: &[Found],
    fault: Option<&'a str>,
) -> Line<'a> {
    Line {
        connection: ends.map(|ends| ends.connection),
        client: ends.map(|ends| ends.client),
        server: ends.map(|ends| ends.server),
        direction: direction(event.direction),
        time: event.time.map(time),
        at: event.at,
        seen: match &event.seen {
            Seen::Frame(frame) => what_of_frame(frame, batches),
            Seen::Line(bytes) => {
                What::Line { length: bytes.len(), text: String::from_utf8_lossy(bytes).into_owned() }
            }
            Seen::Unknown(bytes, _) => What::Unknown { unknown_bytes: bytes.len(), hex: hex(bytes) },
        },
        latency_ms: event.latency.map(|latency| latency.as_secs_f64() * 1000.0),
        fault,
        problems: problems
            .iter()
            .map(|found| Place { at: found.at, what: found.problem.to_string() })
            .collect(),
    }
}

fn what_of_frame<'a>(frame: &'a Frame, batches: Option<&[OpenedBatch]>) -> What<'a> {
    let head = frame.head.as_ref();
    What::Frame {
        length: frame.bytes.len(),
        version: head.map(|(version, ..)| *version),
        kind: head.map(|(.., kind)| kind.as_str()),
        id: head.map(|(_, id, _)| *id),
        shape: frame.shape().map(|shape| shape.name()),
        message: frame.json().and_then(|json| RawValue::from_string(json).ok()),
        batches: batches
            .filter(|batches| !batches.is_empty())
            .map(|all| all.iter().map(|each| batch(each, Payload::Shown)).collect()),
    }
}

/// A batch and its records.
pub(in crate::commands) fn batch(batch: &OpenedBatch, payload: Payload) -> Batch {
    let OpenedBatch { header, records, .. } = batch;
    Batch {
        place: batch.place.clone(),
        at: batch.at,
        bytes: batch.size_bytes,
        codec: header.compression().name(),
        crc: if batch.crc_is_good { "ok" } else { "bad" },
        base_offset: header.base_offset.0,
        leader_epoch: header.leader_epoch.0,
        producer_id: header.producer_id.0,
        producer_epoch: header.producer_epoch.0,
        base_sequence: header.base_sequence,
        record_count: header.record_count,
        records: records
            .as_ref()
            .map(|records| records.iter().flatten().map(|record| shown(&record, payload)).collect()),
    }
}

fn shown(record: &Record<'_>, payload: Payload) -> Shown {
    let bytes = |bytes| Bytes::of(bytes, payload);
    Shown {
        offset: record.offset.0,
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(bytes),
        value: record.value.map(bytes),
        headers: record.headers.map(|(name, value)| (name.to_owned(), bytes(value))).collect(),
    }
}

/// The first bytes as hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&bytes[..bytes.len().min(SHOWN_BYTES)])
}

pub(super) fn direction(direction: Direction) -> Option<&'static str> {
    match direction {
        Direction::ToServer => Some("to_server"),
        Direction::ToClient => Some("to_client"),
        Direction::Unknown => None,
    }
}

/// A point in time since 1970, RFC 3339 in UTC, to the microsecond.
fn time(since: Duration) -> String {
    timestamp(since).map(|time| format!("{time:.6}")).unwrap_or_default()
}

pub(super) fn timestamp(since: Duration) -> Option<jiff::Timestamp> {
    let nanos = i128::try_from(since.as_nanos()).ok()?;
    jiff::Timestamp::from_nanosecond(nanos).ok()
}
