//! Batches of text values, and the book of what was acknowledged.

use bytes::Bytes;
use std::collections::BTreeMap;
use yak_protocol::batch::{self, BatchBuilder, Compression, RecordRef, Records};
use yak_protocol::ids::{Offset, ProducerEpoch, ProducerId};
use yak_protocol::message::Acked;

/// A batch of these values.
pub fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.push(&RecordRef { timestamp_ms: 1, key: None, value: Some(value.as_bytes()), headers: &[] });
    }
    builder.build().expect("a batch")
}

/// A batch of one value with a producer's stamp.
pub fn stamped(producer: ProducerId, sequence: i32, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None).producer(producer, ProducerEpoch(0), sequence);
    builder.push(&RecordRef { timestamp_ms: 1, key: None, value: Some(value.as_bytes()), headers: &[] });
    builder.build().expect("a batch")
}

/// The values in concatenated batches, each with its offset. Checks every checksum.
pub fn values_of(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut values = Vec::new();
    for found in batch::batches(bytes) {
        let (_, batch) = found.expect("whole batches");
        batch::verify(batch).expect("the checksum fits");
        let records = Records::open(batch, 1 << 20).expect("they open");
        for record in &records {
            let record = record.expect("a record");
            let value = String::from_utf8(record.value.expect("a value").to_vec()).expect("text");
            values.push((record.offset.0, value));
        }
    }
    values
}

/// The offset after the last of concatenated batches; `None` without any.
pub fn end_of(bytes: &[u8]) -> Option<u64> {
    let last = batch::batches(bytes).last()?;
    Some(last.expect("whole batches").0.next_offset().0)
}

/// What was acknowledged: value by offset.
#[derive(Default)]
pub struct Kept(BTreeMap<u64, String>);

impl Kept {
    pub fn add(&mut self, acked: &Acked, values: &[&str]) {
        for (at, value) in (acked.offset.expect("a new batch").0..).zip(values) {
            let before = self.0.insert(at, (*value).to_owned());
            assert_eq!(before, None, "two acknowledged records at offset {at}");
        }
    }

    pub fn next(&self) -> Offset {
        Offset(self.0.last_key_value().map_or(0, |(last, _)| last + 1))
    }

    /// Every acknowledged record is there, at its offset.
    pub fn check(&self, read: &[(u64, String)]) {
        let read: BTreeMap<_, _> = read.iter().cloned().collect();
        for (offset, value) in &self.0 {
            assert_eq!(read.get(offset), Some(value), "the acknowledged record at offset {offset}");
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}
