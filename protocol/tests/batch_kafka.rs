//! Batches that kafka-python 3.0.12 wrote (`fixtures/kafka_python_*.hex`) are understood, and the
//! builder writes the very same bytes.

use yak_protocol::batch::{BatchBuilder, Compression, RecordRef, Records, validate_publish, verify};
use yak_protocol::ids::{ProducerEpoch, ProducerId};
use yak_protocol::message::Validate;

const FIXTURES: [(&str, &str); 5] = [
    ("none", include_str!("fixtures/kafka_python_none.hex")),
    ("gzip", include_str!("fixtures/kafka_python_gzip.hex")),
    ("snappy", include_str!("fixtures/kafka_python_snappy.hex")),
    ("lz4", include_str!("fixtures/kafka_python_lz4.hex")),
    ("zstd", include_str!("fixtures/kafka_python_zstd.hex")),
];

/// Timestamp, key, value, headers of each record in the fixtures.
type Expected<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>, &'a [(&'a str, &'a [u8])]);

fn with_expected(check: impl Fn(&[Expected<'_>])) {
    let long = b"yak".repeat(100);
    check(&[
        (1_700_000_000_000, Some(b"k1"), Some(b"hello"), &[]),
        (1_700_000_000_005, None, Some(b"world"), &[("trace", &[1, 2]), ("empty", &[])]),
        (1_699_999_999_999, Some(b"k3"), None, &[]),
        (1_700_000_000_300, Some(b""), Some(b""), &[]),
        (1_700_000_000_400, Some("schlüssel".as_bytes()), Some(&long), &[("h", b"v")]),
    ]);
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}

fn builder(compression: Compression) -> BatchBuilder {
    let builder = BatchBuilder::new(compression);
    // Only the uncompressed fixture was written with idempotence.
    if compression == Compression::None {
        return builder.producer(ProducerId(4242), ProducerEpoch(7), 99);
    }
    builder
}

fn build(compression: Compression, records: &[Expected<'_>]) -> Vec<u8> {
    let mut builder = builder(compression);
    for &(timestamp_ms, key, value, headers) in records {
        builder.push(&RecordRef { timestamp_ms, key, value, headers });
    }
    builder.build().expect("sound records").to_vec()
}

#[test]
fn kafkas_batches_are_understood() {
    with_expected(|expected| {
        for (name, hex) in FIXTURES {
            let batch = bytes_of(hex);
            let header = validate_publish(&batch, Validate::Deep, 1 << 20).expect(name);
            assert_eq!(header.compression().to_string(), name);
            assert_eq!(header.max_timestamp, 1_700_000_000_400);
            assert_eq!(header.base_timestamp, 1_700_000_000_000);
            let records = Records::open(&batch, 1 << 20).expect(name);
            let read: Vec<_> = records.iter().map(|record| record.expect(name)).collect();
            assert_eq!(read.len(), expected.len(), "{name}");
            for (record, &(timestamp_ms, key, value, headers)) in read.iter().zip(expected) {
                assert_eq!(record.timestamp_ms, timestamp_ms, "{name}");
                assert_eq!(record.key, key, "{name}");
                assert_eq!(record.value, value, "{name}");
                assert_eq!(record.headers.collect::<Vec<_>>(), headers, "{name}");
            }
        }
    });
}

#[test]
fn uncompressed_batches_are_the_same_bytes() {
    with_expected(|expected| {
        let built = build(Compression::None, expected);
        assert_eq!(built, bytes_of(FIXTURES[0].1));
        let header = verify(&built).expect("our own");
        assert_eq!(header.producer_id, ProducerId(4242));
        assert_eq!(header.producer_epoch, ProducerEpoch(7));
        assert_eq!(header.base_sequence, 99);
    });
}

#[test]
fn compressed_batches_differ_only_in_the_compressed_block() {
    with_expected(|expected| {
        for (name, hex) in &FIXTURES[1..] {
            let theirs = verify(&bytes_of(hex)).expect(name);
            let ours = verify(&build(name.parse().expect(name), expected)).expect(name);
            let same = yak_protocol::batch::BatchHeader {
                crc: theirs.crc,
                batch_length: theirs.batch_length,
                ..ours
            };
            assert_eq!(same, theirs, "{name}");
        }
    });
}
