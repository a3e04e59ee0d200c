//! Batches that are kept: stamped anew before they are sent again, and read without a copy.

use bytes::Bytes;
use yak_protocol::batch::{BatchBuilder, Compression, OwnedRecords, RecordRef, restamp, verify};
use yak_protocol::ids::{ProducerEpoch, ProducerId};

fn batch(compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(compression).producer(ProducerId(7), ProducerEpoch(0), 40);
    for value in [b"one".as_slice(), b"two"] {
        builder.push(&RecordRef { timestamp_ms: 5, key: None, value: Some(value), headers: &[] });
    }
    builder.build().expect("it has records")
}

#[test]
fn a_new_producer_stamp_leaves_a_whole_batch_with_the_same_records() {
    for compression in Compression::ALL {
        let mut bytes = batch(compression).to_vec();
        restamp(&mut bytes, ProducerId(7), ProducerEpoch(1), 0);
        let header = verify(&bytes).expect("the checksum fits");
        assert_eq!((header.producer_epoch, header.base_sequence), (ProducerEpoch(1), 0));
        let records = OwnedRecords::open(&Bytes::from(bytes), 1 << 20).expect("it opens");
        let values: Vec<_> =
            records.iter().map(|record| record.expect("whole").value.expect("set").to_vec()).collect();
        assert_eq!(values, [b"one", b"two"]);
    }
}

#[test]
fn uncompressed_records_are_read_where_they_lie() {
    let bytes = batch(Compression::None);
    let records = OwnedRecords::open(&bytes, 1 << 20).expect("it opens");
    let value = records.iter().next().expect("a record").expect("whole").value.expect("set");
    assert!(bytes.as_ptr_range().contains(&value.as_ptr()));
}
