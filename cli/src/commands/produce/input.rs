//! Where messages come from: a thread reads ahead, so that a slow reader never holds up the network.

use super::{ProduceArgs, csv_rows};
use crate::context::Context;
use crate::text;
use anyhow::Context as _;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read, Write as _};
use tokio::sync::mpsc;

/// A message to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    /// Which one, from 1: the line or row.
    pub(super) number: u64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Vec<u8>,
    /// Its id, if it comes with one.
    pub(super) msg_id: Option<Vec<u8>>,
    /// Bytes of input up to its end.
    pub(super) read: u64,
}

/// How many messages are handed over at a time, at most.
const CHUNK: usize = 512;
/// About how many bytes of them, at most.
const CHUNK_BYTES: usize = 256 << 10;

/// Messages, in chunks, as a thread reads them.
pub(super) struct Source {
    chunks: mpsc::Receiver<anyhow::Result<Vec<Message>>>,
    bytes: Option<u64>,
}

impl Source {
    /// Opens the input and starts to read it.
    pub(super) fn open(args: &ProduceArgs, context: &Context) -> anyhow::Result<Self> {
        let (sender, chunks) = mpsc::channel(4);
        if let Some(path) = &args.csv {
            let (file, bytes) = open(path)?;
            let fields =
                csv_rows::Fields { key: args.key_field.as_deref(), msg_id: args.msg_id_field.as_deref() };
            let rows = csv_rows::Rows::open(file, fields, &path.display().to_string())?;
            read_ahead(sender, rows);
            return Ok(Self { chunks, bytes });
        }
        let (input, bytes): (Box<dyn Read + Send>, _) = match &args.lines {
            Some(path) if path.as_os_str() != "-" => {
                let (file, bytes) = open(path)?;
                (Box::new(file), bytes)
            }
            _ => {
                if io::stdin().is_terminal() && !context.global.quiet {
                    tracing::info!("reading messages from the terminal; Ctrl-D ends them");
                }
                (Box::new(io::stdin()), None)
            }
        };
        let delimiter = delimiter(&args.delimiter)?;
        let key_delimiter = args.key_delimiter.as_deref().map(self::delimiter).transpose()?;
        read_ahead(sender, Lines::new(input, delimiter, key_delimiter));
        Ok(Self { chunks, bytes })
    }

    /// How long the input is, in bytes, if that is known.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    pub(super) async fn next(&mut self) -> Option<anyhow::Result<Vec<Message>>> {
        self.chunks.recv().await
    }
}

fn open(path: &std::path::Path) -> anyhow::Result<(std::fs::File, Option<u64>)> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let bytes = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
    Ok((file, bytes))
}

fn delimiter(text: &str) -> anyhow::Result<Vec<u8>> {
    let bytes = text::unescape(text).map_err(anyhow::Error::msg)?;
    anyhow::ensure!(!bytes.is_empty(), "a delimiter is at least one byte");
    Ok(bytes)
}

/// What messages are read from. `ready` = whether the next one is there without waiting.
pub(super) trait Reader: Iterator<Item = anyhow::Result<Message>> + Send + 'static {
    fn ready(&self) -> bool;
}

fn read_ahead(sender: mpsc::Sender<anyhow::Result<Vec<Message>>>, mut reader: impl Reader) {
    std::thread::spawn(move || {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while let Some(message) = reader.next() {
            let failed = message.is_err();
            match message {
                Ok(message) => {
                    bytes += message.value.len();
                    chunk.push(message);
                }
                Err(error) => {
                    // What was read before it is published all the same.
                    let _ = sender.blocking_send(Ok(std::mem::take(&mut chunk)));
                    let _ = sender.blocking_send(Err(error));
                }
            }
            if failed {
                return;
            }
            if chunk.len() >= CHUNK || bytes >= CHUNK_BYTES || !reader.ready() {
                bytes = 0;
                if sender.blocking_send(Ok(std::mem::take(&mut chunk))).is_err() {
                    return;
                }
            }
        }
        let _ = sender.blocking_send(Ok(chunk));
    });
}

/// Messages between delimiters.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    delimiter: Vec<u8>,
    key_delimiter: Option<Vec<u8>>,
    number: u64,
    read: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R, delimiter: Vec<u8>, key_delimiter: Option<Vec<u8>>) -> Self {
        Self {
            input: BufReader::with_capacity(256 << 10, input),
            delimiter,
            key_delimiter,
            number: 0,
            read: 0,
        }
    }

    /// Everything up to the next delimiter, without it; `None` at the end.
    fn read_message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(&last) = self.delimiter.last() else { return Ok(None) };
        let mut message = Vec::new();
        loop {
            let count = self.input.read_until(last, &mut message)?;
            self.read += count as u64;
            if message.ends_with(&self.delimiter) {
                message.truncate(message.len() - self.delimiter.len());
                return Ok(Some(message));
            }
            if count == 0 {
                return Ok(Some(message).filter(|message| !message.is_empty()));
            }
        }
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = anyhow::Result<Message>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = match self.read_message() {
            Ok(message) => message?,
            Err(error) => return Some(Err(error).context("cannot read the input")),
        };
        self.number += 1;
        let (key, value) = split_key(message, self.key_delimiter.as_deref());
        Some(Ok(Message { number: self.number, key, value, msg_id: None, read: self.read }))
    }
}

impl<R: Read + Send + 'static> Reader for Lines<R> {
    fn ready(&self) -> bool {
        self.input.buffer().contains(self.delimiter.last().unwrap_or(&b'\n'))
    }
}

/// Key and value; without the delimiter in it there is no key.
fn split_key(message: Vec<u8>, delimiter: Option<&[u8]>) -> (Option<Vec<u8>>, Vec<u8>) {
    let Some(delimiter) = delimiter else { return (None, message) };
    let at = message.windows(delimiter.len()).position(|window| window == delimiter);
    match at {
        Some(at) => (Some(message[..at].to_vec()), message[at + delimiter.len()..].to_vec()),
        None => (None, message),
    }
}

/// Writes messages to stdout as they came.
pub(super) fn tee(messages: &[Message], delimiter: &str) -> anyhow::Result<()> {
    let delimiter = text::unescape(delimiter).map_err(anyhow::Error::msg)?;
    let mut out = io::stdout().lock();
    for message in messages {
        out.write_all(&message.value)?;
        out.write_all(&delimiter)?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str, delimiter: &str, key: Option<&str>) -> Vec<(Option<String>, String)> {
        let key = key.map(|key| key.as_bytes().to_vec());
        let lines =
            Lines::new(io::Cursor::new(input.as_bytes().to_vec()), delimiter.as_bytes().to_vec(), key);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        lines.map(|line| line.expect("readable")).map(|line| (line.key.map(text), text(line.value))).collect()
    }

    fn value(text: &str) -> (Option<String>, String) {
        (None, text.to_owned())
    }

    #[test]
    fn lines_with_and_without_a_last_newline_and_empty_ones() {
        assert_eq!(read("a\n\nb\n", "\n", None), [value("a"), value(""), value("b")]);
        assert_eq!(read("a\nb", "\n", None), [value("a"), value("b")]);
        assert_eq!(read("", "\n", None), []);
    }

    #[test]
    fn delimiters_of_several_bytes() {
        assert_eq!(read("a-b--c-", "--", None), [value("a-b"), value("c-")]);
    }

    #[test]
    fn keys_end_at_the_first_delimiter() {
        let keyed = |key: &str, value: &str| (Some(key.to_owned()), value.to_owned());
        assert_eq!(
            read("k:v:w\n:v\nnone\n", "\n", Some(":")),
            [keyed("k", "v:w"), keyed("", "v"), value("none")]
        );
        assert_eq!(read("k=>v\n", "\n", Some("=>")), [keyed("k", "v")]);
    }
}
