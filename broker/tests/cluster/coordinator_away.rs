//! While the coordinator is away publishing and consuming go on; when it is back, nothing has moved.

use crate::harness::{Cluster, Kept, eventually};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{Acks, CreateTopic, Offsets, RegisterProducer};
use yak_protocol::net::RequestError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_goes_on_and_healthy_leaders_stay() {
    let mut cluster = Cluster::start(3).await;
    cluster.topic("orders", 3, 3).await;
    let mut kept = Kept::default();
    let client = cluster.leader_client("orders", 0).await;
    let acked =
        eventually("acknowledged", || async { client.publish("orders", 0, &["before"]).await.ok() }).await;
    kept.add(&acked, &["before"]);
    let before: Vec<_> = cluster.metadata(0, "orders").await.partitions;

    cluster.kill_coordinator().await;
    eventually("the brokers notice", || async { cluster.metadata(0, "orders").await.coordinator_lost }).await;
    for number in 0..20 {
        let value = format!("during-{number}");
        let acked =
            client.publish("orders", 0, &[&value]).await.expect("acknowledged without the coordinator");
        kept.add(&acked, &[&value]);
    }
    kept.check(&client.read_all("orders", 0).await);
    let one = client.request(&RegisterProducer::default()).await.expect("an id from the broker's block");
    let two = client.request(&RegisterProducer::default()).await.expect("another");
    assert_ne!(one.producer_id, two.producer_id);

    cluster.start_coordinator().await;
    eventually("the brokers are back", || async {
        let lost = cluster.metadata(0, "orders").await.coordinator_lost;
        lost.is_none().then_some(())
    })
    .await;
    let create = CreateTopic { topic: "later".into(), replicas: Some(3), ..CreateTopic::default() };
    eventually("topics can be made again", || async { cluster.client(0).await.request(&create).await.ok() })
        .await;
    let after = cluster.metadata(0, "orders").await.partitions;
    assert_eq!(before, after, "no record of a healthy partition changed");

    // Leader changes work again.
    cluster.kill_broker(cluster.leader("orders", 0).await).await;
    let old = before[0].leader_epoch;
    cluster
        .partition_when("another one leads", "orders", 0, |info| {
            info.leader.is_some() && info.leader_epoch > old
        })
        .await;
    let client = cluster.leader_client("orders", 0).await;
    client.committed("orders", 0, kept.next().0).await;
    kept.check(&client.read_all("orders", 0).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_coordinator_can_do_is_refused_with_the_reason() {
    let mut cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    cluster.kill_coordinator().await;
    eventually("the broker notices", || async { cluster.metadata(0, "orders").await.coordinator_lost }).await;
    let client = cluster.client(0).await;
    let create = CreateTopic { topic: "later".into(), ..CreateTopic::default() };
    let Err(RequestError::Refused(error)) = client.request(&create).await else {
        panic!("it cannot be made")
    };
    assert_eq!(error.code, ErrorCode::CoordinatorUnavailable);
    assert!(error.message.contains(&cluster.coordinator_address), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_wait_for_a_coordinator_that_starts_later() {
    let mut cluster = Cluster::without_coordinator(2, |_, config| config);
    cluster.launch_broker(0);
    cluster.launch_broker(1);
    let hello =
        cluster.client(0).await.request(&yak_protocol::message::Hello::default()).await.expect("answered");
    assert!(hello.unhealthy.expect("it says so").contains("coordinator"));
    // What it does not know yet it does not deny: no topic would be there.
    let everything = yak_protocol::message::Metadata::default();
    let refusal = cluster.client(1).await.request(&everything).await.expect_err("it knows nothing");
    assert!(
        matches!(&refusal, RequestError::Refused(error) if error.code == ErrorCode::NotReady),
        "{refusal}"
    );
    cluster.start_coordinator().await;
    eventually("both are registered", || async {
        let found = cluster.client(1).await.request(&everything).await.ok()?;
        (found.brokers.len() == 2).then_some(())
    })
    .await;
    cluster.topic("orders", 1, 2).await;
    let client = cluster.leader_client("orders", 0).await;
    eventually("acknowledged", || async { client.publish("orders", 0, &["one"]).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_lease_is_over_only_what_needs_no_vouching_goes_on() {
    let mut cluster = Cluster::start(3).await;
    cluster.topic("orders", 1, 3).await;
    let client = cluster.leader_client("orders", 0).await;
    eventually("acknowledged", || async { client.publish("orders", 0, &["before"]).await.ok() }).await;
    cluster.kill_coordinator().await;
    let error = eventually("the lease is over", || async { client.offsets("orders", 0).await.err() }).await;
    assert_eq!(error.code, ErrorCode::LeaseOver, "{error}");
    let refused =
        client.publish_acks("orders", 0, &["one"], Acks::Leader).await.expect_err("it cannot vouch");
    assert_eq!(refused.code, ErrorCode::LeaseOver, "{refused}");
    client.publish("orders", 0, &["all"]).await.expect("the followers vouch");
    let stale = Offsets {
        topic: "orders".into(),
        partition: PartitionIndex(0),
        at_ms: None,
        stale_ok: true,
        forward: false,
    };
    assert_eq!(client.request(&stale).await.expect("good enough").high_watermark, Offset(2));
    assert_eq!(client.read_all("orders", 0).await.len(), 2);
    cluster.start_coordinator().await;
    eventually("the lease runs again", || async {
        cluster.leader_client("orders", 0).await.offsets("orders", 0).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_steps_down_serves_nothing_without_its_lease_and_all_with_it() {
    let mut cluster = Cluster::start_with(1, |_, mut config| {
        config.step_down = true;
        config
    })
    .await;
    cluster.topic("orders", 1, 1).await;
    let client = cluster.leader_client("orders", 0).await;
    client.publish("orders", 0, &["before"]).await.expect("acknowledged");
    cluster.kill_coordinator().await;
    let mut taken = 0;
    let refused = loop {
        match client.publish("orders", 0, &["one"]).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code, ErrorCode::LeaseOver, "{refused}");
    let (consumed, _) = client.consume("orders", 0, 0, 0).await;
    assert_eq!(consumed.error.expect("refused").code, ErrorCode::LeaseOver);

    cluster.start_coordinator().await;
    eventually("serving goes on", || async { client.publish("orders", 0, &["after"]).await.ok() }).await;
    let read = client.read_all("orders", 0).await;
    let of = |wanted: &str| read.iter().filter(|(_, value)| value == wanted).count();
    assert_eq!((of("before"), of("one")), (1, taken), "what was refused was not written");
}
