use super::{KeySlots, TopicConfig, message};
use crate::ids::{
    BrokerEpoch, BrokerId, CoordinatorEpoch, LeaderEpoch, MetadataVersion, PartitionEpoch, PartitionIndex,
    TopicId, TopicPartition,
};
use crate::partitioner::partition_for_key;
use serde::{Deserialize, Serialize};

/// Asks for the leaders: of one topic (`topic`, by name), or everything (a broker after a gap).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LeaderInfoRequest {
    /// The topic's name; absent = all of them.
    #[serde(default)]
    pub topic: Option<String>,
}
message!(LeaderInfoRequest, "leader_info", Client, LeaderInfo);

/// What the coordinator decided; pushed to every broker as it commits, in order of `version`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LeaderInfo {
    /// The coordinator's term; brokers refuse a lower one than they have seen (rule R15).
    pub coordinator_epoch: CoordinatorEpoch,
    /// The version after this change.
    pub version: MetadataVersion,
    /// Whether this is everything there is, not a change to version - 1.
    #[serde(default)]
    pub full: bool,
    /// Brokers, all of them or those that changed.
    #[serde(default)]
    pub brokers: Vec<BrokerInfo>,
    /// Topics, all of them or those that changed.
    #[serde(default)]
    pub topics: Vec<TopicInfo>,
    /// Partitions, all of them or those that changed.
    #[serde(default)]
    pub partitions: Vec<PartitionInfo>,
    /// Topics that were deleted by request: the only reason ever to delete data (rule R16).
    #[serde(default)]
    pub deleted: Vec<TopicId>,
    /// Brokers that were taken out of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<BrokerId>,
}

/// A broker as the cluster sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BrokerInfo {
    /// Its number.
    pub id: BrokerId,
    /// Its name.
    pub name: String,
    /// Where it is reached, `host:port`.
    pub address: String,
    /// Where it stands.
    #[serde(default)]
    pub rack: String,
    /// Its session.
    pub broker_epoch: BrokerEpoch,
    /// Whether it may not lead now.
    pub fenced: bool,
    /// Whether it hands over its leaderships.
    #[serde(default)]
    pub draining: bool,
}

/// A topic and its settings.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TopicInfo {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many replicas each was wanted to have.
    pub wanted_replicas: u32,
    /// The `min_isr` that each partition is to have; one with fewer replicas than wanted may have less
    /// until it has been filled up.
    #[serde(default)]
    pub min_isr: u32,
    /// Its settings.
    pub config: TopicConfig,
    /// Which partition the records of a key go to.
    #[serde(default)]
    pub key_slots: KeySlots,
}

impl TopicInfo {
    /// The partition of a key.
    ///
    /// # Panics
    /// When it has no partitions.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> PartitionIndex {
        let known = self.key_slots.partition_of(key);
        known.unwrap_or_else(|| partition_for_key(key, self.partitions))
    }
}

/// The coordinator's record of one partition: the only authority over it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct PartitionInfo {
    /// Which partition.
    pub id: TopicPartition,
    /// Who holds it, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Who leads; `None` when nobody may.
    #[serde(default)]
    pub leader: Option<BrokerId>,
    /// The term of leadership.
    pub leader_epoch: LeaderEpoch,
    /// Counts every change of this record.
    pub partition_epoch: PartitionEpoch,
    /// The in-sync replicas, ascending.
    pub isr: Vec<BrokerId>,
    /// Eligible leader replicas: left the ISR below `min_isr`, still have everything committed; ascending.
    #[serde(default)]
    pub elr: Vec<BrokerId>,
    /// The least ISR with which `acks=all` is taken.
    pub min_isr: u32,
    /// Whether the coordinator knows less than a broker does, so nothing may be decided (rule R15).
    #[serde(default)]
    pub recovering: bool,
    /// The move that is under way; while it is, `replicas` has the old and the new ones (rule R18).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// The term that the last unclean election began: what earlier terms took for committed may be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclean: Option<LeaderEpoch>,
}

/// A partition on its way to other brokers.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Moving {
    /// Who held it before, the preferred leader first: what a cancelled move goes back to.
    pub from: Vec<BrokerId>,
    /// Who is to hold it, the preferred leader first.
    pub to: Vec<BrokerId>,
    /// How many bytes a second each leader sends to new replicas that catch up; absent = as many as it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

impl PartitionInfo {
    /// How many of its replicas meet every `min_isr` of them: any so many have among them whatever is committed.
    #[must_use]
    pub fn quorum(&self) -> usize {
        (self.replicas.len() + 1).saturating_sub(self.min_isr as usize).max(1)
    }

    /// Who is to hold it once nothing moves any more, the preferred leader first.
    #[must_use]
    pub fn target(&self) -> &[BrokerId] {
        self.moving.as_ref().map_or(&self.replicas, |moving| &moving.to)
    }

    /// The new replicas of a move.
    pub fn adding(&self) -> impl Iterator<Item = BrokerId> {
        let moving = self.moving.as_ref();
        moving.into_iter().flat_map(|m| m.to.iter().filter(|id| !m.from.contains(id)).copied())
    }

    /// The replicas that a move takes away in the end.
    pub fn removing(&self) -> impl Iterator<Item = BrokerId> {
        self.replicas.iter().filter(|id| !self.target().contains(id)).copied()
    }
}
