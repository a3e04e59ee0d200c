//! The broker's one connection to the active coordinator: its session, its lease, and what it is told.

mod apply;
mod candidates;
mod producer_ids;
mod register;
mod session;

pub(crate) use apply::Update;
pub(crate) use producer_ids::ProducerIdBlocks;
pub(crate) use register::request as registration;

use crate::broker::{Broker, Session};
use crate::clock;
use crate::cluster_map::ClusterMap;
use crate::config::{COORDINATOR_TIMEOUT, REGISTER};
use crate::error::BrokerError;
use candidates::Candidates;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use yak_core::time::Now;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicPartition};
use yak_protocol::message::{IsrProposal, Message, StreamSilent};
use yak_protocol::net::{Connection, RequestError};

/// How often the log repeats that the coordinator cannot be reached.
const REMIND: Duration = Duration::from_secs(5);

/// What the rest of the broker may ask of the link.
pub(crate) struct CoordinatorLink {
    /// The connection of the current session.
    connection: watch::Sender<Option<Connection>>,
    /// Until when the lease runs, in ms of the broker's clock; 0 = never had one.
    lease_until: AtomicU64,
    /// The session that was granted last; what the next registration resumes.
    granted: Mutex<Option<Session>>,
    /// Why there is no session now.
    lost: Mutex<Option<Lost>>,
    /// What the coordinator has not been told of.
    troubles: Mutex<BTreeMap<TopicPartition, ReplicaTrouble>>,
    /// Proposals that have not been sent yet, the newest of each partition.
    proposals: Mutex<BTreeMap<TopicPartition, IsrProposal>>,
    proposed: Notify,
    silence: mpsc::UnboundedSender<StreamSilent>,
    /// Wakes the session: a heartbeat is wanted now.
    heartbeat_now: Notify,
    /// Wakes the session: a full copy of the metadata is wanted.
    full_copy_wanted: Notify,
    /// Whether to serve nothing without a lease.
    step_down: AtomicBool,
    /// Replicas whose partitions have moved away: their data is to be deleted.
    removed: Mutex<BTreeSet<TopicPartition>>,
    /// With what epochs partitions have moved away in this process's time (rule R15).
    moved_away: Mutex<BTreeMap<TopicPartition, (LeaderEpoch, PartitionEpoch)>>,
    removal: Notify,
    draining: AtomicBool,
    drained: CancellationToken,
    pub(crate) producer_ids: ProducerIdBlocks,
}

/// What keeps a replica from doing its part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReplicaTrouble {
    /// Whether any damage is left in its log.
    pub(crate) damaged: bool,
    /// Whether it has stopped itself.
    pub(crate) halted: bool,
}

struct Lost {
    reason: String,
    since: Instant,
}

/// What partitions and streams hand to the link's task.
pub(crate) struct Inputs {
    silence: mpsc::UnboundedReceiver<StreamSilent>,
}

impl CoordinatorLink {
    pub(crate) fn new(step_down: bool) -> (Self, Inputs) {
        let (silence, silence_in) = mpsc::unbounded_channel();
        let lost = Lost { reason: "not reached yet".to_owned(), since: Instant::now() };
        let link = Self {
            connection: watch::Sender::new(None),
            lease_until: AtomicU64::new(0),
            granted: Mutex::default(),
            lost: Mutex::new(Some(lost)),
            troubles: Mutex::default(),
            proposals: Mutex::default(),
            proposed: Notify::new(),
            silence,
            heartbeat_now: Notify::new(),
            full_copy_wanted: Notify::new(),
            step_down: AtomicBool::new(step_down),
            removed: Mutex::default(),
            moved_away: Mutex::default(),
            removal: Notify::new(),
            draining: AtomicBool::new(false),
            drained: CancellationToken::new(),
            producer_ids: ProducerIdBlocks::default(),
        };
        (link, Inputs { silence: silence_in })
    }

    /// The replica is to be stopped and its data deleted: by these epochs it has moved away (rule R18).
    pub(crate) fn remove(&self, id: TopicPartition, epochs: (LeaderEpoch, PartitionEpoch)) {
        self.moved_away.lock().expect("nobody panics while holding it").insert(id, epochs);
        self.removed.lock().expect("nobody panics while holding it").insert(id);
        self.removal.notify_one();
    }

    /// Whether the lease runs: the coordinator cannot have given this broker up without a fence that
    /// the replication rules would notice.
    pub(crate) fn lease_held(&self) -> bool {
        clock::now() < Now(self.lease_until.load(Ordering::Acquire))
    }

    /// Whether this broker may serve what it leads. Without a lease it may, unless it is to step down then:
    /// acknowledged means kept either way, by the epochs; who reads may see an end that is not the newest.
    ///
    /// # Errors
    /// `LEASE_OVER`; nothing was done.
    pub(crate) fn may_serve(&self) -> Result<(), WireError> {
        if self.lease_held() || !self.step_down.load(Ordering::Acquire) {
            return Ok(());
        }
        let what = format!(
            "this broker's lease has run out, and it steps down then: {}",
            self.unavailable().message
        );
        Err(WireError::new(ErrorCode::LeaseOver, what).hint("send it again; serving goes on with the lease"))
    }

    /// The lease runs from the moment its request was *sent*; it never gets shorter.
    fn renew_lease(&self, sent: Now, lease_ms: u64) {
        let until = sent + Duration::from_millis(lease_ms);
        self.lease_until.fetch_max(until.0, Ordering::AcqRel);
    }

    /// How long the lease still runs; zero when it does not.
    pub(crate) fn lease_left(&self) -> Duration {
        clock::until(Now(self.lease_until.load(Ordering::Acquire)))
    }

    /// The session to resume, if there is one.
    pub(crate) fn granted(&self) -> Option<Session> {
        *self.granted.lock().expect("nobody panics while holding it")
    }

    fn set_granted(&self, session: Option<Session>) {
        *self.granted.lock().expect("nobody panics while holding it") = session;
    }

    /// Why the coordinator cannot be reached now, if it cannot, in words.
    pub(crate) fn lost(&self) -> Option<String> {
        let lost = self.lost.lock().expect("nobody panics while holding it");
        lost.as_ref().map(|lost| format!("{} (for {:.1} s)", lost.reason, lost.since.elapsed().as_secs_f64()))
    }

    /// Returns whether it was lost or found by this, and not before.
    pub(crate) fn set_lost(&self, reason: Option<String>) -> bool {
        let mut lost = self.lost.lock().expect("nobody panics while holding it");
        let before = lost.is_some();
        *lost = reason
            .map(|reason| Lost { since: lost.as_ref().map_or_else(Instant::now, |lost| lost.since), reason });
        lost.is_some() != before
    }

    /// The error for what only the coordinator can do.
    pub(crate) fn unavailable(&self) -> WireError {
        let reason = self.lost().unwrap_or_else(|| "it does not answer".to_owned());
        WireError::new(ErrorCode::CoordinatorUnavailable, format!("the coordinator cannot be reached: {reason}"))
            .hint("publishing and consuming of existing topics go on; start the coordinator, or check the network to it")
    }

    /// Proposes another ISR; the outcome arrives as an event of the partition.
    pub(crate) fn propose(&self, proposal: IsrProposal) {
        self.proposals.lock().expect("nobody panics while holding it").insert(proposal.id, proposal);
        self.proposed.notify_one();
    }

    /// Tells the coordinator about a replica's trouble with the next heartbeat, which is sent now.
    pub(crate) fn report_trouble(&self, id: TopicPartition, trouble: ReplicaTrouble) {
        self.troubles.lock().expect("nobody panics while holding it").insert(id, trouble);
        self.heartbeat_now.notify_one();
    }

    /// Reports a leader's silent stream; while there is no session the report is dropped: the
    /// coordinator that comes back looks for itself.
    pub(crate) fn report_silent(&self, leader: BrokerId, leader_broker_epoch: BrokerEpoch, silent: Duration) {
        if !self.connected() {
            return;
        }
        let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
        let (broker_id, broker_epoch) = (BrokerId::ZERO, BrokerEpoch::ZERO);
        let _ = self.silence.send(StreamSilent {
            broker_id,
            broker_epoch,
            leader,
            leader_broker_epoch,
            silent_ms,
        });
    }

    /// Asks the coordinator something on behalf of a client; waits for a connection as long as allowed.
    pub(crate) async fn ask<M: Message>(&self, message: &M) -> Result<M::Reply, WireError> {
        let mut connections = self.connection.subscribe();
        let asked = async {
            loop {
                let connection =
                    connections.wait_for(|found| found.as_ref().is_some_and(|c| !c.closed())).await;
                let connection = connection.ok().and_then(|found| found.clone());
                let connection = connection.ok_or_else(|| self.unavailable())?;
                match connection.request(message, Vec::new()).await {
                    Ok(answer) => return Ok(answer.body),
                    Err(RequestError::Refused(error)) => return Err(error),
                    // It never left: the next connection may take it.
                    Err(RequestError::Lost { sent: false, .. }) => tokio::task::yield_now().await,
                    Err(lost) => return Err(unknown_outcome(M::KIND, &lost)),
                }
            }
        };
        timeout(COORDINATOR_TIMEOUT, asked).await.unwrap_or_else(|_| Err(self.unavailable()))
    }

    /// Whether there is a session with the coordinator now.
    pub(crate) fn connected(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// Where the coordinator of the session is, if there is one.
    pub(crate) fn address(&self) -> Option<String> {
        self.connection.borrow().as_ref().map(|connection| connection.address().to_owned())
    }

    /// Announces that this broker stops, and waits until nothing depends on it any more that others could
    /// take over. `false` = the time was over, or there was nobody to tell.
    pub(crate) async fn drain(&self, cluster: &ClusterMap, me: BrokerId, limit: Duration) -> bool {
        self.draining.store(true, Ordering::Release);
        self.heartbeat_now.notify_one();
        let mut connections = self.connection.subscribe();
        let mut news = cluster.subscribe();
        let nobody_left = async {
            while cluster.others_can_take_over_from(me) {
                if news.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.drained.cancelled() => true,
            () = nobody_left => true,
            _ = connections.wait_for(Option::is_none) => false,
            () = sleep(limit) => false,
        }
    }
}

fn unknown_outcome(kind: &str, lost: &RequestError) -> WireError {
    let what = format!("the connection to the coordinator broke while it worked on {kind}: {lost}");
    WireError::new(ErrorCode::OutcomeUnknown, what)
        .hint("look whether it took effect before you send it again")
}

/// Keeps a session with the coordinator. Returns only when the coordinator refuses this broker for good.
pub(crate) async fn run(
    broker: Arc<Broker>,
    mut inputs: Inputs,
    updates: mpsc::UnboundedSender<Update>,
) -> BrokerError {
    let mut pause = REGISTER.0;
    let mut reminded: Option<Instant> = None;
    let mut candidates = Candidates::new(&broker.config.coordinator);
    let mut tried = 0;
    loop {
        let Some(address) = candidates.next() else {
            return BrokerError::Config("no coordinator address was given".to_owned());
        };
        tried += 1;
        let reason = match register::register(&broker, &address, &candidates.but(&address), &updates).await {
            Ok(registered) => {
                pause = REGISTER.0;
                tried = 0;
                reminded = None;
                broker.set_coordinator_lost(None);
                candidates.learn(registered.coordinators.clone());
                candidates.point_to(address.clone());
                let reason =
                    session::run(&broker, registered, candidates.count() == 1, &mut inputs, &updates).await;
                broker.link.connection.send_replace(None);
                tracing::warn!(address, reason, "the coordinator is lost");
                reason
            }
            Err(register::Refused::ForGood(error)) => return error,
            Err(register::Refused::Standby(active)) => {
                candidates.point_to(active.clone());
                format!("it is on standby; {active} is active")
            }
            Err(register::Refused::Silent(active)) => {
                candidates.point_to(active.clone());
                format!("it does not answer, and {active} is active")
            }
            Err(register::Refused::Now(reason)) => {
                if reminded.is_none_or(|at| at.elapsed() >= REMIND) {
                    tracing::warn!(address, reason, "waiting for the coordinator");
                    reminded = Some(Instant::now());
                }
                reason
            }
        };
        broker.set_coordinator_lost(Some(format!("{address}: {reason}")));
        // Everybody is asked once before the pauses grow.
        sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        if tried >= candidates.count() {
            tried = 0;
            pause = (pause * 2).min(REGISTER.1);
        }
    }
}

/// Takes what the coordinator says, in order, one after the other.
pub(crate) use apply::run as apply_updates;
