//! How commands ask the process: as messages, on the way of a frame.

use super::session::within;
use crate::defaults::{FRAME_PREFIX_BYTES, PROTOCOL_VERSION};
use crate::envelope::{self, Encoded};
use crate::error::{ErrorCode, WireError};
use crate::message::Message;
use crate::net::intake::{Intake, Refused};
use crate::net::listener::ListenerConfig;
use crate::net::peer::Peer;
use crate::net::service::Service;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;

/// The first id of the requests that typed commands make: far from those that people give theirs.
const FIRST_ID: u64 = 1 << 62;

/// Asks in the name of one connection, beside its session: for commands that wait for an answer and for the
/// peer at once. Clones share it.
#[derive(Clone)]
pub struct Asker {
    peer: Peer,
    config: Arc<ListenerConfig>,
    last_id: Arc<AtomicU64>,
}

impl Asker {
    pub(super) fn new(peer: Peer, config: Arc<ListenerConfig>) -> Self {
        Self { peer, config, last_id: Arc::new(AtomicU64::new(FIRST_ID)) }
    }

    /// Sends a message on the way of a frame: the listener's roles, the accounting of what is under way,
    /// [`Service::call`], and the answer through its [`crate::net::Replier`].
    ///
    /// # Errors
    /// What a client that sent the frame would have been answered.
    pub async fn ask<S: Service, M: Message>(
        &self,
        service: &S,
        message: &M,
        bin: Vec<Bytes>,
    ) -> Result<(M::Reply, Bytes), WireError> {
        let answer = self.answer(service, message, bin).await?.ok_or_else(|| {
            WireError::new(ErrorCode::Internal, format!("{}: nothing answers it here", M::KIND))
        })?;
        let answer = envelope::decode(answer.to_bytes().slice(FRAME_PREFIX_BYTES..));
        let answer = answer.map_err(|error| error.to_wire())?;
        Ok((envelope::outcome::<M::Reply>(&answer.body)?, answer.bin))
    }

    /// Sends a message to which no answer is expected (`publish` with `acks` 0), on the same way.
    ///
    /// # Errors
    /// What it was refused with all the same.
    pub async fn tell<S: Service, M: Message>(
        &self,
        service: &S,
        message: &M,
        bin: Vec<Bytes>,
    ) -> Result<(), WireError> {
        let Some(answer) = self.answer(service, message, bin).await? else { return Ok(()) };
        let answer = envelope::decode(answer.to_bytes().slice(FRAME_PREFIX_BYTES..));
        let answer = answer.map_err(|error| error.to_wire())?;
        envelope::refusal(&answer.body).map_or(Ok(()), Err)
    }

    /// The answer's frame; `None` = the service has taken the message and answers nothing.
    async fn answer<S: Service, M: Message>(
        &self,
        service: &S,
        message: &M,
        bin: Vec<Bytes>,
    ) -> Result<Option<Encoded>, WireError> {
        let unwritable =
            |error: envelope::EncodeError| WireError::bad_request(format!("{}: {error}", M::KIND));
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let frame = envelope::encode(PROTOCOL_VERSION, id, M::KIND, message, bin).map_err(unwritable)?;
        let frame = within(&frame, self.config.max_frame_bytes)?;
        self.peer.room().await;
        let (direct, answer) = oneshot::channel();
        let intake = Intake { peer: &self.peer, config: &self.config, service };
        match intake.take(frame, Some(direct)).await {
            Ok(()) => Ok(answer.await.ok()),
            Err(Refused::Answer(.., error) | Refused::End(.., error)) => Err(error),
            Err(Refused::Panicked(what)) => Err(WireError::new(ErrorCode::Internal, what)),
        }
    }
}
