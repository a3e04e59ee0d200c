use super::message;
use crate::ids::{BrokerId, PartitionIndex};
use serde::{Deserialize, Serialize};

/// A partition by its topic's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct PartitionName {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
}

/// Moves partitions to other brokers (rule R18): each is copied first, and leaves the old ones when the new
/// ones are in sync. All of them or none. Brokers pass it on to the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MovePartitions {
    /// What goes where. A partition that is on its way already goes there instead.
    pub moves: Vec<Move>,
    /// How many bytes a second each leader may send to new replicas that catch up; absent = as many as it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Whether to change nothing, and to say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
message!(MovePartitions, "move_partitions", Client, MovesReply);

/// Where one partition goes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Move {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// Who is to hold it, the preferred leader first.
    pub replicas: Vec<BrokerId>,
}

/// Lets partitions that are on their way go back. Brokers pass it on to the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CancelMoves {
    /// Which; none = all that are on their way.
    #[serde(default)]
    pub partitions: Vec<PartitionName>,
    /// Whether to change nothing, and to say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
message!(CancelMoves, "cancel_moves", Client, MovesReply);

/// Asks how moves stand. Brokers pass it on to the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListMoves {
    /// Which partitions, whether they move or not; none = all that are on their way.
    #[serde(default)]
    pub partitions: Vec<PartitionName>,
}
message!(ListMoves, "list_moves", Client, MovesReply);

/// Puts one broker in the place of another that is dead, wherever that one holds something. Brokers pass it on
/// to the coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplaceBroker {
    /// The one that is dead.
    pub dead: BrokerId,
    /// The one in its place.
    pub by: BrokerId,
    /// As in [`MovePartitions`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Whether to change nothing, and to say what would change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
message!(ReplaceBroker, "replace_broker", Client, MovesReply);

/// How moves stand, by topic and partition.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MovesReply {
    /// One for each partition that was asked about.
    pub moves: Vec<MoveState>,
}

/// How one partition's move stands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MoveState {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// Who held it before the move; who holds it, if nothing moves.
    pub from: Vec<BrokerId>,
    /// Who is to hold it.
    pub to: Vec<BrokerId>,
    /// Who holds it now.
    pub replicas: Vec<BrokerId>,
    /// Who is in sync.
    pub isr: Vec<BrokerId>,
    /// Who leads.
    #[serde(default)]
    pub leader: Option<BrokerId>,
    /// The throttle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Whether the request changed something about it, or would have without `dry_run`.
    #[serde(default)]
    pub changed: bool,
    /// What the move waits for; absent = it is through.
    #[serde(default)]
    pub waits: Option<String>,
}
