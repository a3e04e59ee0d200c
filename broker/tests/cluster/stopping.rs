//! A broker that is told to stop hands over first; a bad one takes only itself down.

use crate::harness::{Cluster, Kept, eventually};
use yak_protocol::error::{Action, ErrorCode};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_before_a_broker_stops() {
    let mut cluster = Cluster::start(3).await;
    cluster.topic("orders", 3, 3).await;
    for partition in 0..3 {
        cluster.partition_when("all are in sync", "orders", partition, |info| info.isr.len() == 3).await;
    }
    let stopping = cluster.leader("orders", 0).await;
    let client = cluster.client(stopping).await;
    let mut kept = Kept::default();
    let acked =
        eventually("acknowledged", || async { client.publish("orders", 0, &["before"]).await.ok() }).await;
    kept.add(&acked, &["before"]);
    cluster.stop_broker(stopping).await;
    for partition in 0..3 {
        // It left while it still was alive: nobody had to find out that it is gone.
        let info = cluster.partition("orders", partition).await;
        assert!(info.leader.is_some(), "{info:?}");
    }
    let client = cluster.leader_client("orders", 0).await;
    client.committed("orders", 0, kept.next().0).await;
    kept.check(&client.read_all("orders", 0).await);
    cluster.start_broker(stopping).await;
    for partition in 0..3 {
        cluster.partition_when("it is back", "orders", partition, |info| info.isr.len() == 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_during_a_handover_are_acknowledged_or_can_be_repeated() {
    let mut cluster = Cluster::start(3).await;
    cluster.topic("orders", 1, 3).await;
    cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
    let stopping = cluster.leader("orders", 0).await;
    let client = cluster.client(stopping).await;
    eventually("acknowledged", || async { client.publish("orders", 0, &["first"]).await.ok() }).await;
    let publishing = tokio::spawn(async move {
        let mut kept = Kept::default();
        for number in 0.. {
            let value = format!("value-{number}");
            let publish = yak_protocol::message::Publish::default();
            let batches = vec![("orders", 0, crate::harness::batch(&[&value]))];
            let Ok(results) = client.publish_with(publish, batches).await else { break };
            match (results[0].ack.clone(), &results[0].error) {
                (Some(acked), _) => kept.add(&acked, &[&value]),
                (None, Some(error)) if error.code.action() == Action::GiveUp => panic!("{error}"),
                (None, Some(error)) if error.code == ErrorCode::NotLeader => break,
                _ => {}
            }
        }
        kept
    });
    cluster.stop_broker(stopping).await;
    let kept = publishing.await.expect("no panic");
    let client = cluster.leader_client("orders", 0).await;
    client.committed("orders", 0, kept.next().0).await;
    kept.check(&client.read_all("orders", 0).await);
}
