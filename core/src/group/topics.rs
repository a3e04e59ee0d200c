//! The topics that groups read, as the cluster has them.

use std::collections::{BTreeMap, BTreeSet};
use yak_protocol::ids::{PartitionIndex, TopicId, TopicPartition};
use yak_protocol::message::{GroupTopic, TopicInfo};

/// A topic as groups see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicShape {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: u32,
}

/// Every topic, and those that were deleted by request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topics {
    by_name: BTreeMap<String, TopicShape>,
    names: BTreeMap<TopicId, String>,
    deleted: BTreeSet<TopicId>,
}

impl Topics {
    /// The topics of the cluster.
    pub fn new<'a>(topics: impl IntoIterator<Item = &'a TopicInfo>, deleted: BTreeSet<TopicId>) -> Self {
        let mut found = Self { deleted, ..Self::default() };
        for topic in topics {
            let shape = TopicShape { id: topic.id, partitions: topic.partitions };
            found.by_name.insert(topic.name.clone(), shape);
            found.names.insert(topic.id, topic.name.clone());
        }
        found
    }

    /// The topic of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<TopicShape> {
        self.by_name.get(name).copied()
    }

    /// The name of a topic that exists.
    #[must_use]
    pub fn name(&self, id: TopicId) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// Whether the topic was deleted by request: only then what is known of it goes, too.
    #[must_use]
    pub fn is_deleted(&self, id: TopicId) -> bool {
        self.deleted.contains(&id)
    }

    /// `orders/2`, for people.
    #[must_use]
    pub fn show(&self, id: TopicPartition) -> String {
        format!("{}/{}", self.name(id.topic).unwrap_or("(a deleted topic)"), id.partition)
    }

    /// The partitions that a request names; those of unknown topics are left out.
    #[must_use]
    pub fn resolve(&self, named: &[GroupTopic]) -> BTreeSet<TopicPartition> {
        let mut found = BTreeSet::new();
        for topic in named {
            let id = topic.topic_id.or_else(|| self.named(&topic.topic).map(|shape| shape.id));
            if let Some(topic_id) = id {
                let of =
                    |partition: &PartitionIndex| TopicPartition { topic: topic_id, partition: *partition };
                found.extend(topic.partitions.iter().map(of));
            }
        }
        found
    }

    /// Partitions as an answer names them, topic by topic.
    pub fn listed(&self, partitions: impl IntoIterator<Item = TopicPartition>) -> Vec<GroupTopic> {
        let mut by_topic: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
        for id in partitions {
            by_topic.entry(id.topic).or_default().push(id.partition);
        }
        let of = |(id, mut partitions): (TopicId, Vec<PartitionIndex>)| {
            partitions.sort_unstable();
            let topic = self.name(id).unwrap_or_default().to_owned();
            GroupTopic { topic, topic_id: Some(id), partitions }
        };
        let mut listed: Vec<_> = by_topic.into_iter().map(of).collect();
        listed.sort_by(|a, b| a.topic.cmp(&b.topic));
        listed
    }
}
