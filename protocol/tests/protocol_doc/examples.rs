//! Every example goes through the codec.

use crate::PAGE;
use crate::blocks::{Block, blocks, hex, section};
use crate::tree::Tree;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;
use yak_protocol::batch::{BatchBuilder, Compression, RecordRef, batches, verify};
use yak_protocol::defaults::{PROTOCOL_VERSION, UNPACKED_BATCH_BYTES_MAX};
use yak_protocol::envelope::{self, ERROR_KIND, Encoded};
use yak_protocol::error::WireError;
use yak_protocol::frame::FrameCodec;
use yak_protocol::message::*;

/// A JSON block: what it says at top level, and the rest, which is the body.
struct Example {
    id: u64,
    kind: String,
    ok: Option<bool>,
    body: Value,
}

fn example(block: &Block) -> Example {
    let mut body: Value = serde_json::from_str(block.text).expect("JSON");
    let map = body.as_object_mut().expect("a message is a map");
    let id = map.remove("id").and_then(|id| id.as_u64()).expect("an id");
    let kind = map.remove("kind").and_then(|kind| kind.as_str().map(str::to_owned)).expect("a kind");
    let ok = map.remove("ok").map(|ok| ok.as_bool().expect("true or false"));
    Example { id, kind, ok, body }
}

/// Everything that the page says is in the message as the codec has it. Text stands for byte strings.
fn covers(coded: &Tree, page: &Tree, path: &str) {
    match (page, coded) {
        (Tree::Map(page), Tree::Map(coded)) => {
            for (key, value) in page {
                let found = coded.iter().find(|(known, _)| known == key);
                let (_, found) = found.unwrap_or_else(|| panic!("{path}.{key} is no key, or its default"));
                covers(found, value, &format!("{path}.{key}"));
            }
        }
        (Tree::List(page), Tree::List(coded)) => {
            assert_eq!(page.len(), coded.len(), "{path}");
            page.iter().zip(coded).for_each(|(page, coded)| covers(coded, page, path));
        }
        (Tree::Str(page), Tree::Bin(coded)) => assert_eq!(page.as_bytes(), coded, "{path}"),
        _ => assert_eq!(page, coded, "{path}"),
    }
}

fn all_keys(tree: &Tree, keys: &mut BTreeSet<String>) {
    match tree {
        Tree::Map(entries) => entries.iter().for_each(|(key, value)| {
            keys.insert(key.clone());
            all_keys(value, keys);
        }),
        Tree::List(items) => items.iter().for_each(|item| all_keys(item, keys)),
        _ => {}
    }
}

/// Reads an example's body as a `T`, and checks that all its keys are described on the page.
fn typed<T: Serialize + DeserializeOwned>(example: &Example) -> T {
    let page: Tree = serde_json::from_value(example.body.clone()).expect("a tree");
    let typed: T = page.typed().expect("a body of its kind");
    let mut coded = Tree::of(&typed);
    covers(&coded, &page, &example.kind);
    for (key, _) in coded.entries() {
        let described = example.kind == ERROR_KIND || section(&example.kind).contains(&format!("`{key}`"));
        assert!(described || example.ok == Some(false), "the section on {} lacks `{key}`", example.kind);
    }
    let mut keys = BTreeSet::new();
    all_keys(&coded, &mut keys);
    for key in keys {
        let named = [format!("`{key}`"), format!("\"{key}\": {{"), format!("\"{key}\": O")];
        assert!(
            named.iter().any(|name| PAGE.contains(name)),
            "{} has {key}, the page does not",
            example.kind
        );
    }
    typed
}

/// The frame without its length, through the codec.
fn framed(encoded: &Encoded) -> Bytes {
    let mut stream = bytes::BytesMut::from(&encoded.to_bytes()[..]);
    let mut codec = FrameCodec::new(u32::MAX);
    let frame = codec.next_frame(&mut stream).expect("a frame").expect("all of it");
    assert!(stream.is_empty());
    frame
}

/// decode(encode(x)) = x, whatever way the message goes. Returns its bytes.
fn round_trip<M: Message>(example: &Example, label: &str, bin: &Bytes) -> Encoded {
    let Example { id, kind, ok, .. } = example;
    let parts = vec![bin.clone()];
    let encoded = match (label, ok) {
        ("json request", None) => envelope::encode(PROTOCOL_VERSION, *id, kind, &typed::<M>(example), parts),
        ("json push", None) if kind == Probe::KIND => {
            envelope::encode(PROTOCOL_VERSION, *id, kind, &typed::<M>(example), parts)
        }
        ("json push", None) => {
            envelope::encode(PROTOCOL_VERSION, *id, kind, &typed::<M::Reply>(example), parts)
        }
        ("json reply", Some(true)) => {
            envelope::encode_reply(*id, kind, Ok(&typed::<M::Reply>(example)), parts)
        }
        ("json reply", Some(false)) => {
            envelope::encode_reply::<()>(*id, kind, Err(&typed::<WireError>(example)), parts)
        }
        other => panic!("what is {other:?}?"),
    }
    .expect("an example can be encoded");

    let decoded = envelope::decode(framed(&encoded)).expect("what was encoded can be decoded");
    assert_eq!((decoded.version, decoded.id, decoded.kind.as_str()), (1, *id, kind.as_str()));
    assert_eq!(decoded.bin, bin);
    let again = match (label, ok) {
        ("json reply", _) => match envelope::outcome::<M::Reply>(&decoded.body) {
            Ok(reply) => envelope::encode_reply(*id, kind, Ok(&reply), vec![bin.clone()]),
            Err(error) => envelope::encode_reply::<()>(*id, kind, Err(&error), vec![bin.clone()]),
        },
        ("json push", _) if kind != Probe::KIND => {
            let body = envelope::body::<M::Reply>(&decoded.body).expect("a body of its kind");
            envelope::encode(PROTOCOL_VERSION, *id, kind, &body, vec![bin.clone()])
        }
        _ => {
            let body = envelope::body::<M>(&decoded.body).expect("a body of its kind");
            envelope::encode(PROTOCOL_VERSION, *id, kind, &body, vec![bin.clone()])
        }
    };
    assert_eq!(again.expect("it could be encoded before").to_bytes(), encoded.to_bytes());
    encoded
}

/// The example's frame, by its kind.
fn encoded(example: &Example, label: &str, bin: &Bytes) -> Encoded {
    struct Trip<'a>(&'a Example, &'a str, &'a Bytes);
    impl WithMessage for Trip<'_> {
        type Output = Encoded;
        fn with<M: Message>(self) -> Encoded {
            round_trip::<M>(self.0, self.1, self.2)
        }
    }
    // An answer to what could not be read has no reply type.
    if example.kind == ERROR_KIND {
        return round_trip::<Probe>(example, label, bin);
    }
    let trip = with_kind(&example.kind, Trip(example, label, bin));
    trip.unwrap_or_else(|| panic!("there is no kind {}", example.kind))
}

/// A block and, if there is one, the frame that follows it.
fn pairs() -> Vec<(Block, Option<Block>)> {
    let blocks = blocks();
    let json = blocks.iter().enumerate().filter(|(_, block)| block.label.starts_with("json"));
    json.map(|(index, block)| {
        let next = blocks.get(index + 1).filter(|next| next.follows && next.label == "hex frame");
        (*block, next.copied())
    })
    .collect()
}

#[test]
fn every_message_is_what_the_codec_reads_and_writes() {
    for (block, frame) in pairs() {
        println!("line {}", block.line);
        let example = example(&block);
        let Some(frame) = frame else {
            encoded(&example, block.label, &Bytes::new());
            continue;
        };
        let bytes = hex(frame.text);
        let whole = envelope::decode(Bytes::copy_from_slice(&bytes[4..])).expect("a frame");
        let expected = encoded(&example, block.label, &whole.bin).to_bytes();
        assert_eq!(bytes, expected, "the frame at line {}", frame.line);
        let counted: usize = batches(&whole.bin).map(|batch| batch.expect("a batch").1.len()).sum();
        assert_eq!(counted, whole.bin.len());
    }
}

#[test]
fn every_block_is_looked_at() {
    let frames = pairs().iter().filter(|(_, frame)| frame.is_some()).count();
    let all = blocks();
    let count = |label: &str| all.iter().filter(|block| block.label == label).count();
    assert_eq!(count("hex frame"), frames, "a frame stands alone");
    let known = ["json request", "json reply", "json push", "hex frame", "hex batch", "text"];
    let stranger = all.iter().find(|block| !known.contains(&block.label));
    assert!(stranger.is_none(), "{stranger:?}");
    assert!(frames >= 5 && count("hex batch") == 1);
}

#[test]
fn every_kind_has_a_request_and_a_reply() {
    let shown: BTreeSet<(String, &str)> =
        blocks().iter().filter(|b| b.label.starts_with("json")).map(|b| (example(b).kind, b.label)).collect();
    for (kind, _) in KINDS {
        let has = |label| shown.contains(&((*kind).to_owned(), label));
        assert!(has("json request") || has("json push"), "no request of {kind}");
        assert!(has("json reply") || has("json push"), "no reply of {kind}");
    }
}

#[test]
fn the_batch_is_what_the_builder_writes() {
    let block = *blocks().iter().find(|block| block.label == "hex batch").expect("a batch");
    let bytes = hex(block.text);
    verify(&bytes).expect("a sound batch");
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(&RecordRef {
        timestamp_ms: 1_700_000_000_000,
        key: Some(b"k1"),
        value: Some(b"hello"),
        headers: &[],
    });
    assert_eq!(bytes, builder.build().expect("one record"));
    assert!(bytes.len() < UNPACKED_BATCH_BYTES_MAX);
}
