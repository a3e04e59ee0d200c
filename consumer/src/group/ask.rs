//! Asking the group's coordinator: directly once it is known, through any broker before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use yak_protocol::error::{Action, ErrorCode, LeaderHint, WireError};
use yak_protocol::message::Message;
use yak_protocol::net::{Cluster, Connection, RequestError};

/// How long one question may take before it is put to another broker.
pub(super) const ATTEMPT: Duration = Duration::from_millis(2500);
/// The pause between attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum NoAnswer {
    /// The coordinator refused.
    Refused(WireError),
    /// Nobody answered; it may have taken effect.
    Lost(String),
}

/// The way to the coordinator.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) cluster: Cluster,
    known: Mutex<Option<String>>,
    turn: AtomicUsize,
}

impl Way {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, known: Mutex::default(), turn: AtomicUsize::new(fastrand_seed()) }
    }

    /// Somebody said where the coordinator is.
    pub(super) fn learn(&self, coordinator: Option<&LeaderHint>) {
        if let Some(hint) = coordinator {
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(hint.address.clone());
        }
    }

    fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// One attempt, of `ATTEMPT` at most.
    pub(super) async fn once<M: Message>(&self, message: &M) -> Result<M::Reply, NoAnswer> {
        let asked = async {
            let connection = self.connection().await.map_err(NoAnswer::Lost)?;
            connection.request(message, Vec::new()).await.map(|answer| answer.body).map_err(|error| {
                match error {
                    RequestError::Refused(error) => NoAnswer::Refused(error),
                    other => NoAnswer::Lost(other.to_string()),
                }
            })
        };
        let outcome = match timeout(ATTEMPT, asked).await {
            Ok(outcome) => outcome,
            Err(_) => Err(NoAnswer::Lost(format!("no answer in {ATTEMPT:?}"))),
        };
        match &outcome {
            Ok(_) => {}
            Err(NoAnswer::Refused(error)) if error.code == ErrorCode::NotCoordinator => {
                self.forget();
                self.learn(error.leader.as_deref());
            }
            Err(NoAnswer::Refused(error)) if error.code.action() == Action::GiveUp => {}
            Err(_) => self.forget(),
        }
        outcome
    }

    /// Attempts until one is answered for good, or the deadline. Only for what may be done twice.
    pub(super) async fn until<M: Message>(
        &self,
        message: &M,
        deadline: Instant,
    ) -> Result<M::Reply, NoAnswer> {
        loop {
            let failed = match self.once(message).await {
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            let may_pass = match &failed {
                NoAnswer::Refused(error) => {
                    matches!(error.code.action(), Action::Retry | Action::Refresh | Action::Unknown)
                }
                NoAnswer::Lost(_) => true,
            };
            if !may_pass || Instant::now() >= deadline {
                return Err(failed);
            }
            sleep(PAUSE).await;
        }
    }

    async fn connection(&self) -> Result<Connection, String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(address) = known {
            return self.cluster.connection_to(&address).await.map_err(|error| error.to_string());
        }
        let brokers = match self.cluster.cached() {
            Some(metadata) if metadata.brokers.iter().any(|broker| !broker.fenced) => metadata,
            _ => self.cluster.metadata(true).await.map_err(|error| error.to_string())?,
        };
        // Another one each time: one that does not answer is no way.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let live: Vec<_> = brokers.brokers.iter().filter(|broker| !broker.fenced).collect();
        let Some(broker) = live.get(turn % live.len().max(1)) else {
            return Err("no broker is up".to_owned());
        };
        let connected = self.cluster.connection_to(&broker.address).await;
        if connected.is_err() {
            // What is known of the brokers may be old.
            let _ = self.cluster.metadata(true).await;
        }
        connected.map_err(|error| error.to_string())
    }
}

/// Members of a group that start together do not all ask the same broker.
fn fastrand_seed() -> usize {
    std::process::id() as usize
}
