//! A record as one line of JSON, with kcat's key names.

use super::format::Shown;
use data_encoding::BASE64;
use serde::{Serialize, Serializer, ser::SerializeSeq as _};
use std::io::{self, Write};
use yak_protocol::batch::Headers;

/// Writes `{"topic", "partition", "offset", "tstype", "ts", "headers", "key", "payload"}`; bytes that are
/// no UTF-8 as `{"base64": ...}`.
pub(super) fn write(out: &mut impl Write, shown: &Shown<'_>) -> io::Result<()> {
    let line = Line {
        topic: shown.topic,
        partition: shown.partition.0,
        offset: shown.record.offset.0,
        generation: shown.generation.map(|generation| generation.0),
        tstype: "create",
        ts: shown.record.timestamp_ms,
        headers: FlatHeaders(shown.record.headers),
        key: shown.record.key.map(Text),
        payload: shown.record.value.map(Text),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
    tstype: &'static str,
    ts: i64,
    headers: FlatHeaders<'a>,
    key: Option<Text<'a>>,
    payload: Option<Text<'a>>,
}

/// Bytes: a string if they are UTF-8.
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_map([("base64", BASE64.encode(self.0))]),
        }
    }
}

/// Name, value, name, value, as kcat writes them.
struct FlatHeaders<'a>(Headers<'a>);

impl Serialize for FlatHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len() * 2))?;
        for (name, value) in self.0 {
            list.serialize_element(name)?;
            list.serialize_element(&Text(value))?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::batch::{BatchBuilder, Compression, RecordRef, Records};
    use yak_protocol::ids::PartitionIndex;

    #[test]
    fn one_line_with_the_names_that_kcat_uses() {
        let mut builder = BatchBuilder::new(Compression::None);
        let headers: [(&str, &[u8]); 2] = [("h", b"1"), ("i", b"\xff")];
        builder.push(&RecordRef {
            timestamp_ms: 17,
            key: Some(b"k"),
            value: Some(b"\xff"),
            headers: &headers,
        });
        builder.push(&RecordRef { timestamp_ms: 18, key: None, value: None, headers: &[] });
        let batch = builder.build().expect("it has records");
        let records = Records::open(&batch, 1 << 20).expect("whole");
        let mut out = Vec::new();
        for record in &records {
            let record = record.expect("whole");
            write(
                &mut out,
                &Shown { topic: "t", partition: PartitionIndex(1), generation: None, record: &record },
            )
            .expect("memory");
        }
        assert_eq!(
            String::from_utf8(out).expect("text"),
            concat!(
                r#"{"topic":"t","partition":1,"offset":0,"tstype":"create","ts":17,"headers":["h","1","i",{"base64":"/w=="}],"key":"k","payload":{"base64":"/w=="}}"#,
                "\n",
                r#"{"topic":"t","partition":1,"offset":1,"tstype":"create","ts":18,"headers":[],"key":null,"payload":null}"#,
                "\n"
            )
        );
    }
}
