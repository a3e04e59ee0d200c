use super::{LeaderInfo, message};
use crate::ids::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorEpoch, DataDirId, Incarnation, LeaderEpoch, Offset,
    PartitionEpoch, TopicPartition,
};
use serde::{Deserialize, Serialize};

/// A broker opens or resumes its session with the coordinator (rules R11, R12, R15).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegisterBroker {
    /// The broker's name, unique in the cluster.
    pub name: String,
    /// This process. The same incarnation with `resume` set continues its session.
    pub incarnation: Incarnation,
    /// The data dir it runs on.
    pub data_dir: DataDirId,
    /// The cluster that the data dir belongs to; absent on a fresh one.
    #[serde(default)]
    pub cluster_id: Option<ClusterId>,
    /// The number that the data dir remembers.
    #[serde(default)]
    pub broker_id: Option<BrokerId>,
    /// The last broker epoch that the data dir remembers.
    #[serde(default)]
    pub stored_broker_epoch: BrokerEpoch,
    /// The broker epoch of the session to resume, held by this very process.
    #[serde(default)]
    pub resume: Option<BrokerEpoch>,
    /// The highest coordinator epoch that the data dir has seen.
    #[serde(default)]
    pub coordinator_epoch: CoordinatorEpoch,
    /// Whether the last process on this data dir ended cleanly.
    #[serde(default)]
    pub clean_shutdown: bool,
    /// Whether the machine has not been restarted since the last process wrote here.
    #[serde(default)]
    pub same_boot: bool,
    /// Where clients and other brokers reach it, `host:port`.
    pub advertise: String,
    /// Where it stands, for spreading replicas; empty = unknown.
    #[serde(default)]
    pub rack: String,
    /// What each replica in the data dir holds.
    #[serde(default)]
    pub replicas: Vec<ReplicaReport>,
}
message!(RegisterBroker, "register_broker", Control, RegisterBrokerReply);

/// What one replica holds, as its broker reports it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// The partition.
    pub id: TopicPartition,
    /// The highest leader epoch that it has promised to or acted in.
    pub leader_epoch: LeaderEpoch,
    /// The highest partition epoch that it has seen.
    #[serde(default)]
    pub partition_epoch: PartitionEpoch,
    /// The leader epoch of its last record; zero without one.
    #[serde(default)]
    pub last_epoch: LeaderEpoch,
    /// Its synced log end.
    pub log_end: Offset,
    /// Everything below is committed, as far as the replica knows; it never holds less than that.
    #[serde(default)]
    pub high_watermark: Offset,
    /// Whether it has damage below its synced end (rule R17).
    #[serde(default)]
    pub damaged: bool,
    /// Whether it has stopped itself: it contradicts what is committed (rule R4), and counts as away.
    #[serde(default)]
    pub halted: bool,
}

impl ReplicaReport {
    /// Of one that has moved away, so that nothing is left of it but the epochs by which it did (rule R18).
    #[must_use]
    pub fn moved_away(
        id: TopicPartition,
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
    ) -> Self {
        Self {
            id,
            leader_epoch,
            partition_epoch,
            last_epoch: LeaderEpoch::ZERO,
            log_end: Offset::ZERO,
            high_watermark: Offset::ZERO,
            damaged: false,
            halted: false,
        }
    }
}

/// The session that the coordinator grants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegisterBrokerReply {
    /// The cluster; a fresh data dir adopts it.
    pub cluster_id: ClusterId,
    /// The broker's number; a fresh data dir adopts it.
    pub broker_id: BrokerId,
    /// The session's broker epoch, to be made durable before it is used.
    pub broker_epoch: BrokerEpoch,
    /// The coordinator's term.
    pub coordinator_epoch: CoordinatorEpoch,
    /// Whether an earlier session goes on (no fence, no election).
    pub resumed: bool,
    /// How often to send heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long the session lives without one, in milliseconds.
    pub lease_ms: u64,
    /// The first producer id of a block that this broker may hand out by itself.
    pub producer_ids_from: i64,
    /// How many of them.
    pub producer_ids_count: u32,
    /// Whether the broker is to serve nothing once its lease is over: the coordinators' own hold on the
    /// metadata is a lease, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub step_down: bool,
    /// Where the coordinators are reached, as far as this one knows; empty = only itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coordinators: Vec<String>,
    /// Everything the broker needs to know; later changes are pushed.
    pub leader_info: LeaderInfo,
}
