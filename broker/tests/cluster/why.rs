//! `WHY`, typed to brokers of real clusters: what is wrong is told from the real state, and healthy is said too.

use crate::harness::{Cluster, eventually, typed};
use yak_storage::io::sim::SimDisk;

/// Types until the answer has all of these parts.
async fn told(cluster: &Cluster, number: usize, line: &str, parts: &[&str]) -> String {
    let address = cluster.brokers[number].address.clone();
    eventually(&format!("{line} tells {parts:?}"), || async {
        let answer = typed(&address, line).await;
        parts.iter().all(|part| answer.contains(part)).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn healthy_is_said_by_whoever_is_asked_and_unknown_names_get_the_nearest() {
    let cluster = Cluster::start(2).await;
    cluster.topic("orders", 1, 2).await;
    cluster.partition_when("both are in sync", "orders", 0, |info| info.isr.len() == 2).await;
    let client = cluster.leader_client("orders", 0).await;
    client.publish("orders", 0, &["one"]).await.expect("taken");
    for number in 0..2 {
        told(
            &cluster,
            number,
            "WHY orders/0",
            &["orders/0 is well", "everything below 1 is committed", "well=yes"],
        )
        .await;
        told(&cluster, number, "WHY orders", &["orders is well", "+OK well=yes causes=0"]).await;
        told(&cluster, number, "WHY", &["the cluster is well"]).await;
        told(&cluster, number, "WHY broker 2", &["broker 2 is well", "+OK well=yes"]).await;
        told(&cluster, number, "WHY ordrs/0", &["-ERR UNKNOWN_TOPIC", "did you mean \"orders\"?"]).await;
        told(&cluster, number, "WHY orders/9", &["-ERR UNKNOWN_PARTITION"]).await;
        told(&cluster, number, "WHY broker 9", &["-ERR BAD_REQUEST", "there are 1 (broker-0), 2 (broker-1)"])
            .await;
    }
    told(&cluster, 0, "ELECT orders/0", &["-ERR UNKNOWN_KIND"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_follower_and_then_no_leader_are_told_with_time_and_reason() {
    let mut cluster = Cluster::start(3).await;
    cluster.topic("orders", 1, 2).await;
    cluster.partition_when("both are in sync", "orders", 0, |info| info.isr.len() == 2).await;
    let info = cluster.partition("orders", 0).await;
    let leader = cluster.leader("orders", 0).await;
    let mut follower = 0;
    for id in &info.replicas {
        let number = cluster.number_of(*id).await;
        if number != leader {
            follower = number;
        }
    }
    let third = (0..3).find(|number| *number != leader && *number != follower).expect("three brokers");
    cluster.kill_broker(follower).await;
    told(
        &cluster,
        third,
        "WHY orders/0",
        &["is fenced since", "its process closed the connection", "Next: start broker"],
    )
    .await;
    cluster.kill_broker(leader).await;
    let text =
        told(&cluster, third, "WHY orders/0", &["orders/0 has no leader since", "may lead", "well=no"]).await;
    assert!(text.contains("any other replica may lack acknowledged records"), "{text}");
    // The coordinator goes, too: what is known from before is told, and since when it is old.
    cluster.kill_coordinator().await;
    told(
        &cluster,
        third,
        "WHY orders/0",
        &["orders/0 has no leader", "cannot reach the coordinator", "start the coordinator"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_link_is_told_from_a_dead_broker() {
    let (cluster, gates, leader, client) = Cluster::behind_gates().await;
    // The follower has acknowledged something in this epoch: what is said of its stream is not said of one that
    // never stood.
    client.publish("orders", 0, &["both"]).await.expect("acknowledged by both");
    gates[leader].close();
    client.publish("orders", 0, &["alone"]).await.expect("acknowledged once the other is out");
    // The leader gives up a silent stream after some time, and its follower opens the next in vain.
    let text = told(
        &cluster,
        leader,
        "WHY orders/0",
        &["one bad link", "it lacks 1 record", "and has no stream to the leader"],
    )
    .await;
    assert!(!text.contains("fenced"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_and_missing_brokers_are_told() {
    let disk = SimDisk::new();
    let cluster = Cluster::on_disks(1, std::slice::from_ref(&disk)).await;
    cluster.topic("orders", 1, 3).await;
    told(&cluster, 0, "WHY orders/0", &["has 1 replica of the 3 that are wanted", "start another broker"])
        .await;
    disk.set_capacity(Some(disk.used()));
    let client = cluster.client(0).await;
    eventually("it is refused", || async {
        client.publish("orders", 0, &["x"]).await.is_err().then_some(())
    })
    .await;
    told(&cluster, 0, "WHY orders/0", &["the disk of broker 1 is full", "make room on the disk"]).await;
}
