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
        let coordinator = Some(&self.metadata.coordinator).filter(|address| !address.is_empty());
        let live = live.into_iter().map(|broker| &broker.address);
        live.chain(coordinator).chain(fenced.into_iter().map(|broker| &broker.address)).cloned().collect()
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
