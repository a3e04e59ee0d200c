//! Every kind as the bytes that it has for ever: `golden/<kind>.hex` is what `yak decode --hex` shows of its
//! request and its reply, `golden/<kind>.json` what `yak encode` makes them from.

use bytes::Bytes;
use std::path::PathBuf;
use yak_protocol::batch::{BatchBuilder, Compression, RecordRef};
use yak_protocol::decode::{Frame, annotate, open_batches, render};
use yak_protocol::envelope::{self, Encoded};
use yak_protocol::json::{read_message, write_message};
use yak_protocol::message::{Message, Shape};

/// What the samples say that a batch has, in bytes.
const BATCH_BYTES: usize = 90;

/// A batch of just that size.
fn batch() -> Bytes {
    let of = |length: usize| {
        let value = vec![b'v'; length];
        let record = RecordRef {
            timestamp_ms: 1_700_000_000_000,
            key: Some(b"k"),
            value: Some(&value),
            headers: &[("h", b"1")],
        };
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(&record);
        builder.build().expect("it has a record")
    };
    (0..BATCH_BYTES).map(of).find(|batch| batch.len() == BATCH_BYTES).expect("one of these lengths fits")
}

fn bin(kind: &str, shape: Shape) -> Vec<Bytes> {
    match (kind, shape) {
        ("publish", Shape::Request)
        | ("consume" | "read_range", Shape::Reply)
        | ("replicate", Shape::Push) => {
            vec![batch()]
        }
        _ => Vec::new(),
    }
}

/// The frames of a kind.
fn frames<M: Message>(request: &M, reply: &M::Reply) -> Vec<Encoded> {
    let kind = M::KIND;
    let request = envelope::encode(1, 7, kind, request, bin(kind, Shape::Request));
    let answer = envelope::encode_reply(7, kind, Ok(reply), bin(kind, Shape::Reply));
    let push = envelope::encode(1, 0, kind, reply, bin(kind, Shape::Push));
    let mut frames = vec![request];
    if kind != "replicate" {
        frames.push(answer);
    }
    if ["replicate", "leader_info"].contains(&kind) {
        frames.push(push);
    }
    frames.into_iter().map(|frame| frame.expect("samples can be encoded")).collect()
}

pub fn check<M: Message>(request: &M, reply: &M::Reply) {
    let (mut hex, mut json, mut at) = (String::new(), String::new(), 0);
    for frame in frames(request, reply) {
        let whole = frame.to_bytes();
        let decoded = Frame::decode(at, whole.slice(4..));
        assert_eq!(decoded.problems, [], "{}", M::KIND);
        assert_eq!(open_batches(&decoded).1, [], "{}", M::KIND);
        let line = write_message(&whole[4..]).expect("it is sound");
        let again =
            read_message(line.as_bytes()).expect("it was just written").to_frame().expect("it is typed");
        assert_eq!(again.to_bytes(), whole, "{line}");
        hex += &format!(
            "# {}\n{}",
            decoded.shape().expect("it is sound").name(),
            render(at, &whole, &annotate(&whole))
        );
        json += &format!("{line}\n");
        at += whole.len() as u64;
    }
    keeps(M::KIND, "hex", &hex);
    keeps(M::KIND, "json", &json);
}

/// Compares with the file, or writes it with UPDATE=1.
fn keeps(kind: &str, extension: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{kind}.{extension}"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("the folder is there");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, text, "{} (UPDATE=1 writes it anew)", path.display());
}
