use super::message;
use crate::ids::{
    BrokerEpoch, BrokerId, ClusterId, EpochStart, LeaderEpoch, Offset, SessionId, TopicPartition,
};
use serde::{Deserialize, Serialize};

/// One frame of a replication stream, follower to leader.
///
/// A stream is a connection of its own. After the follower's first frame both sides send
/// `replicate` frames as they have something to say (the leader's carry id 0 and a [`ReplicateReply`]
/// as body); an empty frame is the keep-alive.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Replicate {
    /// The follower's cluster; the leader refuses another.
    #[serde(default)]
    pub cluster_id: ClusterId,
    /// The follower.
    #[serde(default)]
    pub broker_id: BrokerId,
    /// Its session with the coordinator.
    #[serde(default)]
    pub broker_epoch: BrokerEpoch,
    /// Partitions to start or restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Open>,
    /// What has been synced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ack: Vec<Ack>,
    /// Sessions to end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub close: Vec<(TopicPartition, SessionId)>,
}
message!(Replicate, "replicate", Replica, ReplicateReply);

/// Opens one partition on the stream (rules R3, R4). Sent only when log end = synced end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Open {
    /// Which partition.
    pub id: TopicPartition,
    /// The follower's name for this opening; what belongs to another one is ignored.
    pub session: SessionId,
    /// The leader epoch in which the follower acts.
    pub leader_epoch: LeaderEpoch,
    /// The follower's session with the coordinator.
    pub broker_epoch: BrokerEpoch,
    /// The follower's log end (= its synced end).
    pub end: Offset,
    /// The leader epoch of its last record; 0 for an empty log.
    pub last_epoch: LeaderEpoch,
}

/// A follower has synced its log up to `end` (rule R2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Ack {
    /// Which partition.
    pub id: TopicPartition,
    /// The session in which it was received.
    pub session: SessionId,
    /// The leader epoch in which the follower acts.
    pub leader_epoch: LeaderEpoch,
    /// The follower's session with the coordinator.
    pub broker_epoch: BrokerEpoch,
    /// Its synced log end (written log end, on topics with `durability = replicated`).
    pub end: Offset,
}

/// One frame of a replication stream, leader to follower. The pushes' batches are the frame's `bin`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReplicateReply {
    /// Answers to opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opened: Vec<Opened>,
    /// Data and high watermarks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub push: Vec<Push>,
}

/// The answer to one [`Open`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Opened {
    /// Which partition.
    pub id: TopicPartition,
    /// Which opening.
    pub session: SessionId,
    /// What the leader found.
    pub answer: OpenAnswer,
}

/// What the leader found on an [`Open`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenAnswer {
    /// The logs agree up to the follower's end; pushes follow from there.
    Start,
    /// They do not: the leader's log ends epoch `epoch` (the highest not above the asked one) at `end`.
    Diverging {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its exclusive end in the leader's log.
        end: Offset,
    },
    /// The follower's end lies below the leader's log start: set the log aside and begin there.
    RestartAt {
        /// The leader's log start.
        log_start: Offset,
        /// The leader's epoch history up to that point.
        epochs: Vec<EpochStart>,
    },
    /// The follower's epoch is older than the leader's, which is in here.
    Fenced {
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
    },
    /// The leader has not heard of the follower's epoch yet, or does not lead in it yet.
    UnknownEpoch,
    /// The asked broker does not lead this partition.
    NotLeader,
    /// The follower's broker epoch is older than one that the leader has seen of it.
    StaleBrokerEpoch,
}

/// Batches as they lie in the leader's log, and how far they are committed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Push {
    /// Which partition.
    pub id: TopicPartition,
    /// The session; any other is ignored.
    pub session: SessionId,
    /// Where the batches start; accepted only if it is the follower's own end.
    pub from: Offset,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// The leader's log start.
    pub log_start: Offset,
    /// How many bytes of the `bin`; 0 = only the high watermark moved.
    pub bytes: u32,
}
