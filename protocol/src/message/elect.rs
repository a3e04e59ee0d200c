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
}
message!(Elect, "elect", Client, ElectReply);

/// Who leads now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ElectReply {
    /// The leader.
    pub leader: BrokerId,
    /// Its term.
    pub leader_epoch: LeaderEpoch,
    /// Whether this request moved the leadership; otherwise it was there already.
    pub moved: bool,
}
