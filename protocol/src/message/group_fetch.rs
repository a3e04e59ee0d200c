use super::{GroupTopic, message};
use crate::error::LeaderHint;
use crate::ids::{Generation, LeaderEpoch, Offset, PartitionIndex, TopicId};
use serde::{Deserialize, Serialize};

/// Asks how far a group has read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupFetch {
    /// The group's name.
    pub group: String,
    /// A member that is about to read; absent = somebody who only looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The member's generation: a coordinator that does not know it yet is not the group's coordinator.
    #[serde(default)]
    pub generation: Generation,
    /// Which partitions; none = all that have an offset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<GroupTopic>,
    /// Whether a broker that is not the group's coordinator passes it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(GroupFetch, "group_fetch", Client, GroupFetchReply);

/// How far the group has read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupFetchReply {
    /// Each partition that was asked for.
    pub offsets: Vec<FetchedOffset>,
    /// The group's coordinator, to be asked without a detour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<LeaderHint>,
}

/// How far one partition has been read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FetchedOffset {
    /// The topic's name.
    pub topic: String,
    /// Its id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset of the next record to read; absent = nothing was ever committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
    /// The leader epoch that was committed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<LeaderEpoch>,
    /// What was committed with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// When it was committed, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_ms: Option<i64>,
}
