//! A link that goes silent without breaking: the coordinator asks before it takes a leader away.

use crate::harness::{Cluster, Kept, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_silent_link_costs_the_follower_its_place_and_moves_no_leadership() {
    let (cluster, gates, leader, client) = Cluster::behind_gates().await;
    let before = cluster.partition("orders", 0).await;
    let mut kept = Kept::default();
    let acked =
        eventually("acknowledged", || async { client.publish("orders", 0, &["both"]).await.ok() }).await;
    kept.add(&acked, &["both"]);

    gates[leader].close();
    let acked = client.publish("orders", 0, &["alone"]).await.expect("acknowledged once the other is out");
    kept.add(&acked, &["alone"]);
    let info = cluster.partition_when("the follower is out", "orders", 0, |info| info.isr.len() == 1).await;
    assert_eq!((info.leader, info.leader_epoch), (before.leader, before.leader_epoch));

    gates[leader].open_again();
    let info = cluster.partition_when("the follower is back", "orders", 0, |info| info.isr.len() == 2).await;
    assert_eq!((info.leader, info.leader_epoch), (before.leader, before.leader_epoch));
    kept.check(&client.read_all("orders", 0).await);
}
