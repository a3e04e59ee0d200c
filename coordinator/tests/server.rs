//! A coordinator over real sockets: sessions, restarts, liveness and what it answers to strangers.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

use harness::{Broker, Harness};
use std::time::Duration;
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{BrokerId, ClusterId, DataDirId, MetadataVersion};
use yak_protocol::message::{
    CreateTopic, DeleteTopic, Hello, LeaderInfoRequest, Metadata, ProducerIds, Publish, RegisterConsumer,
    RegisterProducer, StreamSilent,
};

fn topic(name: &str) -> CreateTopic {
    CreateTopic { topic: name.to_owned(), partitions: Some(2), replicas: Some(2), ..CreateTopic::default() }
}

#[tokio::test]
async fn a_broker_registers_is_unfenced_and_hears_of_new_topics() {
    let coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    let reply = one.register(&coordinator).await.unwrap();
    assert_eq!(reply.broker_id, BrokerId(1));
    assert!(!reply.resumed && reply.leader_info.full);
    assert!(reply.leader_info.brokers[0].fenced);
    assert!(!one.heartbeat().await.unwrap().fenced);
    let made = coordinator.client().await.request(&topic("orders"), Vec::new()).await.unwrap().body;
    assert!(made.created);
    let info = one.pushed_until(|info| !info.topics.is_empty()).await;
    assert_eq!(info.topics[0].name, "orders");
    assert!(info.partitions.iter().all(|partition| partition.leader == Some(BrokerId(1))));
    // The pushed versions have no gap, so the next heartbeat confirms the newest.
    assert_eq!(one.heartbeat().await.unwrap().metadata_version, info.version);
}

#[tokio::test]
async fn a_restart_of_the_coordinator_changes_no_epoch_of_a_healthy_cluster() {
    let mut coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    let mut two = Broker::new("two", 2);
    one.join(&coordinator).await;
    two.join(&coordinator).await;
    coordinator.client().await.request(&topic("orders"), Vec::new()).await.unwrap();
    let before = coordinator.metadata().await;
    coordinator.crash().await;
    coordinator.restart().await;
    let resumed = one.register(&coordinator).await.unwrap();
    assert!(resumed.resumed);
    assert!(two.register(&coordinator).await.unwrap().resumed);
    assert!(!one.heartbeat().await.unwrap().fenced);
    let after = coordinator.metadata().await;
    assert_eq!(after.brokers, before.brokers);
    assert_eq!(after.partitions, before.partitions);
    assert!(after.version >= before.version);
}

#[tokio::test]
async fn a_new_process_of_a_broker_gets_new_epochs() {
    let coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    let first = one.join(&coordinator).await;
    coordinator.client().await.request(&topic("orders"), Vec::new()).await.unwrap();
    let before = coordinator.metadata().await.partitions[0].clone();
    one.restart_process();
    let second = one.join(&coordinator).await;
    assert!(second.broker_epoch > first.broker_epoch);
    assert_eq!(second.broker_id, first.broker_id);
    let after = coordinator.metadata().await.partitions[0].clone();
    assert_eq!(after.leader, Some(first.broker_id));
    assert!(after.leader_epoch > before.leader_epoch);
}

#[tokio::test]
async fn a_broker_whose_process_dies_is_fenced_at_once() {
    let coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    let mut two = Broker::new("two", 2);
    one.join(&coordinator).await;
    two.join(&coordinator).await;
    coordinator.client().await.request(&topic("orders"), Vec::new()).await.unwrap();
    one.hang_up();
    // Far below the lease, which is as long as in production here.
    let info = two.pushed_until(|info| info.partitions.iter().any(|p| p.isr == [BrokerId(2)])).await;
    assert!(info.partitions.iter().all(|partition| partition.leader == Some(BrokerId(2))));
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_fenced_when_its_lease_is_over() {
    let coordinator = Harness::start_with(|config| {
        config.heartbeat = Duration::from_millis(20);
        config.lease = Duration::from_millis(100);
    })
    .await;
    let mut one = Broker::new("one", 1);
    one.join(&coordinator).await;
    let info = one.pushed_until(|info| info.brokers.iter().any(|broker| broker.fenced)).await;
    assert_eq!(info.brokers[0].id, BrokerId(1));
    // The connection still stands: the process was frozen, and goes on with the same epoch.
    assert!(!one.heartbeat().await.unwrap().fenced);
}

#[tokio::test]
async fn a_silent_leader_is_probed_and_fenced_only_if_it_does_not_answer() {
    let coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    let mut two = Broker::new("two", 2);
    let leader = one.join(&coordinator).await;
    let follower = two.join(&coordinator).await;
    let report = StreamSilent {
        broker_id: follower.broker_id,
        broker_epoch: follower.broker_epoch,
        leader: leader.broker_id,
        leader_broker_epoch: leader.broker_epoch,
        silent_ms: 1000,
    };
    two.request(&report).await.unwrap();
    one.answer_probe().await;
    // Answered, so it is still unfenced; the next report finds it mute.
    assert!(!one.heartbeat().await.unwrap().fenced);
    two.request(&report).await.unwrap();
    let info = two.pushed_until(|info| info.brokers.iter().any(|broker| broker.fenced)).await;
    assert_eq!(info.brokers[0].id, leader.broker_id);
}

#[tokio::test]
async fn a_second_broker_with_a_used_name_is_told_where_the_first_one_is() {
    let coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    one.join(&coordinator).await;
    let mut other = Broker::new("one", 2);
    other.data_dir = DataDirId(99);
    let error = other.register(&coordinator).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DuplicateBroker);
    assert!(error.message.contains(&one.address), "{error}");
    assert!(error.hint.is_some());
}

#[tokio::test]
async fn a_broker_of_another_cluster_is_refused_by_name() {
    let coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    one.cluster_id = Some(ClusterId(4711));
    let error = one.register(&coordinator).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::WrongCluster);
    assert!(error.message.contains(&ClusterId(4711).to_string()), "{error}");
}

#[tokio::test]
async fn producer_ids_are_never_given_out_twice_not_even_after_a_crash() {
    let mut coordinator = Harness::start().await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let client = coordinator.client().await;
        for _ in 0..3 {
            let request = RegisterProducer::default();
            let session = client.request(&request, Vec::new()).await.unwrap().body;
            assert!(seen.insert(session.producer_id.0));
        }
        let mut one = Broker::new("one", 1);
        let reply = one.join(&coordinator).await;
        let block = ProducerIds { broker_id: reply.broker_id, broker_epoch: reply.broker_epoch };
        let block = one.request(&block).await.unwrap();
        assert!((block.from..block.from + i64::from(block.count)).all(|id| seen.insert(id)));
        assert!(seen.insert(reply.producer_ids_from));
        coordinator.crash().await;
        coordinator.restart().await;
    }
}

#[tokio::test]
async fn an_old_copy_of_the_log_gives_out_no_producer_id_again() {
    let mut coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    one.join(&coordinator).await;
    let copy = coordinator.log();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let client = coordinator.client().await;
        let session = client.request(&RegisterProducer::default(), Vec::new()).await.unwrap().body;
        assert!(seen.insert(session.producer_id.0));
        let block = one.join(&coordinator).await;
        let to = block.producer_ids_from + i64::from(block.producer_ids_count);
        assert!((block.producer_ids_from..to).all(|id| seen.insert(id)));
        coordinator.crash().await;
        coordinator.set_log(&copy);
        coordinator.restart().await;
    }
}

#[tokio::test]
async fn everybody_may_ask_who_is_there_and_records_go_elsewhere() {
    let coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    one.join(&coordinator).await;
    let client = coordinator.client().await;
    let hello = client.request(&Hello::default(), Vec::new()).await.unwrap().body;
    assert_eq!((hello.process.as_str(), hello.version, hello.insecure), ("coordinator", 1, false));
    client.request(&topic("orders"), Vec::new()).await.unwrap();
    let metadata = Metadata { topics: Some(vec!["orders".to_owned(), "order".to_owned()]) };
    let metadata = client.request(&metadata, Vec::new()).await.unwrap().body;
    assert_eq!(metadata.cluster_id, hello.cluster_id);
    assert_eq!((metadata.topics.len(), metadata.partitions.len()), (1, 2));
    assert_eq!(metadata.unknown[0].nearest.as_deref(), Some("orders"));
    let info = client.request(&LeaderInfoRequest::default(), Vec::new()).await.unwrap().body;
    assert!(info.full && info.version > MetadataVersion::ZERO);
    client.request(&RegisterConsumer::default(), Vec::new()).await.unwrap();
    let error = harness::refused(client.request(&Publish::default(), Vec::new()).await);
    assert_eq!(error.code, ErrorCode::WrongProcess);
    assert!(error.message.contains(&one.address), "{error}");
}

#[tokio::test]
async fn a_deleted_topic_leaves_a_tombstone_for_brokers_that_were_away() {
    let mut coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    one.join(&coordinator).await;
    let client = coordinator.client().await;
    let made = client.request(&topic("orders"), Vec::new()).await.unwrap().body.topic;
    let delete = DeleteTopic { topic: "orders".to_owned() };
    assert_eq!(client.request(&delete, Vec::new()).await.unwrap().body.topic_id, made.id);
    let error = harness::refused(client.request(&delete, Vec::new()).await);
    assert_eq!(error.code, ErrorCode::UnknownTopic);
    coordinator.crash().await;
    coordinator.restart().await;
    let reply = one.register(&coordinator).await.unwrap();
    assert_eq!(reply.leader_info.deleted, [made.id]);
    assert!(reply.leader_info.topics.is_empty());
}

#[tokio::test]
async fn what_was_answered_survives_a_log_cut_at_any_entry() {
    let mut coordinator = Harness::start().await;
    let mut one = Broker::new("one", 1);
    one.join(&coordinator).await;
    let mut answered = Vec::new();
    for number in 0..5 {
        let name = format!("topic-{number}");
        coordinator.client().await.request(&topic(&name), Vec::new()).await.unwrap();
        // From here on the topic must be there, however the file ends after it.
        answered.push((coordinator.log().len(), name));
    }
    coordinator.crash().await;
    let whole = coordinator.log();
    for cut in (answered[0].0..=whole.len()).step_by(41) {
        coordinator.set_log(&whole[..cut]);
        coordinator.restart().await;
        let topics = coordinator.metadata().await.topics;
        for (_, name) in answered.iter().filter(|(end, _)| *end <= cut) {
            assert!(topics.iter().any(|topic| topic.name == *name), "{name} after a cut at {cut}");
        }
        coordinator.crash().await;
    }
}

#[tokio::test]
async fn a_lease_shorter_than_two_heartbeats_is_refused() {
    let error = Harness::refused_start(|config| config.lease = config.heartbeat).await;
    assert!(error.to_string().contains("lease"), "{error}");
}

#[tokio::test]
async fn it_calls_itself_by_the_address_that_it_was_told() {
    let coordinator = Harness::start().await;
    assert_eq!(coordinator.metadata().await.coordinator, coordinator.address);
    let coordinator =
        Harness::start_with(|config| config.advertise = Some("yak.example:9700".to_owned())).await;
    assert_eq!(coordinator.metadata().await.coordinator, "yak.example:9700");
}
