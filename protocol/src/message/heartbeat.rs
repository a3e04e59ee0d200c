use super::{ReplicaReport, message};
use crate::ids::{BrokerEpoch, BrokerId, CoordinatorEpoch, MetadataVersion};
use serde::{Deserialize, Serialize};

/// Renews a broker's lease, and confirms its epoch and the metadata that it has applied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The sender.
    pub broker_id: BrokerId,
    /// Its session.
    pub broker_epoch: BrokerEpoch,
    /// The newest metadata that it has applied; a fenced broker is unfenced once this is current.
    #[serde(default)]
    pub metadata_version: MetadataVersion,
    /// It wants to hand over its leaderships and stop.
    #[serde(default)]
    pub draining: bool,
    /// Replicas found damaged, or repaired, since the last heartbeat.
    #[serde(default)]
    pub replicas: Vec<ReplicaReport>,
}
message!(Heartbeat, "heartbeat", Control, HeartbeatReply);

/// The lease goes on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// The coordinator's term.
    pub coordinator_epoch: CoordinatorEpoch,
    /// How long the session lives from the moment the heartbeat was *sent*, in milliseconds.
    pub lease_ms: u64,
    /// Whether the broker is fenced: it may not lead, and is in no ISR.
    pub fenced: bool,
    /// The newest metadata; a broker that lags asks for a full copy.
    pub metadata_version: MetadataVersion,
    /// On `draining`: whether nothing depends on this broker any more.
    #[serde(default)]
    pub drained: bool,
}
