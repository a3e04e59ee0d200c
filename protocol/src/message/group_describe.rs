use super::{Assignor, FetchedOffset, GroupTopic, message};
use crate::error::LeaderHint;
use crate::ids::{Generation, PartitionIndex};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a group is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// It has no members.
    #[default]
    Empty,
    /// Partitions are moving from member to member; the others are read meanwhile.
    Rebalancing,
    /// Every member has what it is to have.
    Stable,
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::Rebalancing => "rebalancing",
            Self::Stable => "stable",
        })
    }
}

/// Asks for everything that is known of one group.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupDescribe {
    /// The group's name.
    pub group: String,
    /// Whether a broker that is not the group's coordinator passes it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(GroupDescribe, "group_describe", Client, GroupDescription);

/// A group.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupDescription {
    /// Its name.
    pub group: String,
    /// How it is.
    pub state: GroupState,
    /// Its generation: counts changes of members, topics and partitions.
    pub generation: Generation,
    /// Why the generation is that.
    #[serde(default)]
    pub why: String,
    /// How partitions are spread.
    pub assignor: Assignor,
    /// Its members.
    #[serde(default)]
    pub members: Vec<GroupMember>,
    /// How far it has read.
    #[serde(default)]
    pub offsets: Vec<FetchedOffset>,
    /// Which partitions moved last, and why; as long as this coordinator remembers.
    #[serde(default)]
    pub moves: Vec<GroupMove>,
    /// Its coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<LeaderHint>,
}

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupMember {
    /// Its name.
    pub member: String,
    /// The name of its place, if it is a static member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What its client calls itself.
    #[serde(default)]
    pub client: String,
    /// Where its heartbeats come from.
    #[serde(default)]
    pub host: String,
    /// Its generation; behind the group's while it has partitions to give up.
    pub generation: Generation,
    /// How long ago it was heard, in ms.
    pub heard_ms: u64,
    /// The topics that it wants to read.
    #[serde(default)]
    pub topics: Vec<String>,
    /// What it may read.
    #[serde(default)]
    pub assignment: Vec<GroupTopic>,
    /// What it has to give up, and has not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoking: Vec<GroupTopic>,
}

/// The last move of one partition.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupMove {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// When, in ms since 1970.
    pub at_ms: i64,
    /// In which generation.
    pub generation: Generation,
    /// The member that had it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The member that has it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why.
    pub why: String,
}
