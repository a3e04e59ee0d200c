//! Answers that only read the state.

use crate::metalog::Standing;
use crate::server::{Ask, SelfPortrait};
use yak_core::cluster::State;
use yak_protocol::defaults::PROTOCOL_VERSION;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::ClusterId;
use yak_protocol::message::{
    Hello, HelloReply, LeaderInfo, LeaderInfoRequest, Metadata, MetadataReply, TopicInfo, UnknownTopic,
};
use yak_protocol::net::Replier;

/// The cluster, or the part of it that was asked for.
pub(crate) fn metadata(state: &State, coordinator: &str, request: &Metadata) -> MetadataReply {
    let mut reply = MetadataReply {
        cluster_id: Some(state.cluster_id()),
        version: state.version(),
        coordinator: coordinator.to_owned(),
        coordinator_lost: None,
        brokers: state.brokers().map(|broker| broker.info.clone()).collect(),
        ..MetadataReply::default()
    };
    match &request.topics {
        None => {
            reply.topics = state.topics().cloned().collect();
            reply.partitions = state.partitions().cloned().collect();
        }
        Some(wanted) => {
            for name in wanted {
                match state.topic_named(name) {
                    Some(topic) if !reply.topics.contains(topic) => {
                        reply.partitions.extend(state.partitions_of(topic.id).cloned());
                        reply.topics.push(topic.clone());
                    }
                    Some(_) => {}
                    None => reply.unknown.push(unknown(state, name)),
                }
            }
        }
    }
    reply
}

fn unknown(state: &State, name: &str) -> UnknownTopic {
    UnknownTopic { topic: name.to_owned(), nearest: state.nearest_topic(name).map(str::to_owned) }
}

/// Everything, or what concerns one topic.
pub(crate) fn leader_info(state: &State, request: &LeaderInfoRequest) -> Result<LeaderInfo, WireError> {
    let Some(name) = &request.topic else { return Ok(state.leader_info()) };
    let topic = state.find_topic(name)?;
    Ok(LeaderInfo {
        coordinator_epoch: state.coordinator_epoch(),
        version: state.version(),
        full: false,
        brokers: state.brokers().map(|broker| broker.info.clone()).collect(),
        topics: vec![TopicInfo::clone(topic)],
        partitions: state.partitions_of(topic.id).cloned().collect(),
        deleted: Vec::new(),
        gone: Vec::new(),
    })
}

/// To somebody who takes the coordinator for a broker.
pub(crate) fn wrong_process(state: &State, kind: &str) -> WireError {
    let brokers: Vec<&str> = state
        .brokers()
        .filter(|broker| !broker.info.fenced)
        .map(|broker| broker.info.address.as_str())
        .collect();
    let error = WireError::new(
        ErrorCode::WrongProcess,
        format!(
            "this is the coordinator; brokers answer `{kind}`, and these are alive: [{}]",
            brokers.join(", ")
        ),
    );
    match brokers.first() {
        Some(_) => error.hint(format!("connect to a broker: --brokers {}", brokers.join(","))),
        None => error.hint("start a broker first"),
    }
}

/// What this process is. `unhealthy`: why it cannot do its job.
pub(crate) fn hello(
    hello: &Hello,
    portrait: &SelfPortrait,
    cluster_id: Option<ClusterId>,
    unhealthy: Option<String>,
) -> HelloReply {
    tracing::debug!(client = %hello.client, "hello");
    HelloReply {
        version: PROTOCOL_VERSION.min(hello.version.max(1)),
        process: "coordinator".to_owned(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_id,
        broker_id: None,
        max_frame_bytes: portrait.max_frame_bytes,
        insecure: portrait.insecure,
        unhealthy,
    }
}

/// Answers while another coordinator is active, or none.
pub(crate) fn on_standby(ask: Ask, reply: Replier, portrait: &SelfPortrait, standing: &Standing) {
    match ask {
        Ask::Hello(request) => {
            let unhealthy = standing.active.is_none().then(|| not_active(standing).message);
            reply.reply::<Hello>(Ok(&hello(&request, portrait, None, unhealthy)), Vec::new());
        }
        _ => reply.refuse(&not_active(standing)),
    }
}

/// To whoever asks a coordinator on standby: where to ask instead.
pub(crate) fn not_active(standing: &Standing) -> WireError {
    let others = standing.active.as_ref().filter(|active| !active.myself);
    if let Some(active) = others {
        let what = format!("this coordinator is on standby; {} at {} is active", active.name, active.address);
        return WireError::new(ErrorCode::NotActive, what)
            .coordinator(Some(active.address.clone()))
            .hint(format!("ask {}", active.address));
    }
    let why = standing.trouble.as_deref().unwrap_or("an election is under way");
    WireError::new(ErrorCode::NotActive, format!("no coordinator is known to be active: {why}"))
        .hint("try again, here or at another coordinator")
}
