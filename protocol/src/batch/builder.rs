use super::error::{BatchError, BatchProblem};
use super::header::{BatchHeader, CHECKED_FROM, HEADER_BYTES, PREFIX_BYTES};
use super::{Compression, varint};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use bytes::Bytes;

/// A record to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordRef<'a> {
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` = a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers: name and value, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Builds one batch, record by record. Base offset and leader epoch are 0 until a broker stamps them.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    compression: Compression,
    producer: (ProducerId, ProducerEpoch, i32),
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
    /// A record could not be expressed; said by `build`.
    refused: Option<BatchProblem>,
}

/// The longest batch that its length field can express, in bytes.
const BATCH_BYTES_CEILING: usize = i32::MAX as usize;

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            producer: (ProducerId::NONE, ProducerEpoch(-1), -1),
            bytes: vec![0; HEADER_BYTES],
            count: 0,
            base_timestamp: 0,
            max_timestamp: i64::MIN,
            refused: None,
        }
    }

    /// Stamps it with a producer's id, epoch and the sequence number of its first record.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Appends a record. One that the format cannot express makes [`BatchBuilder::build`] fail.
    pub fn push(&mut self, record: &RecordRef<'_>) {
        if self.refused.is_some() {
            return;
        }
        if self.count == 0 {
            self.base_timestamp = record.timestamp_ms;
        }
        let Some(timestamp_delta) = record.timestamp_ms.checked_sub(self.base_timestamp) else {
            let what = "its timestamp is too far from the first record's";
            self.refused = Some(BatchProblem::Record { record: self.count, what });
            return;
        };
        let length = self.record_length(record, timestamp_delta);
        let framed = length.saturating_add(varint::size(length as i64));
        if self.bytes.len().saturating_add(framed) > BATCH_BYTES_CEILING {
            self.refused = Some(BatchProblem::TooLarge { limit: BATCH_BYTES_CEILING });
            return;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp_ms);
        let out = &mut self.bytes;
        out.reserve(framed);
        varint::put(out, length as i64);
        out.push(0);
        varint::put(out, timestamp_delta);
        varint::put(out, i64::from(self.count));
        put_sized(out, record.key);
        put_sized(out, record.value);
        varint::put(out, record.headers.len() as i64);
        for (name, value) in record.headers {
            put_sized(out, Some(name.as_bytes()));
            put_sized(out, Some(value));
        }
        self.count += 1;
    }

    /// How many records it holds.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Length of the batch without compression, in bytes.
    #[must_use]
    pub fn size_estimate(&self) -> usize {
        self.bytes.len()
    }

    /// Length of the batch without compression once `record` is in it, in bytes.
    #[must_use]
    pub fn size_with(&self, record: &RecordRef<'_>) -> usize {
        let base = if self.count == 0 { record.timestamp_ms } else { self.base_timestamp };
        let length = self.record_length(record, record.timestamp_ms.saturating_sub(base));
        self.bytes.len().saturating_add(length).saturating_add(varint::size(length as i64))
    }

    /// Length of the next record without its length field.
    fn record_length(&self, record: &RecordRef<'_>, timestamp_delta: i64) -> usize {
        let headers = record
            .headers
            .iter()
            .map(|(name, value)| size_sized(Some(name.as_bytes())).saturating_add(size_sized(Some(value))));
        let fixed = 1
            + varint::size(timestamp_delta)
            + varint::size(i64::from(self.count))
            + varint::size(record.headers.len() as i64);
        [fixed, size_sized(record.key), size_sized(record.value)]
            .into_iter()
            .chain(headers)
            .fold(0, usize::saturating_add)
    }

    /// The finished batch.
    ///
    /// # Errors
    /// Without records, beyond 2 GiB, and with timestamps further apart than 64 bits.
    pub fn build(self) -> Result<Bytes, BatchError> {
        if let Some(problem) = self.refused {
            return Err(BatchError::here(problem));
        }
        if self.count == 0 {
            return Err(BatchError::here(BatchProblem::Empty));
        }
        let mut bytes = match self.compression {
            Compression::None => self.bytes,
            codec => {
                let plain = &self.bytes[HEADER_BYTES..];
                let mut out = Vec::with_capacity(HEADER_BYTES + plain.len() / 2);
                out.resize(HEADER_BYTES, 0);
                codec.compress(plain, &mut out).map_err(|error| {
                    BatchError::here(BatchProblem::Compressed { codec, what: error.to_string() })
                })?;
                out
            }
        };
        let too_large = BatchError::here(BatchProblem::TooLarge { limit: BATCH_BYTES_CEILING });
        let length = i32::try_from(bytes.len() - PREFIX_BYTES).map_err(|_| too_large)?;
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let mut header = BatchHeader {
            base_offset: Offset::ZERO,
            batch_length: length.unsigned_abs(),
            leader_epoch: LeaderEpoch::ZERO,
            crc: 0,
            attributes: self.compression.bits(),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count: self.count,
        };
        header.write(&mut bytes);
        header.crc = crc32c::crc32c(&bytes[CHECKED_FROM..]);
        header.write(&mut bytes);
        Ok(Bytes::from(bytes))
    }
}

fn put_sized(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::put(out, -1),
    }
}

fn size_sized(bytes: Option<&[u8]>) -> usize {
    let bytes_len = bytes.map_or(0, <[u8]>::len);
    varint::size(bytes.map_or(-1, |bytes| bytes.len() as i64)).saturating_add(bytes_len)
}
