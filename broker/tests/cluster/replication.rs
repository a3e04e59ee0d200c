//! What is published is on every replica before it is acknowledged, and what is acknowledged stays.

use crate::harness::{Cluster, Kept, eventually};
use yak_protocol::ids::Offset;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_replicated_acknowledged_and_read() {
    let cluster = Cluster::start(3).await;
    cluster.topic("orders", 1, 3).await;
    let client = cluster.leader_client("orders", 0).await;
    let acked = client.publish("orders", 0, &["one", "two"]).await.expect("acknowledged");
    assert_eq!((acked.offset, acked.replicas, acked.durable), (Some(Offset(0)), 3, true));
    let acked = client.publish("orders", 0, &["three"]).await.expect("acknowledged");
    assert_eq!(acked.offset, Some(Offset(2)));
    let read = client.read_all("orders", 0).await;
    let values: Vec<_> = read.iter().map(|(offset, value)| (*offset, value.as_str())).collect();
    assert_eq!(values, [(0, "one"), (1, "two"), (2, "three")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_the_crash_of_their_leader() {
    let mut cluster = Cluster::start(3).await;
    cluster.topic("orders", 1, 3).await;
    let mut kept = Kept::default();
    for round in 0..3 {
        let leader = cluster.leader("orders", 0).await;
        let before = cluster.partition("orders", 0).await.leader_epoch;
        let client = cluster.client(leader).await;
        for number in 0..20 {
            let value = format!("{round}-{number}");
            let acked = eventually("it is acknowledged", || async {
                client.publish("orders", 0, &[&value]).await.ok()
            })
            .await;
            kept.add(&acked, &[&value]);
        }
        cluster.kill_broker(leader).await;
        let info = cluster
            .partition_when("another broker leads", "orders", 0, |info| {
                info.leader.is_some() && info.leader_epoch > before
            })
            .await;
        assert!(info.isr.len() >= 2, "the other two are in sync: {info:?}");
        let client = cluster.leader_client("orders", 0).await;
        client.committed("orders", 0, kept.next().0).await;
        kept.check(&client.read_all("orders", 0).await);
        cluster.start_broker(leader).await;
        cluster.partition_when("it is back in sync", "orders", 0, |info| info.isr.len() == 3).await;
    }
    assert_eq!(kept.len(), 60);
}
