//! What a server does with requests.

use super::front::HttpStream;
use super::lines::{CommandError, TextSession};
use super::observe::Observer;
use super::peer::{InFlight, Peer};
use crate::envelope::{self, EncodeError, Encoded, Envelope, Kind};
use crate::error::{ErrorCode, WireError};
use crate::message::Message;
use crate::text::{Command, Status, Verb, Word, unknown_verb};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;

/// Answers the requests of all connections of a listener.
pub trait Service: Send + Sync + 'static {
    /// Takes one request. Those of one connection come in order of arrival, and the next is not taken
    /// before this returns: what takes long is to be spawned, with the [`Replier`] moved along.
    ///
    /// A panic in here ends the connection, and nothing else.
    fn call(&self, peer: &Peer, request: Incoming, reply: Replier) -> impl Future<Output = ()> + Send;

    /// The connection is over; nothing comes from it any more. Called once for every peer that was seen.
    fn closed(&self, peer: &Peer, how: Closed) {
        let _ = (peer, how);
    }

    /// What people can type here besides what every process knows; `HELP` shows them.
    fn verbs(&self) -> &'static [Verb] {
        &[]
    }

    /// Does one of [`Self::verbs`]. Data goes out through the session as it comes; the status follows it.
    ///
    /// Dropped halfway when the connection ends, or when it has said nothing for too long.
    fn command(
        &self,
        session: &mut TextSession,
        command: &Command,
    ) -> impl Future<Output = Result<Status, CommandError>> + Send {
        let _ = session;
        let known = self.verbs().iter().map(|verb| verb.name);
        let error = unknown_verb(&command.verb, known);
        async move { Err(error.into()) }
    }

    /// Answers a word; one or more lines, the last one's end not included. `ruok` is answered with `imok`
    /// only if the process can do its job, otherwise with `imno: <reason>`.
    fn word(&self, word: Word) -> impl Future<Output = String> + Send {
        let answer = match word {
            Word::Ruok => "imok".to_owned(),
            other => format!("{} is not answered by this process", other.text()),
        };
        async move { answer }
    }

    /// What can be watched in this process, if it can be.
    fn observer(&self) -> Option<&Observer> {
        None
    }

    /// Serves HTTP on a connection whose first line is an HTTP request. Returns when the connection is
    /// over; dropped when the server stops. By default it says in one line that there is no HTTP here.
    fn http(&self, stream: HttpStream) -> impl Future<Output = ()> + Send {
        stream.not_served()
    }
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Closed {
    /// End of file or reset: the peer closed it, or its process died.
    PeerClosed,
    /// Anything else: this side closed it, the peer stalled or broke the protocol.
    Other(String),
}

/// A frame that has arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// The protocol version of the sender.
    pub version: u8,
    /// Matches a reply to its request.
    pub id: u64,
    /// What the message is.
    pub kind: Kind,
    /// The body, not parsed yet.
    pub body: Bytes,
    /// Record batches or other bytes; empty if absent. A slice of the frame.
    pub bin: Bytes,
}

impl From<Envelope> for Incoming {
    fn from(envelope: Envelope) -> Self {
        let Envelope { version, id, kind, body, bin } = envelope;
        Self { version, id, kind, body, bin }
    }
}

impl Incoming {
    /// The body as this message.
    ///
    /// # Errors
    /// `BAD_REQUEST` that names the kind and the key.
    pub fn parse<M: Message>(&self) -> Result<M, WireError> {
        self.parse_body()
    }

    /// The body as any type: what a server pushes is often the reply of some kind.
    ///
    /// # Errors
    /// `BAD_REQUEST` that names the kind and the key.
    pub fn parse_body<T: serde::de::DeserializeOwned>(&self) -> Result<T, WireError> {
        envelope::body(&self.body).map_err(|mut error| {
            error.message = format!("{}: {}", self.kind, error.message);
            error
        })
    }

    /// The error that the frame carries instead of a body (`ok: false`), as on a stream that is refused.
    #[must_use]
    pub fn refusal(&self) -> Option<WireError> {
        envelope::refusal(&self.body)
    }
}

/// The right, and the duty, to answer one request; from any task, at any time.
///
/// Dropped without an answer it answers `INTERNAL`, or as [`Self::if_dropped`] says, so that nobody waits for
/// ever.
#[must_use = "a request that is dropped is answered with INTERNAL"]
pub struct Replier {
    id: u64,
    kind: Kind,
    answered: bool,
    in_flight: InFlight,
    /// What is answered if it is dropped.
    if_dropped: Option<WireError>,
    /// Who gets the answer instead of the peer.
    direct: Option<oneshot::Sender<Encoded>>,
}

impl Replier {
    pub(crate) fn new(
        id: u64,
        kind: Kind,
        in_flight: InFlight,
        direct: Option<oneshot::Sender<Encoded>>,
    ) -> Self {
        Self { id, kind, answered: false, in_flight, if_dropped: None, direct }
    }

    /// The same, answering with this error if it is dropped.
    pub fn if_dropped(mut self, error: WireError) -> Self {
        self.if_dropped = Some(error);
        self
    }

    /// Whom it answers.
    pub fn peer(&self) -> &Peer {
        self.in_flight.peer()
    }

    /// The id of the request.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Answers. The bytes of `bin` are not copied. That the peer is gone is not an error here: its
    /// [`Service::closed`] says so.
    pub fn reply<M: Message>(self, outcome: Result<&M::Reply, WireError>, bin: Vec<Bytes>) {
        match outcome {
            Ok(reply) => self.reply_body(reply, bin),
            Err(error) => self.refuse(&error),
        }
    }

    /// Answers with any body that is a map.
    pub fn reply_body<R: Serialize>(mut self, body: &R, bin: Vec<Bytes>) {
        self.answered = true;
        if let Err(error) = self.answer(Ok(body), bin) {
            let error = WireError::new(ErrorCode::Internal, format!("{}: the answer: {error}", self.kind));
            self.answer_error(&error);
        }
    }

    /// Answers with an error.
    pub fn refuse(mut self, error: &WireError) {
        self.answered = true;
        self.answer_error(error);
    }

    /// Answers nothing at all, for frames to which no answer is expected.
    pub fn discard(mut self) {
        self.answered = true;
    }

    fn answer<R: Serialize>(
        &mut self,
        outcome: Result<&R, &WireError>,
        bin: Vec<Bytes>,
    ) -> Result<(), EncodeError> {
        if self.direct.is_none() {
            return self.peer().answer(self.id, &self.kind, outcome, bin);
        }
        let frame = envelope::encode_reply(self.id, &self.kind, outcome, bin)?;
        self.peer().tap_out(&frame);
        if let Some(direct) = self.direct.take() {
            // Whoever asked may have gone.
            let _ = direct.send(frame);
        }
        Ok(())
    }

    fn answer_error(&mut self, error: &WireError) {
        // An error is a small map of strings and numbers; it can always be written.
        let _ = self.answer::<()>(Err(error), Vec::new());
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        if !self.answered {
            let error = self.if_dropped.take().unwrap_or_else(|| {
                let what = format!("{}: the request was dropped without an answer", self.kind);
                WireError::new(ErrorCode::Internal, what)
            });
            self.answer_error(&error);
        }
    }
}
