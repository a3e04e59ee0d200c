//! What this broker knows of the cluster: the coordinator's `leader_info`, merged in order.
//!
//! The coordinator decides; this is a copy. It may be old, and every answer made from it is checked
//! again where it matters (leader epochs on streams, the partition's own machine on publishes).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;
use yak_core::group::Topics;
use yak_protocol::error::{ErrorCode, LeaderHint, WireError};
use yak_protocol::ids::{BrokerEpoch, BrokerId, MetadataVersion, PartitionIndex, TopicId, TopicPartition};
use yak_protocol::message::{
    BrokerInfo, LeaderInfo, MetadataReply, PartitionInfo, TopicConfig, TopicInfo, UnknownTopic,
};
use yak_protocol::names;
use yak_protocol::text::count;

/// The merged copy, and a signal for those who wait for news.
pub(crate) struct ClusterMap {
    known: RwLock<Known>,
    version: watch::Sender<MetadataVersion>,
}

#[derive(Default)]
struct Known {
    version: MetadataVersion,
    brokers: BTreeMap<BrokerId, BrokerInfo>,
    topics: BTreeMap<TopicId, TopicInfo>,
    by_name: HashMap<String, TopicId>,
    partitions: BTreeMap<TopicPartition, PartitionInfo>,
    /// Topics that were deleted by request.
    deleted: BTreeSet<TopicId>,
}

/// What a merge changed.
#[derive(Default, Debug)]
pub(crate) struct Changes {
    /// Partitions whose record, topic or replicas' brokers changed.
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// Topics that were deleted by request.
    pub(crate) deleted: Vec<TopicId>,
}

/// How a `leader_info` relates to what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fit {
    /// It is the next one, or a full copy that is not older.
    Next,
    /// It is known already.
    Old,
    /// Something between is missing: a full copy is needed.
    Gap,
}

/// A partition as requests name it, with what they need to know of its topic.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) id: TopicPartition,
    pub(crate) topic: TopicInfo,
}

/// What a partition's machine is told of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct PartitionView {
    pub(crate) info: PartitionInfo,
    pub(crate) unfenced: Vec<(BrokerId, BrokerEpoch)>,
    pub(crate) topic: TopicInfo,
}

impl ClusterMap {
    pub(crate) fn new() -> Self {
        Self { known: RwLock::default(), version: watch::Sender::new(MetadataVersion::ZERO) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().expect("nobody panics while holding the map")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().expect("nobody panics while holding the map")
    }

    /// The version of the last merge.
    pub(crate) fn version(&self) -> MetadataVersion {
        self.read().version
    }

    /// The version that the partitions have been told of.
    pub(crate) fn announced(&self) -> MetadataVersion {
        *self.version.borrow()
    }

    /// Changes whenever something was merged.
    pub(crate) fn subscribe(&self) -> watch::Receiver<MetadataVersion> {
        self.version.subscribe()
    }

    /// Whether `info` can be merged now.
    pub(crate) fn fit(&self, info: &LeaderInfo) -> Fit {
        let known = self.read().version;
        if info.full {
            return if info.version >= known { Fit::Next } else { Fit::Old };
        }
        if info.version <= known {
            Fit::Old
        } else if info.version == known.next() {
            Fit::Next
        } else {
            Fit::Gap
        }
    }

    /// Merges what fits, and says what it changed. Nobody is told before [`ClusterMap::announce`].
    pub(crate) fn merge(&self, info: LeaderInfo) -> Changes {
        let mut known = self.write();
        if info.full { known.replace(info) } else { known.change(info) }
    }

    /// Wakes those who wait for news; called when the partitions have been told.
    pub(crate) fn announce(&self) {
        let version = self.version();
        self.version.send_replace(version);
    }

    /// The partition of a topic, by name.
    pub(crate) fn resolve(&self, topic: &str, partition: PartitionIndex) -> Result<Resolved, WireError> {
        let known = self.read();
        let info = known.topic(topic)?;
        if partition.0 >= info.partitions {
            return Err(WireError::new(
                ErrorCode::UnknownPartition,
                format!(
                    "topic {topic} has {}, there is no partition {partition}",
                    count(info.partitions.into(), "partition")
                ),
            )
            .hint(format!("partitions are numbered from 0 to {}", info.partitions.saturating_sub(1))));
        }
        Ok(Resolved { id: TopicPartition { topic: info.id, partition }, topic: info.clone() })
    }

    /// A topic by name.
    pub(crate) fn topic(&self, topic: &str) -> Result<TopicInfo, WireError> {
        self.read().topic(topic).cloned()
    }

    /// The topics as consumer groups see them.
    pub(crate) fn group_topics(&self) -> Topics {
        let known = self.read();
        Topics::new(known.topics.values(), known.deleted.clone())
    }

    /// Whether a topic of that name exists.
    pub(crate) fn has_topic(&self, topic: &str) -> bool {
        self.read().by_name.contains_key(topic)
    }

    /// Whether the topic exists.
    pub(crate) fn has_topic_id(&self, topic: TopicId) -> bool {
        self.read().topics.contains_key(&topic)
    }

    /// A topic's settings.
    pub(crate) fn topic_config(&self, topic: TopicId) -> Option<TopicConfig> {
        self.read().topics.get(&topic).map(|info| info.config.clone())
    }

    /// A topic's name; its id when it is not known.
    pub(crate) fn topic_name(&self, topic: TopicId) -> String {
        self.read().topics.get(&topic).map_or_else(|| topic.to_string(), |info| info.name.clone())
    }

    /// `orders/2`, for messages.
    pub(crate) fn name_of(&self, id: TopicPartition) -> String {
        format!("{}/{}", self.topic_name(id.topic), id.partition)
    }

    /// The record of one partition.
    pub(crate) fn partition(&self, id: TopicPartition) -> Option<PartitionInfo> {
        self.read().partitions.get(&id).cloned()
    }

    /// What the machine of this partition is to know.
    pub(crate) fn partition_view(&self, id: TopicPartition) -> Option<PartitionView> {
        let known = self.read();
        let info = known.partitions.get(&id)?.clone();
        let topic = known.topics.get(&id.topic)?.clone();
        let unfenced = info
            .replicas
            .iter()
            .filter_map(|replica| known.brokers.get(replica))
            .filter(|broker| !broker.fenced)
            .map(|broker| (broker.id, broker.broker_epoch))
            .collect();
        Some(PartitionView { info, unfenced, topic })
    }

    /// A broker.
    pub(crate) fn broker(&self, id: BrokerId) -> Option<BrokerInfo> {
        self.read().brokers.get(&id).cloned()
    }

    /// Who leads the partition, as far as known here.
    pub(crate) fn leader(&self, id: TopicPartition) -> Option<LeaderHint> {
        let known = self.read();
        let info = known.partitions.get(&id)?;
        let leader = known.brokers.get(&info.leader?)?;
        Some(LeaderHint {
            leader: leader.id,
            address: leader.address.clone(),
            leader_epoch: info.leader_epoch,
        })
    }

    /// The error for a request that this broker cannot serve because it does not lead.
    pub(crate) fn not_leader(&self, id: TopicPartition, me: Option<BrokerId>) -> WireError {
        let name = self.name_of(id);
        match self.leader(id) {
            Some(hint) if Some(hint.leader) != me => WireError::new(
                ErrorCode::NotLeader,
                format!("broker {} leads {name}", hint.leader),
            )
            .hint(format!("ask {}", hint.address))
            .leader(hint),
            Some(_) => WireError::new(
                ErrorCode::NotReady,
                format!("this broker is about to lead {name}"),
            )
            .hint("send it again in a moment"),
            None => WireError::new(ErrorCode::NoLeader, format!("{name} has no leader now"))
                .hint("a replica that has every acknowledged record must come back; `yak topic describe` says which"),
        }
    }

    /// Partitions of a topic that `broker` leads.
    pub(crate) fn led_by(&self, topic: &TopicInfo, broker: BrokerId) -> Vec<PartitionIndex> {
        let known = self.read();
        (0..topic.partitions)
            .map(PartitionIndex)
            .filter(|partition| {
                let id = TopicPartition { topic: topic.id, partition: *partition };
                known.partitions.get(&id).is_some_and(|info| info.leader == Some(broker))
            })
            .collect()
    }

    /// Whether a live broker could lead something that `me` leads, or join an ISR that cannot spare `me`.
    pub(crate) fn others_can_take_over_from(&self, me: BrokerId) -> bool {
        let known = self.read();
        let live = |id: &BrokerId| {
            *id != me && known.brokers.get(id).is_some_and(|broker| !broker.fenced && !broker.draining)
        };
        known.partitions.values().any(|info| {
            let leads = info.leader == Some(me) && info.isr.iter().any(live);
            let needed = info.isr.contains(&me) && info.isr.len() <= info.min_isr as usize;
            leads || (needed && info.replicas.iter().any(|id| live(id) && !info.isr.contains(id)))
        })
    }

    /// The answer to `metadata`.
    pub(crate) fn metadata(&self, names: Option<&[String]>) -> MetadataReply {
        let known = self.read();
        let mut reply = MetadataReply {
            version: known.version,
            brokers: known.brokers.values().cloned().collect(),
            ..MetadataReply::default()
        };
        let Some(names) = names else {
            reply.topics = known.topics.values().cloned().collect();
            reply.partitions = known.partitions.values().cloned().collect();
            return reply;
        };
        for name in names {
            if let Ok(topic) = known.topic(name) {
                reply.partitions.extend(known.partitions_of(topic.id).cloned());
                reply.topics.push(topic.clone());
            } else {
                reply.unknown.push(UnknownTopic { topic: name.clone(), nearest: known.nearest(name) });
            }
        }
        reply
    }

    /// The answer to `leader_info`: everything, or one topic's partitions with all brokers.
    pub(crate) fn leader_info(&self, topic: Option<&str>) -> Result<LeaderInfo, WireError> {
        let known = self.read();
        let brokers = known.brokers.values().cloned().collect();
        let (topics, partitions) = match topic {
            None => (known.topics.values().cloned().collect(), known.partitions.values().cloned().collect()),
            Some(name) => {
                let topic = known.topic(name)?;
                (vec![topic.clone()], known.partitions_of(topic.id).cloned().collect())
            }
        };
        let full = topic.is_none();
        Ok(LeaderInfo { version: known.version, full, brokers, topics, partitions, ..LeaderInfo::default() })
    }
}

impl Known {
    fn topic(&self, name: &str) -> Result<&TopicInfo, WireError> {
        let found = self.by_name.get(name).and_then(|id| self.topics.get(id));
        found.ok_or_else(|| {
            let error = WireError::new(ErrorCode::UnknownTopic, format!("there is no topic {name:?}"));
            match self.nearest(name) {
                Some(near) => error.hint(format!("did you mean {near:?}?")),
                None => error.hint(format!("make it: yak topic create {name}")),
            }
        })
    }

    fn nearest(&self, name: &str) -> Option<String> {
        names::nearest(name, self.by_name.keys().map(String::as_str)).map(str::to_owned)
    }

    fn partitions_of(&self, topic: TopicId) -> impl Iterator<Item = &PartitionInfo> {
        let first = TopicPartition { topic, partition: PartitionIndex(0) };
        let last = TopicPartition { topic, partition: PartitionIndex(u32::MAX) };
        self.partitions.range(first..=last).map(|(_, info)| info)
    }

    fn replace(&mut self, info: LeaderInfo) -> Changes {
        let mut changes = Changes { deleted: info.deleted, ..Changes::default() };
        changes.partitions.extend(self.partitions.keys());
        let deleted = self.deleted.iter().chain(&changes.deleted).copied().collect();
        *self = Self { version: info.version, deleted, ..Self::default() };
        self.insert(info.brokers, info.topics, info.partitions, &mut changes);
        changes
    }

    fn change(&mut self, info: LeaderInfo) -> Changes {
        let mut changes = Changes::default();
        self.version = info.version;
        self.brokers.retain(|id, _| !info.gone.contains(id));
        self.insert(info.brokers, info.topics, info.partitions, &mut changes);
        for topic in info.deleted {
            if let Some(gone) = self.topics.remove(&topic) {
                self.by_name.remove(&gone.name);
            }
            let ids: Vec<_> = self.partitions_of(topic).map(|info| info.id).collect();
            for id in ids {
                self.partitions.remove(&id);
                changes.partitions.insert(id);
            }
            self.deleted.insert(topic);
            changes.deleted.push(topic);
        }
        changes
    }

    fn insert(
        &mut self,
        brokers: Vec<BrokerInfo>,
        topics: Vec<TopicInfo>,
        partitions: Vec<PartitionInfo>,
        changes: &mut Changes,
    ) {
        let mut moved = BTreeSet::new();
        for broker in brokers {
            let session = |info: &BrokerInfo| (info.broker_epoch, info.fenced);
            if self.brokers.get(&broker.id).map(session) != Some(session(&broker)) {
                moved.insert(broker.id);
            }
            self.brokers.insert(broker.id, broker);
        }
        for topic in topics {
            if let Some(old) = self.topics.get(&topic.id)
                && old.config != topic.config
            {
                changes.partitions.extend(self.partitions_of(topic.id).map(|info| info.id));
            }
            self.by_name.insert(topic.name.clone(), topic.id);
            self.topics.insert(topic.id, topic);
        }
        for partition in partitions {
            changes.partitions.insert(partition.id);
            self.partitions.insert(partition.id, partition);
        }
        if !moved.is_empty() {
            let touched =
                self.partitions.values().filter(|info| info.replicas.iter().any(|id| moved.contains(id)));
            changes.partitions.extend(touched.map(|info| info.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::{LeaderEpoch, PartitionEpoch};
    use yak_protocol::message::KeySlots;

    fn broker(id: u32, epoch: u64, fenced: bool) -> BrokerInfo {
        BrokerInfo {
            id: BrokerId(id),
            name: format!("broker-{id}"),
            address: format!("127.0.0.1:{}", 9700 + id),
            rack: String::new(),
            broker_epoch: BrokerEpoch(epoch),
            fenced,
            draining: false,
        }
    }

    fn topic(id: u128, name: &str) -> TopicInfo {
        let config = TopicConfig::default();
        TopicInfo {
            id: TopicId(id),
            name: name.to_owned(),
            partitions: 1,
            wanted_replicas: 2,
            min_isr: 1,
            config,
            key_slots: KeySlots::default(),
        }
    }

    fn partition(topic: u128, leader: Option<u32>, replicas: &[u32]) -> PartitionInfo {
        PartitionInfo {
            id: TopicPartition { topic: TopicId(topic), partition: PartitionIndex(0) },
            replicas: replicas.iter().copied().map(BrokerId).collect(),
            leader: leader.map(BrokerId),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(9),
            isr: Vec::new(),
            elr: Vec::new(),
            min_isr: 1,
            recovering: false,
            moving: None,
            unclean: None,
        }
    }

    fn full() -> LeaderInfo {
        LeaderInfo {
            version: MetadataVersion(7),
            full: true,
            brokers: vec![broker(1, 1, false), broker(2, 2, true)],
            topics: vec![topic(10, "orders"), topic(11, "users")],
            partitions: vec![partition(10, Some(1), &[1, 2]), partition(11, None, &[1])],
            ..LeaderInfo::default()
        }
    }

    #[test]
    fn versions_are_merged_in_order_and_a_gap_is_seen() {
        let map = ClusterMap::new();
        assert_eq!(map.fit(&full()), Fit::Next);
        map.merge(full());
        let at =
            |version, full| LeaderInfo { version: MetadataVersion(version), full, ..LeaderInfo::default() };
        assert_eq!(map.fit(&at(7, false)), Fit::Old);
        assert_eq!(map.fit(&at(8, false)), Fit::Next);
        assert_eq!(map.fit(&at(9, false)), Fit::Gap);
        assert_eq!(map.fit(&at(6, true)), Fit::Old);
        assert_eq!(map.fit(&at(7, true)), Fit::Next);
    }

    #[test]
    fn a_broker_that_is_fenced_touches_the_partitions_that_it_holds() {
        let map = ClusterMap::new();
        map.merge(full());
        let brokers = vec![broker(2, 3, false)];
        let changes = map.merge(LeaderInfo { version: MetadataVersion(8), brokers, ..LeaderInfo::default() });
        let touched: Vec<_> = changes.partitions.iter().map(|id| id.topic.0).collect();
        assert_eq!(touched, [10]);
        let view = map.partition_view(*changes.partitions.first().expect("one")).expect("known");
        assert_eq!(view.unfenced, [(BrokerId(1), BrokerEpoch(1)), (BrokerId(2), BrokerEpoch(3))]);
    }

    #[test]
    fn a_deleted_topic_is_forgotten_and_named() {
        let map = ClusterMap::new();
        map.merge(full());
        let deleted = vec![TopicId(10)];
        let changes = map.merge(LeaderInfo { version: MetadataVersion(8), deleted, ..LeaderInfo::default() });
        assert_eq!(changes.deleted, [TopicId(10)]);
        assert_eq!(map.topic("orders").expect_err("gone").code, ErrorCode::UnknownTopic);
        assert!(map.topic("users").is_ok());
    }

    #[test]
    fn errors_name_the_leader_the_nearest_topic_and_the_bounds() {
        let map = ClusterMap::new();
        map.merge(full());
        let error = map.topic("order").expect_err("another name");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("orders")), "{error:?}");
        let error = map.resolve("orders", PartitionIndex(3)).expect_err("too many");
        assert_eq!(error.code, ErrorCode::UnknownPartition);
        let orders = map.resolve("orders", PartitionIndex(0)).expect("there");
        let error = map.not_leader(orders.id, Some(BrokerId(2)));
        assert_eq!(error.code, ErrorCode::NotLeader);
        assert_eq!(
            error.leader.map(|hint| (hint.leader, hint.leader_epoch)),
            Some((BrokerId(1), LeaderEpoch(4)))
        );
        let users = map.resolve("users", PartitionIndex(0)).expect("there");
        assert_eq!(map.not_leader(users.id, Some(BrokerId(2))).code, ErrorCode::NoLeader);
    }
}
