//! A connection on which somebody types: lines of text, each a command, and lines of JSON, each a message.
//!
//! - A line that begins with `{` is a message and goes exactly the way of a frame ([`super::intake`]); what
//!   the server sends, answers and pushes alike, is one line of JSON each. Several may be under way.
//! - Any other line is a command. Commands are done one after the other, each answered by one status line
//!   behind its data. What they ask of the process ([`TextSession::ask`]) goes the way of a frame, too.
//! - At the end of what the peer sends, the commands that are there are finished, their answers sent, and
//!   the connection closed: `nc -N` gets everything.
//! - A command that says nothing for [`COMMAND_STALL_MAX`] or more than [`ROWS_MAX`] lines is ended; with
//!   `FOLLOW` it goes on until the next line, the end, or the server's stop.
//! - A `Host:` line, or the name of an HTTP method in the place of a command, closes the connection: a web
//!   page cannot have what it posts run as commands, however its first line was mangled on the way.
//!
//! [`ROWS_MAX`]: super::limits::ROWS_MAX

mod asker;
mod json;
mod reader;
mod session;
mod writer;

pub use asker::Asker;
pub(super) use reader::{FirstLine, LineReader};
pub(super) use session::Settings;
pub use session::{CommandError, Gone, Interrupt, TextSession};

use super::front::{Foreign, end_politely};
use super::limits::{
    COMMAND_STALL_MAX, HALF_CLOSE_MAX, LINGER, ONESHOT_SILENCE, SHUTDOWN_FLUSH_MAX, TEXT_IDLE_MAX,
};
use super::listener::{ListenerConfig, TextAccess};
use super::loss::Loss;
use super::observe::Mode;
use super::peer::Peer;
use super::service::{Closed, Service};
use super::verbs;
use crate::error::{ErrorCode, WireError};
use crate::signature::HTTP_METHODS;
use crate::text::{Access, Command, Format, Status, Word, error_line, unknown_verb};
use bytes::Bytes;
use reader::{LineError, Next};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How a session came to its end.
enum End {
    /// The peer has sent everything; it may still want its answers.
    HalfClosed,
    /// The session is over, for this reason; what was answered is still sent.
    Finishing(&'static str),
    /// The peer broke a rule and has been told which.
    Refused(String),
    /// Nothing can be sent any more.
    Broken(Loss),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Broken(Loss::other("the session takes nothing more"))
    }
}

/// Serves a connection that begins with a line.
pub(super) async fn run<S: Service>(
    peer: Peer,
    config: Arc<ListenerConfig>,
    access: TextAccess,
    service: Arc<S>,
    (reader, write): (LineReader<OwnedReadHalf>, OwnedWriteHalf),
    shutdown: CancellationToken,
) {
    peer.set_mode(Mode::Text);
    let writer = AbortOnDropHandle::new(tokio::spawn(writer::write_out(peer.clone(), write)));
    let mut session = TextSession::new(peer.clone(), config, access, reader, shutdown.clone());
    let end = session.serve(&*service).await;
    let how = match &end {
        End::HalfClosed => Closed::PeerClosed,
        End::Broken(loss) if loss.is_by_peer() => Closed::PeerClosed,
        End::Broken(loss) => Closed::Other(loss.to_string()),
        End::Refused(why) => Closed::Other(why.clone()),
        End::Finishing(why) => Closed::Other((*why).to_owned()),
    };
    tracing::debug!(peer = peer.id(), address = %peer.address(), ?how, "session over");
    // Before the last answers are flushed: whoever waits for a death must not wait for those.
    service.closed(&peer, how);
    let flushed = async {
        if !matches!(end, End::Refused(_)) {
            let _ = timeout(HALF_CLOSE_MAX, peer.all_answered()).await;
        }
        peer.outbox().finish();
        // A slow reader gets everything; one that reads nothing at all is given up by the writer.
        let _ = writer.await;
    };
    if !matches!(end, End::Broken(_)) {
        tokio::select! {
            () = flushed => drain(session.reader).await,
            _ = peer.cut_off() => {}
            () = stopped(&shutdown) => {}
        }
    }
    peer.outbox().close();
}

/// When a stopping server no longer waits.
async fn stopped(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(SHUTDOWN_FLUSH_MAX).await;
}

/// Reads what still comes, so that the end does not become a reset that loses the last answer.
async fn drain(mut reader: LineReader<OwnedReadHalf>) {
    if !reader.has_ended() {
        let (io, buffer) = reader.parts_mut();
        let _ = timeout(LINGER, super::stream::drain(io, buffer, super::limits::LINGER_BYTES_MAX)).await;
    }
}

/// Answers a connection that says nothing but a word.
pub(super) async fn answer_word<S: Service>(
    word: Word,
    (config, access): (&ListenerConfig, TextAccess),
    service: &S,
    reader: LineReader<OwnedReadHalf>,
    mut write: OwnedWriteHalf,
) {
    // Health checks must not depend on how much else is allowed.
    let answer = if word == Word::Ruok || config.answers(word.text(), access, TextAccess::Words) {
        match timeout(COMMAND_STALL_MAX, verbs::word(service, word)).await {
            Ok(answer) => answer,
            Err(_) => "no answer in time".to_owned(),
        }
    } else {
        error_line(&disabled(word.text(), access), Format::Table)
    };
    if write.write_all(format!("{answer}\n").as_bytes()).await.is_ok() {
        end_politely(&mut write, reader).await;
    }
}

fn disabled(what: &str, access: TextAccess) -> WireError {
    WireError::new(ErrorCode::Disabled, format!("{what} is not allowed on this listener (text={access})"))
        .hint("its configuration says text=full, readonly, words or off")
}

impl TextSession {
    async fn serve<S: Service>(&mut self, service: &S) -> End {
        let mut first = true;
        loop {
            let line = match self.next_line().await {
                Ok(line) => line,
                Err(end) => return end,
            };
            let done = self.take(service, &line, first).await;
            first = false;
            if let Err(end) = done {
                return end;
            }
            if self.quitting {
                return End::Finishing("the peer quit");
            }
        }
    }

    async fn next_line(&mut self) -> Result<Bytes, End> {
        let oneshot = self.settings.oneshot;
        let limit = if oneshot { ONESHOT_SILENCE } else { TEXT_IDLE_MAX };
        let next = tokio::select! {
            biased;
            why = self.peer.cut_off() => return Err(End::Broken(why)),
            () = self.shutdown.cancelled() => return Err(End::Finishing("the server shuts down")),
            () = self.peer.closing() => return Err(End::Finishing("closed by the server")),
            next = timeout(limit, self.reader.next()) => next,
        };
        match next {
            Ok(Ok(Next::Line(line))) => Ok(line),
            Ok(Ok(Next::End)) => Err(End::HalfClosed),
            Ok(Ok(Next::Goodbye)) => Err(End::Finishing("telnet closed")),
            Ok(Err(LineError::Io(error))) => Err(End::Broken(Loss::from_io(&error, "read"))),
            Ok(Err(LineError::TooLong(most))) => {
                let error = WireError::bad_request(format!("a line of more than {most} bytes"));
                Err(self.refuse(error.hint("PUBN takes counted bytes, frames take more")).await)
            }
            Err(_) if oneshot => Err(End::Finishing("its one shot is over")),
            Err(_) => {
                let what = format!("nothing was typed for {} min", TEXT_IDLE_MAX.as_secs() / 60);
                Err(self.refuse(WireError::new(ErrorCode::Timeout, what)).await)
            }
        }
    }

    /// One line, whatever it is.
    async fn take<S: Service>(&mut self, service: &S, line: &[u8], first: bool) -> Result<(), End> {
        let text = line.trim_ascii_start();
        match text.first() {
            None if first => self.banner(service).await,
            None | Some(b'#') => Ok(()),
            Some(b'{') => {
                self.peer.set_mode(Mode::Json);
                self.take_json(service, text).await
            }
            Some(_) => {
                self.peer.set_mode(Mode::Text);
                match std::str::from_utf8(line) {
                    Ok(line) => self.take_text(service, line).await,
                    Err(error) => {
                        let what = format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1);
                        let error = WireError::bad_request(what);
                        self.say_error(&error.hint("PUBN takes any bytes")).await
                    }
                }
            }
        }
    }

    /// What whoever presses Enter first is told.
    async fn banner<S: Service>(&mut self, service: &S) -> Result<(), End> {
        self.begin(None);
        let banner = verbs::banner(self, service).await;
        self.say(&banner).await
    }

    async fn take_text<S: Service>(&mut self, service: &S, line: &str) -> Result<(), End> {
        if let Some(foreign) = http(line) {
            foreign.report(&self.peer, service.observer(), line.as_bytes());
            return Err(self.refuse(foreign.to_wire()).await);
        }
        let mut command = match Command::parse(line) {
            Ok(command) => command,
            Err(error) => return self.say_error(&error).await,
        };
        if command.verb == "?" {
            command.verb = "HELP".to_owned();
        }
        // Even if the command is refused, what is counted is taken: it must not be run as commands.
        match command.counted_bytes() {
            Ok(None) => {}
            Ok(Some(count)) => command.payload = Some(self.counted(count).await?),
            Err(error) => return Err(self.refuse(error).await),
        }
        self.begin(rows_max(&command));
        let outcome = match self.permit(service, &mut command) {
            Ok(()) => self.run(service, &command).await?,
            Err(error) => Err(error),
        };
        if self.data.open {
            self.end().await?;
        }
        match outcome {
            Ok(status) => self.say(&status).await,
            Err(error) => self.say_error(&error).await,
        }
    }

    async fn counted(&mut self, count: usize) -> Result<Bytes, End> {
        let most = self.config.max_frame_bytes as usize;
        if count > most {
            let what = format!("PUBN of {count} bytes, the most is {most}");
            return Err(self.refuse(WireError::new(ErrorCode::FrameTooLarge, what)).await);
        }
        tokio::select! {
            biased;
            why = self.peer.cut_off() => Err(End::Broken(why)),
            () = self.shutdown.cancelled() => Err(End::Finishing("the server shuts down")),
            counted = self.reader.counted(count) => counted.map_err(|error| {
                // A payload that was cut short is not published.
                End::Broken(Loss::from_io(&error, "read"))
            }),
        }
    }

    /// Whether the command exists and may be typed here. Takes the options out that every command has.
    fn permit<S: Service>(&mut self, service: &S, command: &mut Command) -> Result<(), WireError> {
        let verb = verbs::of(service)
            .find(|verb| verb.name == command.verb)
            .ok_or_else(|| unknown_verb(&command.verb, verbs::of(service).map(|verb| verb.name)));
        // QUIT and PING do no harm anywhere.
        let verb = verb?;
        let needs = TextAccess::needed_for(verb.access);
        if !self.config.answers(verb.name, self.access, needs) && !verbs::ALWAYS.contains(&verb.name) {
            return Err(disabled(verb.name, self.access));
        }
        if let Some(forward) = command.switch("forward")? {
            self.current.forward = forward;
            command.take("forward");
        }
        if let Some(format) = command.take("format") {
            let wrong = |error: crate::text::UnknownFormat| WireError::bad_request(error.to_string());
            self.current.format = format.parse().map_err(wrong)?;
        }
        Ok(())
    }

    /// Does a command until it is done, it has been silent for too long, or the session ends.
    async fn run<S: Service>(
        &mut self,
        service: &S,
        command: &Command,
    ) -> Result<Result<Status, WireError>, End> {
        let (peer, shutdown, progress) = (self.peer.clone(), self.shutdown.clone(), self.progress.clone());
        let follows = command.flag("FOLLOW") || verbs::FOLLOWING.contains(&command.verb.as_str());
        let stalled = async {
            loop {
                let deadline = progress.last() + COMMAND_STALL_MAX;
                tokio::time::sleep_until(deadline).await;
                if follows {
                    std::future::pending::<()>().await;
                }
                if progress.last() + COMMAND_STALL_MAX <= tokio::time::Instant::now() {
                    return;
                }
            }
        };
        let outcome = tokio::select! {
            outcome = verbs::run(self, service, command) => outcome,
            why = peer.cut_off() => return Err(End::Broken(why)),
            // It hears of the shutdown itself, if it listens; if not, it is not waited for.
            () = stopped(&shutdown) => return Err(End::Finishing("the server shuts down")),
            () = stalled => {
                let what = format!("{} said nothing for {} s", command.verb, COMMAND_STALL_MAX.as_secs());
                return Ok(Err(WireError::new(ErrorCode::Timeout, what)));
            }
        };
        match outcome {
            Ok(status) => Ok(Ok(status)),
            Err(CommandError::Refused(error)) => Ok(Err(error)),
            Err(CommandError::Gone(gone)) => match self.data.refused.take() {
                Some(error) => Ok(Err(error)),
                None => Err(gone.into()),
            },
        }
    }

    /// With `RAW on` only values are wanted, and what goes wrong.
    async fn say(&mut self, status: &Status) -> Result<(), End> {
        if !self.current.raw {
            self.send(format!("{}\n", status.line(self.format())).into()).await?;
        }
        Ok(())
    }

    async fn say_error(&mut self, error: &WireError) -> Result<(), End> {
        self.send(format!("{}\n", error_line(error, self.format())).into()).await?;
        Ok(())
    }

    /// Says what is wrong and ends the session.
    async fn refuse(&mut self, error: WireError) -> End {
        match self.say_error(&error).await {
            Ok(()) => End::Refused(error.message),
            Err(end) => end,
        }
    }
}

/// How many lines of data were asked for, if that is more than a command may answer by itself.
fn rows_max(command: &Command) -> Option<usize> {
    if command.flag("FOLLOW") || verbs::FOLLOWING.contains(&command.verb.as_str()) {
        return Some(usize::MAX);
    }
    command.number("max").ok().flatten().map(|max: usize| max.max(super::limits::ROWS_MAX))
}

/// Whether a line of text is a part of an HTTP request.
fn http(line: &str) -> Option<Foreign> {
    let word = line.split_ascii_whitespace().next()?;
    if word.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("Host:")) {
        return Some(Foreign::HttpHeader);
    }
    if word == "PROXY" {
        return Some(Foreign::Proxy);
    }
    HTTP_METHODS.contains(&word.to_ascii_uppercase().as_str()).then_some(Foreign::HttpMethod)
}

/// How long `LINGER` lingers at most, and what a typed number of seconds means.
pub(super) fn linger(seconds: f64) -> Option<Duration> {
    let most = super::limits::LINGER_COMMAND_MAX;
    Duration::try_from_secs_f64(seconds).ok().map(|linger| linger.min(most))
}

/// What a kind of message may do, for the listeners that let people only look.
pub(super) fn access_of(kind: &str) -> Access {
    use crate::message::{
        CancelMoves, ChangePeers, Consume, CoordinatorHello, DecommissionBroker, Drain, Elect,
        ElectPreferred, Hello, LeaderInfoRequest, ListMoves, Message, Metadata, MovePartitions, Offsets,
        RaftAppend, RaftSnapshot, RaftVote, ReadRange, Recollect, RegisterConsumer, ReplaceBroker, Why,
    };
    match kind {
        Hello::KIND
        | Metadata::KIND
        | LeaderInfoRequest::KIND
        | Consume::KIND
        | Offsets::KIND
        | ReadRange::KIND
        | RegisterConsumer::KIND
        | Why::KIND => Access::Read,
        ListMoves::KIND => Access::Read,
        Elect::KIND
        | Drain::KIND
        | MovePartitions::KIND
        | CancelMoves::KIND
        | ReplaceBroker::KIND
        | DecommissionBroker::KIND
        | ElectPreferred::KIND
        | ChangePeers::KIND
        | CoordinatorHello::KIND
        | Recollect::KIND
        | RaftVote::KIND
        | RaftAppend::KIND
        | RaftSnapshot::KIND => Access::Admin,
        _ => Access::Write,
    }
}
