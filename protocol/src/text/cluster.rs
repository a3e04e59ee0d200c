//! The cluster in tables, as `metadata` knows it.

use super::table::Table;
use super::value::Value;
use crate::ids::BrokerId;
use crate::message::{BrokerInfo, MetadataReply, PartitionInfo, TopicInfo};

/// The topics, by name.
#[must_use]
pub fn topics(known: &MetadataReply) -> Table {
    let mut table =
        Table::new(&["TOPIC", "PARTITIONS", "REPLICAS", "MIN ISR", "WITHOUT LEADER", "NOT IN SYNC"]);
    let mut topics: Vec<&TopicInfo> = known.topics.iter().collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    for topic in topics {
        let partitions = || known.partitions.iter().filter(|info| info.id.topic == topic.id);
        let leaderless = partitions().filter(|info| info.leader.is_none()).count();
        let short = partitions().filter(|info| info.isr.len() < info.replicas.len()).count();
        table.push([
            Value::from(&topic.name),
            topic.partitions.into(),
            topic.wanted_replicas.into(),
            topic.min_isr.into(),
            leaderless.into(),
            short.into(),
        ]);
    }
    table
}

/// One topic's partitions.
#[must_use]
pub fn partitions<'a>(partitions: impl IntoIterator<Item = &'a PartitionInfo>) -> Table {
    let mut table = Table::new(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "ELR", "MIN ISR"]);
    for info in partitions {
        table.push([
            Value::from(info.id.partition),
            info.leader.into(),
            info.leader_epoch.into(),
            info.replicas.clone().into(),
            info.isr.clone().into(),
            info.elr.clone().into(),
            info.min_isr.into(),
        ]);
    }
    table
}

/// The in-sync replicas of every partition, and what is missing.
#[must_use]
pub fn isr(known: &MetadataReply) -> Table {
    let mut table = Table::new(&["PARTITION", "ISR", "MISSING", "MIN ISR", "STATE"]);
    for (name, info) in named(known) {
        let missing: Vec<BrokerId> =
            info.replicas.iter().filter(|id| !info.isr.contains(id)).copied().collect();
        let state = if info.leader.is_none() {
            "no leader"
        } else if info.isr.len() < info.min_isr as usize {
            "below min"
        } else if missing.is_empty() {
            "whole"
        } else {
            "short"
        };
        table.push([
            Value::from(name),
            info.isr.clone().into(),
            missing.into(),
            info.min_isr.into(),
            state.into(),
        ]);
    }
    table
}

/// Who leads every partition, and where that is.
#[must_use]
pub fn leaders(known: &MetadataReply) -> Table {
    let mut table = Table::new(&["PARTITION", "LEADER", "ADDRESS", "EPOCH"]);
    for (name, info) in named(known) {
        let leader = known.brokers.iter().find(|broker| Some(broker.id) == info.leader);
        table.push([
            Value::from(name),
            info.leader.into(),
            leader.map(|broker| broker.address.as_str()).into(),
            info.leader_epoch.into(),
        ]);
    }
    table
}

/// The brokers.
#[must_use]
pub fn brokers(known: &MetadataReply) -> Table {
    let mut table = Table::new(&["ID", "NAME", "ADDRESS", "RACK", "EPOCH", "STATE", "LEADS"]);
    for broker in &known.brokers {
        let leads = known.partitions.iter().filter(|info| info.leader == Some(broker.id)).count();
        let rack = Some(broker.rack.as_str()).filter(|rack| !rack.is_empty());
        table.push([
            Value::from(broker.id),
            broker.name.as_str().into(),
            broker.address.as_str().into(),
            rack.into(),
            broker.broker_epoch.into(),
            state(broker).into(),
            leads.into(),
        ]);
    }
    table
}

/// What a broker may do, in one word.
fn state(broker: &BrokerInfo) -> &'static str {
    match (broker.fenced, broker.draining) {
        (true, _) => "fenced",
        (false, true) => "draining",
        (false, false) => "alive",
    }
}

/// The partitions as `topic/partition`, by topic and number.
fn named(known: &MetadataReply) -> Vec<(String, &PartitionInfo)> {
    let mut named: Vec<(&str, &PartitionInfo)> = known
        .partitions
        .iter()
        .filter_map(|info| {
            let topic = known.topics.iter().find(|topic| topic.id == info.id.topic)?;
            Some((topic.name.as_str(), info))
        })
        .collect();
    named.sort_by_key(|(name, info)| (*name, info.id.partition));
    named.into_iter().map(|(name, info)| (format!("{name}/{}", info.id.partition), info)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BrokerEpoch, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, TopicPartition};
    use crate::message::{KeySlots, TopicConfig};
    use crate::text::Format;

    fn broker(id: u32, fenced: bool) -> BrokerInfo {
        BrokerInfo {
            id: BrokerId(id),
            name: format!("b{id}"),
            address: format!("127.0.0.1:{}", 9700 + id),
            rack: String::new(),
            broker_epoch: BrokerEpoch(5),
            fenced,
            draining: id == 3,
        }
    }

    fn partition(index: u32, leader: Option<u32>, isr: &[u32]) -> PartitionInfo {
        PartitionInfo {
            id: TopicPartition { topic: TopicId(9), partition: PartitionIndex(index) },
            replicas: vec![BrokerId(1), BrokerId(2)],
            leader: leader.map(BrokerId),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(1),
            isr: isr.iter().copied().map(BrokerId).collect(),
            elr: Vec::new(),
            min_isr: 1,
            recovering: false,
            moving: None,
            unclean: None,
        }
    }

    fn known() -> MetadataReply {
        let topic = TopicInfo {
            id: TopicId(9),
            name: "orders".to_owned(),
            partitions: 3,
            wanted_replicas: 2,
            min_isr: 1,
            config: TopicConfig::default(),
            key_slots: KeySlots::default(),
        };
        MetadataReply {
            brokers: vec![broker(1, false), broker(2, true), broker(3, false)],
            topics: vec![topic],
            partitions: vec![
                partition(0, Some(1), &[1, 2]),
                partition(1, Some(1), &[1]),
                partition(2, None, &[]),
            ],
            ..MetadataReply::default()
        }
    }

    #[test]
    fn what_is_wrong_stands_out() {
        let known = known();
        let topics = ["topic=orders partitions=3 replicas=2 min_isr=1 without_leader=1 not_in_sync=2"];
        assert_eq!(super::topics(&known).lines(Format::Kv), topics);
        let isr = [
            "partition=orders/0 isr=1,2 missing=- min_isr=1 state=whole",
            "partition=orders/1 isr=1 missing=2 min_isr=1 state=short",
            "partition=orders/2 isr=- missing=1,2 min_isr=1 state=\"no leader\"",
        ];
        assert_eq!(super::isr(&known).lines(Format::Kv), isr);
        let leaders = [
            "partition=orders/0 leader=1 address=127.0.0.1:9701 epoch=4",
            "partition=orders/1 leader=1 address=127.0.0.1:9701 epoch=4",
            "partition=orders/2 leader=- address=- epoch=4",
        ];
        assert_eq!(super::leaders(&known).lines(Format::Kv), leaders);
        let brokers = [
            "id=1 name=b1 address=127.0.0.1:9701 rack=- epoch=5 state=alive leads=2",
            "id=2 name=b2 address=127.0.0.1:9702 rack=- epoch=5 state=fenced leads=0",
            "id=3 name=b3 address=127.0.0.1:9703 rack=- epoch=5 state=draining leads=0",
        ];
        assert_eq!(super::brokers(&known).lines(Format::Kv), brokers);
        assert_eq!(
            super::partitions(&known.partitions[..1]).lines(Format::Kv),
            ["partition=0 leader=1 epoch=4 replicas=1,2 isr=1,2 elr=- min_isr=1"]
        );
    }
}
