//! Messages as JSON: what is written is read back, wrong lines are named, nothing costs more than it is long.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use bytes::Bytes;
use proptest::prelude::*;
use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use yak_protocol::defaults::{FRAME_VALUES_MAX, NESTING_MAX};
use yak_protocol::envelope::{self, encode};
use yak_protocol::error::ErrorCode;
use yak_protocol::json::{JsonMessage, read_message, write_masked, write_message};
use yak_protocol::message::{Message, PlainRecord, Publish};

fn refused(line: &str) -> String {
    let error = read_message(line.as_bytes()).expect_err(line);
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert!(error.hint.is_some());
    error.message
}

/// The frame of a message, without its length; its body as it was written.
fn frame(message: &JsonMessage) -> Bytes {
    let body: rmp_serde::decode::Error = match rmp_serde::from_slice::<Raw>(&message.body) {
        Ok(Raw(body)) => {
            let bin = vec![message.bin.clone()];
            return encode(message.version, message.id, &message.kind, &body, bin)
                .unwrap()
                .to_bytes()
                .slice(4..);
        }
        Err(error) => error,
    };
    panic!("{body}")
}

struct Raw(Value);

impl<'de> serde::Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::Deserialize::deserialize(deserializer).map(Self)
    }
}

#[test]
fn a_line_is_a_message() {
    let line = br#" {"kind":"publish","topic":"orders","records":[{"key":"k1","value":{"hex":"fF00"},
        "headers":[["trace",{"b64":"YWI="}]],"timestamp_ms":-5},{"value":{"b64":"YQ"}}],"bin":{"b64":"AAE="}} "#;
    let message = read_message(line).unwrap();
    assert_eq!((message.version, message.id, message.kind.as_str()), (1, 1, Publish::KIND));
    assert_eq!(message.bin, &[0, 1][..]);
    let publish: Publish = envelope::body(&message.body).unwrap();
    assert_eq!(publish.topic.as_deref(), Some("orders"));
    assert_eq!(
        publish.records[0],
        PlainRecord {
            key: Some(ByteBuf::from("k1")),
            value: Some(ByteBuf::from([0xff, 0])),
            headers: vec![("trace".to_owned(), ByteBuf::from("ab"))],
            timestamp_ms: Some(-5),
            msg_id: None,
            offset: None,
        }
    );
    assert_eq!(publish.records[1].value, Some(ByteBuf::from("a")));
}

#[test]
fn what_stands_at_top_level_is_the_head_and_the_rest_is_the_body() {
    let message =
        read_message(br#"{"version":3,"id":18446744073709551615,"v":2,"kind":"hello","ok":true}"#).unwrap();
    assert_eq!((message.version, message.id), (2, u64::MAX));
    assert_eq!(
        &message.body[..],
        b"\x82\xa7version\x03\xa2ok\xc3",
        "`version` belongs to hello, `ok` to replies"
    );
    let empty = read_message(br#"{"kind":"probe"}"#).unwrap();
    assert_eq!(&empty.body[..], b"\x80");
    assert!(empty.bin.is_empty());
}

#[test]
fn wrong_lines_are_named_by_line_column_and_key() {
    for (line, expected) in [
        ("", "line 1 column 0: EOF"),
        ("{", "EOF"),
        ("[1]", "an object with the key `kind`"),
        ("{}", "no key `kind`"),
        (r#"{"kind":""}"#, "a kind of 0 bytes"),
        (r#"{"kind":"x","kind":"y"}"#, "kind: this key stands twice"),
        (r#"{"kind":"x"} y"#, "column 14: trailing characters"),
        (r#"{"kind":"x","id":-1}"#, "column 19, id: invalid value"),
        (r#"{"kind":"x","id":"7"}"#, "id: invalid type: string"),
        (r#"{"kind":"x","v":256}"#, "v: invalid value"),
        (r#"{"kind":"x","bin":5}"#, "bin: bytes are a string"),
        (r#"{"kind":"x","bin":{"b64":"?"}}"#, "bin: this is not base64"),
        (
            "{\"kind\":\"x\",\n\"a\":[1,{\"b\":{\"hex\":\"abc\"}}]}",
            "line 2 column 25, a[1].b: this is not hex",
        ),
        (r#"{"kind":"x","a":[1,}"#, "a[1]: expected value"),
        (r#"{"kind":"x","a":nul}"#, "a: expected ident"),
    ] {
        let said = refused(line);
        assert!(said.contains(expected), "{line}: {said}");
    }
    let long = format!(r#"{{"kind":"{}"}}"#, "x".repeat(65));
    assert!(refused(&long).contains("65 bytes"));
    let key = format!(r#"{{"kind":"x","{}":?}}"#, "y\\u001b".repeat(1000));
    assert!(refused(&key).len() < 400, "a key is not repeated whole, and not raw");
}

/// `{"kind":"x","a":[[[..` with so many containers in it, the message itself included.
fn nested(depth: usize, open: &str, close: &str) -> String {
    format!(r#"{{"kind":"x","a":{}1{}}}"#, open.repeat(depth - 1), close.repeat(depth - 1))
}

#[test]
fn nesting_ends_where_that_of_a_frame_does() {
    for (open, close) in [("[", "]"), (r#"{"b":"#, "}")] {
        // The envelope's own array is one of them.
        let deepest = read_message(nested(NESTING_MAX - 1, open, close).as_bytes()).unwrap();
        let whole = frame(&deepest);
        envelope::decode(whole.clone()).unwrap();
        assert_eq!(read_message(write_message(&whole).unwrap().as_bytes()).unwrap(), deepest);
        let said = refused(&nested(NESTING_MAX, open, close));
        assert!(said.contains("nested more than 32 deep"), "{said}");
        refused(&nested(1_000_000, open, close));
    }
}

#[test]
fn values_are_counted() {
    let many = usize::try_from(FRAME_VALUES_MAX).unwrap();
    let line = format!(r#"{{"kind":"x","a":[{}1]}}"#, "1,".repeat(many));
    assert!(refused(&line).contains("more than 4194304 values"));
}

#[test]
fn containers_of_every_width_get_the_shortest_head() {
    for (count, head) in [
        (0, vec![0x90]),
        (15, vec![0x9f]),
        (16, vec![0xdc, 0, 16]),
        (65_535, vec![0xdc, 0xff, 0xff]),
        (65_536, vec![0xdd, 0, 1, 0, 0]),
    ] {
        let line = json!({"kind": "x", "a": vec![7; count]}).to_string();
        let body = read_message(line.as_bytes()).unwrap().body;
        assert_eq!(&body[..3], b"\x81\xa1a");
        assert_eq!(&body[3..3 + head.len()], &head[..], "{count}");
        assert_eq!(body.len(), 3 + head.len() + count);
    }
}

#[test]
fn bytes_are_text_where_they_are_and_base64_where_not() {
    let records = [&b"two\nlines \xc3\xa4"[..], b"\x00", b"\xff", b"\x7f", b"\xc2\x9b", b""]
        .map(|bytes| PlainRecord { value: Some(ByteBuf::from(bytes)), ..PlainRecord::default() });
    let publish = Publish { records: records.to_vec(), ..Publish::default() };
    let sent = encode(1, 9, Publish::KIND, &publish, vec![Bytes::from_static(b"text")]).unwrap().to_bytes();
    let line = write_message(&sent[4..]).unwrap();
    assert_eq!(
        line,
        concat!(
            r#"{"id":9,"kind":"publish","acks":"all","timeout_ms":0,"records":[{"value":"two\nlines ä"},"#,
            r#"{"value":{"b64":"AA=="}},{"value":{"b64":"/w=="}},{"value":{"b64":"fw=="}},{"value":{"b64":"wps="}},"#,
            r#"{"value":""}],"bin":{"b64":"dGV4dA=="}}"#
        )
    );
    let read = read_message(line.as_bytes()).unwrap();
    assert_eq!(envelope::body::<Publish>(&read.body).unwrap(), publish);
    assert_eq!(read.bin, "text");
}

#[test]
fn masked_lines_show_what_happened_and_nothing_that_people_sent() {
    let secret = || Some(ByteBuf::from("secret"));
    let headers = vec![("secret".to_owned(), ByteBuf::from("secret"))];
    let record = PlainRecord {
        key: secret(),
        value: secret(),
        headers,
        timestamp_ms: Some(5),
        ..PlainRecord::default()
    };
    let publish = Publish { topic: Some("orders".into()), records: vec![record], ..Publish::default() };
    let sent =
        encode(1, 9, Publish::KIND, &publish, vec![Bytes::from_static(b"secret!")]).unwrap().to_bytes();
    let line = write_masked(&sent[4..]).unwrap();
    assert!(!line.contains("secret") && !line.contains("c2VjcmV0"), "{line}");
    let shown: Value = serde_json::from_str(&line).unwrap();
    let masked = json!({"masked": 6});
    assert_eq!(shown["topic"], "orders");
    assert_eq!(shown["records"][0]["key"], masked);
    assert_eq!(shown["records"][0]["headers"], json!([[masked, masked]]));
    assert_eq!(shown["records"][0]["timestamp_ms"], 5);
    assert_eq!(shown["bin"], json!({"masked": 7}));
}

#[test]
fn whatever_a_frame_may_hold_becomes_json() {
    // Keys that are no strings, an extension, a float, text that is not UTF-8, a terminal's escape.
    let body = b"\x88\x05\x01\x91\x02\x03\xc4\x01\xff\x04\xa1e\xd4\x09\x07\xa1f\xcb\x7f\xf8\0\0\0\0\0\0\
                 \xa1g\xcb\x3f\xe0\0\0\0\0\0\0\xa1s\xa1\xff\xa1t\xa2\xc2\x9b";
    let whole = [b"\x94\x03\x00\xa1x", &body[..]].concat();
    let line = write_message(&whole).unwrap();
    assert_eq!(
        line,
        concat!(
            r#"{"id":0,"kind":"x","v":3,"5":1,"<container>":3,"{\"b64\":\"/w==\"}":4,"e":{"ext":9,"b64":"Bw=="},"#,
            r#""f":null,"g":0.5,"s":{"b64":"/w=="},"t":"\u009b"}"#
        )
    );
    serde_json::from_str::<Value>(&line).unwrap();
    for cut in 0..whole.len() {
        assert!(write_message(&whole[..cut]).is_err(), "{cut}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            // Maps with one key of these names are byte strings.
            prop::collection::btree_map("[a-z_]{4,8}", inner, 0..20)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_message_comes_back(
        id: u64, version: u8, kind in "[a-z_]{1,64}",
        body in prop::collection::btree_map("[a-z_]{5,8}", any_json(), 0..20),
        bin: Vec<u8>,
    ) {
        let mut line = json!({"id": id, "kind": kind, "v": version});
        line.as_object_mut().unwrap().extend(body);
        line["bin"] = json!({"hex": data_encoding::HEXLOWER.encode(&bin)});
        let message = read_message(line.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&message.bin[..], &bin[..]);
        let written = write_message(&frame(&message)).unwrap();
        prop_assert_eq!(read_message(written.as_bytes()).unwrap(), message);
    }

    #[test]
    fn no_line_and_no_frame_panics(bytes: Vec<u8>) {
        let _ = read_message(&bytes);
        let _ = write_message(&bytes);
        let _ = write_masked(&[b"\x95\x01\x01\xa1x", &bytes[..]].concat());
    }
}
