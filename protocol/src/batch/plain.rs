//! Between ready batches and the plain records of hand-written clients.

use super::{BatchBuilder, BatchError, Compression, MSG_ID_HEADER, RecordRef, Records, batches};
use crate::ids::Offset;
use crate::message::PlainRecord;
use bytes::Bytes;
use serde_bytes::ByteBuf;

/// One batch of plain records. Those without a timestamp get `now_ms`; offsets are ignored.
///
/// # Errors
/// As [`BatchBuilder::build`].
pub fn build_plain<'a>(
    records: impl IntoIterator<Item = &'a PlainRecord>,
    now_ms: i64,
    compression: Compression,
) -> Result<Bytes, BatchError> {
    let mut builder = BatchBuilder::new(compression);
    for record in records {
        let id = record.msg_id.as_ref().map(|id| (MSG_ID_HEADER, id.as_slice()));
        let headers: Vec<(&str, &[u8])> =
            id.into_iter().chain(record.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice()))).collect();
        builder.push(&RecordRef {
            timestamp_ms: record.timestamp_ms.unwrap_or(now_ms),
            key: record.key.as_ref().map(|key| key.as_slice()),
            value: record.value.as_ref().map(|value| value.as_slice()),
            headers: &headers,
        });
    }
    builder.build()
}

/// The records of concatenated batches from `from` on, up to and without `below`, as plain maps.
/// Control batches hold none.
///
/// # Errors
/// On the first batch that is damaged or opens to more than `limit_bytes`, naming where it starts.
pub fn plain_records(
    bytes: &[u8],
    from: Offset,
    below: Offset,
    limit_bytes: usize,
) -> Result<Vec<PlainRecord>, BatchError> {
    let mut found = Vec::new();
    let mut walk = batches(bytes);
    let mut position = walk.position();
    while let Some(batch) = walk.next() {
        let (header, batch) = batch?;
        if !header.control() {
            let records = Records::open(batch, limit_bytes).map_err(|error| error.at(position))?;
            for record in &records {
                let record = record.map_err(|error| error.at(position))?;
                if record.offset >= from && record.offset < below {
                    found.push(to_plain(&record));
                }
            }
        }
        position = walk.position();
    }
    Ok(found)
}

fn to_plain(record: &super::Record<'_>) -> PlainRecord {
    PlainRecord {
        key: record.key.map(ByteBuf::from),
        value: record.value.map(ByteBuf::from),
        headers: record.headers.map(|(name, value)| (name.to_owned(), ByteBuf::from(value))).collect(),
        timestamp_ms: Some(record.timestamp_ms),
        offset: Some(record.offset),
        // It is among the headers.
        msg_id: None,
    }
}
