//! What is known about the cluster: the newest metadata, and leaders that were learned since.

use crate::error::LeaderHint;
use crate::ids::{BrokerId, LeaderEpoch, PartitionIndex, TopicPartition};
use crate::message::{MetadataReply, PartitionInfo, TopicInfo};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Who leads a partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Leader {
    /// The broker.
    pub broker: BrokerId,
    /// Where it is reached, `host:port`.
    pub address: Arc<str>,
    /// In which epoch.
    pub epoch: LeaderEpoch,
}

/// Why nobody can be named as the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NoLeader {
    UnknownTopic,
    UnknownPartition {
        partitions: u32,
    },
    /// Nobody leads; the text says what is known about it.
    Leaderless(String),
}

/// How long newer metadata is preferred over an older answer. After that the older one counts: the
/// coordinator may have been restarted from an old copy.
const NEWER_PREFERRED: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct View {
    metadata: Arc<MetadataReply>,
    learned: Option<Instant>,
    topics: HashMap<String, usize>,
    partitions: HashMap<TopicPartition, usize>,
    addresses: HashMap<BrokerId, Arc<str>>,
    /// Leaders that brokers named, as long as the metadata is older.
    hints: HashMap<TopicPartition, Leader>,
}

impl View {
    pub(super) fn is_filled(&self) -> bool {
        self.learned.is_some()
    }

    /// Takes what a process said. Says whether it counts.
    pub(super) fn learn(&mut self, metadata: Arc<MetadataReply>) -> bool {
        let now = Instant::now();
        if self.learned.is_some_and(|learned| now - learned < NEWER_PREFERRED)
            && metadata.version < self.metadata.version
            && metadata.cluster_id == self.metadata.cluster_id
        {
            return false;
        }
        self.topics =
            metadata.topics.iter().enumerate().map(|(at, topic)| (topic.name.clone(), at)).collect();
        self.partitions = metadata.partitions.iter().enumerate().map(|(at, info)| (info.id, at)).collect();
        let brokers = metadata.brokers.iter();
        self.addresses = brokers.map(|broker| (broker.id, broker.address.as_str().into())).collect();
        self.metadata = metadata;
        self.learned = Some(now);
        let (metadata, partitions) = (&self.metadata, &self.partitions);
        self.hints.retain(|id, hint| {
            let known = partitions.get(id).and_then(|at| metadata.partitions.get(*at));
            known.is_some_and(|known| known.leader_epoch < hint.epoch)
        });
        true
    }

    /// Takes a broker's word for who leads. Says whether its leader is the one to ask: newly learned, or
    /// known already because others were told the same.
    pub(super) fn learn_leader(&mut self, topic: &str, partition: PartitionIndex, hint: &LeaderHint) -> bool {
        let Some(known_topic) = self.topic(topic) else { return false };
        let id = TopicPartition { topic: known_topic.id, partition };
        let hinted = self.hints.get(&id).map(|known| (known.epoch, Some(known.broker)));
        let known = self.partition(id).map(|known| (known.leader_epoch, known.leader));
        if let Some((epoch, broker)) = hinted.or(known)
            && epoch >= hint.leader_epoch
        {
            return epoch == hint.leader_epoch && broker == Some(hint.leader);
        }
        let leader =
            Leader { broker: hint.leader, address: hint.address.as_str().into(), epoch: hint.leader_epoch };
        self.hints.insert(id, leader);
        true
    }

    pub(super) fn topic(&self, name: &str) -> Option<&TopicInfo> {
        self.topics.get(name).and_then(|at| self.metadata.topics.get(*at))
    }

    fn partition(&self, id: TopicPartition) -> Option<&PartitionInfo> {
        self.partitions.get(&id).and_then(|at| self.metadata.partitions.get(*at))
    }

    pub(super) fn leader(&self, topic: &str, partition: PartitionIndex) -> Result<Leader, NoLeader> {
        let known = self.topic(topic).ok_or(NoLeader::UnknownTopic)?;
        let id = TopicPartition { topic: known.id, partition };
        if let Some(hint) = self.hints.get(&id) {
            return Ok(hint.clone());
        }
        if partition.0 >= known.partitions {
            return Err(NoLeader::UnknownPartition { partitions: known.partitions });
        }
        let Some(info) = self.partition(id) else {
            return Err(NoLeader::Leaderless(format!("{topic}/{partition} has not been placed yet")));
        };
        if info.recovering {
            return Err(NoLeader::Leaderless(format!("{topic}/{partition} recovers its metadata")));
        }
        let Some(broker) = info.leader else {
            return Err(NoLeader::Leaderless(format!("no leader for {topic}/{partition}")));
        };
        match self.address_of(broker) {
            Some(address) => Ok(Leader { broker, address, epoch: info.leader_epoch }),
            None => Err(NoLeader::Leaderless(format!(
                "no address of broker {broker}, which leads {topic}/{partition}"
            ))),
        }
    }

    pub(super) fn address_of(&self, broker: BrokerId) -> Option<Arc<str>> {
        self.addresses.get(&broker).cloned()
    }

    /// Every process that is known, brokers that may serve first.
    pub(super) fn addresses(&self) -> Vec<String> {
        let (fenced, live): (Vec<_>, Vec<_>) = self.metadata.brokers.iter().partition(|broker| broker.fenced);
        let live = live.into_iter().map(|broker| broker.address.as_str());
        let fenced = fenced.into_iter().map(|broker| broker.address.as_str());
        live.chain(self.metadata.coordinators()).chain(fenced).map(str::to_owned).collect()
    }

    pub(super) fn nearest_topic(&self, name: &str) -> Option<String> {
        let said = self.metadata.unknown.iter().find(|unknown| unknown.topic == name);
        if let Some(nearest) = said.and_then(|unknown| unknown.nearest.clone()) {
            return Some(nearest);
        }
        crate::names::nearest(name, self.metadata.topics.iter().map(|topic| topic.name.as_str()))
            .map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MetadataVersion, PartitionEpoch, TopicId};
    use crate::message::{BrokerInfo, KeySlots, TopicConfig};

    const P0: PartitionIndex = PartitionIndex(0);

    fn metadata(version: u64, leader: u32, epoch: u32) -> Arc<MetadataReply> {
        let broker = |id: u32| BrokerInfo {
            id: BrokerId(id),
            name: format!("broker-{id}"),
            address: format!("kiwi:{id}"),
            rack: String::new(),
            broker_epoch: crate::ids::BrokerEpoch(1),
            fenced: id != leader,
            draining: false,
        };
        let topic = TopicInfo {
            id: TopicId(1),
            name: "orders".into(),
            partitions: 1,
            wanted_replicas: 1,
            min_isr: 1,
            config: TopicConfig::default(),
            key_slots: KeySlots::default(),
        };
        let partition = PartitionInfo {
            id: TopicPartition { topic: TopicId(1), partition: P0 },
            replicas: vec![],
            leader: Some(BrokerId(leader)),
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: PartitionEpoch(epoch),
            isr: vec![],
            elr: vec![],
            min_isr: 1,
            recovering: false,
            moving: None,
            unclean: None,
        };
        Arc::new(MetadataReply {
            version: MetadataVersion(version),
            coordinator: "kiwi:9700".into(),
            brokers: vec![broker(1), broker(2)],
            topics: vec![topic],
            partitions: vec![partition],
            ..MetadataReply::default()
        })
    }

    fn hint(leader: u32, epoch: u32) -> LeaderHint {
        let address = format!("hinted:{leader}");
        LeaderHint { leader: BrokerId(leader), address, leader_epoch: LeaderEpoch(epoch) }
    }

    fn address(view: &View) -> String {
        view.leader("orders", P0).expect("a leader").address.to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_answer_counts_only_when_nothing_newer_has_come_for_a_while() {
        let mut view = View::default();
        assert!(view.learn(metadata(5, 2, 5)));
        assert!(!view.learn(metadata(4, 1, 4)));
        assert_eq!(address(&view), "kiwi:2");
        tokio::time::advance(NEWER_PREFERRED).await;
        assert!(view.learn(metadata(4, 1, 4)));
        assert_eq!(address(&view), "kiwi:1");
    }

    #[tokio::test]
    async fn a_hint_counts_until_the_metadata_knows_better() {
        let mut view = View::default();
        assert!(!view.learn_leader("orders", P0, &hint(2, 2)), "nothing is known of the topic");
        view.learn(metadata(1, 1, 1));
        assert!(view.learn_leader("orders", P0, &hint(2, 2)));
        assert_eq!(address(&view), "hinted:2");
        view.learn(metadata(2, 1, 1));
        assert_eq!(address(&view), "hinted:2", "the metadata is still that of the epoch before");
        view.learn(metadata(3, 2, 2));
        assert_eq!(address(&view), "kiwi:2");
        assert!(!view.learn_leader("orders", P0, &hint(1, 1)), "old news");
        assert!(!view.learn_leader("orders", P0, &hint(1, 2)), "another leader of the same epoch");
        assert!(view.learn_leader("orders", P0, &hint(2, 2)), "the same news again");
    }

    #[tokio::test]
    async fn live_brokers_are_asked_before_the_coordinator_and_fenced_ones() {
        let mut view = View::default();
        view.learn(metadata(1, 2, 1));
        assert_eq!(view.addresses(), ["kiwi:2", "kiwi:9700", "kiwi:1"]);
    }
}
