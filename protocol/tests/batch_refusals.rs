//! What is not a sound batch is refused with a clear error: never a panic, never a wrong record.

use proptest::prelude::*;
use std::io::Write;
use yak_protocol::batch::{
    BatchBuilder, BatchError, BatchProblem, Compression, HEADER_BYTES, RecordRef, Records, batches,
    build_plain, plain_records, validate_publish, verify,
};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{Offset, ProducerEpoch, ProducerId};
use yak_protocol::message::{PlainRecord, Validate};

const LIMIT: usize = 1 << 20;
const BYTES_MAX: u32 = 1 << 20;

fn sample(compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(compression).producer(ProducerId(7), ProducerEpoch(1), 3);
    for index in 0..4i64 {
        let value = vec![b'a' + u8::try_from(index).expect("small"); 40];
        builder.push(&RecordRef {
            timestamp_ms: 1_700_000_000_000 + index,
            key: (index % 2 == 0).then_some(b"key"),
            value: Some(&value),
            headers: &[("h", b"1"), ("i", b"")],
        });
    }
    builder.build().expect("sound records").to_vec()
}

/// Makes length and checksum fit again, so that only what lies behind them is wrong.
fn seal(batch: &mut [u8]) {
    let length = u32::try_from(batch.len() - 12).expect("small");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn edited(compression: Compression, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut batch = sample(compression);
    edit(&mut batch);
    seal(&mut batch);
    batch
}

/// The sample's header in front of another block.
fn with_block(compression: Compression, block: &[u8]) -> Vec<u8> {
    edited(compression, |batch| {
        batch.truncate(HEADER_BYTES);
        batch.extend_from_slice(block);
    })
}

fn publish(batch: &[u8]) -> WireError {
    validate_publish(batch, Validate::Deep, BYTES_MAX).expect_err("must be refused")
}

fn read(batch: &[u8], limit: usize) -> Result<usize, BatchError> {
    let records = Records::open(batch, limit)?;
    records.iter().try_fold(0, |count, record| record.map(|_| count + 1))
}

fn problem(batch: &[u8]) -> BatchProblem {
    read(batch, LIMIT).expect_err("must be refused").problem
}

#[test]
fn every_truncation_is_refused() {
    for compression in Compression::ALL {
        let batch = sample(compression);
        for end in 0..batch.len() {
            let cut = &batch[..end];
            let problem = verify(cut).expect_err("cut off").problem;
            assert!(matches!(problem, BatchProblem::Truncated { found, .. } if found == end), "{problem}");
            assert_eq!(publish(cut).code, ErrorCode::BadBatch);
            assert!(read(cut, LIMIT).is_err());
            assert_eq!(batches(cut).filter(Result::is_err).count(), usize::from(end > 0));
        }
        let mut longer = batch.clone();
        longer.push(0);
        assert_eq!(verify(&longer).expect_err("too long").problem, BatchProblem::Trailing(1));
        assert_eq!(publish(&longer).code, ErrorCode::BadBatch);
    }
}

#[test]
fn every_truncation_of_the_records_is_refused() {
    for compression in Compression::ALL {
        let batch = sample(compression);
        for end in HEADER_BYTES..batch.len() {
            let cut = with_block(compression, &batch[HEADER_BYTES..end]);
            verify(&cut).expect("sound on the outside");
            assert_eq!(publish(&cut).code, ErrorCode::BadBatch, "{compression} {end}");
            assert!(read(&cut, LIMIT).is_err(), "{compression} {end}");
        }
        let longer = with_block(compression, &[&batch[HEADER_BYTES..], b"\0"].concat());
        assert_eq!(publish(&longer).code, ErrorCode::BadBatch, "{compression}");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    for compression in Compression::ALL {
        let batch = sample(compression);
        // Base offset and leader epoch are a broker's to assign, and outside of the checksum.
        for byte in (8..12).chain(16..batch.len()) {
            for bit in 0..8 {
                let mut flipped = batch.clone();
                flipped[byte] ^= 1 << bit;
                assert!(verify(&flipped).is_err(), "{compression}: bit {bit} of byte {byte}");
            }
        }
    }
}

#[test]
fn headers_that_cannot_be() {
    type Check = fn(&BatchProblem) -> bool;
    let cases: [(&str, usize, &[u8], Check); 9] = [
        ("negative length", 8, &[0xff; 4], |p| matches!(p, BatchProblem::Length(-1))),
        ("length below a header", 8, &[0, 0, 0, 48], |p| matches!(p, BatchProblem::Length(48))),
        ("zero length", 8, &[0; 4], |p| matches!(p, BatchProblem::Length(0))),
        ("magic 1", 16, &[1], |p| matches!(p, BatchProblem::Magic(1))),
        ("codec 5", 22, &[5], |p| matches!(p, BatchProblem::Codec(5))),
        ("codec 7", 22, &[7], |p| matches!(p, BatchProblem::Codec(7))),
        ("negative last offset", 23, &[0xff; 4], |p| matches!(p, BatchProblem::Counts { .. })),
        ("negative count", 57, &[0xff; 4], |p| matches!(p, BatchProblem::Counts { .. })),
        ("huge base offset", 0, &[0x7f, 255, 255, 255, 255, 255, 255, 255], |p| {
            matches!(p, BatchProblem::BaseOffset(_))
        }),
    ];
    for (what, at, bytes, expected) in cases {
        let mut batch = sample(Compression::None);
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        let problem = verify(&batch).expect_err(what).problem;
        assert!(expected(&problem), "{what}: {problem}");
        assert_eq!(publish(&batch).code, ErrorCode::BadBatch, "{what}");
    }
}

#[test]
fn counts_must_fit() {
    for (last_offset_delta, record_count) in [(3u32, 5u32), (3, 3), (3, 0), (4, 4), (2, 4), (0x7fff_ffff, 4)]
    {
        for compression in [Compression::None, Compression::Zstd] {
            let batch = edited(compression, |batch| {
                batch[23..27].copy_from_slice(&last_offset_delta.to_be_bytes());
                batch[57..61].copy_from_slice(&record_count.to_be_bytes());
            });
            assert_eq!(publish(&batch).code, ErrorCode::BadBatch, "{last_offset_delta}/{record_count}");
        }
    }
    // Both too large in step: found by the walk.
    let batch = edited(Compression::None, |batch| {
        batch[23..27].copy_from_slice(&4u32.to_be_bytes());
        batch[57..61].copy_from_slice(&5u32.to_be_bytes());
    });
    assert!(matches!(problem(&batch), BatchProblem::Record { record: 4, .. }));
}

#[test]
fn clients_may_not_set_what_brokers_set() {
    for (bits, what) in
        [(1u16 << 3, "append time"), (1 << 4, "transaction"), (1 << 5, "control"), (1 << 6, "horizon")]
            .into_iter()
            .chain((7..16).map(|bit| (1 << bit, "reserved")))
    {
        for compression in [Compression::None, Compression::Lz4] {
            let batch = edited(compression, |batch| {
                let attributes = u16::from_be_bytes([batch[21], batch[22]]) | bits;
                batch[21..23].copy_from_slice(&attributes.to_be_bytes());
            });
            verify(&batch).expect("legal in a log");
            let error = publish(&batch);
            assert_eq!(error.code, ErrorCode::BadBatch);
            assert!(error.message.contains(what), "{bits:#x}: {}", error.message);
        }
    }
}

#[test]
fn producer_fields_belong_together() {
    for (id, epoch, sequence) in [(7i64, -1i16, 0i32), (7, 0, -1), (-2, -1, -1), (i64::MIN, 0, 0)] {
        let batch = edited(Compression::Gzip, |batch| {
            batch[43..51].copy_from_slice(&id.to_be_bytes());
            batch[51..53].copy_from_slice(&epoch.to_be_bytes());
            batch[53..57].copy_from_slice(&sequence.to_be_bytes());
        });
        let error = publish(&batch);
        assert!(error.message.contains("producer fields"), "{}", error.message);
    }
}

#[test]
fn the_largest_timestamp_must_be_true() {
    let batch = edited(Compression::None, |batch| batch[42] ^= 1);
    assert!(publish(&batch).message.contains("largest timestamp"));
    // A delta that leads beyond 64 bits.
    let batch = edited(Compression::None, |batch| batch[27..35].copy_from_slice(&i64::MAX.to_be_bytes()));
    assert!(matches!(problem(&batch), BatchProblem::Record { record: 1, .. }));
}

#[test]
fn size_limits() {
    let batch = sample(Compression::None);
    let length = u32::try_from(batch.len()).expect("small");
    validate_publish(&batch, Validate::Header, length).expect("exactly as long as allowed");
    let error = validate_publish(&batch, Validate::Header, length - 1).expect_err("too long");
    assert_eq!(error.code, ErrorCode::BatchTooLarge);
    assert!(error.hint.is_some());
    let records = batch.len() - HEADER_BYTES;
    assert_eq!(read(&batch, records), Ok(4));
    for compression in Compression::ALL {
        let batch = sample(compression);
        assert_eq!(read(&batch, records), Ok(4), "{compression}");
        let limit = records - 1;
        let error = read(&batch, limit).expect_err("above the limit");
        assert_eq!(error.problem, BatchProblem::TooLarge { limit }, "{compression}");
    }
}

#[test]
fn compressed_garbage_is_found_by_deep_validation_and_by_readers() {
    for compression in &Compression::ALL[1..] {
        for garbage in [&b""[..], b"\0", b"not compressed at all, whatever the header says", &[0xff; 100]] {
            let batch = with_block(*compression, garbage);
            assert_eq!(publish(&batch).code, ErrorCode::BadBatch, "{compression}");
            let problem = problem(&batch);
            let named = matches!(problem, BatchProblem::Compressed { codec, .. } if codec == *compression);
            // Nothing at all decompresses to nothing.
            let missing = matches!(problem, BatchProblem::Record { record: 0, .. });
            assert!(named || missing, "{compression}: {problem}");
            // The default only looks at the header.
            validate_publish(&batch, Validate::Header, BYTES_MAX).expect("sound on the outside");
        }
        // Another codec's block under this codec's number.
        let other = if *compression == Compression::Gzip { Compression::Zstd } else { Compression::Gzip };
        let batch = with_block(*compression, &sample(other)[HEADER_BYTES..]);
        assert_eq!(publish(&batch).code, ErrorCode::BadBatch, "{compression}");
    }
}

#[test]
fn bombs_are_refused_at_the_limit() {
    let zeros = vec![0u8; 16 * LIMIT];
    for compression in &Compression::ALL[1..] {
        let mut builder = BatchBuilder::new(*compression);
        builder.push(&RecordRef { value: Some(&zeros), ..RecordRef::default() });
        let bomb = builder.build().expect("a legal batch");
        assert!(bomb.len() < LIMIT, "{compression}: {} bytes", bomb.len());
        let error = read(&bomb, LIMIT).expect_err("above the limit");
        assert_eq!(error.problem, BatchProblem::TooLarge { limit: LIMIT }, "{compression}");
        assert_eq!(read(&bomb, 17 * LIMIT), Ok(1), "{compression}");
    }
}

#[test]
fn deep_validation_refuses_bombs() {
    let zeros = vec![0u8; yak_protocol::defaults::UNPACKED_BATCH_BYTES_MAX];
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.push(&RecordRef { value: Some(&zeros), ..RecordRef::default() });
    let bomb = builder.build().expect("a legal batch");
    assert_eq!(publish(&bomb).code, ErrorCode::BatchTooLarge);
    validate_publish(&bomb, Validate::Header, BYTES_MAX).expect("sound on the outside");
}

#[test]
fn claims_of_compressed_blocks_cost_no_memory() {
    // A snappy block that claims 4 GiB - 1, bare and framed.
    let bare = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let framed = [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x06".as_slice(), &bare].concat();
    for block in [bare.as_slice(), &framed] {
        let refused = Records::open(&with_block(Compression::Snappy, block), usize::MAX)
            .expect_err("impossible")
            .to_string();
        assert!(refused.contains("more content than it can hold"), "{refused}");
    }
    // A zstd frame that claims a window of 3.75 TiB (the largest), with an empty last block.
    let block = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x01, 0x00, 0x00];
    let problem = problem(&with_block(Compression::Zstd, &block));
    assert!(matches!(problem, BatchProblem::Compressed { codec: Compression::Zstd, .. }), "{problem}");
    // Record and header counts that the bytes cannot hold.
    let mut huge = with_block(Compression::None, &[]);
    huge[23..27].copy_from_slice(&0x7fff_fffeu32.to_be_bytes());
    huge[57..61].copy_from_slice(&0x7fff_ffffu32.to_be_bytes());
    seal(&mut huge);
    assert!(read(&huge, LIMIT).is_err());
    let headers = [0x14, 0x00, 0x00, 0x00, 0x01, 0x01, 0xfe, 0xff, 0xff, 0xff, 0x0f];
    let what = read(&with_block(Compression::None, &headers), LIMIT).expect_err("impossible").to_string();
    assert!(what.contains("headers"), "{what}");
}

#[test]
fn bare_snappy_blocks_are_read() {
    let plain = sample(Compression::None);
    let block = snap::raw::Encoder::new().compress_vec(&plain[HEADER_BYTES..]).expect("small");
    assert_eq!(read(&with_block(Compression::Snappy, &block), LIMIT), Ok(4));
}

#[test]
fn lz4_frames_with_dependent_blocks_and_gzip_members_in_a_row_are_read() {
    let plain = sample(Compression::None);
    let info = lz4_flex::frame::FrameInfo::new()
        .block_mode(lz4_flex::frame::BlockMode::Linked)
        .content_checksum(true)
        .block_checksums(true);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&plain[HEADER_BYTES..]).expect("to memory");
    let block = encoder.finish().expect("to memory");
    assert_eq!(read(&with_block(Compression::Lz4, &block), LIMIT), Ok(4));

    let (first, second) = plain[HEADER_BYTES..].split_at(50);
    let mut block = Vec::new();
    for part in [first, second] {
        let mut encoder = flate2::write::GzEncoder::new(&mut block, flate2::Compression::fast());
        encoder.write_all(part).expect("to memory");
        encoder.finish().expect("to memory");
    }
    assert_eq!(read(&with_block(Compression::Gzip, &block), LIMIT), Ok(4));
}

#[test]
fn records_of_a_compacted_batch_keep_their_offsets() {
    // Drop records 0 and 2 as compaction does: the deltas of the others stay.
    let whole = sample(Compression::None);
    let mut rest = &whole[HEADER_BYTES..];
    let mut kept = Vec::new();
    for index in 0..4 {
        let (record, after) = rest.split_at(1 + usize::from(rest[0] / 2));
        if index % 2 == 1 {
            kept.extend_from_slice(record);
        }
        rest = after;
    }
    let mut batch = with_block(Compression::None, &kept);
    batch[57..61].copy_from_slice(&2u32.to_be_bytes());
    seal(&mut batch);
    let records = Records::open(&batch, LIMIT).expect("sound");
    let offsets: Vec<_> = records.iter().map(|record| record.expect("sound").offset).collect();
    assert_eq!(offsets, [Offset(1), Offset(3)]);
    assert_eq!(publish(&batch).code, ErrorCode::BadBatch);
    // An offset that does not increase.
    let mut batch = with_block(Compression::None, &[&kept[..kept.len() / 2]; 2].concat());
    batch[57..61].copy_from_slice(&2u32.to_be_bytes());
    seal(&mut batch);
    assert!(matches!(problem(&batch), BatchProblem::Record { record: 1, .. }));
}

#[test]
fn what_the_format_cannot_express_is_refused_by_the_builder() {
    assert_eq!(BatchBuilder::new(Compression::None).build().expect_err("empty").problem, BatchProblem::Empty);
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(&RecordRef { timestamp_ms: i64::MIN, ..RecordRef::default() });
    builder.push(&RecordRef { timestamp_ms: 1, ..RecordRef::default() });
    builder.push(&RecordRef::default());
    let problem = builder.build().expect_err("too far apart").problem;
    assert!(matches!(problem, BatchProblem::Record { record: 1, .. }), "{problem}");
}

#[test]
fn plain_records_survive_and_errors_name_the_place() {
    let plain = |value: &str, timestamp_ms| PlainRecord {
        value: Some(serde_bytes::ByteBuf::from(value)),
        headers: vec![("h".to_owned(), serde_bytes::ByteBuf::from("v"))],
        timestamp_ms,
        ..PlainRecord::default()
    };
    let records = [plain("a", Some(5)), plain("b", None), PlainRecord::default()];
    let first = build_plain(&records, 77, Compression::Lz4).expect("sound");
    let mut second = build_plain(&records, 78, Compression::None).expect("sound").to_vec();
    yak_protocol::batch::patch(&mut second, Offset(3), yak_protocol::ids::LeaderEpoch(1));
    let log = [first.as_ref(), &second].concat();
    let read = plain_records(&log, Offset(1), Offset(5), LIMIT).expect("sound");
    let seen: Vec<_> = read.iter().map(|r| (r.offset.map_or(0, |o| o.0), r.timestamp_ms)).collect();
    assert_eq!(seen, [(1, Some(77)), (2, Some(77)), (3, Some(5)), (4, Some(78))]);
    assert_eq!(PlainRecord { offset: None, ..read[0].clone() }, plain("b", Some(77)));
    assert_eq!(
        read[1],
        PlainRecord { offset: Some(Offset(2)), timestamp_ms: Some(77), ..PlainRecord::default() }
    );

    let mut damaged = log.clone();
    *damaged.last_mut().expect("not empty") ^= 1;
    let error = plain_records(&damaged, Offset(0), Offset(9), LIMIT).expect_err("damaged");
    assert_eq!(error.position, first.len());
    assert!(error.to_string().starts_with(&format!("batch at byte {}: its checksum", first.len())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(verify(&bytes).is_err());
        prop_assert!(batches(&bytes).count() <= 1);
    }

    #[test]
    fn arbitrary_blocks_do_no_harm(block in proptest::collection::vec(any::<u8>(), 0..200), codec in 0..5usize) {
        let batch = with_block(Compression::ALL[codec], &block);
        prop_assert!(read(&batch, LIMIT).is_err());
        publish(&batch);
    }

    /// Damage that the checksum cannot see, as a faulty client would make it.
    #[test]
    fn changed_blocks_do_no_harm(codec in 0..5usize, at: prop::sample::Index, with: u8) {
        let compression = Compression::ALL[codec];
        let batch = edited(compression, |batch| {
            let at = HEADER_BYTES + at.index(batch.len() - HEADER_BYTES);
            batch[at] ^= with;
        });
        if let Ok(count) = read(&batch, LIMIT) {
            prop_assert_eq!(count, 4);
        }
        let _ = validate_publish(&batch, Validate::Deep, BYTES_MAX);
    }
}
