use super::message;
use crate::error::LeaderHint;
use crate::ids::{Generation, PartitionIndex, TopicId};
use serde::{Deserialize, Serialize};

/// Partitions of one topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct GroupTopic {
    /// The topic's name.
    pub topic: String,
    /// Its id; absent in a request = the topic that has this name now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<TopicId>,
    /// Which partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// How the coordinator of a group spreads partitions over its members.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignor {
    /// As evenly as it goes over all topics together, and moving as few partitions as that takes.
    #[default]
    Uniform,
    /// Each topic by itself in ranges, in the order of the members: partitions with the same number of two
    /// topics go to the same member.
    Range,
}

impl Assignor {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }
}

/// How a member leaves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leave {
    /// It does not come back: its partitions go to others now.
    ForGood,
    /// It comes back under its instance name: its partitions wait for it until its session is over.
    ForAWhile,
}

/// Joins a consumer group, stays in it, and leaves it; any broker takes it for the group's coordinator.
///
/// A member sends one at a time, every `heartbeat_ms` of the last answer, and never uses an answer that it
/// has stopped waiting for. What it may hand out is what the last answer assigned, until `session_ms` after
/// the request of that answer was *sent*; then it hands out nothing until the next answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupHeartbeat {
    /// The group's name.
    pub group: String,
    /// The member's name, chosen by itself for one stay in the group: a UUID, say.
    pub member: String,
    /// The generation of the last answer; 0 = it joins, and holds nothing.
    #[serde(default)]
    pub generation: Generation,
    /// Counts the member's heartbeats from 1: one that was overtaken by a later one is refused.
    #[serde(default)]
    pub beat: u64,
    /// The name of a static member: whoever comes next with it takes the place of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What the client calls itself, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// The topics that it wants to read; needed to join, absent later = as before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Every partition that it holds: assigned to it, and not given up. Leaving one out that is to be given
    /// up says that it hands out nothing of it any more. Absent = nothing is said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned: Option<Vec<GroupTopic>>,
    /// After how long without a heartbeat it counts as gone; 0 = the default.
    #[serde(default)]
    pub session_ms: u64,
    /// How long it may take to give a partition up; 0 = the default.
    #[serde(default)]
    pub rebalance_ms: u64,
    /// How it wants partitions to be spread; the group does as most members want, absent = no wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignor: Option<Assignor>,
    /// Whether it leaves, and hands out nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leave: Option<Leave>,
    /// Whether a broker that is not the group's coordinator passes it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(GroupHeartbeat, "group_heartbeat", Client, GroupHeartbeatReply);

/// What the member may read, and in which generation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupHeartbeatReply {
    /// The member's generation, for its next heartbeat and its commits.
    pub generation: Generation,
    /// Every partition that it may read; absent = as its `owned` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Vec<GroupTopic>>,
    /// When to send the next one.
    pub heartbeat_ms: u64,
    /// After how long without a heartbeat it counts as gone.
    pub session_ms: u64,
    /// The group's coordinator, to be asked without a detour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<LeaderHint>,
}
