use super::message;
use crate::error::{LeaderHint, WireError};
use crate::ids::{Generation, LeaderEpoch, Offset, PartitionIndex, TopicId};
use serde::{Deserialize, Serialize};

/// Remembers how far a group has read.
///
/// A member commits what it holds. Without a `member` the group must have no members: that is how tools move
/// offsets, and how consumers commit that assign partitions by themselves.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupCommit {
    /// The group's name.
    pub group: String,
    /// The member; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The member's generation.
    #[serde(default)]
    pub generation: Generation,
    /// The name of a static member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What to remember.
    pub offsets: Vec<CommitOffset>,
    /// Whether an offset may be lower than the one that is committed. Without it that is refused: commits
    /// never go back by themselves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rewind: bool,
    /// Whether a broker that is not the group's coordinator passes it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(GroupCommit, "group_commit", Client, GroupCommitReply);

/// How far one partition has been read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CommitOffset {
    /// The topic's name.
    pub topic: String,
    /// Its id; absent = the topic that has this name now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The leader epoch of the last record that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the committer wants to find with it again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
}

/// What became of each offset.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupCommitReply {
    /// In the order of the request.
    pub results: Vec<CommitResult>,
    /// The group's coordinator, to be asked without a detour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<LeaderHint>,
}

/// What became of one offset.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CommitResult {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// Why it was not taken; absent = it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireError>,
}
