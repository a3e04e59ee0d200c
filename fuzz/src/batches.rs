use bytes::Bytes;
use yak_protocol::batch::{
    BatchBuilder, BatchHeader, Compression, HEADER_BYTES, OwnedRecords, RecordRef, Records, patch, restamp,
    validate_publish, verify,
};
use yak_protocol::ids::{LeaderEpoch, Offset};
use yak_protocol::message::Validate;

/// What a reader takes of a compressed batch.
const UNPACKED_BYTES_MAX: usize = 8 << 20;

/// Batches, one after the other: walked, verified, and opened with the checksum that their bytes have.
pub fn batches(data: &[u8]) {
    let mut walk = yak_protocol::batch::batches(data);
    let mut position = 0;
    while let Some(found) = walk.next() {
        match found {
            Ok((header, batch)) => {
                assert_eq!(&data[position..walk.position()], batch);
                assert_eq!(header.size_bytes(), batch.len());
                one(&header, batch);
            }
            Err(error) => assert_eq!(error.position, position),
        }
        position = walk.position();
    }
    let _ = BatchHeader::parse(data);
    assert!(position <= data.len());
}

fn one(header: &BatchHeader, batch: &[u8]) {
    let sound = verify(batch).is_ok();
    let mut batch = batch.to_vec();
    // Otherwise nothing would come past the checksum.
    restamp(&mut batch, header.producer_id, header.producer_epoch, header.base_sequence);
    assert!(!sound || verify(&batch).is_ok());
    let batch = Bytes::from(batch);
    let valid = validate_publish(&batch, Validate::Deep, u32::MAX).is_ok();
    let _ = validate_publish(&batch, Validate::Header, u32::MAX);
    let records = match Records::open(&batch, UNPACKED_BYTES_MAX) {
        Ok(records) => records,
        Err(_) => return,
    };
    assert_eq!(records.header().record_count, header.record_count);
    let owned = OwnedRecords::open(&batch, UNPACKED_BYTES_MAX).expect("as the borrowed one");
    assert_eq!(owned.iter().count(), records.iter().count());
    let read: Result<Vec<_>, _> = records.iter().collect();
    let Ok(read) = read else {
        assert!(!valid, "a batch that was let in can be read");
        return;
    };
    if valid {
        again(header, &read);
    }
    let mut stamped = batch.to_vec();
    patch(&mut stamped, Offset(7), LeaderEpoch(9));
    let found = verify(&stamped).expect("what a broker stamps is outside of the checksum");
    assert_eq!((found.base_offset, found.leader_epoch), (Offset(7), LeaderEpoch(9)));
    assert!(stamped.len() >= HEADER_BYTES);
}

/// The records of a valid batch make a batch with the same records.
fn again(header: &BatchHeader, read: &[yak_protocol::batch::Record<'_>]) {
    assert_eq!(read.len(), header.count() as usize);
    let mut builder = BatchBuilder::new(Compression::None);
    for record in read {
        let headers: Vec<_> = record.headers.collect();
        builder.push(&RecordRef {
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: &headers,
        });
    }
    let Ok(built) = builder.build() else { return };
    let mut built = built.to_vec();
    patch(&mut built, header.base_offset, header.leader_epoch);
    let records = Records::open(&built, usize::MAX).expect("a batch that was just built");
    for (record, expected) in records.iter().zip(read) {
        let record = record.expect("a record that was just written");
        assert_eq!((record.offset, record.timestamp_ms), (expected.offset, expected.timestamp_ms));
        assert_eq!((record.key, record.value), (expected.key, expected.value));
        assert!(record.headers.eq(expected.headers));
    }
}
