//! Bodies with every key set to something else than its default.

use serde_bytes::ByteBuf;
use yak_protocol::error::{ErrorCode, LeaderHint, WireError};
use yak_protocol::ids::*;
use yak_protocol::message::*;

pub fn id() -> TopicPartition {
    TopicPartition { topic: TopicId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), partition: PartitionIndex(2) }
}

pub fn error() -> WireError {
    WireError::new(ErrorCode::NotLeader, "broker 3 does not lead orders/2").hint("ask broker 1").leader(
        LeaderHint {
            leader: BrokerId(1),
            address: "127.0.0.1:9701".to_owned(),
            leader_epoch: LeaderEpoch(9),
        },
    )
}

pub fn coordinator() -> Option<LeaderHint> {
    let address = "127.0.0.1:9702".to_owned();
    Some(LeaderHint { leader: BrokerId(2), address, leader_epoch: LeaderEpoch(6) })
}

pub fn group_topic() -> GroupTopic {
    GroupTopic {
        topic: "orders".to_owned(),
        topic_id: Some(id().topic),
        partitions: vec![PartitionIndex(0), PartitionIndex(2)],
    }
}

pub fn partition_info() -> PartitionInfo {
    PartitionInfo {
        id: id(),
        replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        leader: Some(BrokerId(1)),
        leader_epoch: LeaderEpoch(9),
        partition_epoch: PartitionEpoch(14),
        isr: vec![BrokerId(1), BrokerId(2)],
        elr: vec![BrokerId(3)],
        min_isr: 2,
        recovering: true,
        moving: Some(Moving {
            from: vec![BrokerId(1), BrokerId(2)],
            to: vec![BrokerId(3), BrokerId(2)],
            bytes_per_second: Some(20_000_000),
        }),
        unclean: Some(LeaderEpoch(5)),
    }
}

pub fn topic_info() -> TopicInfo {
    TopicInfo {
        id: id().topic,
        name: "orders".to_owned(),
        partitions: 3,
        wanted_replicas: 3,
        min_isr: 2,
        config: TopicConfig {
            durability: Durability::Replicated,
            validate: Validate::Deep,
            batch_bytes_max: 5000,
            cleanup: Cleanup::Both,
            retention_ms: -1,
            retention_bytes: 1 << 40,
            segment_bytes: 1 << 20,
            segment_ms: 60_000,
            delete_retention_ms: 70_000,
            min_compaction_lag_ms: 80_000,
            dedupe_window_ms: 90_000,
        },
        key_slots: KeySlots { slots: 4095, spread: 3, moved: vec![MovedSlot(7, PartitionIndex(3))] },
    }
}

pub fn leader_info() -> LeaderInfo {
    let broker = BrokerInfo {
        id: BrokerId(1),
        name: "one".to_owned(),
        address: "127.0.0.1:9701".to_owned(),
        rack: "r1".to_owned(),
        broker_epoch: BrokerEpoch(77),
        fenced: true,
        draining: true,
    };
    LeaderInfo {
        coordinator_epoch: CoordinatorEpoch(4),
        version: MetadataVersion(1000),
        full: true,
        brokers: vec![broker],
        topics: vec![topic_info()],
        partitions: vec![partition_info()],
        deleted: vec![TopicId(5)],
        gone: vec![BrokerId(9)],
    }
}

pub fn moves_reply() -> MovesReply {
    let state = MoveState {
        topic: "orders".to_owned(),
        partition: PartitionIndex(2),
        from: vec![BrokerId(1), BrokerId(2)],
        to: vec![BrokerId(3), BrokerId(2)],
        replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        isr: vec![BrokerId(1), BrokerId(2)],
        leader: Some(BrokerId(1)),
        bytes_per_second: Some(20_000_000),
        changed: true,
        waits: Some("waits for broker 3 to be in sync".to_owned()),
    };
    MovesReply { moves: vec![state] }
}

pub fn plain_record() -> PlainRecord {
    PlainRecord {
        key: Some(ByteBuf::from("k")),
        value: Some(ByteBuf::from([0xff, 0x00])),
        headers: vec![("h".to_owned(), ByteBuf::from("v"))],
        timestamp_ms: Some(-1),
        msg_id: Some(ByteBuf::from("order-7")),
        offset: Some(Offset(1 << 40)),
    }
}

pub fn replica_report() -> ReplicaReport {
    ReplicaReport {
        id: id(),
        leader_epoch: LeaderEpoch(9),
        partition_epoch: PartitionEpoch(14),
        last_epoch: LeaderEpoch(8),
        log_end: Offset(500),
        high_watermark: Offset(490),
        damaged: true,
        halted: true,
    }
}
