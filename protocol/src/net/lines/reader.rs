//! Lines out of a byte stream.

use crate::net::limits::{
    JSON_LINE_BYTES_MAX, LINE_BYTES_MAX, LINE_READ_BYTES, READ_BYTES, READ_STALL_MAX, SILENCE, TEXT_IDLE_MAX,
};
use crate::net::stream::unless_stalled;
use crate::text::Word;
use bytes::{Buf, Bytes, BytesMut};
use std::io::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Cuts lines out of a stream, with what telnet says between them left out.
///
/// Never makes room for more than twice what has arrived, or 64 KiB more.
pub(in crate::net) struct LineReader<R> {
    io: R,
    buffer: BytesMut,
    /// How much of the buffer holds no end of a line.
    scanned: usize,
    /// Where the first line ends, once that is known.
    line_end: Option<usize>,
    /// Whether telnet asked to close.
    goodbye: bool,
    /// Whether the stream has ended.
    ended: bool,
}

/// What a connection that begins with a line speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::net) enum FirstLine {
    /// HTTP, for good. Nothing of it was taken.
    Http,
    /// A word, and nothing else.
    Word(Word),
    /// Text or JSON. Nothing of it was taken.
    Other,
}

/// The next of a stream of lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::net) enum Next {
    /// A line without its end. The last one may lack it.
    Line(Bytes),
    /// The stream is over.
    End,
    /// Somebody pressed Ctrl-C in telnet.
    Goodbye,
}

/// Why there are no further lines.
#[derive(Debug)]
pub(in crate::net) enum LineError {
    /// The line is longer than so many bytes.
    TooLong(usize),
    /// The stream broke.
    Io(Error),
}

impl From<Error> for LineError {
    fn from(error: Error) -> Self {
        Self::Io(error)
    }
}

/// Telnet: "interpret as command" (RFC 854).
const IAC: u8 = 0xff;

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// Reads on behind `buffer`.
    pub(in crate::net) fn new(io: R, buffer: BytesMut) -> Self {
        Self { io, buffer, scanned: 0, line_end: None, goodbye: false, ended: false }
    }

    /// The stream, and what has been read of it and not been taken.
    pub(in crate::net) fn into_parts(self) -> (R, BytesMut) {
        (self.io, self.buffer)
    }

    /// See [`Self::into_parts`].
    pub(in crate::net) fn parts_mut(&mut self) -> (&mut R, &mut BytesMut) {
        (&mut self.io, &mut self.buffer)
    }

    /// Tells what the connection speaks by its first line.
    pub(in crate::net) async fn first_line(&mut self) -> FirstLine {
        loop {
            let whole = self.has_line();
            let line = &self.buffer[..self.line_end.unwrap_or(self.buffer.len())];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let word = Word::parse(line);
            if whole {
                return match word {
                    Some(word) => FirstLine::Word(word),
                    None if is_http(line) => FirstLine::Http,
                    None => FirstLine::Other,
                };
            }
            if self.goodbye || self.ended || self.buffer.len() > self.limit() {
                return FirstLine::Other;
            }
            let limit = if word.is_some() { SILENCE } else { TEXT_IDLE_MAX };
            match (timeout(limit, self.read()).await, word) {
                (Ok(Ok(())), _) => {}
                (Err(_), Some(word)) => return FirstLine::Word(word),
                _ => return FirstLine::Other,
            }
        }
    }

    /// Whether [`Self::next`] has something to return at once.
    pub(in crate::net) fn has_line(&mut self) -> bool {
        self.scan();
        self.line_end.is_some() || (self.ended && !self.buffer.is_empty())
    }

    /// Whether the stream has ended; there may still be lines.
    pub(in crate::net) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether telnet asked to close.
    pub(in crate::net) fn is_goodbye(&self) -> bool {
        self.goodbye
    }

    /// The next line. Safe to cancel.
    pub(in crate::net) async fn next(&mut self) -> Result<Next, LineError> {
        loop {
            if self.has_line() {
                return self.take().map(Next::Line);
            }
            if self.goodbye {
                return Ok(Next::Goodbye);
            }
            if self.ended {
                return Ok(Next::End);
            }
            self.read_on().await?;
        }
    }

    /// Reads until there is a line, or the stream ends. Takes nothing. Safe to cancel.
    pub(in crate::net) async fn wait(&mut self) -> Result<(), LineError> {
        while !self.has_line() && !self.ended && !self.goodbye {
            self.read_on().await?;
        }
        Ok(())
    }

    /// So many bytes behind the line that was just taken, whatever they are.
    pub(in crate::net) async fn counted(&mut self, count: usize) -> std::io::Result<Bytes> {
        while self.buffer.len() < count {
            if self.buffer.capacity() == self.buffer.len() {
                // Room grows with what has arrived, not with what was announced.
                self.buffer.reserve((count - self.buffer.len()).min(READ_BYTES));
            }
            if self.ended || unless_stalled(READ_STALL_MAX, self.io.read_buf(&mut self.buffer)).await? == 0 {
                self.ended = true;
                let what = format!("the connection ended after {} of {count} bytes", self.buffer.len());
                return Err(Error::new(ErrorKind::UnexpectedEof, what));
            }
        }
        (self.scanned, self.line_end) = (0, None);
        Ok(self.buffer.split_to(count).freeze())
    }

    async fn read_on(&mut self) -> Result<(), LineError> {
        let limit = self.limit();
        // The end may still be a CR and a LF.
        if self.buffer.len() > limit + 1 {
            return Err(LineError::TooLong(limit));
        }
        Ok(self.read().await?)
    }

    async fn read(&mut self) -> std::io::Result<()> {
        if self.buffer.capacity() - self.buffer.len() < LINE_READ_BYTES / 4 {
            self.buffer.reserve(LINE_READ_BYTES);
        }
        self.ended |= self.io.read_buf(&mut self.buffer).await? == 0;
        Ok(())
    }

    /// How long the line may be that the buffer begins with.
    fn limit(&self) -> usize {
        let begins = self.buffer.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
        if begins == Some(&b'{') { JSON_LINE_BYTES_MAX } else { LINE_BYTES_MAX }
    }

    fn take(&mut self) -> Result<Bytes, LineError> {
        let (limit, end) = (self.limit(), self.line_end.take());
        let mut line = self.buffer.split_to(end.unwrap_or(self.buffer.len()));
        if end.is_some() {
            self.buffer.advance(1);
        }
        self.scanned = 0;
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        if line.len() > limit {
            return Err(LineError::TooLong(limit));
        }
        if self.buffer.is_empty() && line.len() > LINE_BYTES_MAX {
            // Otherwise an idle connection would keep the memory of its last large line alive.
            self.buffer = BytesMut::new();
        }
        Ok(line.freeze())
    }

    /// Looks for the end of the first line in what has not been looked at yet.
    fn scan(&mut self) {
        if self.line_end.is_some() || self.goodbye {
            return;
        }
        let fresh = &self.buffer[self.scanned..];
        let end = fresh.iter().position(|byte| *byte == b'\n');
        if fresh[..end.unwrap_or(fresh.len())].contains(&IAC) {
            return self.scan_telnet();
        }
        self.line_end = end.map(|end| self.scanned + end);
        self.scanned = self.buffer.len();
    }

    /// As [`Self::scan`], where telnet talks, too: what it says is taken out of the buffer.
    fn scan_telnet(&mut self) {
        let (mut from, mut to) = (self.scanned, self.scanned);
        while from < self.buffer.len() {
            let byte = self.buffer[from];
            if byte == b'\n' {
                self.line_end = Some(to);
                break;
            }
            let passed = if byte == IAC { telnet(&self.buffer[from..]) } else { Telnet::Text };
            match passed {
                Telnet::Text => {
                    self.buffer[to] = byte;
                    (from, to) = (from + 1, to + 1);
                }
                Telnet::Command(bytes) => from += bytes,
                Telnet::Goodbye => {
                    self.goodbye = true;
                    break;
                }
                Telnet::More if self.ended => from = self.buffer.len(),
                Telnet::More => break,
            }
        }
        let left = self.buffer.len() - from;
        self.buffer.copy_within(from.., to);
        self.buffer.truncate(to + left);
        self.scanned = to;
    }
}

/// What telnet says at one place.
enum Telnet {
    /// Nothing: the byte is the user's.
    Text,
    /// A command of so many bytes.
    Command(usize),
    /// Interrupt process, and do timing mark: what Ctrl-C sends.
    Goodbye,
    /// That takes more bytes.
    More,
}

fn telnet(bytes: &[u8]) -> Telnet {
    const SE: u8 = 0xf0;
    const INTERRUPT: u8 = 0xf4;
    const SB: u8 = 0xfa;
    const DO: u8 = 0xfd;
    match bytes {
        [_] => Telnet::More,
        [_, INTERRUPT, IAC, DO, ..] => Telnet::Goodbye,
        [_, INTERRUPT] | [_, INTERRUPT, IAC] => Telnet::More,
        [_, SB, rest @ ..] => match rest.windows(2).position(|pair| pair == [IAC, SE]) {
            Some(end) => Telnet::Command(2 + end + 2),
            None => Telnet::More,
        },
        // WILL, WON'T, DO, DON'T and an option.
        [_, 0xfb..=0xfe, rest @ ..] => {
            if rest.is_empty() {
                Telnet::More
            } else {
                Telnet::Command(3)
            }
        }
        // An escaped 0xFF is no text either, but the line says so then.
        [_, IAC, ..] => Telnet::Text,
        [_, SE..=0xfa, ..] => Telnet::Command(2),
        _ => Telnet::Text,
    }
}

/// Whether a first line is that of an HTTP request.
fn is_http(line: &[u8]) -> bool {
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") || line == b"PRI * HTTP/2.0"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of these bytes, read in pieces of `piece` bytes.
    async fn lines(bytes: &[u8], piece: usize) -> Vec<Next> {
        let (mut far, near) = tokio::io::duplex(piece);
        let bytes = bytes.to_vec();
        let sending = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            // The reader may have heard enough before the end.
            let _ = far.write_all(&bytes).await;
        });
        let mut reader = LineReader::new(near, BytesMut::new());
        let mut all = Vec::new();
        loop {
            let next = reader.next().await.expect("no line is too long");
            let over = !matches!(next, Next::Line(_));
            all.push(next);
            if over {
                drop(reader);
                sending.await.expect("it does not panic");
                return all;
            }
        }
    }

    fn line(text: &[u8]) -> Next {
        Next::Line(Bytes::copy_from_slice(text))
    }

    #[tokio::test]
    async fn ends_of_lines() {
        for piece in [1, 2, 3, 1000] {
            let found = lines(b"one\ntwo\r\n\r\n\n a\rb \nlast", piece).await;
            let expected =
                [line(b"one"), line(b"two"), line(b""), line(b""), line(b" a\rb "), line(b"last"), Next::End];
            assert_eq!(found, expected, "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn telnet_is_left_out() {
        for piece in [1, 2, 3, 1000] {
            // DO, WILL with an option that is a LF, a subnegotiation with a LF in it, a NOP.
            let said = b"\xff\xfd\x03\xff\xfb\nPI\xff\xfa\x18\n\xff\xf0NG\xff\xf1\r\nx\n\xff\xf4\xff\xfd\x06";
            let found = lines(said, piece).await;
            assert_eq!(found, [line(b"PING"), line(b"x"), Next::Goodbye], "in pieces of {piece}");
            let found = lines(b"\xff\xf4a\n\xff\xff\n\xff\x05b\n", piece).await;
            assert_eq!(found, [line(b"a"), line(b"\xff\xff"), line(b"\xff\x05b"), Next::End]);
            assert_eq!(lines(b"a\n\xff\xfa\x18", piece).await, [line(b"a"), Next::End]);
        }
    }

    #[tokio::test]
    async fn counted_bytes_are_any() {
        let (mut far, near) = tokio::io::duplex(7);
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let _ = far.write_all(b"PUBN\n\xff\xf4\xff\xfd\n\r\0\nPING\nab").await;
        });
        let mut reader = LineReader::new(near, BytesMut::new());
        assert_eq!(reader.next().await.expect("a line"), line(b"PUBN"));
        assert_eq!(reader.counted(7).await.expect("enough"), &b"\xff\xf4\xff\xfd\n\r\0"[..]);
        assert_eq!(reader.next().await.expect("a line"), line(b""));
        assert_eq!(reader.next().await.expect("a line"), line(b"PING"));
        let error = reader.counted(usize::MAX).await.expect_err("too few");
        assert!(error.to_string().contains("after 2 of"), "{error}");
    }

    #[tokio::test]
    async fn a_line_has_a_longest() {
        for end in ["\n", "\r\n", ""] {
            let longest = ["x".repeat(LINE_BYTES_MAX), end.to_owned()].concat();
            assert_eq!(lines(longest.as_bytes(), 4096).await[0], line("x".repeat(LINE_BYTES_MAX).as_bytes()));
            let too_long = ["x".repeat(LINE_BYTES_MAX + 1), end.to_owned()].concat();
            let mut reader = LineReader::new(too_long.as_bytes(), BytesMut::new());
            assert!(matches!(reader.next().await, Err(LineError::TooLong(LINE_BYTES_MAX))));
            let json = [" {".to_owned(), "x".repeat(LINE_BYTES_MAX), end.to_owned()].concat();
            let mut reader = LineReader::new(json.as_bytes(), BytesMut::new());
            assert!(matches!(reader.next().await, Ok(Next::Line(_))));
        }
        let endless = tokio::io::repeat(b'x');
        let mut reader = LineReader::new(endless, BytesMut::new());
        assert!(matches!(reader.next().await, Err(LineError::TooLong(_))));
    }
}
