//! Rule R17: a damaged range is never served and never cut; it comes back from another replica, or its
//! reads fail loudly.

use crate::harness::{Cluster, Kept, eventually, stamped};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::Offset;
use yak_protocol::message::{Publish, RegisterProducer};
use yak_storage::io::sim::SimDisk;

const RECORDS: u64 = 50;

async fn publish(cluster: &Cluster) -> Kept {
    let client = cluster.leader_client("orders", 0).await;
    let mut kept = Kept::default();
    for number in 0..RECORDS {
        let value = format!("value {number}");
        let acked =
            eventually("acknowledged", || async { client.publish("orders", 0, &[&value]).await.ok() }).await;
        kept.add(&acked, &[&value]);
    }
    kept
}

/// Flips one bit in the record in the middle of the partition's first segment.
async fn flip_a_bit(cluster: &Cluster, disk: &SimDisk, number: usize) {
    let id = cluster.partition("orders", 0).await.id;
    flip(disk, &cluster.data_of(number).join(format!("topics/{}/0/{:020}.log", id.topic, 0)));
}

fn flip(disk: &SimDisk, segment: &std::path::Path) {
    let wanted = format!("value {}", RECORDS / 2);
    disk.damage(segment, |bytes| {
        let place = bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes());
        bytes[place.expect("the record is in the segment")] ^= 1;
    })
    .expect("the segment is there");
}

async fn in_sync(cluster: &Cluster, count: usize) {
    cluster.partition_when("the ISR is as wanted", "orders", 0, |info| info.isr.len() == count).await;
}

/// A cluster of two whose leader has a flipped bit that nobody has noticed. Returns the leader.
async fn damaged_leader(cluster: &mut Cluster, disks: &[SimDisk]) -> (usize, Kept) {
    cluster.topic("orders", 1, 2).await;
    in_sync(cluster, 2).await;
    let kept = publish(cluster).await;
    let bad = cluster.leader("orders", 0).await;
    cluster.stop_broker(bad).await;
    flip_a_bit(cluster, &disks[bad], bad).await;
    cluster.start_broker(bad).await;
    in_sync(cluster, 2).await;
    cluster.stop_broker(1 - bad).await;
    assert_eq!(cluster.leader("orders", 0).await, bad, "the only one that is left leads");
    cluster.start_broker(1 - bad).await;
    in_sync(cluster, 2).await;
    (bad, kept)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_on_the_leader_is_found_by_a_read_and_repaired_from_the_follower() {
    let disks = [SimDisk::new(), SimDisk::new()];
    let mut cluster = Cluster::on_disks(2, &disks).await;
    let (bad, kept) = damaged_leader(&mut cluster, &disks).await;
    let client = cluster.client(bad).await;
    let (consumed, _) = client.consume("orders", 0, RECORDS / 2, 0).await;
    let error = consumed.error.expect("it is not served");
    assert_eq!(error.code, ErrorCode::Damaged, "{error}");
    // The other one leads now, and what it has is good.
    cluster
        .partition_when("the leader has stepped down", "orders", 0, |info| {
            info.leader.is_some() && info.leader != Some(info.replicas[bad])
        })
        .await;
    let other = eventually("the other one leads", || async {
        Some(cluster.leader("orders", 0).await).filter(|leader| *leader != bad)
    })
    .await;
    let client = cluster.client(other).await;
    client.committed("orders", 0, kept.next().0).await;
    kept.check(&client.read_all("orders", 0).await);
    // Repaired, it is back in the ISR, and serves the range when it leads again.
    in_sync(&cluster, 2).await;
    cluster.stop_broker(other).await;
    let client = cluster.leader_client("orders", 0).await;
    client.committed("orders", 0, kept.next().0).await;
    let read = client.read_all("orders", 0).await;
    assert_eq!(read.len() as u64, RECORDS);
    kept.check(&read);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_another_copy_reads_of_the_range_fail_and_all_others_go_on() {
    let disk = SimDisk::new();
    let mut cluster = Cluster::on_disks(1, std::slice::from_ref(&disk)).await;
    cluster.topic("orders", 1, 1).await;
    let mut kept = publish(&cluster).await;
    let topic = cluster.partition("orders", 0).await.id.topic;
    cluster.stop_broker(0).await;
    flip(&disk, &cluster.data_of(0).join(format!("topics/{topic}/0/{:020}.log", 0)));
    cluster.start_broker(0).await;
    let client = cluster.leader_client("orders", 0).await;
    let acked =
        eventually("it takes more", || async { client.publish("orders", 0, &["more"]).await.ok() }).await;
    kept.add(&acked, &["more"]);
    // So do idempotent producers, though what they wrote in the range cannot be looked up.
    let producer = client.request(&RegisterProducer::default()).await.expect("an id").producer_id;
    let acked = eventually("a producer goes on", || async {
        let batches = vec![("orders", 0, stamped(producer, 0, "stamped"))];
        client.publish_with(Publish::default(), batches).await.ok()?.remove(0).ack
    })
    .await;
    kept.add(&acked, &["stamped"]);
    let (consumed, _) = client.consume("orders", 0, RECORDS / 2, 0).await;
    let error = consumed.error.expect("it is not served");
    assert_eq!(error.code, ErrorCode::Damaged, "{error}");
    let (_, before) = client.consume("orders", 0, 0, 0).await;
    assert_eq!(crate::harness::values_of(&before).len() as u64, RECORDS / 2, "up to the damage all is there");
    let (consumed, behind) = client.consume("orders", 0, RECORDS / 2 + 1, 0).await;
    assert_eq!(consumed.error, None);
    let next = format!("value {}", RECORDS / 2 + 1);
    assert_eq!(crate::harness::values_of(&behind).first(), Some(&(RECORDS / 2 + 1, next)), "and behind it");
    assert_eq!(client.offsets("orders", 0).await.expect("known").log_end, Offset(RECORDS + 2));
}
