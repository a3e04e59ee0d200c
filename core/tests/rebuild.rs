//! A journal made from what brokers know: what goes on, what rests, and what does not fit together.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use yak_core::cluster::{RebuildError, Record, rebuild};
use yak_protocol::ids::*;
use yak_protocol::message::*;

const CLUSTER: ClusterId = ClusterId(7);

fn id(partition: u32) -> TopicPartition {
    TopicPartition { topic: TopicId(1), partition: PartitionIndex(partition) }
}

fn partition(partition: u32, leader: Option<u32>) -> PartitionInfo {
    PartitionInfo {
        id: id(partition),
        replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        leader: leader.map(BrokerId),
        leader_epoch: LeaderEpoch(4),
        partition_epoch: PartitionEpoch(9),
        isr: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        elr: Vec::new(),
        min_isr: 2,
        recovering: false,
        moving: None,
        unclean: None,
    }
}

fn copy(version: u64, partitions: Vec<PartitionInfo>) -> LeaderInfo {
    let brokers = (1..=3).map(|n| BrokerInfo {
        id: BrokerId(n),
        name: format!("b{n}"),
        address: format!("10.0.0.{n}:9701"),
        rack: String::new(),
        broker_epoch: BrokerEpoch(u64::from(n)),
        fenced: false,
        draining: false,
    });
    let topic = TopicInfo {
        id: TopicId(1),
        name: "orders".to_owned(),
        partitions: 2,
        wanted_replicas: 3,
        min_isr: 2,
        config: TopicConfig::default(),
        key_slots: KeySlots::default(),
    };
    LeaderInfo {
        version: MetadataVersion(version),
        full: true,
        brokers: brokers.collect(),
        topics: vec![topic],
        partitions,
        ..LeaderInfo::default()
    }
}

fn report(partition: u32, leader_epoch: u32) -> ReplicaReport {
    ReplicaReport {
        id: id(partition),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(9),
        last_epoch: LeaderEpoch(leader_epoch),
        log_end: Offset(10),
        high_watermark: Offset(10),
        damaged: false,
        halted: false,
    }
}

fn told(n: u32, leader_info: LeaderInfo) -> RecollectReply {
    RecollectReply {
        broker: RegisterBroker {
            name: format!("b{n}"),
            incarnation: Incarnation(u128::from(n)),
            data_dir: DataDirId(u128::from(n)),
            cluster_id: Some(CLUSTER),
            broker_id: Some(BrokerId(n)),
            stored_broker_epoch: BrokerEpoch(u64::from(n)),
            resume: Some(BrokerEpoch(u64::from(n))),
            coordinator_epoch: CoordinatorEpoch(u64::from(n)),
            clean_shutdown: false,
            same_boot: true,
            advertise: format!("10.0.0.{n}:9701"),
            rack: String::new(),
            replicas: vec![report(0, 4), report(1, 4)],
        },
        leader_info,
        coordinator: None,
    }
}

fn all(leader: Option<u32>) -> Vec<RecollectReply> {
    (1..=3).map(|n| told(n, copy(40, vec![partition(0, leader), partition(1, Some(2))]))).collect()
}

#[test]
fn what_all_know_goes_on_as_it_is_with_every_session() {
    let rebuilt = rebuild(&all(Some(1))).unwrap();
    assert_eq!((rebuilt.recovering.clone(), rebuilt.missing.clone()), (Vec::new(), Vec::new()));
    let state = rebuilt.state();
    assert_eq!(state.cluster_id(), CLUSTER);
    assert!(state.coordinator_epoch() > CoordinatorEpoch(3));
    assert!(state.version() > MetadataVersion(40), "every broker takes what comes now");
    assert_eq!(state.partition(id(0)), Some(&partition(0, Some(1))));
    for n in 1..=3 {
        let broker = state.broker(BrokerId(n)).unwrap();
        assert_eq!(broker.info.broker_epoch, BrokerEpoch(u64::from(n)));
        assert!(!broker.info.fenced, "it resumes its session");
        assert_eq!(broker.incarnation, Incarnation(u128::from(n)));
    }
}

#[test]
fn the_newest_copy_counts() {
    let mut all = all(Some(1));
    let newer = PartitionInfo {
        leader_epoch: LeaderEpoch(5),
        partition_epoch: PartitionEpoch(10),
        ..partition(0, Some(3))
    };
    all[1].leader_info = copy(41, vec![newer.clone()]);
    all[2].broker.replicas[0].leader_epoch = LeaderEpoch(5);
    all[2].broker.replicas[0].partition_epoch = PartitionEpoch(10);
    let rebuilt = rebuild(&all).unwrap();
    assert_eq!(rebuilt.recovering, []);
    let state = rebuilt.state();
    assert_eq!(state.partition(id(0)), Some(&newer));
    assert_eq!(state.partition(id(1)), None, "it was deleted after the older copies");
}

/// Why partition 0 rests.
fn doubt(told: &[RecollectReply]) -> String {
    let rebuilt = rebuild(told).unwrap();
    let found = rebuilt.recovering.iter().find(|(resting, _)| *resting == id(0));
    let why = found.unwrap_or_else(|| panic!("it goes on: {rebuilt:?}")).1.clone();
    let state = rebuilt.state();
    let info = state.partition(id(0)).unwrap();
    assert!(
        info.recovering && info.leader.is_none() && info.isr.is_empty() && info.elr.is_empty(),
        "{info:?}"
    );
    assert!(info.partition_epoch > PartitionEpoch(9), "every replica takes it: {info:?}");
    why
}

#[test]
fn a_partition_rests_if_its_leader_was_not_asked_and_others_go_on_above_what_it_may_have_heard() {
    let two: Vec<_> = all(Some(1)).into_iter().skip(1).collect();
    assert!(doubt(&two).contains("broker 1, which led it, was not asked"), "{}", doubt(&two));
    let rebuilt = rebuild(&two).unwrap();
    assert_eq!(rebuilt.missing, [BrokerId(1)]);
    let state = rebuilt.state();
    let other = state.partition(id(1)).unwrap();
    assert!(!other.recovering && other.leader == Some(BrokerId(2)));
    assert!(other.leader_epoch > LeaderEpoch(1000), "{other:?}");
    assert!(state.coordinator_epoch() > CoordinatorEpoch(1000));
    // Whatever comes back as broker 1 has lost what it had (rule R12): its disk is not known.
    let missing = state.broker(BrokerId(1)).unwrap();
    assert_eq!(missing.confirmed, Some((DataDirId::default(), BrokerEpoch(1))));
}

#[test]
fn a_partition_rests_if_a_replica_has_seen_more_than_the_newest_copy() {
    let mut all = all(Some(1));
    all[2].broker.replicas[0].leader_epoch = LeaderEpoch(6);
    assert!(doubt(&all).contains("a replica has seen leader epoch 6"));
}

#[test]
fn a_partition_rests_if_its_leader_was_restarted_or_has_not_heard_of_the_newest_record() {
    let mut restarted = all(Some(1));
    restarted[0].broker.resume = None;
    assert!(doubt(&restarted).contains("has been restarted"));
    let mut behind = all(Some(1));
    behind[0].broker.replicas[0].partition_epoch = PartitionEpoch(8);
    assert!(doubt(&behind).contains("has not heard of this record"));
}

#[test]
fn a_partition_rests_if_others_could_follow_another_leader() {
    let one: Vec<_> = all(Some(1)).into_iter().take(1).collect();
    assert!(doubt(&one).contains("1 of its replicas were asked: 2 are needed"), "{}", doubt(&one));
    let two: Vec<_> = all(Some(1)).into_iter().take(2).collect();
    assert_eq!(rebuild(&two).unwrap().recovering, []);
}

#[test]
fn a_partition_without_a_leader_rests_until_it_is_clear_who_has_everything() {
    assert!(doubt(&all(None)).contains("it had no leader"));
}

#[test]
fn who_drained_drains() {
    let mut all = all(Some(1));
    for one in &mut all {
        one.leader_info.brokers[1].draining = true;
    }
    let rebuilt = rebuild(&all).unwrap();
    assert!(rebuilt.state().broker(BrokerId(2)).unwrap().info.draining);
}

#[test]
fn damage_is_remembered() {
    let mut all = all(Some(1));
    all[2].broker.replicas[0].damaged = true;
    all[2].broker.replicas[1].halted = true;
    let records = rebuild(&all).unwrap().records;
    assert!(records.contains(&Record::Damage { broker: BrokerId(3), id: id(0), damaged: true }));
    assert!(records.contains(&Record::Halt { broker: BrokerId(3), id: id(1), halted: true }));
}

#[test]
fn what_does_not_fit_together_is_refused_by_name() {
    assert_eq!(rebuild(&[]), Err(RebuildError::Nobody));
    let mut stranger = all(Some(1));
    stranger[1].broker.cluster_id = None;
    assert_eq!(rebuild(&stranger), Err(RebuildError::Stranger("b2".to_owned())));
    let mut other = all(Some(1));
    other[2].broker.cluster_id = Some(ClusterId(8));
    assert!(matches!(rebuild(&other), Err(RebuildError::Clusters { one, .. }) if one == "b3"));
    let mut twice = all(Some(1));
    twice[2].broker.broker_id = Some(BrokerId(1));
    assert!(matches!(rebuild(&twice), Err(RebuildError::Twice { id: BrokerId(1), .. })));
    let ignorant: Vec<_> = (1..=3).map(|n| told(n, LeaderInfo::default())).collect();
    assert_eq!(rebuild(&ignorant), Err(RebuildError::NothingKnown));
}
