//! How a record is printed: kcat's letters, `{hex}` and `{base64}` behind them, and escapes.

use crate::text;
use data_encoding::{BASE64, HEXLOWER};
use std::io::{self, Write};
use yak_protocol::batch::Record;
use yak_protocol::ids::{Generation, PartitionIndex};

/// A record and where it lies.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: PartitionIndex,
    /// The generation of the group's member that shows it.
    pub(super) generation: Option<Generation>,
    pub(super) record: &'a Record<'a>,
}

/// A parsed format string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key(Encoding),
    KeyBytes,
    Value(Encoding),
    ValueBytes,
    Headers,
    Generation,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encoding {
    Raw,
    Hex,
    Base64,
}

/// What stands for a missing key or value with `-Z`.
const NULL: &[u8] = b"NULL";

impl Format {
    /// The value and a newline, in front of it the key and a delimiter if one is wanted.
    pub(super) fn plain(key_delimiter: Option<&str>) -> Result<Self, String> {
        let mut pieces = Vec::new();
        if let Some(delimiter) = key_delimiter {
            pieces.push(Piece::Key(Encoding::Raw));
            pieces.push(Piece::Literal(text::unescape(delimiter)?));
        }
        pieces.extend([Piece::Value(Encoding::Raw), Piece::Literal(b"\n".to_vec())]);
        Ok(Self(pieces))
    }

    /// Parses `%t/%p@%o: %k{hex} %s\n`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            let (literal, tail) = rest.split_at(at);
            push_literal(&mut pieces, literal)?;
            let mut letters = tail[1..].chars();
            let Some(letter) = letters.next() else {
                return Err(format!("{text:?} ends with a lone %; write %% for one"));
            };
            rest = letters.as_str();
            let encoding = match rest.strip_prefix('{').and_then(|tail| tail.split_once('}')) {
                Some((name, tail)) if matches!(letter, 'k' | 's' | 'v') => {
                    rest = tail;
                    encoding(name)?
                }
                _ => Encoding::Raw,
            };
            pieces.push(match letter {
                '%' => Piece::Literal(b"%".to_vec()),
                't' => Piece::Topic,
                'p' => Piece::Partition,
                'o' => Piece::Offset,
                'T' => Piece::Timestamp,
                'k' => Piece::Key(encoding),
                'K' => Piece::KeyBytes,
                's' | 'v' => Piece::Value(encoding),
                'S' | 'V' => Piece::ValueBytes,
                'h' => Piece::Headers,
                'g' => Piece::Generation,
                other => {
                    return Err(format!(
                        "%{other} means nothing; there are %t topic, %p partition, %o offset, %T timestamp, %k key, \
                         %K its length, %s value, %S its length, %h headers, %g generation, %%"
                    ));
                }
            });
        }
        push_literal(&mut pieces, rest)?;
        Ok(Self(pieces))
    }

    /// Writes one record.
    pub(super) fn write(&self, out: &mut impl Write, shown: &Shown<'_>, null: bool) -> io::Result<()> {
        let record = shown.record;
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.write_all(bytes)?,
                Piece::Topic => out.write_all(shown.topic.as_bytes())?,
                Piece::Partition => write!(out, "{}", shown.partition)?,
                Piece::Offset => write!(out, "{}", record.offset)?,
                Piece::Timestamp => write!(out, "{}", record.timestamp_ms)?,
                Piece::Key(encoding) => write_bytes(out, record.key, *encoding, null)?,
                Piece::KeyBytes => write_length(out, record.key)?,
                Piece::Value(encoding) => write_bytes(out, record.value, *encoding, null)?,
                Piece::ValueBytes => write_length(out, record.value)?,
                Piece::Headers => write_headers(out, record)?,
                Piece::Generation => match shown.generation {
                    Some(generation) => write!(out, "{generation}")?,
                    None => out.write_all(b"-")?,
                },
            }
        }
        Ok(())
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) -> Result<(), String> {
    if !text.is_empty() {
        pieces.push(Piece::Literal(text::unescape(text)?));
    }
    Ok(())
}

fn encoding(name: &str) -> Result<Encoding, String> {
    match name {
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        other => Err(format!("{{{other}}} means nothing; there are {{hex}} and {{base64}}")),
    }
}

fn write_bytes(out: &mut impl Write, bytes: Option<&[u8]>, encoding: Encoding, null: bool) -> io::Result<()> {
    match (bytes, encoding) {
        (None, _) if null => out.write_all(NULL),
        (None, _) => Ok(()),
        (Some(bytes), Encoding::Raw) => out.write_all(bytes),
        (Some(bytes), Encoding::Hex) => out.write_all(HEXLOWER.encode(bytes).as_bytes()),
        (Some(bytes), Encoding::Base64) => out.write_all(BASE64.encode(bytes).as_bytes()),
    }
}

/// As kcat does: -1 for none.
fn write_length(out: &mut impl Write, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes {
        Some(bytes) => write!(out, "{}", bytes.len()),
        None => out.write_all(b"-1"),
    }
}

fn write_headers(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    for (at, (name, value)) in record.headers.enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        out.write_all(name.as_bytes())?;
        out.write_all(b"=")?;
        out.write_all(value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use yak_protocol::batch::{BatchBuilder, Compression, RecordRef, Records};

    fn batch() -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None);
        let headers: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"x y")];
        builder.push(&RecordRef {
            timestamp_ms: 17,
            key: Some(b"k\xff"),
            value: Some(b"v"),
            headers: &headers,
        });
        builder.push(&RecordRef { timestamp_ms: 18, key: None, value: None, headers: &[] });
        builder.build().expect("it has records")
    }

    fn show(format: &str, index: usize, null: bool) -> Vec<u8> {
        let format = Format::parse(format).expect("legal");
        let batch = batch();
        let records = Records::open(&batch, 1 << 20).expect("whole");
        let record = records.iter().nth(index).expect("there").expect("whole");
        let mut out = Vec::new();
        let shown =
            Shown { topic: "orders", partition: PartitionIndex(2), generation: None, record: &record };
        format.write(&mut out, &shown, null).expect("memory takes it");
        out
    }

    #[test]
    fn every_letter() {
        assert_eq!(show(r"%t/%p@%o %T %K %s %S %h%%\n", 0, false), b"orders/2@0 17 2 v 1 a=1,b=x y%\n");
        assert_eq!(show("%k|%v|%V", 0, false), b"k\xff|v|1");
        assert_eq!(show("%k{hex} %k{base64} %s{hex}", 0, false), b"6bff a/8= 76");
    }

    #[test]
    fn nothing_is_empty_or_null() {
        assert_eq!(show("%k|%s|%K|%S", 1, false), b"||-1|-1");
        assert_eq!(show("%k|%s", 1, true), b"NULL|NULL");
    }

    #[test]
    fn plain_is_the_value_with_the_key_if_wanted() {
        assert_eq!(Format::plain(None), Format::parse(r"%s\n"));
        assert_eq!(Format::plain(Some(r"\t")), Format::parse(r"%k\t%s\n"));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        assert!(Format::parse("%q").expect_err("no letter").contains("%s value"));
        assert!(Format::parse("100%").expect_err("lone").contains("%%"));
        assert!(Format::parse("%s{rot13}").expect_err("no encoding").contains("base64"));
        assert!(Format::parse(r"\x1").is_err());
    }
}
