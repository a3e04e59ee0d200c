//! A connection that speaks frames.

use super::front::Foreign;
use super::intake::{self, Intake, Refused};
use super::limits::{HALF_CLOSE_MAX, LINGER, LINGER_BYTES_MAX, SHUTDOWN_FLUSH_MAX};
use super::listener::ListenerConfig;
use super::loss::Loss;
use super::observe::Mode;
use super::peer::Peer;
use super::service::{Closed, Service};
use super::stream::{FrameReader, write_frames};
use crate::envelope::ERROR_KIND;
use crate::error::WireError;
use crate::frame::FrameError;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

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

/// Serves a connection whose first byte is that of a frame.
pub(super) async fn run<S: Service>(
    peer: Peer,
    config: Arc<ListenerConfig>,
    service: Arc<S>,
    (reader, write): (FrameReader<OwnedReadHalf>, OwnedWriteHalf),
    shutdown: CancellationToken,
) {
    peer.set_mode(Mode::Frames);
    Session { peer, config, service }.run(reader, write, shutdown).await;
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
                    self.desync(&error);
                    intake::refuse(&self.peer, 0, &ERROR_KIND.into(), &error.to_wire());
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

    /// A peer that has spoken frames and then sends something else has lost its place: nothing that comes
    /// after can be trusted, so the connection is cut and never mended.
    fn desync(&self, error: &FrameError) {
        let lost_place = matches!(error, FrameError::Empty { .. } | FrameError::TooLong { .. });
        if lost_place && self.peer.arrivals() > 0 {
            let name = self.peer.client().unwrap_or("a peer without a name");
            let what = format!("{name} at {}: {error}", self.peer.address());
            tracing::warn!(peer = self.peer.id(), "connection out of step: {what}");
            if let Some(observer) = self.service.observer() {
                observer.events.note("desync", what);
            }
        }
    }

    async fn take(&self, frame: Bytes) -> Result<(), End> {
        // The greetings of other protocols are told only from the first one; the copy costs nothing then.
        let first = (self.peer.arrivals() == 0).then(|| frame.clone());
        let intake = Intake { peer: &self.peer, config: &self.config, service: &*self.service };
        let Err(refused) = intake.take(frame, None).await else { return Ok(()) };
        let refused = match (refused, first) {
            (Refused::End(id, kind, error), Some(frame)) => {
                Refused::End(id, kind, self.foreign(&frame).unwrap_or(error))
            }
            (refused, _) => refused,
        };
        refused.tell(&self.peer).map_err(End::Refused)
    }

    /// The error for a first frame that is the greeting of another protocol.
    fn foreign(&self, frame: &[u8]) -> Option<WireError> {
        let foreign = Foreign::in_frame(frame)?;
        foreign.report(&self.peer, self.service.observer(), frame);
        Some(foreign.to_wire())
    }
}

async fn write_out(peer: Peer, mut write: OwnedWriteHalf) {
    if let Err((error, _)) = write_frames(peer.outbox(), &mut write).await {
        peer.cut_for(Loss::from_io(&error, "write"));
    }
}
