//! Rows of a CSV file as JSON objects, columns in their order, values as strings, nothing guessed.

use super::input::{Message, Reader};
use crate::exit::{self, Failure};
use anyhow::Context as _;
use std::io::{BufRead, BufReader, Read};

/// Columns whose values mean something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) key: Option<&'a str>,
    pub(super) msg_id: Option<&'a str>,
}

/// The rows of a CSV file.
pub(super) struct Rows<R> {
    reader: csv::Reader<BufReader<R>>,
    /// The columns' names as JSON strings.
    columns: Vec<String>,
    key: Option<usize>,
    msg_id: Option<usize>,
    name: String,
    number: u64,
    record: csv::StringRecord,
}

impl<R: Read> Rows<R> {
    /// Reads the headings; guesses the delimiter from them.
    pub(super) fn open(input: R, fields: Fields<'_>, name: &str) -> anyhow::Result<Self> {
        let mut input = BufReader::with_capacity(256 << 10, input);
        let start = input.fill_buf().with_context(|| format!("cannot read {name}"))?;
        let bom = if start.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let delimiter = sniff_delimiter(&start[bom..]);
        input.consume(bom);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(input);
        let headings = reader.headers().with_context(|| format!("{name}: the headings"))?.clone();
        anyhow::ensure!(!headings.is_empty(), "{name} is empty: its first line must name the columns");
        let column = |field| find_column(&headings, field, name);
        let (key, msg_id) = (fields.key.map(column).transpose()?, fields.msg_id.map(column).transpose()?);
        let columns = headings.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        Ok(Self {
            reader,
            columns,
            key,
            msg_id,
            name: name.to_owned(),
            number: 0,
            record: csv::StringRecord::new(),
        })
    }

    fn value_at(&self, column: Option<usize>) -> Option<Vec<u8>> {
        column.and_then(|at| self.record.get(at)).map(|value| value.as_bytes().to_vec())
    }

    fn object(&self) -> anyhow::Result<String> {
        let mut object = String::from("{");
        for (at, (column, value)) in self.columns.iter().zip(&self.record).enumerate() {
            if at > 0 {
                object.push(',');
            }
            object.push_str(column);
            object.push(':');
            object.push_str(&serde_json::to_string(value)?);
        }
        object.push('}');
        Ok(object)
    }
}

fn find_column(headings: &csv::StringRecord, field: &str, name: &str) -> Result<usize, Failure> {
    headings.iter().position(|heading| heading == field).ok_or_else(|| {
        let known = headings.iter().collect::<Vec<_>>().join(", ");
        Failure::new(exit::USAGE, format!("{name} has no column {field:?}; its columns are: {known}"))
    })
}

/// The delimiter that the headings have most of; a comma if they have none.
fn sniff_delimiter(start: &[u8]) -> u8 {
    let headings = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: u8| headings.iter().filter(|byte| **byte == delimiter).count();
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

impl<R: Read> Iterator for Rows<R> {
    type Item = anyhow::Result<Message>;

    fn next(&mut self) -> Option<Self::Item> {
        self.number += 1;
        let read = self.reader.read_record(&mut self.record);
        match read.with_context(|| format!("{}: row {}", self.name, self.number)) {
            Ok(false) => None,
            Ok(true) => Some(self.object().map(|object| Message {
                number: self.number,
                key: self.value_at(self.key),
                msg_id: self.value_at(self.msg_id),
                value: object.into_bytes(),
                read: self.reader.position().byte(),
            })),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<R: Read + Send + 'static> Reader for Rows<R> {
    fn ready(&self) -> bool {
        // A file never makes its reader wait.
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(input: &str, key: Option<&str>) -> anyhow::Result<Vec<(Option<String>, String)>> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let rows = Rows::open(
            std::io::Cursor::new(input.as_bytes().to_vec()),
            Fields { key, msg_id: None },
            "in.csv",
        )?;
        rows.map(|row| row.map(|row| (row.key.map(text), text(row.value)))).collect()
    }

    #[test]
    fn a_row_becomes_an_object_in_the_order_of_the_columns() {
        let rows = rows("\u{feff}id,name,a\n007,\"x, \"\"y\"\"\",\n8,z,1\n", Some("id")).expect("legal");
        assert_eq!(rows[0], (Some("007".to_owned()), r#"{"id":"007","name":"x, \"y\"","a":""}"#.to_owned()));
        assert_eq!(rows[1].1, r#"{"id":"8","name":"z","a":"1"}"#);
    }

    #[test]
    fn the_delimiter_is_the_one_of_the_headings() {
        for delimiter in [";", "\t", "|", ","] {
            let rows = rows(&format!("a{delimiter}b\n1{delimiter}2\n"), None).expect("legal");
            assert_eq!(rows[0].1, r#"{"a":"1","b":"2"}"#, "{delimiter:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_row() {
        let text = format!("{:#}", rows("a,b\n1,2\n3\n", None).expect_err("too short"));
        assert!(text.contains("in.csv: row 2"), "{text}");
        let text = rows("a,b\n1,2\n", Some("c")).expect_err("no such column").to_string();
        assert!(text.contains("a, b"), "{text}");
        assert!(rows("", None).expect_err("empty").to_string().contains("empty"));
    }
}
