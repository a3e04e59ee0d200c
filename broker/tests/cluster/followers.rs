//! Followers come and go: the ISR shrinks and grows, and a replica catches up from wherever it is.

use crate::harness::{Cluster, Kept, eventually};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::Offset;
use yak_protocol::message::{Acks, CreateTopic};

/// Publishes `count` values of this name, all acknowledged.
async fn publish(cluster: &Cluster, kept: &mut Kept, name: &str, count: usize) {
    let client = cluster.leader_client("orders", 0).await;
    for number in 0..count {
        let value = format!("{name}-{number}");
        let acked =
            eventually("it is acknowledged", || async { client.publish("orders", 0, &[&value]).await.ok() })
                .await;
        kept.add(&acked, &[&value]);
    }
}

/// The broker that holds the partition without leading it.
async fn follower(cluster: &Cluster) -> usize {
    let info = cluster.partition("orders", 0).await;
    let follower = info.replicas.iter().find(|id| Some(**id) != info.leader).expect("two replicas");
    cluster.number_of(*follower).await
}

async fn in_sync(cluster: &Cluster, count: usize) {
    cluster.partition_when("the ISR is as wanted", "orders", 0, |info| info.isr.len() == count).await;
}

/// Two replicas: what one has must be what the other gets.
async fn returns_with(lose_disk: bool) {
    let mut cluster = Cluster::start(2).await;
    cluster.topic("orders", 1, 2).await;
    in_sync(&cluster, 2).await;
    let mut kept = Kept::default();
    publish(&cluster, &mut kept, "together", 10).await;
    let away = follower(&cluster).await;
    let leader = cluster.leader("orders", 0).await;
    cluster.kill_broker(away).await;
    in_sync(&cluster, 1).await;
    publish(&cluster, &mut kept, "alone", 25).await;
    if lose_disk {
        std::fs::remove_dir_all(cluster.data_of(away)).expect("its data is gone");
        std::fs::create_dir_all(cluster.data_of(away)).expect("an empty dir");
    }
    cluster.start_broker(away).await;
    in_sync(&cluster, 2).await;
    publish(&cluster, &mut kept, "again", 5).await;
    cluster.kill_broker(leader).await;
    cluster.partition_when("the one that returned leads", "orders", 0, |info| info.isr.len() == 1).await;
    assert_eq!(cluster.leader("orders", 0).await, away);
    let client = cluster.client(away).await;
    client.committed("orders", 0, kept.next().0).await;
    let read = client.read_all("orders", 0).await;
    assert_eq!(read.len(), 40);
    kept.check(&read);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returning_follower_gets_what_it_missed() {
    returns_with(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_an_empty_data_dir_gets_everything() {
    returns_with(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_min_isr_publishes_are_refused_before_they_are_written() {
    let mut cluster = Cluster::start(3).await;
    let create = CreateTopic {
        topic: "orders".into(),
        partitions: Some(1),
        replicas: Some(3),
        ..CreateTopic::default()
    };
    cluster.topic_with(create).await;
    let mut kept = Kept::default();
    publish(&cluster, &mut kept, "all", 3).await;
    let leader = cluster.leader("orders", 0).await;
    let others: Vec<_> = (0..3).filter(|number| *number != leader).collect();
    cluster.kill_broker(others[0]).await;
    in_sync(&cluster, 2).await;
    publish(&cluster, &mut kept, "two", 3).await;
    cluster.kill_broker(others[1]).await;
    in_sync(&cluster, 1).await;
    let client = cluster.client(leader).await;
    let error =
        eventually("the leader knows", || async { client.publish("orders", 0, &["no"]).await.err() }).await;
    assert_eq!(error.code, ErrorCode::NotEnoughReplicas, "{error}");
    let acked =
        client.publish_acks("orders", 0, &["leader only"], Acks::Leader).await.expect("acks=1 is taken");
    assert_eq!((acked.offset, acked.replicas), (Some(kept.next()), 1));
    let offsets = client.offsets("orders", 0).await.expect("they are known");
    assert_eq!(offsets.high_watermark, kept.next(), "below min_isr nothing is committed");
    assert_eq!(offsets.log_end, Offset(kept.next().0 + 1));
    cluster.start_broker(others[0]).await;
    in_sync(&cluster, 2).await;
    client.committed("orders", 0, kept.next().0 + 1).await;
    let read = client.read_all("orders", 0).await;
    kept.check(&read);
    assert_eq!(read.last().map(|(_, value)| value.as_str()), Some("leader only"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_catch_up_ends_in_sync_while_publishing_goes_on() {
    let mut cluster = Cluster::start(2).await;
    cluster.topic("orders", 1, 2).await;
    in_sync(&cluster, 2).await;
    let away = follower(&cluster).await;
    cluster.kill_broker(away).await;
    in_sync(&cluster, 1).await;
    let mut kept = Kept::default();
    let client = cluster.leader_client("orders", 0).await;
    let large = "x".repeat(200_000);
    for number in 0..60 {
        let value = format!("{number}-{large}");
        let acked = client.publish("orders", 0, &[&value]).await.expect("one replica is enough");
        kept.add(&acked, &[&value]);
    }
    cluster.launch_broker(away);
    // Publishing goes on until the follower has joined.
    let mut more = 0;
    while cluster.partition("orders", 0).await.isr.len() < 2 {
        let value = format!("during-{more}");
        let acked = client.publish("orders", 0, &[&value]).await.expect("acknowledged");
        kept.add(&acked, &[&value]);
        more += 1;
    }
    let leader = cluster.leader("orders", 0).await;
    cluster.kill_broker(leader).await;
    let info = cluster.partition_when("the other leads", "orders", 0, |info| info.isr.len() == 1).await;
    assert_eq!(cluster.number_of(info.leader.expect("a leader")).await, away);
    let client = cluster.client(away).await;
    client.committed("orders", 0, kept.next().0).await;
    kept.check(&client.read_all("orders", 0).await);
}
