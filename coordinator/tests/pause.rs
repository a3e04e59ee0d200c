//! A coordinator whose process stands still, as under SIGSTOP or on a suspended laptop, and goes on.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

use harness::{Broker, Harness};
use std::time::Duration;
use yak_protocol::message::CreateTopic;

const LEASE: Duration = Duration::from_millis(1000);

#[tokio::test]
async fn a_pause_longer_than_a_lease_changes_no_epoch() {
    let coordinator = Harness::start_on_own_thread(|config| {
        config.heartbeat = LEASE / 5;
        config.lease = LEASE;
    })
    .await;
    let mut one = Broker::new("one", 1);
    let mut two = Broker::new("two", 2);
    one.join(&coordinator).await;
    two.join(&coordinator).await;
    let topic = CreateTopic { topic: "orders".to_owned(), replicas: Some(2), ..CreateTopic::default() };
    coordinator.client().await.request(&topic, Vec::new()).await.unwrap();
    let before = coordinator.metadata().await;

    let frozen = coordinator.freeze().await;
    // Nobody is answered for longer than the lease; one of them gives up its connection and tries another.
    two.heartbeat_in_vain(LEASE * 3 / 2).await;
    one.hang_up();
    let (resumed, ()) = tokio::join!(one.register(&coordinator), async { frozen.thaw() });

    assert!(resumed.unwrap().resumed);
    assert!(!one.heartbeat().await.unwrap().fenced);
    assert!(!two.heartbeat().await.unwrap().fenced);
    let after = coordinator.metadata().await;
    assert_eq!(after.brokers, before.brokers);
    assert_eq!(after.partitions, before.partitions);
}
