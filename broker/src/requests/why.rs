//! `why`: what this broker knows about it, and what the leader, the broker in question and the coordinator add.

use crate::broker::Broker;
use crate::config::FORWARD_SLACK;
use crate::partition::{Command, PartitionHandle};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::time::timeout;
use yak_core::partition::Explained;
use yak_core::why::{self, BrokerFacts, LeaderFacts, Own, PartitionFacts, Trouble};
use yak_protocol::error::WireError;
use yak_protocol::ids::{BrokerId, Offset, TopicPartition};
use yak_protocol::message::{
    BrokerInfo, Cause, Metadata, MetadataReply, PartitionInfo, TopicInfo, Why, WhyReply,
};
use yak_protocol::net::{Incoming, Replier};
use yak_storage::Log;

/// How long whoever knows more may take to answer.
const ASK_MAX: Duration = Duration::from_secs(2);

/// Looks here, and asks elsewhere if it may.
pub(crate) fn why(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    let asked: Why = match request.parse() {
        Ok(asked) => asked,
        Err(error) => return reply.refuse(&error),
    };
    let of_task = broker.clone();
    broker.tasks.spawn("why", async move {
        let outcome = answer(&of_task, &asked).await;
        reply.reply::<Why>(outcome.as_ref().map_err(Clone::clone), Vec::new());
    });
}

/// What is known here, and who knows more.
struct Known {
    subject: String,
    well: String,
    causes: Vec<Cause>,
    /// The leader, or the broker in question, if that is another one and may be alive.
    better: Option<BrokerId>,
}

async fn answer(broker: &Arc<Broker>, asked: &Why) -> Result<WhyReply, WireError> {
    let names = asked.topic.clone().map(|topic| vec![topic]);
    // Also says that this broker has not heard of anything yet.
    let map = super::metadata(broker, &Metadata { topics: names })?;
    let known = look(broker, &map, asked).await?;
    let Known { subject, well, causes, better } = known;
    if !asked.forward {
        return Ok(WhyReply { text: why::paragraph(&subject, &well, &causes), causes });
    }
    let passed_on = Why { forward: false, ..asked.clone() };
    let (by_leader, by_record) =
        tokio::join!(ask_broker(broker, better, &passed_on), ask_coordinator(broker, &passed_on));
    let mut texts = Vec::new();
    let mut by_log = Vec::new();
    match by_leader {
        Some(Ok(told)) => {
            by_log = told.causes;
            texts.push(told.text);
        }
        Some(Err(cause)) => by_log.push(cause),
        // Nobody knows more than this broker.
        None => texts.push(why::paragraph(&subject, &well, &causes)),
    }
    by_log.extend(causes);
    let by_record = by_record.map(|told| {
        texts.push(told.text);
        told.causes
    });
    let causes = why::merge(by_log, by_record.unwrap_or_default());
    let text = match texts.into_iter().next().filter(|_| causes.is_empty()) {
        Some(text) => text,
        None => why::paragraph(&subject, &well, &causes),
    };
    Ok(WhyReply { text, causes })
}

/// What another broker says; `None` = nobody else knows more.
async fn ask_broker(broker: &Broker, better: Option<BrokerId>, why: &Why) -> Option<Result<WhyReply, Cause>> {
    let id = better?;
    let asked = async {
        let connection = broker.peers.to(broker, id).await.map_err(|error| error.message)?;
        let pending = connection.start(why, Vec::new()).map_err(|error| error.to_string())?;
        pending.within(FORWARD_SLACK).await.map(|answer| answer.body).map_err(|error| error.to_string())
    };
    let told = timeout(ASK_MAX, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    Some(told.map_err(|error| unreachable(broker, id, &error)))
}

fn unreachable(broker: &Broker, id: BrokerId, error: &str) -> Cause {
    let me = broker.id().map_or_else(|| "this broker".to_owned(), |me| format!("broker {me}"));
    let version = broker.cluster.version();
    let text = format!(
        "broker {id} knows more and cannot be asked from {me}: {error}; what {me} knows is metadata version {version}"
    );
    let address = broker.cluster.broker(id).map(|info| info.address).unwrap_or_default();
    let next = format!("check that broker {id} runs and {address} can be reached from {me}");
    Trouble::Unreachable.cause(format!("broker {id}"), text, next)
}

/// What the coordinator says. That it is lost has been said already.
async fn ask_coordinator(broker: &Broker, why: &Why) -> Option<WhyReply> {
    if !broker.link.connected() {
        return None;
    }
    timeout(ASK_MAX, broker.link.ask(why)).await.ok()?.ok()
}

async fn look(broker: &Broker, map: &MetadataReply, asked: &Why) -> Result<Known, WireError> {
    match (&asked.topic, asked.partition, asked.broker) {
        (Some(topic), Some(partition), _) => {
            let resolved = broker.cluster.resolve(topic, partition)?;
            let info = map.partitions.iter().find(|info| info.id == resolved.id);
            let info = info.ok_or_else(|| broker.not_leader(resolved.id))?;
            let facts = partition_facts(broker, map, info, &resolved.topic).await;
            let leader = info.leader.filter(|leader| Some(*leader) != broker.id());
            let (well, causes) = (why::well(&facts), why::partition(&facts, wall_ms()));
            Ok(Known { subject: facts.title, well, causes, better: leader })
        }
        (Some(topic), None, _) => {
            let topic = broker.cluster.topic(topic)?;
            let causes = of_partitions(broker, map).await;
            let well = why::topic_well(topic.partitions);
            Ok(Known { subject: topic.name, well, causes, better: None })
        }
        (None, _, Some(id)) => {
            let info =
                map.brokers.iter().find(|info| info.id == id).ok_or_else(|| unknown_broker(map, id))?;
            let own = if broker.id() == Some(id) { Some(own_facts(broker, map).await) } else { None };
            let facts = BrokerFacts { own, ..broker_facts(map, info) };
            let other = Some(id).filter(|id| Some(*id) != broker.id() && !info.fenced);
            let (well, causes) = (facts.well(None), why::broker(&facts, wall_ms()));
            Ok(Known { subject: format!("broker {id}"), well, causes, better: other })
        }
        (None, ..) => {
            let mut causes = of_partitions(broker, map).await;
            let fenced = map.brokers.iter().filter(|info| info.fenced || info.draining);
            let of_brokers = fenced.flat_map(|info| {
                why::broker(&BrokerFacts { out_of_sync: 0, ..broker_facts(map, info) }, wall_ms())
            });
            causes = why::merge(causes, of_brokers.collect());
            let well = why::cluster_well(map.brokers.len(), map.topics.len(), map.partitions.len());
            Ok(Known { subject: "the cluster".to_owned(), well, causes, better: None })
        }
    }
}

async fn of_partitions(broker: &Broker, map: &MetadataReply) -> Vec<Cause> {
    let mut causes = Vec::new();
    for info in &map.partitions {
        if let Some(topic) = map.topics.iter().find(|topic| topic.id == info.id.topic) {
            let facts = partition_facts(broker, map, info, topic).await;
            causes.extend(why::partition(&facts, wall_ms()));
        }
    }
    why::merge(causes, Vec::new())
}

async fn partition_facts(
    broker: &Broker,
    map: &MetadataReply,
    info: &PartitionInfo,
    topic: &TopicInfo,
) -> PartitionFacts {
    let title = format!("{}/{}", topic.name, info.id.partition);
    let known = |id: &BrokerId| map.brokers.iter().find(|broker| broker.id == *id);
    let takes = |it: &&BrokerInfo| !it.fenced && !it.draining && !info.replicas.contains(&it.id);
    let (explained, log) = match broker.partition(info.id) {
        Some(handle) => (explain(&handle).await, Some(handle.log.clone())),
        None => (Explained::default(), None),
    };
    // Only a replica's own trouble has to do with the partition.
    let me = broker.id().unwrap_or_default();
    let mut own = own_trouble(broker);
    if !info.replicas.contains(&me) {
        (own.disk_full, own.lease_over) = (false, false);
    }
    own.halted.extend(explained.halted.map(|why| (title.clone(), why)));
    PartitionFacts {
        title,
        info: info.clone(),
        wanted_replicas: topic.wanted_replicas,
        brokers: info.replicas.iter().filter_map(known).map(named).collect(),
        spare: map.brokers.iter().filter(takes).count(),
        leaderless: None,
        damaged: Vec::new(),
        halted: Vec::new(),
        moving: None,
        leader: explained.leader.zip(log).map(|(leader, log)| with_bytes(leader, &log)),
        not_following: explained.not_following,
        own: Some((me, own)),
    }
}

/// What the replica says of itself; nothing if it is just being stopped.
async fn explain(handle: &PartitionHandle) -> Explained {
    let (tell, told) = oneshot::channel();
    handle.send(Command::Explain(tell));
    told.await.unwrap_or_default()
}

fn with_bytes(mut leader: LeaderFacts, log: &Log) -> LeaderFacts {
    for follower in &mut leader.followers {
        follower.bytes_behind = bytes_from(log, follower.acked.unwrap_or_default());
    }
    leader
}

/// About how many bytes lie in the log from that offset on: records within a segment count alike.
fn bytes_from(log: &Log, from: Offset) -> u64 {
    let share = |base: Offset, end: Offset, bytes: u64| {
        let (all, lacks) = (end.0.saturating_sub(base.0), end.0.saturating_sub(from.0.max(base.0)));
        if all == 0 {
            0
        } else {
            u64::try_from(u128::from(bytes) * u128::from(lacks) / u128::from(all)).unwrap_or(bytes)
        }
    };
    log.segments().iter().map(|segment| share(segment.base, segment.end, segment.bytes)).sum()
}

fn named(info: &BrokerInfo) -> BrokerFacts {
    BrokerFacts {
        id: info.id,
        name: info.name.clone(),
        address: info.address.clone(),
        fenced: info.fenced,
        draining: info.draining,
        ..BrokerFacts::default()
    }
}

fn broker_facts(map: &MetadataReply, info: &BrokerInfo) -> BrokerFacts {
    let mut facts = named(info);
    for partition in map.partitions.iter().filter(|partition| partition.replicas.contains(&info.id)) {
        facts.replicas += 1;
        facts.leads += u32::from(partition.leader == Some(info.id));
        facts.out_of_sync += u32::from(!partition.isr.contains(&info.id));
    }
    facts
}

/// The trouble of the process, without that of its replicas.
fn own_trouble(broker: &Broker) -> Own {
    Own {
        coordinator_lost: broker.link.lost(),
        coordinator: broker.config.coordinator.join(" or "),
        lease_over: !broker.link.lease_held(),
        disk_full: broker.store.is_full(),
        halted: Vec::new(),
    }
}

async fn own_facts(broker: &Broker, map: &MetadataReply) -> Own {
    let names: BTreeMap<TopicPartition, String> =
        map.partitions.iter().map(|info| (info.id, broker.cluster.name_of(info.id))).collect();
    let mut own = own_trouble(broker);
    for (id, title) in names {
        if let Some(handle) = broker.partition(id) {
            own.halted.extend(explain(&handle).await.halted.map(|why| (title, why)));
        }
    }
    own
}

fn unknown_broker(map: &MetadataReply, id: BrokerId) -> WireError {
    let known: Vec<_> = map.brokers.iter().map(|info| format!("{} ({})", info.id, info.name)).collect();
    let error = WireError::bad_request(format!("there is no broker {id}"));
    error.hint(format!("there are {}", known.join(", ")))
}

/// The time of day, for people.
fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
