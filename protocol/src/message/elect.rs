use super::message;
use crate::ids::{BrokerId, LeaderEpoch, PartitionIndex};
use serde::{Deserialize, Serialize};

/// Moves a partition's leadership to another in-sync replica (rule R10). Brokers pass it on to the
/// coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Elect {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// Who is to lead; absent = the first of the replicas that may.
    #[serde(default)]
    pub to: Option<BrokerId>,
    /// Whether somebody who is not in sync may lead if nobody else can: acknowledged records may be lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unclean: bool,
    /// For an unclean election, the partition once more, as `topic/partition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
    /// Whether to change nothing, and to say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
message!(Elect, "elect", Client, ElectReply);

/// Who leads now.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ElectReply {
    /// The leader.
    pub leader: BrokerId,
    /// Its term.
    pub leader_epoch: LeaderEpoch,
    /// Whether this request moved the leadership; otherwise it was there already.
    pub moved: bool,
    /// After an unclean election, what may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_lose: Option<String>,
}
