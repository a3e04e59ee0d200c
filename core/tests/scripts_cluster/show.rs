//! What the machine did, in words.

use std::collections::BTreeMap;
use yak_core::cluster::{Effect, Record, Reply};
use yak_protocol::error::WireError;
use yak_protocol::ids::{BrokerId, TopicId, TopicPartition};
use yak_protocol::message::{MoveState, PartitionInfo, PreferredElection};

/// Topic names by id, of deleted ones too.
pub type Names = BTreeMap<TopicId, String>;

fn list(ids: &[BrokerId]) -> String {
    if ids.is_empty() {
        return "-".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn topic(id: TopicId, names: &Names) -> String {
    names.get(&id).cloned().unwrap_or_else(|| format!("{id:?}"))
}

fn partition_id(id: TopicPartition, names: &Names) -> String {
    format!("{}/{}", topic(id.topic, names), id.partition)
}

pub fn partition(info: &PartitionInfo, names: &Names) -> String {
    format!(
        "{} {} {:?} {:?} isr={} elr={} replicas={} min_isr={}{}{}{}",
        partition_id(info.id, names),
        info.leader.map_or_else(|| "no leader".to_owned(), |leader| format!("led by {leader}")),
        info.leader_epoch,
        info.partition_epoch,
        list(&info.isr),
        list(&info.elr),
        list(&info.replicas),
        info.min_isr,
        if info.recovering { " recovering" } else { "" },
        info.moving.as_ref().map_or_else(String::new, |moving| {
            let rate = moving.bytes_per_second.map(|rate| format!(" at {rate}")).unwrap_or_default();
            format!(" moving from {} to {}{rate}", list(&moving.from), list(&moving.to))
        }),
        info.unclean.map_or_else(String::new, |epoch| format!(" unclean {epoch:?}"))
    )
}

fn record(record: &Record, names: &Names) -> String {
    match record {
        Record::Cluster { cluster_id } => format!("cluster {cluster_id:?}"),
        Record::CoordinatorEpoch { epoch } => format!("coordinator epoch {epoch}"),
        Record::Broker { id, name, broker_epoch, lost, .. } => {
            let lost: Vec<String> =
                lost.iter().map(|id| format!(" lost {}", partition_id(*id, names))).collect();
            format!("broker {id} ({name}) {broker_epoch:?}{}", lost.concat())
        }
        Record::Fence { id, fenced, confirmed } => match (fenced, confirmed) {
            (true, _) => format!("broker {id} fenced"),
            (false, Some(epoch)) => format!("broker {id} unfenced, confirmed {epoch:?}"),
            (false, None) => format!("broker {id} unfenced"),
        },
        Record::Drain { id, draining, requested } => {
            let by_request = if *requested { " by request" } else { "" };
            format!("broker {id} {}draining{by_request}", if *draining { "" } else { "not " })
        }
        Record::Decommission { id, wanted: Some(wanted) } => {
            format!("broker {id} decommissioned, held {}", wanted.partitions)
        }
        Record::Decommission { id, wanted: None } => format!("broker {id} not decommissioned"),
        Record::BrokerGone { id, .. } => format!("broker {id} gone"),
        Record::Topic(info) => format!(
            "topic {} partitions={} wanted_replicas={} min_isr={}",
            info.name, info.partitions, info.wanted_replicas, info.min_isr
        ),
        Record::TopicDeleted { id } => format!("topic {} deleted", topic(*id, names)),
        Record::Partition(info) => partition(info, names),
        Record::MadeAgain { id, witnesses } => {
            format!("{} made again, asked {}", partition_id(*id, names), list(witnesses))
        }
        Record::Damage { broker, id, damaged } => {
            let what = if *damaged { "damaged" } else { "whole" };
            format!("{} on broker {broker} {what}", partition_id(*id, names))
        }
        Record::Halt { broker, id, halted } => {
            let what = if *halted { "halted" } else { "started again" };
            format!("{} on broker {broker} {what}", partition_id(*id, names))
        }
        Record::Version { version } => format!("{version:?}"),
        Record::NamedProducer { name, producer_id, producer_epoch, client, .. } => {
            format!("producer {name} ({client}) {producer_id:?} epoch {}", producer_epoch.0)
        }
        Record::ProducerIds { next } => format!("producer ids below {next}"),
    }
}

pub fn refusal(error: &WireError) -> String {
    match &error.hint {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

fn moved(state: &MoveState) -> String {
    format!(
        "{}/{} {} {} to {}: {}",
        state.topic,
        state.partition,
        if state.changed { "goes from" } else { "from" },
        list(&state.from),
        list(&state.to),
        state.waits.as_deref().unwrap_or("through")
    )
}

fn election(election: &PreferredElection) -> String {
    let PreferredElection { topic, partition, to, leader_epoch, waits, .. } = election;
    match waits {
        Some(waits) => format!("{topic}/{partition} {waits}"),
        None => format!("{topic}/{partition} to {to} in {leader_epoch:?}"),
    }
}

fn reply(reply: &Reply) -> String {
    match reply {
        Reply::RegisterBroker(reply) => format!(
            "broker {} {:?} {}{:?}, producer ids from {}",
            reply.broker_id,
            reply.broker_epoch,
            if reply.resumed { "resumed " } else { "" },
            reply.leader_info.version,
            reply.producer_ids_from
        ),
        Reply::Heartbeat(reply) => format!(
            "{} {:?}{}",
            if reply.fenced { "fenced" } else { "unfenced" },
            reply.metadata_version,
            if reply.drained { " drained" } else { "" }
        ),
        Reply::ProposeIsr(reply) => {
            let outcome =
                |outcome: &Option<WireError>| outcome.as_ref().map_or("settled".to_owned(), refusal);
            reply.outcomes.iter().map(outcome).collect::<Vec<_>>().join("; ")
        }
        Reply::StreamSilent(_) => "taken".to_owned(),
        Reply::RegisterProducer(reply) => {
            format!("producer {:?} epoch {}", reply.producer_id, reply.producer_epoch.0)
        }
        Reply::ProducerIds(reply) => format!("{} producer ids from {}", reply.count, reply.from),
        Reply::CreateTopic(reply) => format!(
            "{} {} with {} replicas",
            reply.topic.name,
            if reply.created { "made" } else { "exists" },
            reply.replicas
        ),
        Reply::AlterTopic(reply) => format!(
            "{} has {}, keys in {} slots over {}; changed: {}",
            reply.topic.name,
            yak_protocol::text::count(reply.topic.partitions.into(), "partition"),
            reply.topic.key_slots.slots,
            reply.topic.key_slots.spread,
            reply.changed.join(" ")
        ),
        Reply::DeleteTopic(_) => "deleted".to_owned(),
        Reply::Elect(reply) => format!(
            "broker {} leads in {:?}{}{}",
            reply.leader,
            reply.leader_epoch,
            if reply.moved { "" } else { " as before" },
            reply.may_lose.as_ref().map_or_else(String::new, |loss| format!(": {loss}"))
        ),
        Reply::Moves(reply) if reply.moves.is_empty() => "nothing moves".to_owned(),
        Reply::Moves(reply) => reply.moves.iter().map(moved).collect::<Vec<_>>().join("; "),
        Reply::Decommission(reply) if reply.done => "gone".to_owned(),
        Reply::Decommission(reply) => {
            let moves = reply.moves.iter().map(moved);
            let head = format!(
                "{}going, {} of {} left",
                if reply.decommissioning { "" } else { "not " },
                reply.left,
                reply.of
            );
            [head].into_iter().chain(moves).chain(reply.stuck.iter().cloned()).collect::<Vec<_>>().join("; ")
        }
        Reply::ElectPreferred(reply) if reply.elections.is_empty() => "all lead".to_owned(),
        Reply::ElectPreferred(reply) => reply.elections.iter().map(election).collect::<Vec<_>>().join("; "),
        Reply::Drain(reply) => format!(
            "{}draining, leads {}, needed by {}",
            if reply.draining { "" } else { "not " },
            reply.leads,
            reply.needed
        ),
    }
}

/// The lines of these effects. Pushes of one change to several brokers are one line.
pub fn effects(effects: &[Effect], names: &Names) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pushed: Option<String> = None;
    for effect in effects {
        if let Effect::Push(connection, info) = effect {
            let what = if info.full { "everything" } else { "change" };
            let line = pushed.get_or_insert_with(|| format!("push {what} {:?} on", info.version));
            line.push_str(&format!(" {}", connection.0));
            continue;
        }
        lines.extend(pushed.take());
        match effect {
            Effect::Push(..) => {}
            Effect::Journal(records) => {
                lines.extend(records.iter().map(|r| format!("keep {}", record(r, names))))
            }
            Effect::Reply(_, Ok(answer)) => lines.push(format!("answer {}", reply(answer))),
            Effect::Reply(_, Err(error)) => lines.push(format!("refuse {}", refusal(error))),
            Effect::Probe(connection, broker) => {
                lines.push(format!("probe broker {broker} on {}", connection.0))
            }
            Effect::Close(connection, why) => lines.push(format!("close {}: {}", connection.0, refusal(why))),
            Effect::Note(_) => {}
        }
    }
    lines.extend(pushed);
    lines
}
