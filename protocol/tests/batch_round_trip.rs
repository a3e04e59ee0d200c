//! Whatever goes into a batch comes out of it, in every compression, and nothing else does.

use bytes::Bytes;
use proptest::prelude::*;
use yak_protocol::batch::{
    BatchBuilder, BatchProblem, Compression, RecordRef, Records, batches, patch, validate_publish, verify,
};
use yak_protocol::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use yak_protocol::message::Validate;

const LIMIT: usize = 8 << 20;

#[derive(Clone, Debug, PartialEq)]
struct Owned {
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

fn build(builder: BatchBuilder, records: &[Owned]) -> Bytes {
    let mut builder = builder;
    for record in records {
        let headers: Vec<_> = record.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        let record = RecordRef {
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        let expected = builder.size_with(&record);
        builder.push(&record);
        assert_eq!(builder.size_estimate(), expected);
    }
    builder.build().expect("records of moderate size")
}

fn read(batch: &[u8], base: u64) -> Vec<Owned> {
    let records = Records::open(batch, LIMIT).expect("a sound batch");
    let read: Vec<_> = records.iter().map(|record| record.expect("a sound record")).collect();
    for (index, record) in read.iter().enumerate() {
        assert_eq!(record.offset, Offset(base + index as u64));
        assert_eq!(record.headers.len(), record.headers.count());
    }
    read.iter()
        .map(|record| Owned {
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.map(|(n, v)| (n.to_owned(), v.to_vec())).collect(),
        })
        .collect()
}

fn bytes_max(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..max),
        (any::<u8>(), 0..max * 8).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

fn record() -> impl Strategy<Value = Owned> {
    let headers = proptest::collection::vec((".{0,12}", bytes_max(20)), 0..4);
    let timestamp = prop_oneof![0..2_000_000_000_000i64, -5i64..5, (i64::MIN / 2)..(i64::MAX / 2)];
    (timestamp, proptest::option::of(bytes_max(40)), proptest::option::of(bytes_max(300)), headers)
        .prop_map(|(timestamp_ms, key, value, headers)| Owned { timestamp_ms, key, value, headers })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trip(
        records in proptest::collection::vec(record(), 1..40),
        base in 0..(1u64 << 60),
        epoch: u32,
        sequence in proptest::option::of((0..i64::MAX, 0..i16::MAX, 0..i32::MAX)),
    ) {
        for compression in Compression::ALL {
            let mut builder = BatchBuilder::new(compression);
            if let Some((id, epoch, first)) = sequence {
                builder = builder.producer(ProducerId(id), ProducerEpoch(epoch), first);
            }
            let built = build(builder, &records);
            let checked = validate_publish(&built, Validate::Deep, 64 << 20).expect("a sound batch");
            let mut batch = built.to_vec();
            patch(&mut batch, Offset(base), LeaderEpoch(epoch));
            let header = verify(&batch).expect("patching does not touch what is checked");
            prop_assert_eq!(header.base_offset, Offset(base));
            prop_assert_eq!(header.leader_epoch, LeaderEpoch(epoch));
            prop_assert_eq!(header.crc, checked.crc);
            prop_assert_eq!(header.size_bytes(), batch.len());
            prop_assert_eq!(header.count() as usize, records.len());
            prop_assert_eq!(header.next_offset(), Offset(base + records.len() as u64));
            prop_assert_eq!(header.last_offset().next(), header.next_offset());
            prop_assert_eq!(header.compression(), compression);
            prop_assert_eq!(header.max_timestamp, records.iter().map(|r| r.timestamp_ms).max().unwrap());
            let (id, producer_epoch, first) = sequence.unwrap_or((-1, -1, -1));
            prop_assert_eq!(header.producer_id, ProducerId(id));
            prop_assert_eq!(header.producer_epoch, ProducerEpoch(producer_epoch));
            prop_assert_eq!(header.base_sequence, first);
            prop_assert_eq!(&read(&batch, base), &records);
        }
    }

    #[test]
    fn concatenated_batches_come_apart_again(
        groups in proptest::collection::vec((proptest::collection::vec(record(), 1..6), 0..5usize), 0..6),
        cut in 0..60usize,
    ) {
        let built: Vec<Bytes> = groups
            .iter()
            .map(|(records, codec)| build(BatchBuilder::new(Compression::ALL[*codec]), records))
            .collect();
        let whole = built.concat();
        let mut walk = batches(&whole);
        for expected in &built {
            let (header, batch) = walk.next().expect("another batch").expect("a sound one");
            prop_assert_eq!(batch, expected.as_ref());
            prop_assert_eq!(header.size_bytes(), batch.len());
        }
        prop_assert!(walk.next().is_none());
        prop_assert_eq!(walk.position(), whole.len());

        // With the end cut off, the last one is an error at its own position, and then it is over.
        if let Some(last) = built.last() {
            let start = whole.len() - last.len();
            let mut walk = batches(&whole[..whole.len() - 1 - cut]);
            let found = walk.by_ref().find_map(Result::err).expect("the last batch is cut off");
            prop_assert_eq!(found.position, start);
            let truncated = matches!(found.problem, BatchProblem::Truncated { .. });
            prop_assert!(truncated, "{}", found);
            prop_assert!(walk.next().is_none());
            prop_assert_eq!(walk.position(), start);
        }
    }
}
