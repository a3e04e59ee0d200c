//! A full disk refuses what it cannot take, loses nothing, and goes on by itself when there is room.

use crate::harness::{Cluster, Kept, eventually};
use yak_protocol::error::ErrorCode;
use yak_storage::io::sim::SimDisk;

async fn fill(cluster: &Cluster, kept: &mut Kept, value: &str) -> ErrorCode {
    let client = cluster.leader_client("orders", 0).await;
    eventually("the disk is full", || async { Some(client.publish("orders", 0, &[value]).await) })
        .await
        .map_or_else(
            |error| error.code,
            |acked| {
                kept.add(&acked, &[value]);
                ErrorCode::NotReady
            },
        )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_room_refuses_definitely_and_goes_on_later() {
    let disk = SimDisk::new();
    let cluster = Cluster::on_disks(1, std::slice::from_ref(&disk)).await;
    cluster.topic("orders", 1, 1).await;
    let mut kept = Kept::default();
    let large = "x".repeat(20_000);
    disk.set_capacity(Some(disk.used() + (1 << 20)));
    let mut number = 0;
    loop {
        number += 1;
        match fill(&cluster, &mut kept, &format!("{number} {large}")).await {
            ErrorCode::NotReady => {}
            code => {
                assert_eq!(code, ErrorCode::StorageFull);
                break;
            }
        }
    }
    let client = cluster.leader_client("orders", 0).await;
    kept.check(&client.read_all("orders", 0).await);
    assert_eq!(
        client.offsets("orders", 0).await.expect("known").log_end,
        kept.next(),
        "the refused one is not there"
    );
    disk.set_capacity(None);
    let acked =
        eventually("it takes records again", || async { client.publish("orders", 0, &["again"]).await.ok() })
            .await;
    kept.add(&acked, &["again"]);
    let read = client.read_all("orders", 0).await;
    assert_eq!(read.len(), kept.len());
    kept.check(&read);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_without_room_leaves_the_isr_and_comes_back() {
    let disks = [SimDisk::new(), SimDisk::new()];
    let cluster = Cluster::on_disks(2, &disks).await;
    cluster.topic("orders", 1, 2).await;
    cluster.partition_when("both are in sync", "orders", 0, |info| info.isr.len() == 2).await;
    let leader = cluster.leader("orders", 0).await;
    let disk = &disks[1 - leader];
    disk.set_capacity(Some(disk.used()));
    let client = cluster.client(leader).await;
    let mut kept = Kept::default();
    let large = "x".repeat(50_000);
    for number in 0..30 {
        let value = format!("{number} {large}");
        let acked =
            eventually("acknowledged", || async { client.publish("orders", 0, &[&value]).await.ok() }).await;
        kept.add(&acked, &[&value]);
    }
    cluster.partition_when("the full one has left", "orders", 0, |info| info.isr.len() == 1).await;
    disk.set_capacity(None);
    cluster.partition_when("it is back", "orders", 0, |info| info.isr.len() == 2).await;
    kept.check(&client.read_all("orders", 0).await);
}
