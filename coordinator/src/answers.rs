//! Answers that only read the state.

use yak_core::cluster::State;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::message::{
    LeaderInfo, LeaderInfoRequest, Metadata, MetadataReply, TopicInfo, UnknownTopic,
};

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
