//! The client's side: one socket, many requests at once.

use super::limits::{CONNECT_TIMEOUT, OUTBOX_BYTES_MAX};
use super::loss::{ConnectionLost, Loss};
use super::outbox::{NotQueued, Outbox};
use super::pending::{Answer, Ended, PendingAnswer, RequestError};
use super::service::Incoming;
use super::stream::{FrameReader, prepare, write_frames};
use crate::defaults::{FRAME_BYTES_MAX, PROTOCOL_VERSION};
use crate::envelope::{self, ERROR_KIND, Envelope};
use crate::error::{ErrorCode, WireError};
use crate::frame::FrameError;
use crate::message::Message;
use bytes::Bytes;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::io::{Error, ErrorKind};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How a connection is made.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// How long to try.
    pub connect_timeout: Duration,
    /// The longest frame that is taken from the peer, in bytes.
    pub max_frame_bytes: u32,
    /// How many bytes may be queued before requests are refused.
    pub queue_bytes_max: usize,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            max_frame_bytes: FRAME_BYTES_MAX,
            queue_bytes_max: OUTBOX_BYTES_MAX,
        }
    }
}

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("connection refused by {0}")]
    Refused(String),
    /// Nobody answered in time.
    #[error("no connection to {0} within {1:?}")]
    Timeout(String, Duration),
    /// Anything else.
    #[error("cannot connect to {0}: {1}")]
    Failed(String, String),
}

/// A pipelined connection; clones share it. It closes, after sending what is queued, when the last clone
/// and the last [`PendingAnswer`] are gone.
#[derive(Clone)]
pub struct Connection(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.outbox.finish();
        self.shared.abandoned.cancel();
    }
}

/// What the handles and the two tasks share.
struct Shared {
    address: String,
    local: SocketAddr,
    outbox: Outbox,
    requests: Mutex<Requests>,
    /// Cancelled once `requests.lost` is set.
    over: CancellationToken,
    /// Cancelled once nobody holds the connection any more.
    abandoned: CancellationToken,
}

struct Requests {
    next_id: u64,
    waiting: HashMap<u64, oneshot::Sender<Ended>>,
    lost: Option<Loss>,
}

/// From here on up, ids are chosen by the server.
const SERVER_IDS: u64 = 1 << 63;

impl Connection {
    /// Connects to `host:port`. The receiver gets the frames that the server sends on its own (id 0, or
    /// with the top bit set).
    ///
    /// # Errors
    /// [`ConnectError`], which names the address and what happened.
    pub async fn connect(
        address: &str,
        options: &ConnectOptions,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Incoming>), ConnectError> {
        let limit = options.connect_timeout;
        let stream = match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(connected) => {
                connected.and_then(not_to_itself).map_err(|error| connect_error(address, &error))?
            }
            Err(_) => return Err(ConnectError::Timeout(address.to_owned(), limit)),
        };
        let failed = |error: Error| connect_error(address, &error);
        prepare(&stream).map_err(failed)?;
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            local: stream.local_addr().map_err(failed)?,
            outbox: Outbox::new(options.queue_bytes_max),
            requests: Mutex::new(Requests { next_id: 1, waiting: HashMap::new(), lost: None }),
            over: CancellationToken::new(),
            abandoned: CancellationToken::new(),
        });
        let (read, write) = stream.into_split();
        let (incoming, receiver) = mpsc::unbounded_channel();
        let reader = FrameReader::new(read, options.max_frame_bytes);
        tokio::spawn(shared.clone().read(reader, incoming));
        tokio::spawn(shared.clone().write(write));
        Ok((Self(Arc::new(Handle { shared })), receiver))
    }

    /// Sends a request and waits for its answer, without a limit of its own.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request<M: Message>(
        &self,
        message: &M,
        bin: Vec<Bytes>,
    ) -> Result<Answer<M::Reply>, RequestError> {
        self.start(message, bin)?.await
    }

    /// Queues a request behind all earlier ones; the answer is waited for later.
    ///
    /// # Errors
    /// [`RequestError`]: nothing was sent.
    pub fn start<M: Message>(
        &self,
        message: &M,
        bin: Vec<Bytes>,
    ) -> Result<PendingAnswer<M::Reply>, RequestError> {
        let shared = &self.0.shared;
        let (ended, answer) = oneshot::channel();
        let id = {
            let mut requests = shared.requests();
            if let Some(cause) = &requests.lost {
                return Err(RequestError::Lost { cause: cause.clone(), sent: false });
            }
            let id = requests.next_id;
            requests.next_id += 1;
            requests.waiting.insert(id, ended);
            id
        };
        let pending =
            PendingAnswer { answer, id, ended: false, connection: self.clone(), reply: PhantomData };
        let frame = envelope::encode(PROTOCOL_VERSION, id, M::KIND, message, bin)?;
        match shared.outbox.push(frame, id) {
            Ok(()) => Ok(pending),
            Err(NotQueued::Closed) => Err(self.lost_error(false)),
            Err(NotQueued::Full(bytes)) => {
                let what = format!("{bytes} bytes are queued for {} already", shared.address);
                Err(RequestError::Refused(WireError::new(ErrorCode::Overloaded, what)))
            }
        }
    }

    /// Sends a frame to which no answer is expected. A peer that takes nothing for so long that the queue
    /// is full loses the connection.
    ///
    /// # Errors
    /// The connection is over, or the frame cannot be written; nothing was sent.
    pub fn send<B: Serialize>(
        &self,
        id: u64,
        kind: &str,
        body: &B,
        bin: Vec<Bytes>,
    ) -> Result<(), ConnectionLost> {
        let shared = &self.0.shared;
        let frame = envelope::encode(PROTOCOL_VERSION, id, kind, body, bin)
            .map_err(|error| ConnectionLost(Loss::other(format!("{kind}: {error}"))))?;
        match shared.outbox.push(frame, id) {
            Ok(()) => Ok(()),
            Err(NotQueued::Closed) => Err(ConnectionLost(shared.cause())),
            Err(NotQueued::Full(bytes)) => {
                shared.lose(
                    Loss::other(format!("{} takes nothing: {bytes} bytes are queued", shared.address)),
                    &[],
                );
                Err(ConnectionLost(shared.cause()))
            }
        }
    }

    /// Whether it is over.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.0.shared.over.is_cancelled()
    }

    /// Waits until it is over and says why.
    pub async fn wait_closed(&self) -> Loss {
        self.0.shared.over.cancelled().await;
        self.0.shared.cause()
    }

    /// Ends it at once; what is queued is not sent any more.
    pub fn close(&self) {
        self.0.shared.lose(Loss::other("closed from this side"), &[]);
    }

    /// The address that was asked for, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.shared.address
    }

    /// This side's address.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.0.shared.local
    }

    /// Bytes queued or being written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.0.shared.outbox.bytes()
    }

    /// How many requests wait for their answers.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.shared.requests().waiting.len()
    }

    pub(crate) fn forget(&self, id: u64) {
        self.0.shared.requests().waiting.remove(&id);
    }

    pub(crate) fn lost_error(&self, sent: bool) -> RequestError {
        RequestError::Lost { cause: self.0.shared.cause(), sent }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({} -> {})", self.0.shared.local, self.0.shared.address)
    }
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cause(&self) -> Loss {
        self.requests().lost.clone().unwrap_or_else(|| Loss::other("closing"))
    }

    /// Ends the connection, the first cause counts. `unsent` are requests that the writer had taken but
    /// not begun.
    fn lose(&self, cause: Loss, unsent: &[u64]) {
        let waiting = {
            let mut requests = self.requests();
            if requests.lost.is_some() {
                return;
            }
            requests.lost = Some(cause.clone());
            std::mem::take(&mut requests.waiting)
        };
        let queued = self.outbox.close();
        let never_sent = |id: &u64| unsent.contains(id) || queued.iter().any(|frame| frame.id == *id);
        for (id, ended) in waiting {
            let sent = !never_sent(&id);
            let _ = ended.send(Err(RequestError::Lost { cause: cause.clone(), sent }));
        }
        self.over.cancel();
    }

    async fn read(
        self: Arc<Self>,
        mut reader: FrameReader<OwnedReadHalf>,
        incoming: mpsc::UnboundedSender<Incoming>,
    ) {
        let cause = loop {
            let next = tokio::select! {
                next = reader.next() => next,
                () = self.over.cancelled() => return,
                () = self.abandoned.cancelled() => return,
            };
            let envelope = match next.map(|frame| frame.map(envelope::decode)) {
                Ok(Some(Ok(envelope))) => envelope,
                Ok(Some(Err(error))) => {
                    break Loss::other(format!("{} sent a bad frame: {error}", self.address));
                }
                Ok(None) => break Loss::by_peer(format!("connection closed by {}", self.address)),
                Err(FrameError::Io(error)) => break Loss::from_io(&error, &self.address),
                Err(FrameError::CutShort { .. }) => {
                    break Loss::by_peer(format!("connection closed by {} within a frame", self.address));
                }
                Err(error) => break Loss::other(format!("{} sent a bad frame: {error}", self.address)),
            };
            if let Some(cause) = self.dispatch(envelope, &incoming) {
                break cause;
            }
        };
        self.lose(cause, &[]);
    }

    fn dispatch(&self, envelope: Envelope, incoming: &mpsc::UnboundedSender<Incoming>) -> Option<Loss> {
        if envelope.id == 0 && envelope.kind == ERROR_KIND {
            let error =
                envelope::refusal(&envelope.body).map_or_else(|| "an error".to_owned(), |e| e.to_string());
            return Some(Loss::other(format!("{} closed the connection: {error}", self.address)));
        }
        if envelope.id == 0 || envelope.id >= SERVER_IDS {
            // Without a receiver nobody wants the server's own frames.
            let _ = incoming.send(Incoming::from(envelope));
            return None;
        }
        // An answer that nobody waits for any more came too late; that is not an error.
        let ended = self.requests().waiting.remove(&envelope.id);
        if let Some(ended) = ended {
            let _ = ended.send(Ok((envelope.body, envelope.bin)));
        }
        None
    }

    async fn write(self: Arc<Self>, mut io: OwnedWriteHalf) {
        let written = tokio::select! {
            biased;
            () = self.over.cancelled() => {
                let _ = io.shutdown().await;
                return;
            }
            written = write_frames(&self.outbox, &mut io) => written,
        };
        match written {
            Ok(()) => self.lose(Loss::other("closed from this side"), &[]),
            Err((error, unsent)) => self.lose(Loss::from_io(&error, &self.address), &unsent),
        }
    }
}

/// A connection to a dead port of this machine can meet itself: refuse that, it would also keep the port
/// from the process that wants to listen there again.
fn not_to_itself(stream: TcpStream) -> std::io::Result<TcpStream> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

fn connect_error(address: &str, error: &Error) -> ConnectError {
    match error.kind() {
        ErrorKind::ConnectionRefused => ConnectError::Refused(address.to_owned()),
        _ => ConnectError::Failed(address.to_owned(), error.to_string()),
    }
}
