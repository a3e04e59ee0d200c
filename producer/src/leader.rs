//! Who leads a partition, and what keeps it from taking records.

use std::time::Instant;
use yak_protocol::ids::{BrokerId, LeaderEpoch, PartitionIndex};
use yak_protocol::message::MetadataReply;
use yak_protocol::net::{Cluster, Connection};

/// A connection to the broker that leads, as far as is known.
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) connection: Connection,
    pub(crate) known: yak_protocol::net::Leader,
}

/// A partition as the metadata shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct View {
    pub(crate) leader_epoch: LeaderEpoch,
    /// What keeps `acks=all` from being answered.
    pub(crate) trouble: Option<String>,
}

/// The partition in `metadata`; `None` when there is no such topic or partition.
pub(crate) fn view(metadata: &MetadataReply, topic: &str, partition: PartitionIndex) -> Option<View> {
    let id = metadata.topics.iter().find(|info| info.name == topic)?.id;
    let info =
        metadata.partitions.iter().find(|info| info.id.topic == id && info.id.partition == partition)?;
    let in_sync = u32::try_from(info.isr.len()).unwrap_or(u32::MAX);
    let trouble = if info.recovering {
        Some(format!("{topic}/{partition} is recovering: the coordinator knows less than a broker does"))
    } else if info.leader.is_none() {
        Some(format!("no leader for {topic}/{partition} (replicas on {})", names(metadata, &info.replicas)))
    } else if in_sync < info.min_isr {
        let names = names(metadata, &info.isr);
        Some(format!("ISR {in_sync} < min {} for {topic}/{partition} (in sync: {names})", info.min_isr))
    } else {
        None
    };
    Some(View { leader_epoch: info.leader_epoch, trouble })
}

fn names(metadata: &MetadataReply, brokers: &[BrokerId]) -> String {
    let name = |id: &BrokerId| {
        let known = metadata.brokers.iter().find(|broker| broker.id == *id);
        known.map_or_else(|| format!("broker {id}"), |broker| broker.name.clone())
    };
    if brokers.is_empty() {
        return "nobody".to_owned();
    }
    brokers.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// A connection to the partition's leader; waits while there is none.
///
/// # Errors
/// What keeps it from being found: an unknown topic or partition, or what was in the way last at the
/// deadline.
pub(crate) async fn find(
    cluster: &Cluster,
    topic: &str,
    partition: PartitionIndex,
    deadline: Instant,
) -> Result<Leader, String> {
    loop {
        let found = cluster.leader_of(topic, partition, deadline.into()).await;
        let known = found.map_err(|error| error.to_string())?;
        match cluster.connection_to(&known.address).await {
            Ok(connection) => return Ok(Leader { connection, known }),
            Err(error) => cluster.note_failure(topic, partition, Some(&known), &error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::{TopicId, TopicPartition};
    use yak_protocol::message::{KeySlots, PartitionInfo, TopicConfig, TopicInfo};

    fn metadata(leader: Option<u32>, isr: &[u32]) -> MetadataReply {
        let id = TopicId(5);
        MetadataReply {
            topics: vec![TopicInfo {
                id,
                name: "orders".to_owned(),
                partitions: 1,
                wanted_replicas: 3,
                min_isr: 2,
                config: TopicConfig::default(),
                key_slots: KeySlots::default(),
            }],
            partitions: vec![PartitionInfo {
                id: TopicPartition { topic: id, partition: PartitionIndex(0) },
                replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
                leader: leader.map(BrokerId),
                leader_epoch: LeaderEpoch(4),
                partition_epoch: yak_protocol::ids::PartitionEpoch(9),
                isr: isr.iter().copied().map(BrokerId).collect(),
                elr: Vec::new(),
                min_isr: 2,
                recovering: false,
                moving: None,
                unclean: None,
            }],
            ..MetadataReply::default()
        }
    }

    fn trouble(metadata: &MetadataReply) -> Option<String> {
        view(metadata, "orders", PartitionIndex(0)).expect("it is there").trouble
    }

    #[test]
    fn the_view_says_what_keeps_acks_all_from_being_answered() {
        assert_eq!(trouble(&metadata(Some(1), &[1, 2])), None);
        let text = trouble(&metadata(Some(1), &[1])).expect("below min");
        assert!(text.starts_with("ISR 1 < min 2"), "{text}");
        let text = trouble(&metadata(None, &[])).expect("no leader");
        assert!(text.contains("no leader for orders/0"), "{text}");
        assert_eq!(view(&metadata(None, &[]), "orders", PartitionIndex(1)), None);
        assert_eq!(view(&metadata(None, &[]), "others", PartitionIndex(0)), None);
    }
}
