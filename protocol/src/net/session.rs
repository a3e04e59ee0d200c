//! One connection of a listener, from its first byte to its last.

use super::limits::{FIRST_BYTE_MAX, HALF_CLOSE_MAX, LINGER, LINGER_BYTES_MAX, SHUTDOWN_FLUSH_MAX};
use super::listener::ListenerConfig;
use super::loss::Loss;
use super::peer::Peer;
use super::roles::role_name;
use super::service::{Closed, Incoming, Replier, Service};
use super::stream::{FrameReader, prepare, write_frames};
use crate::defaults::{FRAME_BYTES_CEILING, PROTOCOL_VERSION};
use crate::envelope::{self, ERROR_KIND, Head, Kind};
use crate::error::{ErrorCode, WireError};
use crate::frame::FrameError;
use crate::message::{self, Hello, Message};
use bytes::Bytes;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What a connection speaks, told by its first byte.
enum Front {
    /// Length-prefixed frames: the first byte is that of a length up to the ceiling.
    Frames,
    /// Anything a human or another protocol begins with. Text, JSON and HTTP will be answered here.
    Other(u8),
}

impl Front {
    fn of(first: u8) -> Self {
        if first <= FRAME_BYTES_CEILING.to_be_bytes()[0] { Self::Frames } else { Self::Other(first) }
    }
}

/// How the reading side came to its end.
enum End {
    /// End of file between two frames: the peer may still want its answers.
    HalfClosed,
    /// The stream broke, or this side ends it at once.
    Broken(Loss),
    /// The peer broke the protocol and has been told how.
    Refused(Loss),
    /// This side wants to end it, once the answers that are under way are out.
    Finishing(&'static str),
}

pub(crate) async fn run<S: Service>(
    stream: TcpStream,
    peer: Peer,
    config: Arc<ListenerConfig>,
    service: Arc<S>,
    shutdown: CancellationToken,
) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(peer = peer.id(), %error, "connection broken at once");
        return;
    }
    let (read, write) = stream.into_split();
    let mut reader = FrameReader::new(read, config.max_frame_bytes);
    let first = tokio::select! {
        first = timeout(FIRST_BYTE_MAX, reader.first_byte()) => first,
        () = shutdown.cancelled() => return,
    };
    match first {
        Ok(Ok(Some(first))) => match Front::of(first) {
            Front::Frames => Session { peer, config, service }.run(reader, write, shutdown).await,
            Front::Other(first) => refuse_front(first, reader, write).await,
        },
        Ok(Ok(None) | Err(_)) => {}
        Err(_) => tracing::debug!(peer = peer.id(), "a connection said nothing and was closed"),
    }
}

/// One line that a human can read, then the end.
async fn refuse_front(first: u8, mut reader: FrameReader<OwnedReadHalf>, mut write: OwnedWriteHalf) {
    let line = format!(
        "-ERR NOT_A_FRAME this port speaks frames: a 4-byte length and a MessagePack value; \
         the first byte 0x{first:02x} does not begin one\n"
    );
    let _ = timeout(LINGER, async {
        write.write_all(line.as_bytes()).await?;
        write.shutdown().await?;
        reader.drain(LINGER_BYTES_MAX).await;
        std::io::Result::Ok(())
    })
    .await;
}

struct Session<S> {
    peer: Peer,
    config: Arc<ListenerConfig>,
    service: Arc<S>,
}

impl<S: Service> Session<S> {
    async fn run(
        self,
        mut reader: FrameReader<OwnedReadHalf>,
        write: OwnedWriteHalf,
        shutdown: CancellationToken,
    ) {
        let writer = AbortOnDropHandle::new(tokio::spawn(write_out(self.peer.clone(), write)));
        let end = self.read(&mut reader, &shutdown).await;
        let how = match &end {
            End::HalfClosed => Closed::PeerClosed,
            End::Broken(loss) | End::Refused(loss) if loss.is_by_peer() => Closed::PeerClosed,
            End::Broken(loss) | End::Refused(loss) => Closed::Other(loss.to_string()),
            End::Finishing(why) => Closed::Other((*why).to_owned()),
        };
        tracing::debug!(peer = self.peer.id(), address = %self.peer.address(), ?how, "connection over");
        // Before the last answers are flushed: whoever waits for a death must not wait for those.
        self.service.closed(&self.peer, how);
        match end {
            End::HalfClosed => self.flush(writer, HALF_CLOSE_MAX).await,
            End::Finishing(_) => self.flush(writer, SHUTDOWN_FLUSH_MAX).await,
            End::Refused(_) => {
                self.peer.outbox().finish();
                let _ = timeout(LINGER, async {
                    let _ = writer.await;
                    reader.drain(LINGER_BYTES_MAX).await;
                })
                .await;
            }
            End::Broken(_) => {}
        }
        self.peer.outbox().close();
    }

    /// Lets the answers that are under way out, within a limit.
    async fn flush(&self, writer: AbortOnDropHandle<()>, limit: Duration) {
        let _ = timeout(limit, async {
            tokio::select! {
                () = self.peer.all_answered() => {}
                _ = self.peer.cut_off() => return,
            }
            self.peer.outbox().finish();
            let _ = writer.await;
        })
        .await;
    }

    async fn read(&self, reader: &mut FrameReader<OwnedReadHalf>, shutdown: &CancellationToken) -> End {
        loop {
            // What one read brought in is worked off without looking up between frames.
            let next = match reader.arrived() {
                Ok(Some(frame)) if self.peer.has_room() => Ok(Some(frame)),
                Ok(arrived) => tokio::select! {
                    biased;
                    why = self.peer.cut_off() => return End::Broken(why),
                    () = shutdown.cancelled() => return End::Finishing("the server shuts down"),
                    () = self.peer.closing() => return End::Finishing("closed by the server"),
                    next = self.next(reader, arrived) => next,
                },
                Err(error) => Err(error),
            };
            match next {
                Ok(Some(frame)) => {
                    if let Err(end) = self.take(frame).await {
                        return end;
                    }
                }
                Ok(None) => return End::HalfClosed,
                Err(FrameError::Io(error)) => return End::Broken(Loss::from_io(&error, "read")),
                Err(error) => {
                    self.refuse(0, ERROR_KIND.into(), &error.to_wire());
                    return End::Refused(match error {
                        // The peer's process may have died while it sent: that is its end of file, too.
                        FrameError::CutShort { .. } => Loss::by_peer(error.to_string()),
                        _ => Loss::other(error.to_string()),
                    });
                }
            }
        }
    }

    /// The next frame, once there is room for another request.
    async fn next(
        &self,
        reader: &mut FrameReader<OwnedReadHalf>,
        arrived: Option<Bytes>,
    ) -> Result<Option<Bytes>, FrameError> {
        self.peer.room().await;
        match arrived {
            Some(frame) => Ok(Some(frame)),
            None => reader.next().await,
        }
    }

    fn refuse(&self, id: u64, kind: Kind, error: &WireError) {
        // An error is a small map; it can always be written.
        let _ = self.peer.answer::<()>(id, &kind, Err(error), Vec::new());
    }

    /// One frame: what its head says is judged before its body is looked at.
    async fn take(&self, frame: Bytes) -> Result<(), End> {
        let head = envelope::decode_head(&frame).map_err(|error| {
            self.refuse(0, ERROR_KIND.into(), &error.to_wire());
            End::Refused(Loss::other(error.to_string()))
        })?;
        if let Err(error) = self.judge(&head) {
            self.refuse(head.id, Kind::named(head.kind), &error);
            return Ok(());
        }
        let envelope = head.open(&frame).map_err(|error| {
            let error = WireError { message: format!("{}: {error}", head.kind), ..error.to_wire() };
            self.refuse(head.id, Kind::named(head.kind), &error);
            End::Refused(Loss::other(error.message))
        })?;
        let kind = envelope.kind.clone();
        let reply = Replier::new(envelope.id, kind.clone(), self.peer.take_in(frame.len()));
        let call = self.service.call(&self.peer, Incoming::from(envelope), reply);
        if AssertUnwindSafe(call).catch_unwind().await.is_err() {
            tracing::error!(peer = self.peer.id(), %kind, "a request's handler panicked");
            return Err(End::Refused(Loss::other(format!("{kind}: the handler panicked"))));
        }
        Ok(())
    }

    /// Whether a request of this version and kind is taken here at all.
    fn judge(&self, head: &Head<'_>) -> Result<(), WireError> {
        let Head { version, kind, .. } = *head;
        if version == 0 || version > PROTOCOL_VERSION {
            let what = format!("version {version} is not spoken here, the newest is {PROTOCOL_VERSION}");
            return Err(WireError::new(ErrorCode::UnsupportedVersion, what));
        }
        let Some(role) = message::role_of(kind) else {
            return Err(WireError::new(ErrorCode::UnknownKind, format!("no message is called `{kind}`")));
        };
        // Who asks for the version must not have to know the roles first.
        if self.config.roles.contains(role) || kind == Hello::KIND {
            return Ok(());
        }
        let what = format!(
            "{kind} needs a listener with the role {}; this one has {}",
            role_name(role),
            self.config.roles
        );
        Err(WireError::new(ErrorCode::WrongRole, what))
    }
}

async fn write_out(peer: Peer, mut write: OwnedWriteHalf) {
    if let Err((error, _)) = write_frames(peer.outbox(), &mut write).await {
        peer.cut_for(Loss::from_io(&error, "write"));
    }
}
