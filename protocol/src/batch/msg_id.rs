//! Message ids: a record names itself in a header, and a partition stores each name once within its window.

use super::error::{BatchError, BatchProblem};
use super::header::{BatchHeader, CHECKED_FROM, CODEC_BITS, HEADER_BYTES, LOG_APPEND_TIME, PREFIX_BYTES};
use super::record::{Record, Records};
use super::{Compression, verify};
use crate::defaults::{MSG_ID_BYTES_MAX, UNPACKED_BATCH_BYTES_MAX};
use bytes::Bytes;
use std::fmt;

/// The record header that holds the id.
pub const MSG_ID_HEADER: &str = "yak.msg_id";

/// An id as a partition remembers it: XXH3-128 of its bytes. It is derived again from the log at every recovery,
/// so the hash can never change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u128);

impl MessageId {
    /// The id with these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_128(bytes))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{:x}", self.0)
    }
}

/// A record that has an id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IdRecord {
    /// Its offset, from the batch's base offset on.
    pub index: u32,
    /// Its id.
    pub id: MessageId,
}

/// The id of a record, if it has one.
pub(super) fn id_of(header: &BatchHeader, record: &Record<'_>) -> Result<Option<IdRecord>, BatchProblem> {
    let mut headers = record.headers;
    let Some((_, id)) = headers.find(|(name, _)| *name == MSG_ID_HEADER) else { return Ok(None) };
    let distance = record.offset.distance_from(header.base_offset);
    let index = u32::try_from(distance).unwrap_or(u32::MAX);
    if id.is_empty() || id.len() > MSG_ID_BYTES_MAX {
        return Err(BatchProblem::Record { record: index, what: "its yak.msg_id has not 1 to 64 bytes" });
    }
    Ok(Some(IdRecord { index, id: MessageId::of(id) }))
}

/// The ids in a batch of the log. Verifies the batch.
///
/// # Errors
/// When it is no batch, or cannot be opened.
pub fn message_ids(batch: &[u8]) -> Result<Vec<IdRecord>, BatchError> {
    let records = Records::open(batch, UNPACKED_BATCH_BYTES_MAX)?;
    let mut found = Vec::new();
    for record in &records {
        found.extend(id_of(records.header(), &record?).map_err(BatchError::here)?);
    }
    Ok(found)
}

/// The batch as a leader appends one with ids: stamped with the time of the append, and without the records at
/// `dropped` (ascending offsets from the base offset on), which the log has already. It takes as many offsets and
/// sequence numbers as before; the offsets of what was dropped stay empty, as after compaction.
///
/// # Errors
/// When it is no batch, or cannot be opened.
pub fn with_append_time(batch: &[u8], time_ms: i64, dropped: &[u32]) -> Result<Bytes, BatchError> {
    let mut header = verify(batch)?;
    let mut bytes = if dropped.is_empty() {
        batch.to_vec()
    } else {
        let (rest, count) = without(header, batch, dropped)?;
        header.record_count = count;
        if count == 0 {
            header.attributes &= !CODEC_BITS;
        }
        rest
    };
    let too_large = BatchError::here(BatchProblem::TooLarge { limit: i32::MAX as usize });
    let length = i32::try_from(bytes.len() - PREFIX_BYTES).map_err(|_| too_large)?;
    header.batch_length = length.unsigned_abs();
    header.attributes |= LOG_APPEND_TIME;
    header.max_timestamp = time_ms;
    header.write(&mut bytes);
    header.crc = crc32c::crc32c(&bytes[CHECKED_FROM..]);
    header.write(&mut bytes);
    Ok(Bytes::from(bytes))
}

/// Room for the header, then the records that stay, and how many these are. What a record says of its offset and
/// its time is relative to the batch, so records are copied as they are.
fn without(header: BatchHeader, batch: &[u8], dropped: &[u32]) -> Result<(Vec<u8>, u32), BatchError> {
    let records = Records::open_verified(header, batch, UNPACKED_BATCH_BYTES_MAX)?;
    let (mut stay, mut count) = (Vec::with_capacity(records.size_bytes()), 0);
    let mut walk = records.iter();
    let mut left = walk.left_bytes();
    while let Some(record) = walk.next() {
        let distance = record?.offset.distance_from(header.base_offset);
        let raw = records.size_bytes() - left..records.size_bytes() - walk.left_bytes();
        left = walk.left_bytes();
        if !dropped.iter().any(|index| u64::from(*index) == distance) {
            stay.extend_from_slice(&records.bytes()[raw]);
            count += 1;
        }
    }
    let mut out = vec![0; HEADER_BYTES];
    match header.compression() {
        codec if codec == Compression::None || count == 0 => out.extend_from_slice(&stay),
        codec => codec
            .compress(&stay, &mut out)
            .map_err(|error| BatchError::here(BatchProblem::Compressed { codec, what: error.to_string() }))?,
    }
    Ok((out, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, RecordRef};
    use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    fn batch(codec: Compression, ids: &[Option<&str>]) -> Bytes {
        let mut builder = BatchBuilder::new(codec).producer(ProducerId(7), ProducerEpoch(1), 40);
        for (value, id) in ids.iter().enumerate() {
            let headers = id.map(|id| (MSG_ID_HEADER, id.as_bytes()));
            let value = value.to_string();
            builder.push(&RecordRef {
                timestamp_ms: 1000,
                key: None,
                value: Some(value.as_bytes()),
                headers: headers.as_slice(),
            });
        }
        builder.build().unwrap()
    }

    fn values(batch: &[u8]) -> Vec<(u64, i64, String)> {
        let records = Records::open(batch, 1 << 20).unwrap();
        let one = |record: Result<Record<'_>, _>| {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            (record.offset.0, record.timestamp_ms, value)
        };
        records.iter().map(one).collect()
    }

    #[test]
    fn ids_are_found_with_their_places() {
        for codec in Compression::ALL {
            let found = message_ids(&batch(codec, &[Some("a"), None, Some("b"), Some("a")])).unwrap();
            let ids: Vec<u32> = found.iter().map(|record| record.index).collect();
            assert_eq!(ids, [0, 2, 3]);
            assert_eq!(found[0].id, found[2].id);
            assert_ne!(found[0].id, found[1].id);
        }
    }

    #[test]
    fn the_hash_is_the_one_that_logs_were_written_with() {
        assert_eq!(MessageId::of(b"order-1").0, 0x5a8a_4096_13f9_0ad0_af63_a0f8_35ca_6746_u128);
    }

    #[test]
    fn an_id_has_1_to_64_bytes() {
        let long = "x".repeat(64);
        assert_eq!(message_ids(&batch(Compression::None, &[Some(&long)])).unwrap().len(), 1);
        let longer = "x".repeat(65);
        for id in ["", &longer] {
            let error = message_ids(&batch(Compression::None, &[Some("a"), Some(id)])).unwrap_err();
            assert!(error.to_string().contains("record 1"), "{error}");
        }
    }

    #[test]
    fn what_stays_keeps_its_place_and_gets_the_append_time() {
        for codec in Compression::ALL {
            let before = batch(codec, &[Some("a"), Some("b"), None, Some("c")]);
            let mut after = with_append_time(&before, 5000, &[0, 3]).unwrap().to_vec();
            crate::batch::patch(&mut after, Offset(100), LeaderEpoch(2));
            let header = verify(&after).unwrap();
            assert!(header.log_append_time());
            assert_eq!((header.count(), header.record_count), (4, 2));
            assert_eq!((header.producer_id, header.base_sequence), (ProducerId(7), 40));
            assert_eq!(header.compression(), codec);
            assert_eq!(values(&after), [(101, 5000, "1".to_owned()), (102, 5000, "2".to_owned())]);
            assert_eq!(message_ids(&after).unwrap()[0].index, 1);
        }
    }

    #[test]
    fn nothing_dropped_is_nothing_rewritten() {
        let before = batch(Compression::Zstd, &[Some("a"), None]);
        let after = with_append_time(&before, 5000, &[]).unwrap();
        assert_eq!(before[HEADER_BYTES..], after[HEADER_BYTES..]);
        assert_eq!(values(&after)[1], (1, 5000, "1".to_owned()));
    }

    #[test]
    fn a_batch_may_be_left_without_records() {
        for codec in Compression::ALL {
            let after = with_append_time(&batch(codec, &[Some("a"), Some("b")]), 5000, &[0, 1]).unwrap();
            let header = verify(&after).unwrap();
            assert_eq!((header.count(), header.record_count, after.len()), (2, 0, HEADER_BYTES));
            assert!(values(&after).is_empty());
        }
    }
}
