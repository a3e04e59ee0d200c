//! What brokers send to each other and to the coordinator.

use crate::check::{check, check_kind};
use crate::samples::*;
use yak_protocol::ids::*;
use yak_protocol::message::*;

#[test]
fn replicas_stream() {
    let (session, leader_epoch, broker_epoch) = (SessionId(6), LeaderEpoch(9), BrokerEpoch(77));
    check_kind(
        "replicate",
        Role::Replica,
        &Replicate {
            cluster_id: ClusterId(3),
            broker_id: BrokerId(2),
            broker_epoch,
            open: vec![Open {
                id: id(),
                session,
                leader_epoch,
                broker_epoch,
                end: Offset(500),
                last_epoch: LeaderEpoch(8),
            }],
            ack: vec![Ack { id: id(), session, leader_epoch, broker_epoch, end: Offset(501) }],
            close: vec![(id(), SessionId(5))],
        },
        &[],
        &ReplicateReply {
            opened: vec![Opened { id: id(), session, answer: OpenAnswer::Start }],
            push: vec![Push {
                id: id(),
                session,
                from: Offset(500),
                high_watermark: Offset(499),
                log_start: Offset(1),
                bytes: 90,
            }],
        },
        &[],
    );
    for answer in [
        OpenAnswer::Start,
        OpenAnswer::Diverging { epoch: LeaderEpoch(3), end: Offset(40) },
        OpenAnswer::RestartAt {
            log_start: Offset(9),
            epochs: vec![EpochStart { epoch: LeaderEpoch(1), start: Offset(0) }],
        },
        OpenAnswer::Fenced { leader_epoch },
        OpenAnswer::UnknownEpoch,
        OpenAnswer::NotLeader,
        OpenAnswer::StaleBrokerEpoch,
    ] {
        check(&Opened { id: id(), session, answer }, &["id", "session", "answer"]);
    }
    check_kind(
        "read_range",
        Role::Replica,
        &ReadRange {
            id: id(),
            broker_id: BrokerId(2),
            broker_epoch,
            leader_epoch,
            from: Offset(1),
            to: Offset(2),
        },
        &["partition", "broker_id", "broker_epoch", "leader_epoch", "from", "to"],
        &ReadRangeReply {
            next: Offset(2),
            epochs: vec![EpochStart { epoch: LeaderEpoch(1), start: Offset(0) }],
        },
        &["next", "epochs"],
    );
}

fn registration(resume: Option<BrokerEpoch>) -> RegisterBroker {
    RegisterBroker {
        name: "two".to_owned(),
        incarnation: Incarnation(1 << 100),
        data_dir: DataDirId(2),
        cluster_id: Some(ClusterId(3)),
        broker_id: Some(BrokerId(2)),
        stored_broker_epoch: BrokerEpoch(76),
        resume,
        coordinator_epoch: CoordinatorEpoch(4),
        clean_shutdown: true,
        same_boot: true,
        advertise: "127.0.0.1:9702".to_owned(),
        rack: "r2".to_owned(),
        replicas: vec![replica_report()],
    }
}

#[test]
fn brokers_tell_what_they_know() {
    check_kind(
        "recollect",
        Role::Control,
        &Recollect {},
        &[],
        &RecollectReply {
            broker: registration(None),
            leader_info: leader_info(),
            coordinator: Some("10.0.0.1:9700".to_owned()),
        },
        &["broker", "leader_info"],
    );
}

#[test]
fn brokers_talk_to_the_coordinator() {
    let (broker_id, broker_epoch) = (BrokerId(2), BrokerEpoch(77));
    check_kind(
        "register_broker",
        Role::Control,
        &registration(Some(broker_epoch)),
        &["name", "incarnation", "data_dir", "advertise"],
        &RegisterBrokerReply {
            cluster_id: ClusterId(3),
            broker_id,
            broker_epoch,
            coordinator_epoch: CoordinatorEpoch(4),
            resumed: true,
            heartbeat_ms: 500,
            lease_ms: 3000,
            producer_ids_from: 4000,
            producer_ids_count: 1000,
            step_down: true,
            coordinators: vec!["10.0.0.1:9700".to_owned(), "10.0.0.2:9700".to_owned()],
            leader_info: leader_info(),
        },
        &[
            "cluster_id",
            "broker_id",
            "broker_epoch",
            "coordinator_epoch",
            "resumed",
            "heartbeat_ms",
            "lease_ms",
            "producer_ids_from",
            "producer_ids_count",
            "leader_info",
        ],
    );
    check_kind(
        "heartbeat",
        Role::Control,
        &Heartbeat {
            broker_id,
            broker_epoch,
            metadata_version: MetadataVersion(1000),
            draining: true,
            replicas: vec![replica_report()],
        },
        &["broker_id", "broker_epoch"],
        &HeartbeatReply {
            coordinator_epoch: CoordinatorEpoch(4),
            lease_ms: 3000,
            fenced: true,
            metadata_version: MetadataVersion(1000),
            drained: true,
        },
        &["coordinator_epoch", "lease_ms", "fenced", "metadata_version"],
    );
    check_kind(
        "propose_isr",
        Role::Control,
        &ProposeIsr {
            broker_id,
            broker_epoch,
            changes: vec![IsrProposal {
                id: id(),
                leader_epoch: LeaderEpoch(9),
                partition_epoch: PartitionEpoch(14),
                isr: vec![(BrokerId(1), BrokerEpoch(70)), (broker_id, broker_epoch)],
            }],
        },
        &["broker_id", "broker_epoch", "changes"],
        &ProposeIsrReply { outcomes: vec![None, Some(error())] },
        &["outcomes"],
    );
    check_kind(
        "stream_silent",
        Role::Control,
        &StreamSilent {
            broker_id,
            broker_epoch,
            leader: BrokerId(1),
            leader_broker_epoch: BrokerEpoch(70),
            silent_ms: 1500,
        },
        &["broker_id", "broker_epoch", "leader", "leader_broker_epoch", "silent_ms"],
        &StreamSilentReply {},
        &[],
    );
    check_kind("probe", Role::Control, &Probe {}, &[], &ProbeReply {}, &[]);
    check_kind(
        "producer_ids",
        Role::Control,
        &ProducerIds { broker_id, broker_epoch },
        &["broker_id", "broker_epoch"],
        &ProducerIdsReply { from: 4000, count: 1000 },
        &["from", "count"],
    );
}
