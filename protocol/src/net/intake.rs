//! What becomes of one message, however it came: as a frame, as a line of JSON, or as what a typed
//! command asks.

use super::listener::ListenerConfig;
use super::loss::Loss;
use super::peer::Peer;
use super::roles::role_name;
use super::service::{Incoming, Replier, Service};
use crate::defaults::PROTOCOL_VERSION;
use crate::envelope::{self, ERROR_KIND, Encoded, Envelope, Head, Kind};
use crate::error::{ErrorCode, WireError};
use crate::message::{self, Hello, Message, RegisterBroker, RegisterConsumer, RegisterProducer};
use bytes::Bytes;
use futures_util::FutureExt;
use serde::Deserialize;
use std::panic::AssertUnwindSafe;
use tokio::sync::oneshot;

/// Where the messages of one connection go.
pub(super) struct Intake<'a, S> {
    pub(super) peer: &'a Peer,
    pub(super) config: &'a ListenerConfig,
    pub(super) service: &'a S,
}

/// A message that the service was not given.
pub(super) enum Refused {
    /// The sender is told why, and may go on.
    Answer(u64, Kind, WireError),
    /// The sender is told why, and the connection ends.
    End(u64, Kind, WireError),
    /// The service's handler panicked; whoever waits has been answered.
    Panicked(String),
}

impl<S: Service> Intake<'_, S> {
    /// Takes a frame without its length: what its head says is judged before its body is looked at. The
    /// answer goes to the peer, or to `direct`.
    pub(super) async fn take(
        &self,
        frame: Bytes,
        direct: Option<oneshot::Sender<Encoded>>,
    ) -> Result<(), Refused> {
        self.peer.arrived(&frame);
        let head = envelope::decode_head(&frame)
            .map_err(|error| Refused::End(0, ERROR_KIND.into(), error.to_wire()))?;
        self.judge(&head).map_err(|error| Refused::Answer(head.id, Kind::named(head.kind), error))?;
        let envelope = head.open(&frame).map_err(|error| {
            let error = WireError { message: format!("{}: {error}", head.kind), ..error.to_wire() };
            Refused::End(head.id, Kind::named(head.kind), error)
        })?;
        self.learn_name(&envelope);
        let kind = envelope.kind.clone();
        let reply = Replier::new(envelope.id, kind.clone(), self.peer.take_in(frame.len()), direct);
        let call = self.service.call(self.peer, Incoming::from(envelope), reply);
        if AssertUnwindSafe(call).catch_unwind().await.is_err() {
            tracing::error!(peer = self.peer.id(), %kind, "a request's handler panicked");
            return Err(Refused::Panicked(format!("{kind}: the handler panicked")));
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

    /// Peers that introduce themselves are known by name from then on.
    fn learn_name(&self, envelope: &Envelope) {
        /// What the introductions have in common: clients have the one, brokers the other.
        #[derive(Deserialize)]
        struct Introduction {
            #[serde(default)]
            client: String,
            #[serde(default)]
            name: String,
        }
        let kind = envelope.kind.as_str();
        let introduces = matches!(
            kind,
            Hello::KIND | RegisterProducer::KIND | RegisterConsumer::KIND | RegisterBroker::KIND
        );
        if introduces && let Ok(said) = envelope::body::<Introduction>(&envelope.body) {
            let name = if said.client.is_empty() { said.name } else { said.client };
            if !name.is_empty() {
                self.peer.set_client(name);
            }
        }
    }
}

/// Answers with an error. It is a small map and can always be written.
pub(super) fn refuse(peer: &Peer, id: u64, kind: &Kind, error: &WireError) {
    let _ = peer.answer::<()>(id, kind, Err(error), Vec::new());
}

impl Refused {
    /// Tells the peer, and says with what its connection ends, if it does.
    pub(super) fn tell(self, peer: &Peer) -> Result<(), Loss> {
        match self {
            Self::Answer(id, kind, error) => {
                refuse(peer, id, &kind, &error);
                Ok(())
            }
            Self::End(id, kind, error) => {
                refuse(peer, id, &kind, &error);
                Err(Loss::other(error.message))
            }
            Self::Panicked(what) => Err(Loss::other(what)),
        }
    }
}
