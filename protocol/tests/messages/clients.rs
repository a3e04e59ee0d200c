//! What clients send, and what they are answered.

use crate::check::check_kind;
use crate::samples::*;
use yak_protocol::ids::*;
use yak_protocol::message::*;

#[test]
fn clients_ask() {
    check_kind(
        "hello",
        Role::Client,
        &Hello { version: 1, client: "test/1".to_owned() },
        &[],
        &HelloReply {
            version: 1,
            process: "broker".to_owned(),
            software: "0.1.0".to_owned(),
            cluster_id: Some(ClusterId(3)),
            broker_id: Some(BrokerId(1)),
            max_frame_bytes: 1 << 26,
            insecure: true,
            unhealthy: Some("starting".to_owned()),
        },
        &["version", "process", "software", "max_frame_bytes"],
    );
    check_kind(
        "metadata",
        Role::Client,
        &Metadata { topics: Some(vec!["orders".to_owned(), "ordres".to_owned()]) },
        &[],
        &MetadataReply {
            cluster_id: Some(ClusterId(3)),
            version: MetadataVersion(1000),
            coordinator: "127.0.0.1:9700".to_owned(),
            coordinator_lost: Some("refused".to_owned()),
            brokers: leader_info().brokers,
            topics: leader_info().topics,
            partitions: leader_info().partitions,
            unknown: vec![UnknownTopic { topic: "ordres".to_owned(), nearest: Some("orders".to_owned()) }],
        },
        &["version", "brokers", "topics", "partitions"],
    );
    check_kind(
        "offsets",
        Role::Client,
        &Offsets {
            topic: "orders".to_owned(),
            partition: PartitionIndex(2),
            at_ms: Some(5),
            stale_ok: true,
            forward: true,
        },
        &["topic", "partition"],
        &OffsetsReply {
            log_start: Offset(1),
            high_watermark: Offset(2),
            log_end: Offset(3),
            at: Some(Offset(2)),
            leader_epoch: LeaderEpoch(9),
        },
        &["log_start", "high_watermark", "log_end", "leader_epoch"],
    );
    check_kind(
        "leader_info",
        Role::Client,
        &LeaderInfoRequest { topic: Some("orders".to_owned()) },
        &[],
        &leader_info(),
        &["coordinator_epoch", "version"],
    );
    check_kind(
        "register_producer",
        Role::Client,
        &RegisterProducer {
            client: "p".to_owned(),
            name: Some("shop".to_owned()),
            held: Some((ProducerId(4000), ProducerEpoch(3))),
        },
        &[],
        &RegisterProducerReply { producer_id: ProducerId(4000), producer_epoch: ProducerEpoch(1) },
        &["producer_id", "producer_epoch"],
    );
    check_kind(
        "register_consumer",
        Role::Client,
        &RegisterConsumer { client: "c".to_owned() },
        &[],
        &RegisterConsumerReply { consumer: 8 },
        &["consumer"],
    );
}

#[test]
fn clients_make_topics() {
    check_kind(
        "create_topic",
        Role::Client,
        &CreateTopic {
            topic: "orders".to_owned(),
            partitions: Some(3),
            replicas: Some(3),
            min_isr: Some(2),
            config: topic_info().config,
            if_not_exists: true,
            auto: true,
        },
        &["topic"],
        &CreateTopicReply { topic: topic_info(), replicas: 3, created: true },
        &["topic", "replicas", "created"],
    );
    check_kind(
        "delete_topic",
        Role::Client,
        &DeleteTopic { topic: "orders".to_owned() },
        &["topic"],
        &DeleteTopicReply { topic_id: id().topic },
        &["topic_id"],
    );
}

#[test]
fn people_change_topics() {
    check_kind(
        "alter_topic",
        Role::Client,
        &AlterTopic {
            topic: "orders".to_owned(),
            set: vec![
                SettingChange("retention_ms".to_owned(), Some("7d".to_owned())),
                SettingChange("cleanup".to_owned(), None),
            ],
            partitions: Some(12),
            dry_run: true,
        },
        &["topic"],
        &AlterTopicReply { topic: topic_info(), changed: vec!["retention_ms".to_owned()] },
        &["topic"],
    );
    check_kind(
        "delete_records",
        Role::Client,
        &DeleteRecords {
            topic: "orders".to_owned(),
            partition: PartitionIndex(2),
            before: Some(Offset(1000)),
            before_ms: Some(5),
            dry_run: true,
            forward: true,
        },
        &["topic", "partition"],
        &DeleteRecordsReply {
            was: Offset(7),
            log_start: Offset(990),
            high_watermark: Offset(2000),
            leader_epoch: LeaderEpoch(9),
        },
        &["was", "log_start", "high_watermark", "leader_epoch"],
    );
}

#[test]
fn people_move_partitions() {
    let partitions = vec![PartitionName { topic: "orders".to_owned(), partition: PartitionIndex(2) }];
    let replicas = vec![BrokerId(3), BrokerId(2)];
    let moves = vec![Move { topic: "orders".to_owned(), partition: PartitionIndex(2), replicas }];
    let bytes_per_second = Some(20_000_000);
    let request = MovePartitions { moves, bytes_per_second, dry_run: true };
    check_kind("move_partitions", Role::Client, &request, &["moves"], &moves_reply(), &["moves"]);
    let request = CancelMoves { partitions: partitions.clone(), dry_run: true };
    check_kind("cancel_moves", Role::Client, &request, &[], &moves_reply(), &["moves"]);
    let request = ListMoves { partitions };
    check_kind("list_moves", Role::Client, &request, &[], &moves_reply(), &["moves"]);
    let request = ReplaceBroker { dead: BrokerId(1), by: BrokerId(3), bytes_per_second, dry_run: true };
    check_kind("replace_broker", Role::Client, &request, &["dead", "by"], &moves_reply(), &["moves"]);
    check_kind(
        "decommission_broker",
        Role::Client,
        &DecommissionBroker { broker_id: BrokerId(3), cancel: true, bytes_per_second, dry_run: true },
        &["broker_id"],
        &DecommissionReply {
            decommissioning: true,
            done: true,
            left: 2,
            of: 5,
            moves: moves_reply().moves,
            stuck: vec!["no broker left that does not hold orders/1".to_owned()],
        },
        &["decommissioning", "done", "left", "of"],
    );
    let election = PreferredElection {
        topic: "orders".to_owned(),
        partition: PartitionIndex(2),
        from: Some(BrokerId(3)),
        to: BrokerId(1),
        leader_epoch: LeaderEpoch(11),
        moved: true,
        waits: Some("waits for broker 1 to be in sync".to_owned()),
    };
    check_kind(
        "elect_preferred",
        Role::Client,
        &ElectPreferred {
            topic: Some("orders".to_owned()),
            partition: Some(PartitionIndex(2)),
            dry_run: true,
        },
        &[],
        &ElectPreferredReply { elections: vec![election] },
        &["elections"],
    );
}

#[test]
fn people_take_care_of_the_cluster() {
    check_kind(
        "elect",
        Role::Client,
        &Elect {
            topic: "orders".to_owned(),
            partition: PartitionIndex(2),
            to: Some(BrokerId(3)),
            unclean: true,
            confirm: Some("orders/2".to_owned()),
            dry_run: true,
        },
        &["topic", "partition"],
        &ElectReply {
            leader: BrokerId(3),
            leader_epoch: LeaderEpoch(10),
            moved: true,
            may_lose: Some("broker 3 has the records of orders/2 below 120".to_owned()),
        },
        &["leader", "leader_epoch", "moved"],
    );
    check_kind(
        "drain",
        Role::Client,
        &Drain { broker_id: BrokerId(3), draining: false, dry_run: true },
        &["broker_id"],
        &DrainReply { draining: true, leads: 1, needed: 2 },
        &["draining", "leads", "needed"],
    );
    check_kind(
        "why",
        Role::Client,
        &Why {
            topic: Some("orders".to_owned()),
            partition: Some(PartitionIndex(2)),
            broker: Some(BrokerId(3)),
            forward: true,
        },
        &[],
        &WhyReply {
            text: "orders/2 has no leader.".to_owned(),
            causes: vec![Cause {
                cause: "no_leader".to_owned(),
                subject: "orders/2".to_owned(),
                text: "orders/2 has no leader".to_owned(),
                next: "start broker 3".to_owned(),
            }],
        },
        &["text"],
    );
}

#[test]
fn members_read_together() {
    let offset = FetchedOffset {
        topic: "orders".to_owned(),
        topic_id: id().topic,
        partition: PartitionIndex(2),
        offset: Some(Offset(7)),
        leader_epoch: Some(LeaderEpoch(9)),
        metadata: "by hand".to_owned(),
        committed_ms: Some(1_700_000_000_000),
    };
    check_kind(
        "group_heartbeat",
        Role::Client,
        &GroupHeartbeat {
            group: "billing".to_owned(),
            member: "m1".to_owned(),
            generation: Generation(3),
            beat: 17,
            instance: Some("one".to_owned()),
            client: "yak/0.1".to_owned(),
            topics: vec!["orders".to_owned()],
            owned: Some(vec![group_topic()]),
            session_ms: 10_000,
            rebalance_ms: 60_000,
            assignor: Some(Assignor::Range),
            leave: Some(Leave::ForAWhile),
            forward: true,
        },
        &["group", "member"],
        &GroupHeartbeatReply {
            generation: Generation(3),
            assignment: Some(vec![group_topic()]),
            heartbeat_ms: 1000,
            session_ms: 10_000,
            coordinator: coordinator(),
        },
        &["generation", "heartbeat_ms", "session_ms"],
    );
    check_kind(
        "group_commit",
        Role::Client,
        &GroupCommit {
            group: "billing".to_owned(),
            member: Some("m1".to_owned()),
            generation: Generation(3),
            instance: Some("one".to_owned()),
            offsets: vec![CommitOffset {
                topic: "orders".to_owned(),
                topic_id: Some(id().topic),
                partition: PartitionIndex(2),
                offset: Offset(7),
                leader_epoch: Some(LeaderEpoch(9)),
                metadata: "by hand".to_owned(),
            }],
            rewind: true,
            forward: true,
        },
        &["group", "offsets"],
        &GroupCommitReply {
            results: vec![CommitResult {
                topic: "orders".to_owned(),
                partition: PartitionIndex(2),
                error: Some(error()),
            }],
            coordinator: coordinator(),
        },
        &["results"],
    );
    check_kind(
        "group_fetch",
        Role::Client,
        &GroupFetch {
            group: "billing".to_owned(),
            member: Some("m1".to_owned()),
            generation: Generation(3),
            topics: vec![group_topic()],
            forward: true,
        },
        &["group"],
        &GroupFetchReply { offsets: vec![offset.clone()], coordinator: coordinator() },
        &["offsets"],
    );
    check_kind(
        "group_describe",
        Role::Client,
        &GroupDescribe { group: "billing".to_owned(), forward: true },
        &["group"],
        &GroupDescription {
            group: "billing".to_owned(),
            state: GroupState::Rebalancing,
            generation: Generation(4),
            why: "m2 joined".to_owned(),
            assignor: Assignor::Range,
            members: vec![GroupMember {
                member: "m1".to_owned(),
                instance: Some("one".to_owned()),
                client: "yak/0.1".to_owned(),
                host: "127.0.0.1".to_owned(),
                generation: Generation(3),
                heard_ms: 40,
                topics: vec!["orders".to_owned()],
                assignment: vec![group_topic()],
                revoking: vec![group_topic()],
            }],
            offsets: vec![offset],
            moves: vec![GroupMove {
                topic: "orders".to_owned(),
                partition: PartitionIndex(2),
                at_ms: 1_700_000_000_000,
                generation: Generation(3),
                from: Some("m0".to_owned()),
                to: Some("m1".to_owned()),
                why: "m0 left".to_owned(),
            }],
            coordinator: coordinator(),
        },
        &["group", "state", "generation", "assignor"],
    );
    check_kind(
        "group_list",
        Role::Client,
        &GroupList { forward: true },
        &[],
        &GroupListReply {
            groups: vec![GroupSummary {
                group: "billing".to_owned(),
                state: GroupState::Stable,
                members: 3,
                generation: Generation(4),
                coordinator: Some(BrokerId(2)),
            }],
            missing: vec!["broker 3 cannot list its groups".to_owned()],
        },
        &["groups"],
    );
    check_kind(
        "group_delete",
        Role::Client,
        &GroupDelete { group: "billing".to_owned(), forward: true },
        &["group"],
        &GroupDeleteReply { offsets: 12 },
        &["offsets"],
    );
}

#[test]
fn clients_publish_and_consume() {
    check_kind(
        "publish",
        Role::Client,
        &Publish {
            acks: Acks::Leader,
            timeout_ms: 5,
            batches: vec![BatchRef("orders".to_owned(), PartitionIndex(2), 90)],
            topic: Some("orders".to_owned()),
            partition: Some(PartitionIndex(2)),
            records: vec![plain_record(), PlainRecord::default()],
            msg_ids: true,
            forward: true,
        },
        &[],
        &PublishReply {
            results: vec![PublishResult {
                topic: "orders".to_owned(),
                partition: PartitionIndex(2),
                ack: Some(Acked {
                    offset: Some(Offset(7)),
                    replicas: 3,
                    durable: true,
                    leader_epoch: LeaderEpoch(9),
                    firsts: vec![(1, Offset(4))],
                }),
                error: Some(error()),
            }],
        },
        &["results"],
    );
    check_kind(
        "consume",
        Role::Client,
        &Consume {
            partitions: vec![ConsumeFrom {
                topic: "orders".to_owned(),
                partition: PartitionIndex(2),
                offset: Offset(7),
            }],
            format: Format::Batch,
            bytes_max: 1000,
            wait_ms: 500,
            forward: true,
        },
        &["partitions"],
        &ConsumeReply {
            partitions: vec![Consumed {
                topic: "orders".to_owned(),
                partition: PartitionIndex(2),
                log_start: Offset(1),
                high_watermark: Offset(2),
                leader_epoch: LeaderEpoch(9),
                bytes: 90,
                records: vec![plain_record()],
                next: Some(Offset(9)),
                error: Some(error()),
            }],
        },
        &["partitions"],
    );
}
