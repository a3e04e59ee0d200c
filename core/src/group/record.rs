//! What is kept of groups in their topic, record by record: the last one of each key counts.

use serde::{Deserialize, Serialize};
use yak_protocol::ids::{Generation, LeaderEpoch, Offset, PartitionIndex, TopicId};
use yak_protocol::message::Assignor;

/// What a record is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Key {
    /// A group.
    Group {
        /// Its name.
        group: String,
    },
    /// A member of a group.
    Member {
        /// The group.
        group: String,
        /// Its name.
        member: String,
    },
    /// How far a group has read a partition.
    Offset {
        /// The group.
        group: String,
        /// The topic: one that is deleted and made again is another.
        topic_id: TopicId,
        /// The partition.
        partition: PartitionIndex,
    },
    /// Nothing: written to learn whether this coordinator can still write.
    Alive,
}

/// What is known of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Of a group.
    Group(GroupRecord),
    /// Of a member.
    Member(MemberRecord),
    /// Of an offset.
    Offset(OffsetRecord),
}

/// A group.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Its generation.
    pub generation: Generation,
}

/// A member of a group, and what it holds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MemberRecord {
    /// The name of a static member.
    #[serde(default)]
    pub instance: Option<String>,
    /// What its client calls itself.
    #[serde(default)]
    pub client: String,
    /// Where it is.
    #[serde(default)]
    pub host: String,
    /// What it wants to read.
    pub topics: Vec<String>,
    /// After how long without a heartbeat it counts as gone.
    pub session_ms: u64,
    /// How long it may take to give a partition up.
    pub rebalance_ms: u64,
    /// How it wants partitions to be spread.
    #[serde(default)]
    pub assignor: Option<Assignor>,
    /// Its generation.
    pub generation: Generation,
    /// Its last heartbeat.
    pub beat: u64,
    /// What it holds.
    pub owned: Vec<OwnedTopic>,
}

/// Partitions of one topic that a member holds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OwnedTopic {
    /// The topic.
    pub topic_id: TopicId,
    /// Each with the generation in which it was given.
    pub partitions: Vec<(PartitionIndex, Generation)>,
}

/// How far a group has read a partition.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OffsetRecord {
    /// The topic's name.
    pub topic: String,
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The leader epoch of the last record that was read.
    #[serde(default)]
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever was committed with it.
    #[serde(default)]
    pub metadata: String,
    /// When, in ms since 1970.
    pub committed_ms: i64,
}
