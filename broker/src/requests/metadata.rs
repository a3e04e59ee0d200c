//! `metadata`: the cluster as this broker knows it.

use crate::broker::Broker;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::MetadataVersion;
use yak_protocol::message::{Metadata, MetadataReply};

/// Answers from the merged copy; says so when the coordinator is away.
///
/// A broker that has heard nothing since its start knows no topic, and would say of each that it does
/// not exist: it refuses until it has heard everything once.
pub(crate) fn metadata(broker: &Broker, request: &Metadata) -> Result<MetadataReply, WireError> {
    let known = broker.cluster.metadata(request.topics.as_deref());
    let coordinator_lost = broker.link.lost();
    if known.version == MetadataVersion::ZERO {
        let why = coordinator_lost.map(|why| format!(": {why}")).unwrap_or_default();
        let what = format!("this broker has not heard from the coordinator since it was started{why}");
        return Err(WireError::new(ErrorCode::NotReady, what).hint("ask another broker, or in a moment"));
    }
    Ok(MetadataReply {
        cluster_id: broker.store.identity().cluster_id,
        coordinator: broker.link.address().unwrap_or_else(|| broker.config.coordinator.join(",")),
        coordinator_lost,
        ..known
    })
}
