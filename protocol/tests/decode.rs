//! The decoder: it loses no byte, guesses nothing, and names what it cannot read with its place.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use bytes::Bytes;
use proptest::prelude::*;
use std::time::Duration;
use yak_protocol::batch::{BatchBuilder, Compression, RecordRef};
use yak_protocol::decode::{
    Conversation, Cutter, Direction, Event, Filter, Foreign, Frame, Piece, Problem, Seen, What, annotate,
    open_batches,
};
use yak_protocol::envelope::encode_reply;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId};
use yak_protocol::json::read_message;
use yak_protocol::message::{BatchRef, Message, Publish};

/// The frame of a message as `yak encode --as-is` makes it.
fn whole(json: &str) -> Bytes {
    read_message(json.as_bytes()).unwrap().to_frame_as_it_is().unwrap().to_bytes()
}

fn hello(id: u64) -> Bytes {
    whole(&format!(r#"{{"kind":"hello","id":{id}}}"#))
}

fn pieces(stream: &[u8]) -> Vec<Piece> {
    let mut cutter = Cutter::default();
    cutter.push(stream);
    let mut all: Vec<_> = std::iter::from_fn(|| cutter.next_piece()).collect();
    all.extend(std::iter::from_fn(|| cutter.last_piece()));
    all
}

/// What is wrong with a stream: the whole list, each with its place.
fn problems(stream: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for piece in pieces(stream) {
        match piece.what {
            What::Frame(bytes) => {
                let frame = Frame::decode(piece.at, bytes);
                found.extend(frame.problems.iter().map(ToString::to_string));
                found.extend(open_batches(&frame).1.iter().map(ToString::to_string));
            }
            What::Unknown(_, problem) => found.extend(problem.map(|found| found.to_string())),
            What::Line(_) => {}
        }
    }
    found
}

#[test]
fn what_follows_the_last_frame_is_named_with_its_place() {
    let (first, second) = (hello(1), hello(2));
    let at = first.len();
    for (tail, expected) in [
        (
            &b"ABCDEFG"[..],
            format!("byte {at}: trailing 7 bytes: 0x41424344 is no length of a frame (1 to 134217727)"),
        ),
        (
            b"\0\0\0\0\x94",
            format!("byte {at}: trailing 5 bytes: 0x00000000 is no length of a frame (1 to 134217727)"),
        ),
        (b"\0\0\x01", format!("byte {at}: trailing 3 bytes: too few for the length of a frame")),
        (&second[..9], format!("byte {at}: truncated: need {} have 9", second.len())),
        (&second[..4], format!("byte {at}: truncated: need {} have 4", second.len())),
    ] {
        assert_eq!(problems(&[&first, tail].concat()), [expected]);
    }
    assert_eq!(problems(&[first, second].concat()), [""; 0]);
}

#[test]
fn what_is_wrong_within_a_frame_is_named_with_its_place() {
    let first = hello(1);
    let at = first.len();
    let cut_in =
        |frame: &[u8]| [&first, &u32::try_from(frame.len()).unwrap().to_be_bytes()[..], frame].concat();
    for (frame, expected) in [
        (
            &b"\xc1"[..],
            format!(
                "byte {}: 0xc1, which is not MessagePack, where the array [version, id, kind, body(, bin)] should be",
                at + 4
            ),
        ),
        (
            b"\x94\x01\x02\xa5hello\x90",
            format!("byte {}: an array where the body, a map, should be", at + 13),
        ),
        (b"\x94\x01\x02\xa5hello\x80rest", format!("byte {}: 4 bytes too many", at + 14)),
        (
            b"\x94\x01\x02\xa5hello\x81\xa7version\xa1x",
            format!("byte {}: body: version: a string is the wrong type here", at + 13),
        ),
        (b"\x94\x01\x02\xa5hello\x81\xa6colour\x01", format!("byte {}: body: unknown key colour", at + 13)),
        (b"\x94\x01\x02\xa5hallo\x80", format!("byte {at}: unknown kind `hallo`")),
        (
            b"\x94\x03\x02\xa5hello\x80",
            format!("byte {at}: version 3 is unknown (protocol newer than this tool: v3 vs v1)"),
        ),
        (
            b"\x94\x01\x02\xa5hello\x83\xa2ok\xc2\xa4code\xcd\xff\xff\xa7message\xa1m",
            format!("byte {}: body: unknown error code 65535", at + 13),
        ),
    ] {
        assert_eq!(problems(&cut_in(frame)), [expected]);
    }
    let newer = cut_in(b"\x94\x03\x02\xa5hallo\x80");
    assert_eq!(
        problems(&newer).last().unwrap(),
        &format!("byte {at}: unknown kind `hallo` (protocol newer than this tool: v3 vs v1)")
    );
    // The next frame is found all the same: its place is what the length says.
    let between = [cut_in(b"\xc1"), hello(3).to_vec()].concat();
    assert!(matches!(pieces(&between).last().unwrap().what, What::Frame(_)));
}

#[test]
fn answers_and_pushes_are_held_against_their_own_types() {
    let refused = WireError::new(ErrorCode::NotReady, "not yet").hint("wait");
    let refusal = encode_reply::<()>(3, "publish", Err(&refused), vec![]).unwrap().to_bytes();
    assert_eq!(problems(&refusal), [""; 0]);
    for (json, expected) in [
        (r#"{"kind":"error","id":0,"ok":false,"code":1,"error":"BAD_FRAME","message":"x"}"#, None),
        (r#"{"kind":"replicate","id":0,"push":[]}"#, None),
        (r#"{"kind":"replicate","id":1,"push":[]}"#, Some("unknown key push")),
        (r#"{"kind":"replicate","id":0,"broker_id":1,"ack":[]}"#, None),
        (r#"{"kind":"replicate","id":0,"broker_id":1,"push":[]}"#, Some("unknown key push")),
        (r#"{"kind":"replicate","id":0}"#, None),
        (r#"{"kind":"leader_info","id":0,"coordinator_epoch":1,"version":2}"#, None),
        (r#"{"kind":"hello","id":1,"ok":true}"#, Some("missing field `version`")),
        (
            r#"{"kind":"offsets","id":1,"topic":"t","partition":0,"ok":true,"log_start":0}"#,
            Some("missing field"),
        ),
        (
            r#"{"kind":"publish","id":1,"records":[{"value":"a","colour":1}]}"#,
            Some("unknown key records.0.colour"),
        ),
    ] {
        let found = problems(&whole(json));
        assert_eq!(found.is_empty(), expected.is_none(), "{json}: {found:?}");
        assert!(expected.is_none_or(|expected| found[0].contains(expected)), "{json}: {found:?}");
    }
}

#[test]
fn famous_others_are_called_by_their_names() {
    for (stream, expected) in [
        (&b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"[..], Foreign::Http("GET /health HTTP/1.1".into())),
        (b"HTTP/1.1 200 OK\r\n", Foreign::Http("HTTP/1.1 200 OK".into())),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Foreign::Http("PRI * HTTP/2.0".into())),
        (b"\x16\x03\x01\x02\x00\x01\x00", Foreign::Tls),
        (b"*1\r\n$4\r\nPING\r\n", Foreign::Redis),
        (b"\0\0\0\x12\0\x12\0\x03\0\0\0\x01\0\x04abcd\0\0\0\0", Foreign::Kafka(18, "ApiVersions", 3)),
        (b"\0\0\0\x12\0\x12\0\x03\0\0\0\x01\0\x04ab", Foreign::Kafka(18, "ApiVersions", 3)),
        (b"\x94\x01\x01\xa5probe\x80", Foreign::BareMessagePack(Some("probe".into()))),
        (b"\x81\xa1a\x01", Foreign::BareMessagePack(None)),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", Foreign::ProxyHeader),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Foreign::ProxyHeader),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Foreign::Ssh),
    ] {
        let found = &pieces(stream)[0].what;
        let What::Unknown(_, Some(found)) = found else { panic!("{stream:?}: {found:?}") };
        assert_eq!((found.at, &found.problem), (0, &Problem::Foreign(expected)));
    }
    let zookeeper = [&[0, 0, 0, 44][..], &[0; 24], &[0, 0, 0, 16], &[0; 16]].concat();
    assert_eq!(problems(&zookeeper), ["byte 0: this is not YAK: ZooKeeper"]);
    assert_eq!(
        problems(b"\x08abc"),
        ["byte 0: the first byte 0x08 begins neither a frame (0x00 to 0x07) nor text"]
    );
}

#[test]
fn sessions_of_text_come_line_by_line() {
    let stream = b"PING\r\n{\"kind\":\"hello\"}\nrest";
    let lines: Vec<_> = pieces(stream).into_iter().map(|piece| (piece.at, piece.what)).collect();
    let line = |text: &'static str| What::Line(Bytes::from_static(text.as_bytes()));
    assert_eq!(lines, [(0, line("PING\r\n")), (6, line("{\"kind\":\"hello\"}\n")), (23, line("rest"))]);
    let mut cutter = Cutter::default();
    cutter.push(b"ruok");
    assert_eq!(cutter.next_piece(), None, "it could still become HTTP");
    assert_eq!(cutter.last_piece().unwrap().what, line("ruok"));
}

/// A publish of two batches, the second compressed and of a producer.
fn publish() -> Bytes {
    let record =
        RecordRef { timestamp_ms: 5, key: Some(b"k"), value: Some(b"hello"), headers: &[("h", b"1")] };
    let mut plain = BatchBuilder::new(Compression::None);
    plain.push(&record);
    let mut packed = BatchBuilder::new(Compression::Lz4).producer(ProducerId(4000), ProducerEpoch(1), 17);
    packed.push(&record);
    packed.push(&record);
    let batches = [plain.build().unwrap(), packed.build().unwrap()];
    let refs = batches
        .iter()
        .map(|batch| BatchRef("orders".into(), PartitionIndex(2), u32::try_from(batch.len()).unwrap()));
    let body = Publish { batches: refs.collect(), ..Publish::default() };
    yak_protocol::envelope::encode(1, 7, Publish::KIND, &body, batches.to_vec()).unwrap().to_bytes()
}

#[test]
fn batches_are_opened_with_every_record() {
    let whole = publish();
    let frame = Frame::decode(0, whole.slice(4..));
    let (batches, problems) = open_batches(&frame);
    assert_eq!(problems, []);
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[0].at, frame.bin_at());
    assert_eq!(batches[1].at, batches[0].at + batches[0].size_bytes as u64);
    let (header, records) = (batches[1].header, batches[1].records.as_ref().unwrap());
    assert_eq!((batches[1].place.as_str(), batches[1].crc_is_good), ("orders/2", true));
    assert_eq!(
        (header.producer_id, header.producer_epoch, header.base_sequence),
        (ProducerId(4000), ProducerEpoch(1), 17)
    );
    assert_eq!(header.leader_epoch, LeaderEpoch(0));
    let values: Vec<_> = records.iter().map(|record| record.unwrap().value.unwrap().to_vec()).collect();
    assert_eq!(values, [b"hello", b"hello"]);
}

#[test]
fn a_damaged_batch_is_named_and_not_opened() {
    let whole = publish();
    let second = open_batches(&Frame::decode(0, whole.slice(4..))).0[1].at;
    let mut damaged = whole.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let frame = Frame::decode(100, Bytes::from(damaged).slice(4..));
    let (batches, problems) = open_batches(&frame);
    assert!(batches[0].crc_is_good && batches[0].records.is_some());
    assert!(!batches[1].crc_is_good && batches[1].records.is_none());
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].at, 100 + second);
    assert!(problems[0].to_string().contains("batch orders/2: its checksum says 0x"), "{}", problems[0]);
}

#[test]
fn bytes_that_the_body_does_not_speak_of_are_counted() {
    let json = |bytes, bin| format!(r#"{{"kind":"publish","batches":[["t",0,{bytes}]],"bin":{bin}}}"#);
    let found = problems(&whole(&json(3, r#""abcdefg""#)));
    assert!(found.iter().any(|what| what.contains("speaks of 3 bytes of batches, there are 7")), "{found:?}");
    assert!(found.iter().any(|what| what.contains("batch t/0: it needs 61 bytes, there are 3")), "{found:?}");
    let found = problems(&whole(&json(u32::MAX, r#""abc""#)));
    assert!(found.iter().any(|what| what.contains("4294967295 bytes of batches, there are 3")), "{found:?}");
    let found = problems(&whole(r#"{"kind":"hello","bin":"abc"}"#));
    assert!(found[0].contains("0 bytes of batches, there are 3"), "{found:?}");
}

fn frames(events: &[Event]) -> Vec<(&Frame, &Event)> {
    let of = |event| match event {
        &Event { seen: Seen::Frame(ref frame), .. } => Some((frame, event)),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

#[test]
fn answers_find_their_requests_and_pass_the_filter_with_them() {
    let at = |ms| Some(Duration::from_millis(ms));
    let mut link = Conversation::new(Filter::parse(["topic=orders"]).unwrap());
    let ask =
        |id, topic| whole(&format!(r#"{{"kind":"offsets","id":{id},"topic":"{topic}","partition":0}}"#));
    let answer = |id| {
        whole(&format!(
            r#"{{"kind":"offsets","id":{id},"ok":true,"log_start":0,"high_watermark":0,"log_end":0,"leader_epoch":1}}"#
        ))
    };
    let asked = link.push(Direction::ToServer, at(10), &[ask(1, "orders"), ask(2, "other")].concat());
    assert_eq!(asked.iter().map(|event| event.passes).collect::<Vec<_>>(), [true, false]);
    let whole_answer = [answer(2), answer(1), answer(9)].concat();
    let (begin, rest) = whole_answer.split_at(30);
    assert_eq!(link.push(Direction::ToClient, at(12), begin), []);
    let answered = link.push(Direction::ToClient, at(15), rest);
    let seen: Vec<_> = frames(&answered).iter().map(|(_, event)| (event.passes, event.latency)).collect();
    let after = Some(Duration::from_millis(5));
    assert_eq!(seen, [(false, after), (true, after), (false, None)]);
    // The other side may ask, too.
    let probe = whole(r#"{"kind":"probe","id":9223372036854775809}"#);
    let probed = whole(r#"{"kind":"probe","id":9223372036854775809,"ok":true}"#);
    link.push(Direction::ToClient, at(20), &probe);
    assert_eq!(link.push(Direction::ToServer, at(21), &probed)[0].latency, Some(Duration::from_millis(1)));
}

#[test]
fn filters_say_what_they_know() {
    for wrong in ["kind", "colour=red", "id=x"] {
        assert!(Filter::parse([wrong]).is_err(), "{wrong}");
    }
    let frame = Frame::decode(0, publish().slice(4..));
    for (filter, passes) in [
        (&["kind=publish"][..], true),
        (&["kind=hello,publish"], true),
        (&["kind=hello"], false),
        (&["kind=publish", "topic=orders", "id=7"], true),
        (&["topic=hello"], false),
        (&["id=8"], false),
    ] {
        assert_eq!(Filter::parse(filter.iter().copied()).unwrap().passes(&frame), passes, "{filter:?}");
    }
    let plain = whole(r#"{"kind":"publish","topic":"t","records":[{"value":"orders"}],"forward":true}"#);
    let plain = Frame::decode(0, plain.slice(4..));
    assert!(!Filter::parse(["topic=orders"]).unwrap().passes(&plain), "what people send names no topic");
    assert!(Filter::parse(["topic=t"]).unwrap().passes(&plain));
}

fn covered(whole: &[u8]) {
    let labels = annotate(whole);
    let mut end = 0;
    for label in &labels {
        assert_eq!(label.range.start, end, "{labels:?}");
        assert!(!label.range.is_empty() && !label.text.is_empty());
        end = label.range.end;
    }
    assert_eq!(end, whole.len());
}

#[test]
fn every_byte_has_one_label_wherever_a_frame_is_cut_or_damaged() {
    let whole = publish();
    for cut in 0..=whole.len() {
        covered(&whole[..cut]);
    }
    for at in 0..whole.len() {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 0x55;
        covered(&damaged);
    }
}

proptest! {
    #[test]
    fn no_byte_is_lost_however_they_come(
        frames in prop::collection::vec(0..3u8, 0..5),
        tail: Vec<u8>,
        sizes in prop::collection::vec(1..50usize, 1..20),
    ) {
        let mut stream = Vec::new();
        for frame in frames {
            stream.extend_from_slice(&match frame { 0 => hello(1), 1 => publish(), _ => Bytes::from_static(b"\0\0\0\x01\xc1") });
        }
        stream.extend(tail);
        let mut cutter = Cutter::default();
        let (mut all, mut rest, mut size) = (Vec::new(), &stream[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*size.next().unwrap()).min(rest.len()));
            cutter.push(now);
            rest = later;
            all.extend(std::iter::from_fn(|| cutter.next_piece()));
        }
        all.extend(std::iter::from_fn(|| cutter.last_piece()));
        let mut again = Vec::new();
        for piece in all {
            prop_assert_eq!(piece.at, again.len() as u64);
            let size = piece.size_bytes();
            match piece.what {
                What::Frame(frame) => {
                    again.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
                    again.extend_from_slice(&frame);
                    let decoded = Frame::decode(piece.at, frame);
                    let _ = open_batches(&decoded);
                }
                What::Line(bytes) | What::Unknown(bytes, _) => again.extend_from_slice(&bytes),
            }
            prop_assert_eq!(again.len() as u64, piece.at + size as u64);
        }
        prop_assert_eq!(again, stream);
    }

    #[test]
    fn no_bytes_make_the_labels_miss_one(bytes: Vec<u8>) {
        covered(&bytes);
        covered(&[&b"\0\0\0\xff\x95\x01\x01\xa7publish"[..], &bytes].concat());
    }
}
