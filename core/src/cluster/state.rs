//! The durable state, and the one function that changes it: [`State::apply`].

use super::checks::{check_shape, check_succession};
use super::decommission::Decommission;
use super::named_producers::NamedProducers;
use super::record::Record;
use std::collections::{BTreeMap, BTreeSet};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorEpoch, DataDirId, Incarnation, MetadataVersion,
    PartitionIndex, TopicId, TopicPartition,
};
use yak_protocol::message::{BrokerInfo, LeaderInfo, PartitionInfo, ReplicaReport, TopicInfo};
use yak_protocol::text::count;

/// A broker as the journal knows it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Broker {
    /// What everybody may know of it.
    pub info: BrokerInfo,
    /// Its process.
    pub incarnation: Incarnation,
    /// Its disk.
    pub data_dir: DataDirId,
    /// The last broker epoch that a heartbeat carried, and on which disk: its data dir remembers it (rule
    /// R12).
    pub confirmed: Option<(DataDirId, BrokerEpoch)>,
    /// What it held when it registered.
    pub reported: Vec<ReplicaReport>,
    /// What it held when it registered the confirmed session: less than this is a regression (rule R12).
    pub baseline: Vec<ReplicaReport>,
    /// Replicas that may lack what they once had, until its first heartbeat drops them (rule R12).
    pub lost: Vec<TopicPartition>,
    /// Whether somebody wants it to lead nothing; survives its restarts.
    pub drain_requested: bool,
    /// Whether it is to go for good.
    pub decommission: Option<Decommission>,
}

/// Everything that the journal leads to. Records are the only way to change it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    cluster_id: ClusterId,
    coordinator_epoch: CoordinatorEpoch,
    version: MetadataVersion,
    last_broker_epoch: BrokerEpoch,
    next_producer_id: i64,
    pub(super) named_producers: NamedProducers,
    brokers: BTreeMap<BrokerId, Broker>,
    topics: BTreeMap<TopicId, TopicInfo>,
    names: BTreeMap<String, TopicId>,
    partitions: BTreeMap<TopicPartition, PartitionInfo>,
    deleted: BTreeSet<TopicId>,
    /// Brokers that were taken out of the cluster, with their disks.
    gone: BTreeMap<BrokerId, DataDirId>,
    damaged: BTreeSet<(BrokerId, TopicPartition)>,
    halted: BTreeSet<(BrokerId, TopicPartition)>,
    pub(super) made_again: BTreeMap<TopicPartition, Vec<BrokerId>>,
}

impl State {
    /// The state that a history leads to.
    ///
    /// # Panics
    /// When a record breaks an invariant.
    #[must_use]
    pub fn replay<'a>(history: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut state = Self::default();
        history.into_iter().for_each(|record| state.apply(record));
        state
    }

    /// Carries out one change. Replaying a journal record by record rebuilds the state.
    ///
    /// # Panics
    /// When a record breaks an invariant: the journal would promise what the protocol forbids.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Cluster { cluster_id } => self.cluster_id = *cluster_id,
            Record::CoordinatorEpoch { epoch } => {
                assert!(*epoch > self.coordinator_epoch, "coordinator epoch goes back (I9)");
                self.coordinator_epoch = *epoch;
            }
            Record::Broker { .. } => self.apply_broker(record),
            Record::Fence { id, fenced, confirmed } => {
                if let Some(broker) = self.brokers.get_mut(id) {
                    broker.info.fenced = *fenced;
                    if let Some(epoch) = confirmed {
                        broker.confirmed = Some((broker.data_dir, *epoch));
                        broker.baseline = broker.reported.clone();
                        broker.lost.clear();
                    }
                }
            }
            Record::Drain { id, draining, requested } => {
                assert!(*draining || !requested, "broker {id} is to drain and does not");
                if let Some(broker) = self.brokers.get_mut(id) {
                    broker.info.draining = *draining;
                    broker.drain_requested = *requested;
                }
            }
            Record::Decommission { id, wanted } => {
                if let Some(broker) = self.brokers.get_mut(id) {
                    broker.decommission = *wanted;
                }
            }
            Record::BrokerGone { id, data_dir } => {
                let holds = |info: &PartitionInfo| info.replicas.contains(id);
                assert!(!self.partitions.values().any(holds), "broker {id} is forgotten and holds something");
                self.brokers.remove(id);
                self.damaged.retain(|(broker, _)| broker != id);
                self.halted.retain(|(broker, _)| broker != id);
                self.gone.insert(*id, *data_dir);
            }
            Record::Topic(topic) => {
                self.names.insert(topic.name.clone(), topic.id);
                self.topics.insert(topic.id, topic.clone());
            }
            Record::TopicDeleted { id } => self.apply_deletion(*id),
            Record::Partition(info) => {
                check_shape(info);
                if let Some(old) = self.partitions.get(&info.id) {
                    check_succession(old, info);
                }
                self.partitions.insert(info.id, info.clone());
                if !info.recovering {
                    self.made_again.remove(&info.id);
                }
            }
            Record::MadeAgain { id, witnesses } => {
                self.made_again.insert(*id, witnesses.clone());
            }
            Record::Damage { broker, id, damaged } => mark(&mut self.damaged, (*broker, *id), *damaged),
            Record::Halt { broker, id, halted } => mark(&mut self.halted, (*broker, *id), *halted),
            Record::Version { version } => {
                assert!(*version > self.version, "metadata version goes back");
                self.version = *version;
            }
            Record::NamedProducer { .. } => self.named_producers.apply(record),
            Record::ProducerIds { next } => {
                assert!(*next >= self.next_producer_id, "producer ids would be given out twice");
                self.next_producer_id = *next;
            }
        }
    }

    fn apply_broker(&mut self, record: &Record) {
        let Record::Broker { id, name, address, rack, broker_epoch, incarnation, data_dir, replicas, lost } =
            record
        else {
            return;
        };
        let old = self.brokers.get(id);
        if let Some(old) = old {
            assert!(*broker_epoch >= old.info.broker_epoch, "broker epoch of {id:?} goes back (I9)");
        }
        let drain_requested = old.is_some_and(|old| old.drain_requested);
        let broker = Broker {
            info: BrokerInfo {
                id: *id,
                name: name.clone(),
                address: address.clone(),
                rack: rack.clone(),
                broker_epoch: *broker_epoch,
                fenced: true,
                draining: drain_requested,
            },
            incarnation: *incarnation,
            data_dir: *data_dir,
            confirmed: old.and_then(|old| old.confirmed),
            baseline: old.map(|old| old.baseline.clone()).unwrap_or_default(),
            reported: replicas.clone(),
            lost: lost.clone(),
            drain_requested,
            decommission: old.and_then(|old| old.decommission),
        };
        self.last_broker_epoch = self.last_broker_epoch.max(*broker_epoch);
        self.brokers.insert(*id, broker);
    }

    fn apply_deletion(&mut self, id: TopicId) {
        if let Some(topic) = self.topics.remove(&id) {
            self.names.remove(&topic.name);
        }
        self.partitions.retain(|partition, _| partition.topic != id);
        self.damaged.retain(|(_, partition)| partition.topic != id);
        self.made_again.retain(|partition, _| partition.topic != id);
        self.halted.retain(|(_, partition)| partition.topic != id);
        self.deleted.insert(id);
    }

    /// The shortest journal that leads here.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = vec![Record::Cluster { cluster_id: self.cluster_id }];
        if self.coordinator_epoch > CoordinatorEpoch::ZERO {
            records.push(Record::CoordinatorEpoch { epoch: self.coordinator_epoch });
        }
        for broker in self.brokers.values() {
            broker.snapshot(&mut records);
        }
        records.extend(
            self.gone.iter().map(|(id, data_dir)| Record::BrokerGone { id: *id, data_dir: *data_dir }),
        );
        records.extend(self.topics.values().cloned().map(Record::Topic));
        records.extend(self.deleted.iter().map(|id| Record::TopicDeleted { id: *id }));
        records.extend(self.partitions.values().cloned().map(Record::Partition));
        records.extend(
            self.made_again
                .iter()
                .map(|(id, witnesses)| Record::MadeAgain { id: *id, witnesses: witnesses.clone() }),
        );
        records.extend(self.damaged.iter().map(|(broker, id)| Record::Damage {
            broker: *broker,
            id: *id,
            damaged: true,
        }));
        records.extend(self.halted.iter().map(|(broker, id)| Record::Halt {
            broker: *broker,
            id: *id,
            halted: true,
        }));
        records.extend(self.named_producers.records());
        if self.next_producer_id > 0 {
            records.push(Record::ProducerIds { next: self.next_producer_id });
        }
        if self.version > MetadataVersion::ZERO {
            records.push(Record::Version { version: self.version });
        }
        records
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// The coordinator's term.
    #[must_use]
    pub fn coordinator_epoch(&self) -> CoordinatorEpoch {
        self.coordinator_epoch
    }

    /// How many metadata changes there have been.
    #[must_use]
    pub fn version(&self) -> MetadataVersion {
        self.version
    }

    /// The highest broker epoch ever granted.
    #[must_use]
    pub fn last_broker_epoch(&self) -> BrokerEpoch {
        self.last_broker_epoch
    }

    /// The first producer id that nobody has.
    #[must_use]
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// One broker.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// All brokers, by number.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// One topic.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&TopicInfo> {
        self.topics.get(&id)
    }

    /// The topic of that name.
    #[must_use]
    pub fn topic_named(&self, name: &str) -> Option<&TopicInfo> {
        self.topics.get(self.names.get(name)?)
    }

    /// The topic of that name.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC` with the nearest existing name.
    pub fn find_topic(&self, name: &str) -> Result<&TopicInfo, WireError> {
        self.topic_named(name).ok_or_else(|| {
            let error = WireError::new(ErrorCode::UnknownTopic, format!("there is no topic named {name:?}"));
            match self.nearest_topic(name) {
                Some(nearest) => error.hint(format!("did you mean {nearest:?}?")),
                None => error,
            }
        })
    }

    /// The existing name that is most like this one, if any is.
    #[must_use]
    pub fn nearest_topic(&self, name: &str) -> Option<&str> {
        yak_protocol::names::nearest(name, self.names.keys().map(String::as_str))
    }

    /// The partition of the topic of that name.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC` with the nearest existing name, `UNKNOWN_PARTITION` with those that there are.
    pub fn find(&self, topic: &str, partition: PartitionIndex) -> Result<&PartitionInfo, WireError> {
        let topic = self.find_topic(topic)?;
        self.partition(TopicPartition { topic: topic.id, partition }).ok_or_else(|| {
            let message = format!("topic {} has {}", topic.name, count(topic.partitions.into(), "partition"));
            let last = topic.partitions.saturating_sub(1);
            WireError::new(
                ErrorCode::UnknownPartition,
                format!("{message}, there is no partition {partition}"),
            )
            .hint(format!("partitions are numbered from 0 to {last}"))
        })
    }

    /// All topics, by id.
    pub fn topics(&self) -> impl Iterator<Item = &TopicInfo> {
        self.topics.values()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, id: TopicPartition) -> Option<&PartitionInfo> {
        self.partitions.get(&id)
    }

    /// All partitions, by topic id and index.
    pub fn partitions(&self) -> impl Iterator<Item = &PartitionInfo> {
        self.partitions.values()
    }

    /// The partitions of one topic, by index.
    pub fn partitions_of(&self, topic: TopicId) -> impl Iterator<Item = &PartitionInfo> {
        let first = TopicPartition { topic, partition: PartitionIndex(0) };
        let last = TopicPartition { topic, partition: PartitionIndex(u32::MAX) };
        self.partitions.range(first..=last).map(|(_, info)| info)
    }

    /// A partition as people know it: `orders/0`.
    #[must_use]
    pub fn title(&self, id: TopicPartition) -> String {
        match self.topics.get(&id.topic) {
            Some(topic) => format!("{}/{}", topic.name, id.partition),
            None => id.to_string(),
        }
    }

    /// Topics that were deleted by request.
    pub fn deleted(&self) -> impl Iterator<Item = TopicId> {
        self.deleted.iter().copied()
    }

    /// Whether the broker may lead and be in an ISR.
    #[must_use]
    pub fn unfenced(&self, id: BrokerId) -> bool {
        self.brokers.get(&id).is_some_and(|broker| !broker.info.fenced)
    }

    /// Whether the broker hands over its leaderships.
    #[must_use]
    pub fn draining(&self, id: BrokerId) -> bool {
        self.brokers.get(&id).is_some_and(|broker| broker.info.draining)
    }

    /// Brokers that were taken out of the cluster.
    pub fn gone(&self) -> impl Iterator<Item = BrokerId> {
        self.gone.keys().copied()
    }

    /// Whether the broker was taken out of the cluster.
    #[must_use]
    pub fn is_gone(&self, id: BrokerId) -> bool {
        self.gone.contains_key(&id)
    }

    /// The broker that was taken out of the cluster and had this disk.
    #[must_use]
    pub fn gone_by_data_dir(&self, data_dir: DataDirId) -> Option<BrokerId> {
        self.gone.iter().find(|(_, of)| **of == data_dir).map(|(id, _)| *id)
    }

    /// Whether that replica has damage that has not been repaired (rule R17).
    #[must_use]
    pub fn damaged(&self, broker: BrokerId, id: TopicPartition) -> bool {
        self.damaged.contains(&(broker, id))
    }

    /// Whether that replica has stopped itself (rule R4).
    #[must_use]
    pub fn halted(&self, broker: BrokerId, id: TopicPartition) -> bool {
        self.halted.contains(&(broker, id))
    }

    /// The broker's replicas that are damaged or have stopped themselves.
    pub(super) fn troubled(&self, broker: BrokerId) -> BTreeSet<TopicPartition> {
        let both = self.damaged.iter().chain(&self.halted);
        both.filter(|(on, _)| *on == broker).map(|(_, id)| *id).collect()
    }

    /// Everything, as a broker or client sees it.
    #[must_use]
    pub fn leader_info(&self) -> LeaderInfo {
        LeaderInfo {
            coordinator_epoch: self.coordinator_epoch,
            version: self.version,
            full: true,
            brokers: self.brokers.values().map(|broker| broker.info.clone()).collect(),
            topics: self.topics.values().cloned().collect(),
            partitions: self.partitions.values().cloned().collect(),
            deleted: self.deleted.iter().copied().collect(),
            gone: self.gone().collect(),
        }
    }

    /// What these records, which have been applied, changed: the step from `version - 1` to `version`.
    pub(super) fn changes(&self, records: &[Record]) -> LeaderInfo {
        let mut brokers = BTreeSet::new();
        let mut topics = BTreeSet::new();
        let mut partitions = BTreeSet::new();
        let mut deleted = Vec::new();
        let mut gone = Vec::new();
        for record in records {
            match record {
                Record::Broker { id, .. } | Record::Fence { id, .. } | Record::Drain { id, .. } => {
                    brokers.insert(*id);
                }
                Record::Topic(topic) => {
                    topics.insert(topic.id);
                }
                Record::TopicDeleted { id } => deleted.push(*id),
                Record::BrokerGone { id, .. } => gone.push(*id),
                Record::Partition(info) => {
                    partitions.insert(info.id);
                }
                _ => {}
            }
        }
        LeaderInfo {
            coordinator_epoch: self.coordinator_epoch,
            version: self.version,
            full: false,
            brokers: brokers.iter().filter_map(|id| self.broker(*id)).map(|b| b.info.clone()).collect(),
            topics: topics.iter().filter_map(|id| self.topic(*id)).cloned().collect(),
            partitions: partitions.iter().filter_map(|id| self.partition(*id)).cloned().collect(),
            deleted,
            gone,
        }
    }
}

impl Broker {
    fn snapshot(&self, records: &mut Vec<Record>) {
        let session = |data_dir, replicas: &Vec<ReplicaReport>, lost: &Vec<TopicPartition>| Record::Broker {
            id: self.info.id,
            name: self.info.name.clone(),
            address: self.info.address.clone(),
            rack: self.info.rack.clone(),
            broker_epoch: self.info.broker_epoch,
            incarnation: self.incarnation,
            data_dir,
            replicas: replicas.clone(),
            lost: lost.clone(),
        };
        let fence = |fenced, confirmed| Record::Fence { id: self.info.id, fenced, confirmed };
        if let Some((data_dir, epoch)) = self.confirmed {
            records.push(session(data_dir, &self.baseline, &Vec::new()));
            records.push(fence(self.info.fenced, Some(epoch)));
        }
        if self.confirmed.is_none_or(|(data_dir, _)| data_dir != self.data_dir)
            || self.baseline != self.reported
            || !self.lost.is_empty()
        {
            records.push(session(self.data_dir, &self.reported, &self.lost));
            records.push(fence(self.info.fenced, None));
        }
        if self.info.draining {
            let requested = self.drain_requested;
            records.push(Record::Drain { id: self.info.id, draining: true, requested });
        }
        if self.decommission.is_some() {
            records.push(Record::Decommission { id: self.info.id, wanted: self.decommission });
        }
    }
}

fn mark(set: &mut BTreeSet<(BrokerId, TopicPartition)>, replica: (BrokerId, TopicPartition), is: bool) {
    if is {
        set.insert(replica);
    } else {
        set.remove(&replica);
    }
}
