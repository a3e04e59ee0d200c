//! The coordinator's journal is lost, and made again from what the brokers know.

use crate::harness::{Cluster, Kept, eventually};
use yak_core::cluster::{Rebuilt, rebuild};
use yak_protocol::ids::PartitionIndex;
use yak_protocol::message::{Elect, PartitionInfo, Recollect, RecollectReply};

/// What the brokers that run tell.
async fn told(cluster: &Cluster) -> Vec<RecollectReply> {
    let mut told = Vec::new();
    for number in (0..cluster.brokers.len()).filter(|number| cluster.runs(*number)) {
        told.push(cluster.client(number).await.request(&Recollect {}).await.expect("it is answered"));
    }
    told
}

/// Waits until the brokers know that the coordinator is gone, empties its dir, makes the journal again, and starts
/// a coordinator on it.
async fn lose_and_rebuild(cluster: &mut Cluster) -> Rebuilt {
    eventually("every broker has lost the coordinator", || async {
        told(cluster).await.iter().all(|one| one.coordinator.is_none()).then_some(())
    })
    .await;
    let dir = cluster.coordinator_dir();
    std::fs::remove_dir_all(&dir).expect("it is removed");
    let rebuilt = rebuild(&told(cluster).await).expect("the brokers know enough");
    yak_coordinator::quorum::write_journal(&dir, &rebuilt.records).expect("it is written");
    cluster.start_coordinator().await;
    rebuilt
}

/// The partition, as a coordinator's term after `epoch` tells a broker.
async fn heard(cluster: &Cluster, wanted: impl Fn(&PartitionInfo) -> bool) -> PartitionInfo {
    eventually("the brokers have registered again", || async {
        let all = told(cluster).await;
        all.iter().all(|one| one.coordinator.is_some()).then_some(())
    })
    .await;
    cluster.partition_when("the record is as it should be", "orders", 0, wanted).await
}

/// Three brokers with `orders/0`, a record in it, its partition and its leader.
async fn written() -> (Cluster, Kept, PartitionInfo, usize) {
    let cluster = Cluster::start(3).await;
    cluster.topic("orders", 1, 3).await;
    let info = cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
    let leader = cluster.leader("orders", 0).await;
    let mut kept = Kept::default();
    kept.add(&cluster.client(leader).await.publish("orders", 0, &["one"]).await.expect("taken"), &["one"]);
    (cluster, kept, info, leader)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_journal_is_made_again_and_nothing_pauses() {
    let (mut cluster, mut kept, before, leader) = written().await;
    let client = cluster.client(leader).await;
    cluster.kill_coordinator().await;
    kept.add(&client.publish("orders", 0, &["two"]).await.expect("taken without a coordinator"), &["two"]);

    let rebuilt = lose_and_rebuild(&mut cluster).await;
    assert_eq!((rebuilt.recovering.len(), rebuilt.missing.len()), (0, 0));
    kept.add(&client.publish("orders", 0, &["three"]).await.expect("taken"), &["three"]);
    let after = heard(&cluster, |_| true).await;
    assert_eq!(after, before, "no election, no other ISR");

    // The new coordinator really coordinates: sessions, elections, topics.
    cluster.kill_broker(leader).await;
    let next = cluster.leader("orders", 0).await;
    assert_ne!(next, leader);
    let client = cluster.client(next).await;
    kept.add(&client.publish("orders", 0, &["four"]).await.expect("taken"), &["four"]);
    cluster.topic("payments", 1, 2).await;
    cluster.start_broker(leader).await;
    cluster.partition_when("all are in sync again", "orders", 0, |info| info.isr.len() == 3).await;
    kept.check(&client.read_all("orders", 0).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_whose_leader_is_not_asked_is_led_by_who_has_everything() {
    let (mut cluster, mut kept, before, leader) = written().await;
    let client = cluster.client(leader).await;
    cluster.kill_coordinator().await;
    kept.add(&client.publish("orders", 0, &["two"]).await.expect("taken without a coordinator"), &["two"]);
    cluster.kill_broker(leader).await;

    let rebuilt = lose_and_rebuild(&mut cluster).await;
    assert_eq!(rebuilt.missing, [before.leader.expect("it had one")]);
    assert!(rebuilt.recovering[0].1.contains("which led it, was not asked"), "{rebuilt:?}");
    // Two of three replicas with a min ISR of two: one of them has whatever was committed.
    let after = heard(&cluster, |info| info.leader.is_some()).await;
    assert!(after.leader_epoch > before.leader_epoch, "{after:?}");
    let client = cluster.leader_client("orders", 0).await;
    kept.add(&client.publish("orders", 0, &["three"]).await.expect("taken"), &["three"]);
    // It has lost what it had, as far as anybody knows, and gets it all again.
    cluster.start_broker(leader).await;
    cluster.partition_when("all are in sync again", "orders", 0, |info| info.isr.len() == 3).await;
    kept.check(&client.read_all("orders", 0).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_replicas_rest_until_an_operator_decides_and_others_go_on() {
    let (mut cluster, kept, before, leader) = written().await;
    cluster.kill_coordinator().await;
    cluster.kill_broker(leader).await;
    cluster.kill_broker((leader + 1) % 3).await;

    lose_and_rebuild(&mut cluster).await;
    let resting = heard(&cluster, |info| info.recovering).await;
    assert_eq!((resting.leader, resting.leader_epoch), (None, before.leader_epoch));
    // What else there is works: the cluster has a coordinator.
    eventually("those that are gone have had their lease", || async {
        let brokers = cluster.metadata(cluster.any(), "").await.brokers;
        (brokers.iter().filter(|broker| broker.fenced).count() == 2).then_some(())
    })
    .await;
    cluster.topic("payments", 1, 1).await;
    let client = cluster.leader_client("payments", 0).await;
    client.publish("payments", 0, &["paid"]).await.expect("taken");
    let elect = Elect {
        topic: "orders".to_owned(),
        partition: PartitionIndex(0),
        to: None,
        unclean: true,
        confirm: Some("orders/0".to_owned()),
        dry_run: false,
    };
    let elected = eventually("the last replica has said how far it goes", || async {
        client.request(&elect).await.ok()
    })
    .await;
    assert!(elected.may_lose.is_some_and(|text| text.contains("has the records of orders/0 below 1")));
    let after = heard(&cluster, |info| info.leader.is_some()).await;
    assert_eq!(after.unclean, Some(after.leader_epoch), "{after:?}");
    // One replica in sync is below the min ISR: it commits nothing alone.
    cluster.start_broker((leader + 1) % 3).await;
    cluster.partition_when("two are in sync", "orders", 0, |info| info.isr.len() == 2).await;
    kept.check(&cluster.leader_client("orders", 0).await.read_all("orders", 0).await);
}
