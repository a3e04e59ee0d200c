//! A link that goes silent without breaking: the coordinator asks before it takes a leader away.

use crate::harness::{Cluster, Gate, Kept, eventually};
use std::time::Duration;
use yak_broker::BrokerConfig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_silent_link_costs_the_follower_its_place_and_moves_no_leadership() {
    // Others reach each broker through its gate; the coordinator is reached past them.
    let gates = [Gate::open().await, Gate::open().await];
    let through = gates.clone();
    let cluster = Cluster::start_with(2, move |number, config| BrokerConfig {
        advertise: Some(through[number].lead_to(&config.advertise.clone().expect("the harness sets it"))),
        replica_lag_max: Duration::from_millis(500),
        ..config
    })
    .await;
    cluster.topic("orders", 1, 2).await;
    let before = cluster.partition_when("both are in sync", "orders", 0, |info| info.isr.len() == 2).await;
    let leader = cluster.leader("orders", 0).await;
    let client = cluster.client(leader).await;
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
