//! The cluster client against small brokers on free ports.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![cfg(feature = "net")]

mod net;

use net::brokers::{Broker, Table, broker, table};
use net::{Server, free_address};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use yak_protocol::error::{ErrorCode, LeaderHint, WireError};
use yak_protocol::ids::{BrokerId, LeaderEpoch, Offset, PartitionIndex};
use yak_protocol::message::{Offsets, OffsetsReply, Publish};
use yak_protocol::net::{Answer, ClientOptions, Cluster, ClusterError};

const P0: PartitionIndex = PartitionIndex(0);

fn cluster(addresses: &[&str]) -> Cluster {
    Cluster::new(addresses.iter().map(|&address| address.to_owned()).collect(), ClientOptions::default())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn offsets(partition: PartitionIndex) -> Offsets {
    Offsets { topic: "orders".into(), partition, at_ms: None, stale_ok: false, forward: false }
}

async fn ask(cluster: &Cluster, deadline: Instant) -> Result<Answer<OffsetsReply>, ClusterError> {
    cluster.request_leader("orders", P0, &offsets(P0), vec![], deadline).await
}

/// Two brokers, of which the first leads, and a client that knows the first.
async fn pair() -> (Arc<Table>, Server<Broker>, Server<Broker>, Cluster) {
    let table = table();
    let (first, second) = (broker(1, &table).await, broker(2, &table).await);
    let cluster = cluster(&[&first.address]);
    (table, first, second, cluster)
}

/// Which broker answered: brokers answer with their number as the high watermark.
fn answered_by(answer: &Answer<OffsetsReply>) -> Offset {
    answer.body.high_watermark
}

#[tokio::test]
async fn dead_bootstrap_entries_are_passed_over() {
    let table = table();
    let only = broker(1, &table).await;
    let (dead, dead_too) = (free_address(), free_address());
    let cluster = cluster(&[&dead, &dead_too, &only.address]);
    assert_eq!(answered_by(&ask(&cluster, soon()).await.unwrap()), Offset(1));
    assert_eq!(cluster.metadata(false).await.unwrap().topics[0].name, "orders");
    assert_eq!(table.asked(), 1, "what is known is not asked for again");
}

#[tokio::test]
async fn a_hint_is_followed_without_another_metadata_request() {
    let (table, first, second, cluster) = pair().await;
    assert_eq!(answered_by(&ask(&cluster, soon()).await.unwrap()), Offset(1));
    table.lead(Some(2));
    assert_eq!(answered_by(&ask(&cluster, soon()).await.unwrap()), Offset(2));
    assert_eq!(table.asked(), 1);
    assert_eq!(first.service.offsets_requests.load(Ordering::SeqCst), 2);
    assert_eq!(second.service.offsets_requests.load(Ordering::SeqCst), 1);
    assert!(cluster.trouble("orders", P0).is_none());
}

#[tokio::test]
async fn without_a_hint_fresh_metadata_names_the_new_leader() {
    let (table, first, _second, cluster) = pair().await;
    ask(&cluster, soon()).await.unwrap();
    first.service.hints.store(false, Ordering::SeqCst);
    table.lead(Some(2));
    assert_eq!(answered_by(&ask(&cluster, soon()).await.unwrap()), Offset(2));
    assert_eq!(table.asked(), 2);
}

#[tokio::test]
async fn an_old_hint_does_not_lead_back() {
    let (table, _first, _second, cluster) = pair().await;
    table.lead(Some(2));
    let leader = cluster.leader_of("orders", P0, soon()).await.unwrap();
    assert_eq!(leader.epoch, LeaderEpoch(2));
    let old = LeaderHint { leader: BrokerId(1), address: "127.0.0.1:1".into(), leader_epoch: LeaderEpoch(1) };
    cluster.note_not_leader("orders", P0, Some(&old));
    assert_eq!(cluster.leader_of("orders", P0, soon()).await.unwrap(), leader);
}

#[tokio::test]
async fn many_refusals_with_one_hint_are_no_trouble() {
    let (_table, _first, second, cluster) = pair().await;
    cluster.leader_of("orders", P0, soon()).await.unwrap();
    let hint =
        LeaderHint { leader: BrokerId(2), address: second.address.clone(), leader_epoch: LeaderEpoch(2) };
    for _ in 0..3 {
        cluster.note_not_leader("orders", P0, Some(&hint));
        assert!(cluster.trouble("orders", P0).is_none());
    }
    let leader = cluster.leader_of("orders", P0, soon()).await.unwrap();
    assert_eq!((leader.broker, leader.epoch), (BrokerId(2), LeaderEpoch(2)));
    let other = LeaderHint { leader: BrokerId(1), ..hint };
    cluster.note_not_leader("orders", P0, Some(&other));
    assert!(cluster.trouble("orders", P0).is_some(), "two leaders of one epoch: somebody has to be asked");
}

#[tokio::test]
async fn a_leader_that_names_itself_while_it_refuses_is_asked_again_after_a_pause() {
    let (table, first, _second, cluster) = pair().await;
    let hint =
        LeaderHint { leader: BrokerId(1), address: first.address.clone(), leader_epoch: LeaderEpoch(1) };
    let refusal = WireError::new(ErrorCode::NotLeader, "not yet").leader(hint);
    first.service.refusals.lock().unwrap().extend(vec![refusal; 3]);
    assert_eq!(answered_by(&ask(&cluster, soon()).await.unwrap()), Offset(1));
    assert!(table.asked() >= 3, "fresh metadata was asked for in between");
}

#[tokio::test]
async fn a_dead_leader_is_left_as_soon_as_another_is_known() {
    let (table, first, _second, cluster) = pair().await;
    ask(&cluster, soon()).await.unwrap();
    first.stop().await;
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { ask(&cluster, soon()).await }
    });
    // It has noticed the death and asked who leads now; the answer is still the dead one.
    table.asked_at_least(2).await;
    table.lead(Some(2));
    assert_eq!(answered_by(&waiting.await.unwrap().unwrap()), Offset(2));
}

#[tokio::test]
async fn many_waiting_tasks_cost_one_metadata_request() {
    let (table, _first, _second, cluster) = pair().await;
    table.hold.store(true, Ordering::SeqCst);
    let leader = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.metadata(true).await }
    });
    table.asked_at_least(1).await;
    // All of these ask while the first answer is still on its way.
    let followers: Vec<_> = (0..100)
        .map(|_| {
            let cluster = cluster.clone();
            tokio::spawn(async move { cluster.metadata(true).await })
        })
        .collect();
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    table.hold.store(false, Ordering::SeqCst);
    table.go.notify_one();
    leader.await.unwrap().unwrap();
    for follower in followers {
        follower.await.unwrap().unwrap();
    }
    assert_eq!(table.asked(), 2, "one for the first, one for everybody who asked after it had begun");
}

#[tokio::test]
async fn a_timeout_names_the_partition_without_a_leader() {
    let (table, _first, _second, cluster) = pair().await;
    table.lead(None);
    let error = ask(&cluster, Instant::now() + Duration::from_millis(60)).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ClusterError::Timeout { .. }), "{text}");
    assert!(text.starts_with("orders/0: gave up after 0."), "{text}");
    assert!(text.contains("no leader for orders/0 since 0."), "{text}");
    assert_eq!(cluster.trouble("orders", P0).unwrap().cause, "no leader for orders/0");
}

#[tokio::test]
async fn a_timeout_names_the_refusal_that_kept_it_waiting() {
    let (_table, first, _second, cluster) = pair().await;
    let short = WireError::new(ErrorCode::NotEnoughReplicas, "ISR 1 < min 2");
    first.service.refusals.lock().unwrap().extend(vec![short; 100]);
    let text = ask(&cluster, Instant::now() + Duration::from_millis(60)).await.unwrap_err().to_string();
    assert!(text.contains("ISR 1 < min 2 since 0."), "{text}");
}

#[tokio::test]
async fn a_refusal_that_passes_is_waited_out() {
    let (_table, first, _second, cluster) = pair().await;
    let short = WireError::new(ErrorCode::NotEnoughReplicas, "ISR 1 < min 2");
    first.service.refusals.lock().unwrap().extend(vec![short; 3]);
    assert_eq!(answered_by(&ask(&cluster, soon()).await.unwrap()), Offset(1));
    assert!(cluster.trouble("orders", P0).is_none());
}

#[tokio::test]
async fn a_timeout_names_the_address_that_refuses() {
    let (dead, dead_too) = (free_address(), free_address());
    let cluster = cluster(&[&dead, &dead_too]);
    let deadline = Instant::now() + Duration::from_millis(60);
    let text = ask(&cluster, deadline).await.unwrap_err().to_string();
    assert!(text.contains(&format!("connection refused by {dead}")), "{text}");
    assert!(text.contains(&format!("connection refused by {dead_too}")), "{text}");
    let deadline = Instant::now() + Duration::from_millis(60);
    let text = cluster.request_any(&offsets(P0), vec![], deadline).await.unwrap_err().to_string();
    assert!(text.contains(&format!("connection refused by {dead}")), "{text}");
}

#[tokio::test]
async fn an_unknown_topic_is_told_with_the_nearest_name() {
    let (table, _first, _second, cluster) = pair().await;
    let error = cluster.leader_of("ordesr", P0, soon()).await.unwrap_err();
    let ClusterError::Refused(error) = error else { panic!("{error}") };
    assert_eq!(
        (error.code, error.hint.as_deref()),
        (ErrorCode::UnknownTopic, Some("did you mean `orders`?"))
    );
    let error = cluster.leader_of("orders", PartitionIndex(3), soon()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownPartition);
    assert!(error.to_string().contains("orders has 1 partition,"), "{error}");
    assert_eq!(table.asked(), 2, "each was asked for before it was denied");
}

#[tokio::test]
async fn a_topic_that_was_just_made_is_waited_for() {
    let (table, _first, _second, cluster) = pair().await;
    let made = {
        let mut metadata = table.metadata.lock().unwrap();
        std::mem::take(&mut metadata.topics)
    };
    cluster.expect_topic("orders");
    let waiting = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.topic("orders", soon()).await }
    });
    table.asked_at_least(2).await;
    table.metadata.lock().unwrap().topics = made;
    assert_eq!(waiting.await.unwrap().unwrap().name, "orders");
}

#[tokio::test]
async fn a_publish_that_was_sent_and_not_answered_is_not_repeated() {
    let (_table, _first, _second, cluster) = pair().await;
    let error = cluster.request_leader("orders", P0, &Publish::default(), vec![], soon()).await.unwrap_err();
    assert!(matches!(error, ClusterError::OutcomeUnknown { .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::OutcomeUnknown);
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_left_when_it_has_been_replaced() {
    let (table, first, _second, cluster) = pair().await;
    ask(&cluster, soon()).await.unwrap();
    first.service.mute.store(true, Ordering::SeqCst);
    table.lead(Some(2));
    assert_eq!(answered_by(&ask(&cluster, soon()).await.unwrap()), Offset(2));
}

#[tokio::test]
async fn a_process_that_says_nothing_does_not_hold_up_the_refresh() {
    let (silent_table, table) = (table(), table());
    let (silent, answering) = (broker(1, &silent_table).await, broker(1, &table).await);
    silent_table.silent.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        // Whichever is asked first, the other is asked as well before long.
        let cluster = cluster(&[&silent.address, &answering.address]);
        cluster.metadata(true).await.unwrap();
    }
    assert_eq!(table.asked(), 4);
}

#[tokio::test]
async fn tasks_share_one_connection_to_a_broker() {
    let (_table, first, _second, cluster) = pair().await;
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (cluster, address) = (cluster.clone(), first.address.clone());
            tokio::spawn(async move { cluster.connection_to(&address).await.unwrap().local_address() })
        })
        .collect();
    let mut seen = std::collections::HashSet::new();
    for task in tasks {
        seen.insert(task.await.unwrap());
    }
    assert_eq!(seen.len(), 1);
}
