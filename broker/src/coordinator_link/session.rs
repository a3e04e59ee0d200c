//! One session with the coordinator: heartbeats out, metadata and probes in, proposals in bundles.

use super::register::Registered;
use super::{Inputs, ReplicaTrouble, Update};
use crate::broker::{Broker, Session};
use crate::clock;
use crate::partition::PartitionHandle;
use bytes::Bytes;
use futures_util::future::OptionFuture;
use serde::Serialize;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use yak_core::partition::Event;
use yak_core::time::Now;
use yak_protocol::error::{Action, ErrorCode, WireError};
use yak_protocol::ids::{LeaderEpoch, MetadataVersion, TopicPartition};
use yak_protocol::message::{
    Heartbeat, HeartbeatReply, IsrProposal, LeaderInfo, LeaderInfoRequest, Message, Probe, ProducerIds,
    ProposeIsr, ReplicaReport, StreamSilent,
};
use yak_protocol::net::{Connection, Incoming, RequestError};

/// How many partitions' proposals go into one frame.
const PROPOSALS_AT_ONCE: usize = 1000;
/// How long a coordinator may leave heartbeats unanswered before the connection is given up. Far longer
/// than a lease: a paused coordinator must find the connections as it left them. With several coordinators
/// another one may be active by then: the connection is given up after a part of the lease.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// Which part that is.
const LEASE_PART: u32 = 3;

type Answered<'a> = Pin<Box<dyn Future<Output = (Now, Result<HeartbeatReply, RequestError>)> + Send + 'a>>;

/// Runs until the connection breaks or the session ends; returns why.
pub(super) async fn run(
    broker: &Arc<Broker>,
    registered: Registered,
    alone: bool,
    inputs: &mut Inputs,
    updates: &mpsc::UnboundedSender<Update>,
) -> String {
    let Registered { connection, mut incoming, session, heartbeat_ms, lease_ms, .. } = registered;
    let lease = Duration::from_millis(lease_ms);
    let silent_max = if alone { SILENT_MAX } else { lease / LEASE_PART };
    let mut talk = Talk {
        broker,
        connection: connection.clone(),
        session,
        lease_ms,
        sent_troubles: BTreeMap::new(),
        named_before: None,
    };
    broker.link.connection.send_replace(Some(connection.clone()));
    let mut ticks = interval(Duration::from_millis(heartbeat_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answer: Option<Answered<'_>> = None;
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            frame = incoming.recv() => match frame {
                Some(frame) => {
                    heard = Instant::now();
                    if let Err(reason) = talk.hear(frame, updates) {
                        connection.close();
                        return reason;
                    }
                }
                None => return connection.wait_closed().await.to_string(),
            },
            Some((sent, outcome)) = OptionFuture::from(answer.as_mut()) => {
                answer = None;
                heard = Instant::now();
                if let Err(reason) = talk.renewed(sent, outcome) {
                    connection.close();
                    return reason;
                }
            }
            () = broker.link.proposed.notified() => talk.propose_all(),
            Some(report) = inputs.silence.recv() => talk.report_silent(report),
            () = broker.link.full_copy_wanted.notified() => talk.ask_full_copy(updates.clone()),
            () = broker.link.heartbeat_now.notified() => answer = Some(talk.heartbeat()),
            _ = ticks.tick() => {
                if answer.is_none() {
                    answer = Some(talk.heartbeat());
                } else if heard.elapsed() > silent_max.min(lease) {
                    broker.set_coordinator_lost(Some("it does not answer heartbeats".to_owned()));
                    if heard.elapsed() > silent_max {
                        connection.close();
                        return format!("no answer to heartbeats for {:.1} s", heard.elapsed().as_secs_f64());
                    }
                }
            }
        }
    }
}

struct Talk<'a> {
    broker: &'a Arc<Broker>,
    connection: Connection,
    session: Session,
    lease_ms: u64,
    /// What the heartbeat on its way tells of replicas.
    sent_troubles: BTreeMap<TopicPartition, ReplicaTrouble>,
    /// The newest metadata, as the last heartbeat's answer named it.
    named_before: Option<MetadataVersion>,
}

impl<'a> Talk<'a> {
    fn heartbeat(&mut self) -> Answered<'a> {
        let link = &self.broker.link;
        self.sent_troubles = link.troubles.lock().expect("nobody panics while holding it").clone();
        let report = |(id, trouble): (&TopicPartition, &ReplicaTrouble)| {
            let ReplicaTrouble { damaged, halted } = *trouble;
            Some(ReplicaReport { damaged, halted, ..self.broker.partition(*id)?.report() })
        };
        let heartbeat = Heartbeat {
            broker_id: self.session.broker_id,
            broker_epoch: self.session.broker_epoch,
            metadata_version: self.broker.cluster.announced(),
            draining: link.draining.load(Ordering::Acquire),
            replicas: self.sent_troubles.iter().filter_map(report).chain(self.leaderless()).collect(),
        };
        self.ask_for_ids_if_low();
        let sent = clock::now();
        let pending = self.connection.start(&heartbeat, Vec::new());
        Box::pin(async move {
            let outcome = match pending {
                Ok(pending) => pending.await.map(|answer| answer.body),
                Err(error) => Err(error),
            };
            (sent, outcome)
        })
    }

    /// How far the replicas go that nobody leads: somebody may have to choose one (rule R10).
    fn leaderless(&self) -> Vec<ReplicaReport> {
        let leaderless = |partition: &Arc<PartitionHandle>| {
            let view = partition.view();
            view.leader.is_none() && view.leader_epoch > LeaderEpoch::ZERO
        };
        let found = self.broker.partitions.iter().filter(|partition| leaderless(partition));
        found.map(|partition| partition.report()).collect()
    }

    fn renewed(&mut self, sent: Now, outcome: Result<HeartbeatReply, RequestError>) -> Result<(), String> {
        let link = &self.broker.link;
        let reply = match outcome {
            Ok(reply) => reply,
            Err(RequestError::Refused(error)) => {
                if error.code.action() == Action::Reopen {
                    link.set_granted(None);
                }
                return Err(error.to_string());
            }
            Err(other) => return Err(other.to_string()),
        };
        let seen = self.broker.store.identity().coordinator_epoch;
        if reply.coordinator_epoch < seen {
            return Err(format!(
                "its term {} is older than {seen}, which this broker has seen",
                reply.coordinator_epoch
            ));
        }
        self.broker.set_coordinator_lost(None);
        self.broker.look_at_disk();
        if !reply.fenced {
            link.renew_lease(sent, self.lease_ms.min(reply.lease_ms));
            self.broker.config.ready.cancel();
        }
        let mut troubles = link.troubles.lock().expect("nobody panics while holding it");
        for (id, told) in std::mem::take(&mut self.sent_troubles) {
            if troubles.get(&id) == Some(&told) {
                troubles.remove(&id);
            }
        }
        drop(troubles);
        // Pushes come in order; what the answer before this one named has been pushed, unless it was lost.
        if self.named_before.is_some_and(|named| self.broker.cluster.version() < named) {
            link.full_copy_wanted.notify_one();
            self.named_before = None;
        } else {
            self.named_before = Some(reply.metadata_version);
        }
        if link.draining.load(Ordering::Acquire) {
            if reply.drained {
                link.drained.cancel();
            } else {
                let broker = self.broker.clone();
                self.broker.tasks.spawn("heartbeat while draining", async move {
                    tokio::time::sleep(DRAIN_HEARTBEAT).await;
                    broker.link.heartbeat_now.notify_one();
                });
            }
        }
        Ok(())
    }

    fn hear(&self, frame: Incoming, updates: &mpsc::UnboundedSender<Update>) -> Result<(), String> {
        match frame.kind.as_str() {
            Probe::KIND => self
                .connection
                .send(frame.id, Probe::KIND, &ProbeAnswer { ok: true }, Vec::new())
                .map_err(|lost| lost.to_string()),
            LeaderInfoRequest::KIND => {
                let info: LeaderInfo = frame.parse_body().map_err(|error| error.to_string())?;
                let _ = updates.send(Update::Pushed(info));
                Ok(())
            }
            other => {
                tracing::debug!(
                    kind = other,
                    "the coordinator said something that this version does not know"
                );
                Ok(())
            }
        }
    }

    /// Sends what partitions have proposed, also what waited for this session.
    fn propose_all(&self) {
        let waiting =
            std::mem::take(&mut *self.broker.link.proposals.lock().expect("nobody panics while holding it"));
        let mut waiting = waiting.into_values().peekable();
        while waiting.peek().is_some() {
            self.propose(waiting.by_ref().take(PROPOSALS_AT_ONCE).collect());
        }
    }

    /// Sends the proposals of many partitions as one frame, and hands each its outcome. No outcome is
    /// handed out while it is unknown: the machine sends the same proposal again (rule R8).
    fn propose(&self, changes: Vec<IsrProposal>) {
        let named: Vec<_> = changes.iter().map(|change| (change.id, change.partition_epoch)).collect();
        let Session { broker_id, broker_epoch, .. } = self.session;
        let pending = self.connection.start(&ProposeIsr { broker_id, broker_epoch, changes }, Vec::new());
        let broker = self.broker.clone();
        self.broker.tasks.spawn("isr proposals", async move {
            let Ok(pending) = pending else { return };
            let outcomes: Vec<Result<(), WireError>> = match pending.await {
                Ok(answer) => {
                    answer.body.outcomes.into_iter().map(|error| error.map_or(Ok(()), Err)).collect()
                }
                Err(RequestError::Refused(error)) if definite(&error) => vec![Err(error); named.len()],
                Err(_) => return,
            };
            for ((id, partition_epoch), outcome) in named.into_iter().zip(outcomes) {
                if let Some(partition) = broker.partition(id) {
                    partition.event(Event::Proposal { partition_epoch, outcome });
                }
            }
        });
    }

    fn report_silent(&self, report: StreamSilent) {
        let Session { broker_id, broker_epoch, .. } = self.session;
        let pending = self.connection.start(&StreamSilent { broker_id, broker_epoch, ..report }, Vec::new());
        self.broker.tasks.spawn("silence report", async move {
            if let Ok(pending) = pending
                && let Err(error) = pending.await
            {
                tracing::debug!(%error, "a report of a silent stream was not taken");
            }
        });
    }

    fn ask_full_copy(&self, updates: mpsc::UnboundedSender<Update>) {
        let pending = self.connection.start(&LeaderInfoRequest { topic: None }, Vec::<Bytes>::new());
        self.broker.tasks.spawn("full metadata", async move {
            let Ok(pending) = pending else { return };
            match pending.await {
                Ok(answer) => drop(updates.send(Update::Pushed(LeaderInfo { full: true, ..answer.body }))),
                Err(error) => tracing::warn!(%error, "no full copy of the metadata"),
            }
        });
    }

    fn ask_for_ids_if_low(&self) {
        if !self.broker.link.producer_ids.ask_now() {
            return;
        }
        let Session { broker_id, broker_epoch, .. } = self.session;
        let pending = self.connection.start(&ProducerIds { broker_id, broker_epoch }, Vec::new());
        let broker = self.broker.clone();
        self.broker.tasks.spawn("producer ids", async move {
            if let Ok(pending) = pending
                && let Ok(answer) = pending.await
            {
                broker.link.producer_ids.add(answer.body.from, answer.body.count);
            }
            broker.link.producer_ids.asked();
        });
    }
}

/// The answer to a probe: that it comes is all it says.
#[derive(Serialize)]
struct ProbeAnswer {
    ok: bool,
}

/// How soon a draining broker asks again whether it may go.
const DRAIN_HEARTBEAT: Duration = Duration::from_millis(20);

/// Whether the refusal of a whole frame says that nothing in it was applied.
fn definite(error: &WireError) -> bool {
    error.code.action() != Action::Unknown && error.code != ErrorCode::Timeout
}
