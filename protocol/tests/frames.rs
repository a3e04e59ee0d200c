//! Frames and envelopes: what is right comes back as it was, what is wrong is named and costs nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use yak_protocol::defaults::{
    FRAME_BYTES_CEILING, FRAME_BYTES_MAX, FRAME_VALUES_MAX, NESTING_MAX, PROTOCOL_VERSION,
};
use yak_protocol::envelope::{
    EncodeError, body, decode, decode_head, encode, encode_reply, outcome, refusal,
};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::frame::{FrameCodec, FrameError, RESERVE_STEP_BYTES};
use yak_protocol::ids::PartitionIndex;
use yak_protocol::message::{BatchRef, CreateTopic, Hello, Publish, RegisterProducerReply};

fn publish() -> Publish {
    Publish { batches: vec![BatchRef("orders".into(), PartitionIndex(2), 5)], ..Publish::default() }
}

/// A frame as it travels, its length included.
fn wire(bin: &[&'static [u8]]) -> Bytes {
    let bin = bin.iter().map(|part| Bytes::from_static(part)).collect();
    encode(PROTOCOL_VERSION, 9, "publish", &publish(), bin).unwrap().to_bytes()
}

fn unframed(wire: &Bytes) -> Bytes {
    wire.slice(4..)
}

fn malformed(frame: &[u8]) -> (usize, String) {
    match decode(Bytes::copy_from_slice(frame)) {
        Err(FrameError::Malformed { at, what }) => (at, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_in_pieces_of_any_size_gives_the_same_frames() {
    let stream = [wire(&[]), wire(&[b"hello"]), wire(&[b"he", b"llo"])].concat();
    for size in 1..=stream.len() {
        let (mut codec, mut buffer, mut frames) =
            (FrameCodec::new(FRAME_BYTES_MAX), BytesMut::new(), Vec::new());
        for piece in stream.chunks(size) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = codec.next_frame(&mut buffer).unwrap() {
                frames.push(decode(frame).unwrap());
            }
        }
        assert!(codec.end(&buffer).is_none());
        assert_eq!(frames.len(), 3);
        assert_eq!(frames[1], frames[2], "how a byte string was given does not matter");
        assert!(frames[0].bin.is_empty() && frames[1].bin == "hello");
        assert_eq!(body::<Publish>(&frames[1].body).unwrap(), publish());
    }
}

#[test]
fn a_stream_cut_at_any_byte_of_its_second_frame_says_where() {
    let (first, second) = (wire(&[]), wire(&[b"hello"]));
    for cut in 1..second.len() {
        let mut codec = FrameCodec::new(FRAME_BYTES_MAX);
        let mut buffer = BytesMut::from(&[&first[..], &second[..cut]].concat()[..]);
        assert!(codec.next_frame(&mut buffer).unwrap().is_some());
        assert!(codec.next_frame(&mut buffer).unwrap().is_none());
        let Some(FrameError::CutShort { at, have, want }) = codec.end(&buffer) else {
            panic!("cut at {cut}")
        };
        let whole = if cut < 4 { 4 } else { second.len() };
        assert_eq!((at, have, want), (first.len() as u64, cut as u64, whole as u64));
    }
}

#[test]
fn impossible_lengths_are_errors_that_name_the_place() {
    let first = wire(&[]);
    let cases = [
        (0u32, "its length is 0"),
        (1001, "its length is 1001 bytes, the most is 1000"),
        (u32::MAX, "4294967295"),
    ];
    for (length, text) in cases {
        let mut buffer = BytesMut::from(&first[..]);
        buffer.put_u32(length);
        let mut codec = FrameCodec::new(1000);
        assert!(codec.next_frame(&mut buffer).unwrap().is_some());
        let error = codec.next_frame(&mut buffer).unwrap_err().to_string();
        assert!(error.contains(text) && error.contains(&format!("at byte {}", first.len())), "{error}");
    }
    let mut buffer = BytesMut::new();
    buffer.put_u32(FRAME_BYTES_CEILING + 1);
    assert!(
        FrameCodec::new(u32::MAX).next_frame(&mut buffer).is_err(),
        "the ceiling holds whatever is configured"
    );
}

#[test]
fn a_peer_of_another_protocol_is_recognised_by_its_bytes() {
    let mut buffer = BytesMut::from(&b"HTTP/1.1 400 Bad Request\r\n"[..]);
    let error = FrameCodec::new(FRAME_BYTES_MAX).next_frame(&mut buffer).unwrap_err().to_string();
    assert!(error.contains("`HTTP`"), "{error}");
}

#[test]
fn room_grows_with_what_has_arrived_not_with_what_is_claimed() {
    let mut codec = FrameCodec::new(FRAME_BYTES_MAX);
    let mut buffer = BytesMut::new();
    buffer.put_u32(FRAME_BYTES_MAX);
    let mut arrived = 4;
    while arrived < 1 << 20 {
        assert!(codec.next_frame(&mut buffer).unwrap().is_none());
        let most = 2 * arrived.max(RESERVE_STEP_BYTES) + RESERVE_STEP_BYTES;
        assert!(buffer.capacity() <= most, "{} bytes of room for {arrived}", buffer.capacity());
        buffer.put_bytes(0, 10_000);
        arrived += 10_000;
    }
}

#[test]
fn a_connection_keeps_no_memory_of_a_large_frame() {
    let large = encode(1, 1, "publish", &publish(), vec![Bytes::from(vec![7; 1 << 20])]).unwrap().to_bytes();
    let mut buffer = BytesMut::from(&large[..]);
    let frame = FrameCodec::new(FRAME_BYTES_MAX).next_frame(&mut buffer).unwrap().unwrap();
    assert_eq!(buffer.capacity(), 0);
    assert_eq!(frame.len(), large.len() - 4);
}

#[test]
fn batches_are_slices_of_the_frame() {
    let frame = unframed(&wire(&[b"hello"]));
    let within = frame.as_ptr_range();
    let envelope = decode(frame.clone()).unwrap();
    assert!(within.contains(&envelope.bin.as_ptr()) && within.contains(&envelope.body.as_ptr()));
}

#[test]
fn an_envelope_cut_at_any_byte_is_malformed() {
    let frame = unframed(&wire(&[b"hello"]));
    for cut in 0..frame.len() {
        let (at, what) = malformed(&frame[..cut]);
        assert!(at <= cut && !what.is_empty(), "{cut}: {at}: {what}");
    }
}

#[test]
fn wrong_shapes_are_named() {
    let cases: &[(&[u8], usize, &str)] = &[
        (b"\xc0", 0, "nil where the array [version, id, kind, body(, bin)] should be"),
        (b"\x80", 0, "a map where the array"),
        (b"\x93\x01\x01\xa1x", 0, "an array of 3 where"),
        (b"\x96\x01\x01\xa1x\x80\xc4\x00\xc0", 0, "an array of 6 where"),
        (b"\x94\xa1x\x01\xa1x\x80", 1, "a string where the version should be"),
        (b"\x94\xcd\x01\x00\x01\xa1x\x80", 1, "the version 256 is above 255"),
        (b"\x94\x01\xff\xa1x\x80", 2, "a negative number where the id should be"),
        (b"\x94\x01\xd0\x80\xa1x\x80", 2, "a negative number where the id should be"),
        (b"\x94\x01\x01\x02\x80", 3, "a whole number where the kind should be"),
        (b"\x94\x01\x01\xa2\xff\xfe\x80", 3, "the kind is not UTF-8"),
        (b"\x94\x01\x01\xa0\x80", 3, "a kind of 0 bytes; it has 1 to 64"),
        (b"\x94\x01\x01\xa1x\x90", 5, "an array where the body, a map, should be"),
        (b"\x94\x01\x01\xa1x\xc0", 5, "nil where the body, a map, should be"),
        (b"\x95\x01\x01\xa1x\x80\xa1y", 6, "a string where the batches, a byte string, should be"),
        (b"\x95\x01\x01\xa1x\x80\xc4\x05ab", 6, "a byte string of 5 bytes, but only 2 are left"),
        (b"\x94\x01\x01\xa1x\x80\x80", 6, "1 bytes too many"),
        (b"\x94\x01\x01\xa1x\x81\xa1k\xc1", 8, "0xc1 is not MessagePack"),
    ];
    for (frame, at, what) in cases {
        let found = malformed(frame);
        assert!(found.0 == *at && found.1.starts_with(what), "{frame:x?}: {found:?}");
    }
}

#[test]
fn numbers_of_any_width_are_taken() {
    let ids: &[(&[u8], u64)] = &[
        (b"\x07", 7),
        (b"\xcc\xff", 255),
        (b"\xcd\x01\x00", 256),
        (b"\xce\x00\x00\x00\x07", 7),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", u64::MAX),
        (b"\xd0\x07", 7),
        (b"\xd1\x00\x07", 7),
        (b"\xd2\x00\x00\x00\x07", 7),
        (b"\xd3\x00\x00\x00\x00\x00\x00\x00\x07", 7),
    ];
    for (bytes, id) in ids {
        let frame = [&b"\x94\xcc\x01"[..], bytes, b"\xd9\x01x\xde\x00\x00"].concat();
        let envelope = decode(frame.into()).unwrap();
        assert_eq!((envelope.version, envelope.id, envelope.kind.as_str()), (1, *id, "x"));
    }
}

#[test]
fn claims_of_four_gigabytes_are_checked_against_what_is_there() {
    let claims: &[&[u8]] = &[b"\xdb", b"\xc6", b"\xc9", b"\xdd", b"\xdf"];
    for claim in claims {
        let frame = [b"\x94\x01\x01\xa1x\x81\xa1k", *claim, b"\xff\xff\xff\xff", &[0; 16][..]].concat();
        let (at, what) = malformed(&frame);
        assert!(at == 8 && what.contains("left"), "{claim:x?} at {at}: {what}");
    }
    let (at, what) = malformed(b"\xdd\xff\xff\xff\xff");
    assert_eq!(
        (at, what.as_str()),
        (0, "an array of 4294967295 where [version, id, kind, body(, bin)] should be")
    );
}

/// `[1, 1, "hello", {"k": <so many nested arrays or maps>}]`
fn nested(depth: usize, opener: &[u8], closer: &[u8]) -> Vec<u8> {
    let mut frame = b"\x94\x01\x01\xa5hello\x81\xa1k".to_vec();
    (0..depth).for_each(|_| frame.extend_from_slice(opener));
    frame.extend_from_slice(closer);
    frame
}

#[test]
fn a_nesting_bomb_needs_no_stack() {
    let run = || {
        for (opener, closer) in
            [(&b"\x91"[..], &b"\xc0"[..]), (b"\x81\xa1k", b"\xc0"), (b"\xdd\x00\x00\x00\x01", b"\x01")]
        {
            let (_, what) = malformed(&nested(200_000, opener, closer));
            assert_eq!(what, "nested more than 32 deep");
        }
        // Two containers are around it: the envelope and the body. What is taken is read without harm.
        let deepest = NESTING_MAX - 2;
        let envelope = decode(nested(deepest, b"\x91", b"\xc0").into()).unwrap();
        assert_eq!(body::<Hello>(&envelope.body).unwrap(), Hello::default());
        malformed(&nested(deepest + 1, b"\x91", b"\xc0"));
    };
    let small = std::thread::Builder::new().stack_size(128 << 10);
    small.spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_body_of_too_many_values_is_refused_before_it_is_built() {
    let count = u32::try_from(FRAME_VALUES_MAX).unwrap();
    let mut frame = b"\x94\x01\x01\xa7publish\x81\xa7records\xdd".to_vec();
    frame.put_u32(count);
    frame.put_bytes(0x80, count as usize);
    let (_, what) = malformed(&frame);
    assert_eq!(what, format!("more than {FRAME_VALUES_MAX} values"));
}

#[test]
fn the_head_is_read_without_the_body() {
    let head = decode_head(b"\x94\x01\x05\xa9replicate\xc1garbage").unwrap();
    assert_eq!((head.version, head.id, head.kind), (1, 5, "replicate"));
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Inner {
    name: String,
    #[serde(default)]
    counts: Vec<u8>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Outer {
    before: u8,
    list: Vec<Inner>,
    inner: Option<Inner>,
    after: String,
}

/// The error of a body that is written as JSON here.
fn body_error<T: serde::de::DeserializeOwned + std::fmt::Debug>(json: &serde_json::Value) -> String {
    let encoded = encode(1, 1, "x", json, vec![]).unwrap().to_bytes();
    body::<T>(&decode(unframed(&encoded)).unwrap().body).unwrap_err().to_string()
}

#[test]
fn errors_in_bodies_name_the_key() {
    let inner = || serde_json::json!({"name": "n", "counts": [1]});
    let cases = [
        (
            serde_json::json!({"before": "x", "list": [], "after": ""}),
            "before: a string is the wrong type here",
        ),
        (serde_json::json!({"before": 300, "list": [], "after": ""}), "before: invalid value: integer `300`"),
        (serde_json::json!({"list": [], "after": ""}), "BAD_REQUEST: missing field `before`"),
        (
            serde_json::json!({"before": 1, "list": [inner(), {"counts": []}], "after": ""}),
            "list[1]: missing field `name`",
        ),
        (
            serde_json::json!({"before": 1, "list": [inner()], "inner": {"name": 5}, "after": ""}),
            "inner.name: ",
        ),
        (
            serde_json::json!({"before": 1, "list": [{"name": "n", "counts": [1, 2, "x"]}], "after": ""}),
            "list[0].counts[2]: ",
        ),
        (serde_json::json!({"before": 1, "list": 5, "after": ""}), "list: "),
        (serde_json::json!({"after": 1.5, "before": 1, "list": []}), "after: "),
    ];
    for (json, text) in cases {
        let error = body_error::<Outer>(&json);
        assert!(error.starts_with("BAD_REQUEST: ") && error.contains(text), "{json}: {error}");
    }
    let error = body_error::<CreateTopic>(&serde_json::json!({"topic": "t", "partitions": "three"}));
    assert!(error.contains("partitions: a string is the wrong type here"), "{error}");
}

#[test]
fn unknown_keys_are_ignored_and_absent_ones_take_their_defaults() {
    let json = serde_json::json!({"version": 3, "new": {"deep": [1, {"er": null}]}});
    let frame = unframed(&encode(1, 1, "hello", &json, vec![]).unwrap().to_bytes());
    assert_eq!(
        body::<Hello>(&decode(frame).unwrap().body).unwrap(),
        Hello { version: 3, client: String::new() }
    );
}

#[test]
fn an_answer_is_the_reply_with_ok_in_front_whatever_its_size() {
    for keys in [0, 1, 13, 14, 15, 16, 17, 200, 70_000_usize] {
        let reply: BTreeMap<String, u32> = (0..keys).map(|key| (format!("k{key}"), 1)).collect();
        let encoded = encode_reply(7, "metadata", Ok(&reply), vec![]);
        if keys > usize::from(u16::MAX) {
            assert!(matches!(encoded, Err(EncodeError::Body(_))));
            continue;
        }
        let envelope = decode(unframed(&encoded.unwrap().to_bytes())).unwrap();
        assert_eq!((envelope.id, envelope.kind.as_str()), (7, "metadata"));
        let read: BTreeMap<String, serde_json::Value> = body(&envelope.body).unwrap();
        assert_eq!(read.len(), keys + 1);
        assert_eq!(read["ok"], serde_json::Value::Bool(true));
        assert!(refusal(&envelope.body).is_none());
    }
}

#[test]
fn a_refusal_comes_back_as_the_error_it_was() {
    let error =
        WireError::new(ErrorCode::UnknownTopic, "there is no topic `ordres`").hint("did you mean `orders`?");
    let encoded = encode_reply::<Hello>(7, "metadata", Err(&error), vec![]).unwrap();
    let envelope = decode(unframed(&encoded.to_bytes())).unwrap();
    assert_eq!(refusal(&envelope.body).as_ref(), Some(&error));
    assert_eq!(outcome::<RegisterProducerReply>(&envelope.body).unwrap_err(), error);
}

#[test]
fn an_answer_that_cannot_be_read_is_a_bad_frame_not_a_bad_request() {
    let envelope =
        decode(unframed(&encode_reply(7, "hello", Ok(&Hello::default()), vec![]).unwrap().to_bytes()))
            .unwrap();
    let error = outcome::<RegisterProducerReply>(&envelope.body).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadFrame);
    assert!(error.message.contains("missing field `producer_id`"), "{error}");
}

#[test]
fn bodies_that_are_no_maps_and_frames_above_the_ceiling_are_not_written() {
    assert!(matches!(encode(1, 1, "x", &5u8, vec![]), Err(EncodeError::Body(_))));
    assert!(matches!(encode_reply(1, "x", Ok(&[1u8, 2]), vec![]), Err(EncodeError::Body(_))));
    let part = Bytes::from(vec![0; 1 << 20]);
    assert!(matches!(encode(1, 1, "x", &Hello::default(), vec![part; 128]), Err(EncodeError::TooLong(_))));
}

#[cfg(feature = "net")]
#[test]
fn the_codec_is_one_for_framed_streams() {
    use tokio_util::codec::{Decoder, Encoder};
    let (mut codec, mut buffer) = (FrameCodec::new(10), BytesMut::new());
    codec.encode(Bytes::from_static(b"0123456789"), &mut buffer).unwrap();
    assert!(codec.encode(Bytes::from_static(b"0123456789+"), &mut buffer).is_err());
    assert!(codec.encode(Bytes::new(), &mut buffer).is_err());
    buffer.put_slice(&[0, 0]);
    assert_eq!(codec.decode(&mut buffer).unwrap().unwrap(), "0123456789");
    assert!(matches!(codec.decode_eof(&mut buffer), Err(FrameError::CutShort { at: 14, have: 2, want: 4 })));
}

fn inner() -> impl Strategy<Value = Inner> {
    (".{0,20}", prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(name, counts)| Inner { name, counts })
}

fn outer() -> impl Strategy<Value = Outer> {
    (any::<u8>(), prop::collection::vec(inner(), 0..20), prop::option::of(inner()), ".{0,40}")
        .prop_map(|(before, list, inner, after)| Outer { before, list, inner, after })
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(
        id in any::<u64>(),
        kind in "[a-z_]{1,64}",
        outer in outer(),
        bin in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..4),
    ) {
        let parts: Vec<Bytes> = bin.iter().cloned().map(Bytes::from).collect();
        let encoded = encode(PROTOCOL_VERSION, id, &kind, &outer, parts).unwrap();
        let wire = encoded.to_bytes();
        prop_assert_eq!(wire.len(), encoded.size_bytes());
        let mut buffer = BytesMut::from(&wire[..]);
        let frame = FrameCodec::new(FRAME_BYTES_MAX).next_frame(&mut buffer).unwrap().unwrap();
        let envelope = decode(frame).unwrap();
        prop_assert_eq!((envelope.version, envelope.id, envelope.kind.as_str()), (PROTOCOL_VERSION, id, &kind[..]));
        prop_assert_eq!(envelope.bin, bin.concat());
        prop_assert_eq!(body::<Outer>(&envelope.body).unwrap(), outer);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let _ = FrameCodec::new(FRAME_BYTES_MAX).next_frame(&mut buffer);
        read_everything(bytes);
    }

    #[test]
    fn no_damage_to_a_good_frame_makes_it_panic(outer in outer(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let wire = encode(1, 1, "x", &outer, vec![Bytes::from_static(b"bin")]).unwrap().to_bytes();
        let mut frame = wire[4..].to_vec();
        let at = at.index(frame.len());
        frame[at] = byte;
        read_everything(frame);
    }
}

/// Every way of reading a frame, as different types.
fn read_everything(frame: Vec<u8>) {
    if let Ok(envelope) = decode(frame.into()) {
        let _ = body::<Outer>(&envelope.body);
        let _ = body::<Publish>(&envelope.body);
        let _ = body::<WireError>(&envelope.body);
        let _ = outcome::<serde_json::Value>(&envelope.body);
    }
}
