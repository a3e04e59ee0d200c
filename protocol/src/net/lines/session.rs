//! What a command can do with the connection on which it was typed.

use super::asker::Asker;
use super::reader::LineReader;
use crate::defaults::FRAME_PREFIX_BYTES;
use crate::envelope::{self, Kind};
use crate::error::{ErrorCode, WireError};
use crate::ids::{Offset, PartitionIndex};
use crate::message::Message;
use crate::net::limits::{ROWS_MAX, TEXT_BYTES_PAUSE};
use crate::net::listener::{ListenerConfig, TextAccess};
use crate::net::peer::Peer;
use crate::net::service::Service;
use crate::text::{Format, Status, Table, Value, escaped, quoted, rfc3339, undotted};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Nothing more can be sent to whoever typed; the command is to return.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the session takes nothing more")]
pub struct Gone;

/// Why a command is not done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// It was refused; the session goes on.
    #[error("{0}")]
    Refused(WireError),
    /// See [`Gone`].
    #[error(transparent)]
    Gone(#[from] Gone),
}

impl From<WireError> for CommandError {
    fn from(error: WireError) -> Self {
        Self::Refused(error)
    }
}

/// What ends a command that follows something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Interrupt {
    /// The peer has sent another line (which is taken next), or Ctrl-C.
    Line,
    /// The peer has closed its sending side, and what it asked to `LINGER` is over.
    End,
    /// The server stops.
    Shutdown,
}

/// How a session answers. Commands change it, and options change it for one command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::net) struct Settings {
    pub(in crate::net) format: Format,
    pub(in crate::net) forward: bool,
    pub(in crate::net) escape: bool,
    pub(in crate::net) raw: bool,
    pub(in crate::net) linger: Duration,
    pub(in crate::net) oneshot: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: Format::Table,
            forward: true,
            escape: true,
            raw: false,
            linger: Duration::ZERO,
            oneshot: false,
        }
    }
}

/// The data that a command has answered so far.
#[derive(Default)]
pub(super) struct Data {
    rows: usize,
    rows_max: usize,
    /// Whether the lone `.` is still to come.
    pub(super) open: bool,
    /// Why no more of it is taken.
    pub(super) refused: Option<WireError>,
}

/// One connection on which somebody types, as commands see it.
pub struct TextSession {
    pub(super) peer: Peer,
    pub(super) config: Arc<ListenerConfig>,
    pub(super) access: TextAccess,
    pub(super) reader: LineReader<OwnedReadHalf>,
    pub(super) shutdown: CancellationToken,
    /// Of the session.
    pub(super) settings: Settings,
    /// Of the command that is being done.
    pub(super) current: Settings,
    pub(super) data: Data,
    pub(super) progress: Progress,
    pub(super) quitting: bool,
    /// When the peer closed its sending side.
    ended_at: Option<Instant>,
    asker: Asker,
}

/// When the command last said something.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TextSession {
    pub(super) fn new(
        peer: Peer,
        config: Arc<ListenerConfig>,
        access: TextAccess,
        reader: LineReader<OwnedReadHalf>,
        shutdown: CancellationToken,
    ) -> Self {
        let asker = Asker::new(peer.clone(), config.clone());
        Self {
            peer,
            config,
            access,
            reader,
            shutdown,
            settings: Settings::default(),
            current: Settings::default(),
            data: Data::default(),
            progress: Progress::now(),
            quitting: false,
            ended_at: None,
            asker,
        }
    }

    /// Who types.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What the listener takes.
    #[must_use]
    pub fn config(&self) -> &ListenerConfig {
        &self.config
    }

    /// What may be done by hand on this connection.
    #[must_use]
    pub fn access(&self) -> TextAccess {
        self.access
    }

    /// Whether requests are to be passed on to whoever can answer them: on, unless the session or the
    /// command said `forward=off`.
    #[must_use]
    pub fn forward(&self) -> bool {
        self.current.forward
    }

    /// How data and status lines look: as `FORMAT` or the command's `format=` said.
    #[must_use]
    pub fn format(&self) -> Format {
        self.current.format
    }

    /// Whether only the values of messages are wanted (`RAW on`).
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.current.raw
    }

    /// Whether what cannot be printed is escaped (`ESC on`, the default).
    #[must_use]
    pub fn is_escaped(&self) -> bool {
        self.current.escape
    }

    /// Changes how the session answers, from the current command on.
    pub(in crate::net) fn set(&mut self, change: impl Fn(&mut Settings)) {
        change(&mut self.settings);
        change(&mut self.current);
    }

    /// The connection ends once the command has been answered.
    pub(in crate::net) fn quit(&mut self) {
        self.quitting = true;
    }

    /// Sends a message on the way of a frame; see [`Asker::ask`].
    ///
    /// # Errors
    /// What a client that sent the frame would have been answered.
    pub async fn ask<S: Service, M: Message>(
        &mut self,
        service: &S,
        message: &M,
        bin: Vec<Bytes>,
    ) -> Result<(M::Reply, Bytes), WireError> {
        self.asker.ask(service, message, bin).await
    }

    /// Asks in this session's name, also while [`Self::interrupted`] is waited for.
    #[must_use]
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// One line of data; several if there are ends of lines in it. With `FORMAT json` an object whose only
    /// key is `line`.
    ///
    /// Waits while the peer does not read.
    ///
    /// # Errors
    /// [`Gone`]: the peer is gone, or the command has answered more than it may.
    pub async fn line(&mut self, text: &str) -> Result<(), Gone> {
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let line = match self.format() {
                Format::Json => serde_json::json!({ "line": line }).to_string(),
                Format::Table | Format::Kv => undotted(line),
            };
            self.row(format!("{line}\n").into()).await?;
        }
        Ok(())
    }

    /// A table in the session's format.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub async fn table(&mut self, table: &Table) -> Result<(), Gone> {
        for mut line in table.lines(self.format()) {
            line.push('\n');
            self.row(line.into()).await?;
        }
        Ok(())
    }

    /// A record:
    ///
    /// ```text
    /// MSG topic partition offset time key bytes      the key quoted, `-` if there is none
    /// value                                          so many bytes; escaped ones are counted as they are sent
    /// ```
    ///
    /// With `RAW on` only the value and an end of line; with `FORMAT json` one object. A record without a
    /// value has `-` for the number of bytes and no second line.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub async fn message(
        &mut self,
        topic: &str,
        partition: PartitionIndex,
        offset: Offset,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), Gone> {
        let Settings { raw, escape, format, .. } = self.current;
        let time = rfc3339(timestamp_ms);
        let shown = |bytes: &[u8]| if escape { escaped(bytes).into_bytes() } else { bytes.to_vec() };
        let mut out = Vec::new();
        if raw {
            out = value.map(shown).unwrap_or_default();
        } else if format == Format::Json {
            let object = format!(
                "{{\"topic\":{},\"partition\":{partition},\"offset\":{offset},\"time\":\"{time}\",\"key\":{},\"value\":{}}}",
                Value::from(topic).json(),
                json_bytes(key),
                json_bytes(value)
            );
            out.extend_from_slice(object.as_bytes());
        } else {
            let key = key.map_or_else(|| "-".to_owned(), shown_key);
            let head = format!("MSG {topic} {partition} {offset} {time} {key}");
            out.extend_from_slice(head.as_bytes());
            match value.map(shown) {
                None => out.extend_from_slice(b" -"),
                Some(value) => {
                    out.extend_from_slice(format!(" {}\n", value.len()).as_bytes());
                    out.extend_from_slice(&value);
                }
            }
        }
        out.push(b'\n');
        self.row(out.into()).await
    }

    /// A line of data as it is: what is an object already.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub(in crate::net) async fn object(&mut self, object: &str) -> Result<(), Gone> {
        self.row(format!("{object}\n").into()).await
    }

    /// The lone `.` that ends data; data without one gets it before the status. There is none with `RAW
    /// on` or `FORMAT json`, where every line is a value or an object.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub async fn end(&mut self) -> Result<(), Gone> {
        self.data.open = false;
        if self.current.raw || self.format() == Format::Json {
            return Ok(());
        }
        self.send(Bytes::from_static(b".\n")).await
    }

    /// A table, its end, and the status that counts its rows: all that many commands answer.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub async fn answer(&mut self, table: &Table) -> Result<Status, CommandError> {
        self.table(table).await?;
        self.end().await?;
        Ok(Status::ok().with("count", table.len()))
    }

    /// Waits for what ends a command that follows something: the peer's next line, the end of what it
    /// sends (after what `LINGER` said), or the server's stop. Safe to cancel.
    ///
    /// A line that is there already interrupts at once.
    pub async fn interrupted(&mut self) -> Interrupt {
        loop {
            if self.reader.has_line() || self.reader.is_goodbye() {
                return Interrupt::Line;
            }
            if self.reader.has_ended() {
                return self.lingered().await;
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return Interrupt::Shutdown,
                () = self.peer.closing() => return Interrupt::Shutdown,
                // What is wrong with the line is said when it is taken.
                waited = self.reader.wait() => if waited.is_err() { return Interrupt::Line },
            }
        }
    }

    async fn lingered(&mut self) -> Interrupt {
        let since = *self.ended_at.get_or_insert_with(Instant::now);
        tokio::select! {
            () = tokio::time::sleep_until(since + self.current.linger) => Interrupt::End,
            () = self.shutdown.cancelled() => Interrupt::Shutdown,
            () = self.peer.closing() => Interrupt::Shutdown,
        }
    }

    /// Begins a command that may answer so many lines of data.
    pub(super) fn begin(&mut self, rows_max: Option<usize>) {
        self.current = self.settings;
        self.data = Data { rows_max: rows_max.unwrap_or(ROWS_MAX), ..Data::default() };
        self.progress.touch();
    }

    /// A line of data, its end included.
    async fn row(&mut self, line: Bytes) -> Result<(), Gone> {
        if self.data.rows >= self.data.rows_max {
            let what = format!("more than {} lines of data", self.data.rows_max);
            let error = WireError::new(ErrorCode::Overloaded, what);
            self.data.refused = Some(error.hint("narrow it down, or ask for more with max="));
            return Err(Gone);
        }
        self.data.rows += 1;
        self.data.open = true;
        self.send(line).await
    }

    /// Sends as it is, once the peer has read most of what was sent before.
    pub(super) async fn send(&mut self, bytes: Bytes) -> Result<(), Gone> {
        tokio::select! {
            biased;
            _ = self.peer.cut_off() => return Err(Gone),
            () = self.peer.outbox().below(TEXT_BYTES_PAUSE) => {}
        }
        self.progress.touch();
        self.peer.say(bytes).map_err(|_| Gone)
    }
}

/// A key as one field; one that reads `-` is quoted, because a bare `-` is none.
fn shown_key(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok("-") => "\"-\"".to_owned(),
        Ok(text) => quoted(text),
        Err(_) => format!("\"{}\"", escaped(key).replace('"', "\\\"")),
    }
}

/// Bytes in JSON as messages have them: a string if they are text, base64 otherwise.
fn json_bytes(bytes: Option<&[u8]>) -> serde_json::Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => serde_json::Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => serde_json::json!({"b64": data_encoding::BASE64.encode(bytes)}),
    }
}

/// The frame without its length, if a listener takes one so long.
pub(super) fn within(frame: &envelope::Encoded, max_frame_bytes: u32) -> Result<Bytes, WireError> {
    let length = frame.size_bytes() - FRAME_PREFIX_BYTES;
    if length > max_frame_bytes as usize {
        let what = format!("as a frame it has {length} bytes, the most is {max_frame_bytes}");
        return Err(WireError::new(ErrorCode::FrameTooLarge, what));
    }
    Ok(frame.to_bytes().slice(FRAME_PREFIX_BYTES..))
}

/// The kind of an answer to what could not be read.
pub(super) fn error_kind() -> Kind {
    envelope::ERROR_KIND.into()
}
