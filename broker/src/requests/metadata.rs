//! `metadata`: the cluster as this broker knows it.

use crate::broker::Broker;
use yak_protocol::message::{Metadata, MetadataReply};

/// Answers from the merged copy; says so when the coordinator is away.
pub(crate) fn metadata(broker: &Broker, request: &Metadata) -> MetadataReply {
    MetadataReply {
        cluster_id: broker.store.identity().cluster_id,
        coordinator: broker.config.coordinator.join(","),
        coordinator_lost: broker.link.lost(),
        ..broker.cluster.metadata(request.topics.as_deref())
    }
}
