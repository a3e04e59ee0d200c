//! Opens or resumes the session with the coordinator (rules R11, R12, R15).

use super::{REMIND, Update};
use crate::broker::{Broker, Session};
use crate::clock;
use crate::error::BrokerError;
use crate::peers;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use yak_core::time::Now;
use yak_protocol::error::{Action, ErrorCode, WireError};
use yak_protocol::ids::{LeaderEpoch, PartitionEpoch, TopicPartition};
use yak_protocol::message::{Metadata, RegisterBroker, RegisterBrokerReply, ReplicaReport};
use yak_protocol::net::{Connection, Incoming, RequestError};
use yak_storage::Recovered;

/// How long one of several coordinators may take to answer a registration before the next is tried: it may be
/// paused, and none of the others active yet.
const REGISTER_MAX: Duration = Duration::from_secs(2);

/// How long a registration may be without an answer before the others are asked who is active, and how often.
const LOOK_AROUND: Duration = Duration::from_millis(250);

/// A session that stands.
pub(super) struct Registered {
    pub(super) connection: Connection,
    pub(super) incoming: mpsc::UnboundedReceiver<Incoming>,
    pub(super) session: Session,
    pub(super) heartbeat_ms: u64,
    pub(super) lease_ms: u64,
    /// Where the coordinators are, as this one knows them.
    pub(super) coordinators: Vec<String>,
}

/// Why there is none.
pub(super) enum Refused {
    /// Try again.
    Now(String),
    /// Another coordinator is active: there.
    Standby(String),
    /// It has not answered yet, and another coordinator is active: there.
    Silent(String),
    /// This broker cannot be part of that cluster as it is.
    ForGood(BrokerError),
}

/// Connects, registers, and makes what was granted durable before anything acts on it.
///
/// Where there are no `others`, the answer is waited for as long as the connection stands: a coordinator that was
/// paused must not find a registration whose sender has hung up.
pub(super) async fn register(
    broker: &Arc<Broker>,
    address: &str,
    others: &[String],
    updates: &mpsc::UnboundedSender<Update>,
) -> Result<Registered, Refused> {
    let resume = broker.link.granted();
    let asked = ask(broker, address, others.is_empty(), resume.as_ref());
    let Asked { connection, incoming, sent, reply } = tokio::select! {
        asked = asked => asked?,
        active = active_among(others, address) => return Err(Refused::Silent(active)),
    };
    let session = accept(broker, address, &reply).await?;
    broker.link.set_granted(Some(session));
    let known = reply.leader_info.brokers.iter().find(|known| known.id == session.broker_id);
    if known.is_some_and(|me| !me.fenced) {
        // A fenced broker has lost what it led, and may not know it yet: no lease before it does.
        broker.link.renew_lease(sent, reply.lease_ms);
    }
    broker.link.step_down.store(reply.step_down || broker.config.step_down, Ordering::Release);
    broker.link.producer_ids.add(reply.producer_ids_from, reply.producer_ids_count);
    tracing::info!(
        address,
        broker = session.broker_id.0,
        broker_epoch = session.broker_epoch.0,
        coordinator_epoch = reply.coordinator_epoch.0,
        resumed = reply.resumed,
        "registered"
    );
    let _ = updates.send(Update::Registered(session, reply.leader_info));
    Ok(Registered {
        connection,
        incoming,
        session,
        heartbeat_ms: reply.heartbeat_ms.max(1),
        lease_ms: reply.lease_ms,
        coordinators: reply.coordinators,
    })
}

/// What a coordinator has granted, not yet made durable.
struct Asked {
    connection: Connection,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    sent: Now,
    reply: RegisterBrokerReply,
}

async fn ask(
    broker: &Broker,
    address: &str,
    alone: bool,
    resume: Option<&Session>,
) -> Result<Asked, Refused> {
    let (connection, incoming) = peers::connect(address).await.map_err(Refused::Now)?;
    let request = request(broker, resume);
    let sent = clock::now();
    let asked = connection.request(&request, Vec::new());
    let answered =
        if alone { Ok(patiently(address, asked).await) } else { timeout(REGISTER_MAX, asked).await };
    match answered {
        Ok(Ok(answer)) => Ok(Asked { connection, incoming, sent, reply: answer.body }),
        Ok(Err(RequestError::Refused(error))) => Err(refused(broker, resume.is_some(), error)),
        Ok(Err(other)) => Err(Refused::Now(other.to_string())),
        Err(_) => {
            Err(Refused::Now(format!("no answer within {} s; others are tried", REGISTER_MAX.as_secs())))
        }
    }
}

/// The one of these, or the one that they point to, that is active and not at `silent`. Nothing is asked at first:
/// a coordinator that is well answers sooner. Never ends where nobody else is active.
async fn active_among(others: &[String], silent: &str) -> String {
    loop {
        sleep(LOOK_AROUND).await;
        let mut looks: JoinSet<Option<String>> = others.iter().cloned().map(active_at).collect();
        while let Some(found) = looks.join_next().await {
            if let Ok(Some(active)) = found
                && active != silent
            {
                return active;
            }
        }
    }
}

/// Which coordinator is active, as the one there says.
async fn active_at(address: String) -> Option<String> {
    let look = async {
        let (connection, _) = peers::connect(&address).await.ok()?;
        let nothing = Metadata { topics: Some(Vec::new()) };
        match connection.request(&nothing, Vec::new()).await {
            Ok(_) => Some(address),
            Err(RequestError::Refused(error)) if error.code == ErrorCode::NotActive => error.coordinator,
            Err(_) => None,
        }
    };
    timeout(REGISTER_MAX, look).await.ok().flatten()
}

/// Waits for as long as it takes, and says so now and then.
async fn patiently<F: Future>(address: &str, answer: F) -> F::Output {
    let mut answer = std::pin::pin!(answer);
    loop {
        match timeout(REMIND, answer.as_mut()).await {
            Ok(output) => return output,
            Err(_) => {
                tracing::warn!(address, "connected, but the coordinator does not answer the registration yet")
            }
        }
    }
}

/// How this broker registers.
pub(crate) fn request(broker: &Broker, resume: Option<&Session>) -> RegisterBroker {
    let identity = broker.store.identity();
    RegisterBroker {
        name: broker.config.name.clone(),
        incarnation: broker.incarnation,
        data_dir: identity.data_dir,
        cluster_id: identity.cluster_id,
        broker_id: identity.broker_id,
        stored_broker_epoch: identity.broker_epoch,
        resume: resume.map(|session| session.broker_epoch),
        coordinator_epoch: identity.coordinator_epoch,
        clean_shutdown: identity.clean_shutdown,
        same_boot: identity.same_boot,
        advertise: broker.address.clone(),
        rack: broker.config.rack.clone(),
        replicas: reports(broker),
    }
}

/// What each replica holds: as it runs, or as its log was recovered.
fn reports(broker: &Broker) -> Vec<ReplicaReport> {
    let found = |(id, recovered): (&TopicPartition, &Recovered)| {
        let report = ReplicaReport {
            id: *id,
            leader_epoch: recovered.promise.map(|(epoch, _)| epoch).unwrap_or_default(),
            partition_epoch: PartitionEpoch::ZERO,
            last_epoch: recovered.last_epoch(),
            log_end: recovered.log_end,
            high_watermark: recovered.high_watermark_hint.min(recovered.log_end),
            damaged: !recovered.damaged.is_empty(),
            halted: false,
        };
        (*id, report)
    };
    let mut reports = moved_away(broker);
    {
        // Before those that run: a log moves from here to them, and one that is left out counts as lost.
        let recovered = broker.recovered.lock().expect("nobody panics while holding it");
        reports.extend(recovered.iter().map(found));
    }
    reports.extend(broker.partitions.iter().map(|partition| (partition.id, partition.report())));
    reports.into_values().collect()
}

/// Nothing is left of these but the epochs by which they moved away. A coordinator on an older journal has to
/// hear of them, for it may count on them still (rules R15, R18).
fn moved_away(broker: &Broker) -> BTreeMap<TopicPartition, ReplicaReport> {
    let report =
        |(id, (leader_epoch, partition_epoch)): (&TopicPartition, &(LeaderEpoch, PartitionEpoch))| {
            (*id, ReplicaReport::moved_away(*id, *leader_epoch, *partition_epoch))
        };
    let moved_away = broker.link.moved_away.lock().expect("nobody panics while holding it");
    moved_away.iter().map(report).collect()
}

fn refused(broker: &Broker, resuming: bool, error: WireError) -> Refused {
    match error.code {
        ErrorCode::StaleBrokerEpoch | ErrorCode::Fenced if resuming => {
            // The session is over; the next attempt asks for a new one.
            broker.link.set_granted(None);
            Refused::Now(error.to_string())
        }
        ErrorCode::NotActive => match error.coordinator {
            Some(active) => Refused::Standby(active),
            None => Refused::Now(error.to_string()),
        },
        _ if error.code.action() == Action::GiveUp => Refused::ForGood(BrokerError::Refused(error)),
        _ => Refused::Now(error.to_string()),
    }
}

async fn accept(
    broker: &Arc<Broker>,
    address: &str,
    reply: &RegisterBrokerReply,
) -> Result<Session, Refused> {
    let identity = broker.store.identity();
    if let Some(mine) = identity.cluster_id
        && mine != reply.cluster_id
    {
        return Err(Refused::ForGood(BrokerError::Refused(WireError::new(
            ErrorCode::WrongCluster,
            format!(
                "the data dir {} belongs to cluster {mine}, the coordinator at {address} to cluster {}",
                broker.config.data.display(),
                reply.cluster_id
            ),
        ))));
    }
    if reply.coordinator_epoch < identity.coordinator_epoch {
        return Err(Refused::Now(format!(
            "its term {} is older than the term {} that this broker has seen: it was restored from a copy, \
             or another coordinator is active",
            reply.coordinator_epoch, identity.coordinator_epoch
        )));
    }
    let session = Session {
        cluster_id: reply.cluster_id,
        broker_id: reply.broker_id,
        broker_epoch: reply.broker_epoch,
    };
    let (epoch, name) = (reply.coordinator_epoch, broker.config.name.clone());
    broker
        .update_identity(move |identity| {
            identity.cluster_id = Some(session.cluster_id);
            identity.broker_id = Some(session.broker_id);
            identity.broker_epoch = session.broker_epoch;
            identity.coordinator_epoch = epoch;
            identity.name = Some(name);
        })
        .await
        .map_err(|error| Refused::Now(error.to_string()))?;
    Ok(session)
}
