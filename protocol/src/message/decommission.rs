use super::{MoveState, message};
use crate::ids::BrokerId;
use serde::{Deserialize, Serialize};

/// Takes a broker out of the cluster: it drains, everything that it holds moves to others, and then it is
/// forgotten. Asked again, it says how far that is. Survives restarts of the broker and of the coordinator.
/// Brokers pass it on to the coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DecommissionBroker {
    /// Which broker.
    pub broker_id: BrokerId,
    /// Whether it is to stay after all: what has moved stays where it is, and the rest is not moved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
    /// How many bytes a second each leader may send to new replicas that catch up; absent = as many as it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Whether to change nothing, and to say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
message!(DecommissionBroker, "decommission_broker", Client, DecommissionReply);

/// How far it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DecommissionReply {
    /// Whether the broker is to go.
    pub decommissioning: bool,
    /// Whether it is gone: nothing knows it any more.
    pub done: bool,
    /// How many partitions it still holds.
    pub left: u32,
    /// How many it held in the beginning.
    pub of: u32,
    /// Those on their way; with `dry_run` also those that would begin, with `changed`.
    #[serde(default)]
    pub moves: Vec<MoveState>,
    /// What the others wait for: one sentence for each partition that cannot go anywhere.
    #[serde(default)]
    pub stuck: Vec<String>,
}
