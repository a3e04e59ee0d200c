use super::message;
use crate::ids::{BrokerId, LeaderEpoch, PartitionIndex};
use serde::{Deserialize, Serialize};

/// Gives the lead to preferred leaders, the first of each partition's replicas, wherever they are in sync.
/// Brokers pass it on to the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ElectPreferred {
    /// The topic's name; absent = all topics.
    #[serde(default)]
    pub topic: Option<String>,
    /// The partition; absent = all of the topic.
    #[serde(default)]
    pub partition: Option<PartitionIndex>,
    /// Whether to change nothing, and to say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
message!(ElectPreferred, "elect_preferred", Client, ElectPreferredReply);

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ElectPreferredReply {
    /// One for each partition that its preferred leader did not lead.
    pub elections: Vec<PreferredElection>,
}

/// One partition that its preferred leader did not lead.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PreferredElection {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// Who led before.
    #[serde(default)]
    pub from: Option<BrokerId>,
    /// The preferred leader.
    pub to: BrokerId,
    /// The term after the request.
    pub leader_epoch: LeaderEpoch,
    /// Whether the request gave it the lead, or would have without `dry_run`.
    #[serde(default)]
    pub moved: bool,
    /// What it waits for, if it may not lead yet.
    #[serde(default)]
    pub waits: Option<String>,
}
