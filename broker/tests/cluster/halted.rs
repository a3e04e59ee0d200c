//! A replica that is asked to cut what it knows to be committed stops itself, and counts as away from then on.

use crate::harness::{Cluster, eventually, on_disk, typed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use yak_broker::BrokerConfig;
use yak_protocol::message::{CreateTopic, PartitionInfo};
use yak_storage::io::sim::SimDisk;

/// Waits until the coordinator says all of this about the partition.
async fn told(coordinator: &str, parts: &[&str]) {
    eventually(&format!("the coordinator tells {parts:?}"), || async {
        let why = typed(coordinator, "WHY orders/0 forward=off").await;
        parts.iter().all(|part| why.contains(part)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_has_stopped_itself_is_away_until_it_is_started_without_doing_so() {
    let disks = Arc::new(Mutex::new([SimDisk::new(), SimDisk::new()]));
    let used = disks.clone();
    let mut cluster = Cluster::start_with(2, move |number, config| {
        // The one that stops has nobody to hand over to.
        let drain_timeout = Duration::from_millis(100);
        BrokerConfig { drain_timeout, ..on_disk(&used.lock().unwrap()[number], config) }
    })
    .await;
    cluster
        .topic_with(CreateTopic {
            topic: "orders".to_owned(),
            partitions: Some(1),
            replicas: Some(2),
            min_isr: Some(2),
            ..CreateTopic::default()
        })
        .await;
    let in_sync = |info: &PartitionInfo| info.isr.len() == 2;
    cluster.partition_when("both are in sync", "orders", 0, in_sync).await;
    let (newer, client) = (cluster.leader("orders", 0).await, cluster.leader_client("orders", 0).await);
    let older = 1 - newer;
    eventually("acknowledged", || async { client.publish("orders", 0, &["in the copy"]).await.ok() }).await;
    let copy = disks.lock().unwrap()[older].copy();
    client.publish("orders", 0, &["after the copy"]).await.expect("acknowledged");
    // How far it is committed goes to the disk with the next change of the log.
    client.publish("orders", 0, &["a change"]).await.expect("acknowledged");

    let coordinator = cluster.coordinator_address.clone();
    // One disk is put back to what it was, which nobody can notice: it leads without the second record. The
    // other one knows that this is committed.
    cluster.kill_broker(older).await;
    cluster.partition_when("it is out", "orders", 0, |info| info.isr.len() == 1).await;
    cluster.stop_broker(newer).await;
    disks.lock().unwrap()[older] = copy;
    cluster.start_broker(older).await;
    assert_eq!(cluster.leader("orders", 0).await, older);
    cluster.start_broker(newer).await;
    let halted = eventually("it stops itself", || async {
        let why = typed(&cluster.brokers[newer].address, "WHY orders/0 forward=off").await;
        why.contains("has stopped itself: broker").then_some(why)
    })
    .await;
    assert!(halted.contains("wants the log cut at"), "{halted}");
    told(&coordinator, &["has stopped itself and counts as away", "needs 2 (min_isr)"]).await;
    let info = cluster.partition("orders", 0).await;
    assert_eq!((info.isr.len(), info.elr.len()), (1, 0), "{info:?}");

    // It is not elected, though nobody else is left.
    cluster.kill_broker(older).await;
    told(&coordinator, &["has no leader", "start broker"]).await;
    cluster.partition_when("nobody leads", "orders", 0, |info| info.leader.is_none()).await;
    cluster.start_broker(older).await;
    assert_eq!(cluster.leader("orders", 0).await, older);

    // On an empty disk it is a new replica.
    cluster.kill_broker(newer).await;
    disks.lock().unwrap()[newer] = SimDisk::new();
    cluster.start_broker(newer).await;
    cluster.partition_when("it is in sync again", "orders", 0, in_sync).await;
}
