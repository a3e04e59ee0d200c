//! Partitions move between real brokers: under load, there and back, off a broker that goes for good, and to
//! one in the place of a dead one. Nothing that was acknowledged is lost.

use crate::chaos::{Addresses, Publisher, check};
use crate::harness::{Cluster, Kept, eventually};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use yak_broker::BrokerError;
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{BrokerId, PartitionIndex};
use yak_protocol::message::{
    CancelMoves, DecommissionBroker, ListMoves, Move, MovePartitions, PartitionInfo, PartitionName,
    RegisterProducer, ReplaceBroker,
};

/// The broker's test number from its number in the cluster: they register one after the other.
fn number(id: BrokerId) -> usize {
    id.0 as usize - 1
}

fn move_to(replicas: Vec<BrokerId>, bytes_per_second: Option<u64>) -> MovePartitions {
    let moves = vec![Move { topic: "orders".to_owned(), partition: PartitionIndex(0), replicas }];
    MovePartitions { moves, bytes_per_second, dry_run: false }
}

/// The other brokers first, then as many of its own as are needed.
fn elsewhere(info: &PartitionInfo, brokers: u32) -> Vec<BrokerId> {
    let all = (1..=brokers).map(BrokerId);
    let others = all.filter(|id| !info.replicas.contains(id));
    others.chain(info.replicas.iter().copied().rev()).take(info.replicas.len()).collect()
}

async fn moved(cluster: &Cluster, to: &[BrokerId]) -> PartitionInfo {
    cluster
        .partition_when("it has moved", "orders", 0, |info| {
            info.moving.is_none() && info.replicas == to && info.isr.len() == to.len()
        })
        .await
}

/// Whether the broker has files of the partition.
fn has_files(cluster: &Cluster, broker: usize, info: &PartitionInfo) -> bool {
    let folder = cluster.data_of(broker).join("topics").join(info.id.topic.to_string());
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.count() > 0
}

async fn publisher(cluster: &Cluster, stop: &CancellationToken) -> JoinHandle<Publisher> {
    let client = cluster.client(cluster.any()).await;
    let producer = client.request(&RegisterProducer::default()).await.expect("an id").producer_id;
    let addresses: Addresses = Arc::default();
    *addresses.write().expect("no panic") = cluster.brokers.iter().map(|node| node.address.clone()).collect();
    let publisher = Publisher { partition: 0, producer, addresses, acked: Vec::new() };
    tokio::spawn(publisher.run(stop.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_moves_round_under_load_and_leaves_nothing_behind() {
    let cluster = Cluster::start(4).await;
    cluster.topic("orders", 1, 3).await;
    let stop = CancellationToken::new();
    let publishing = publisher(&cluster, &stop).await;
    let client = cluster.client(0).await;
    for _ in 0..4 {
        let before = cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
        let to = elsewhere(&before, 4);
        for gone in before.replicas.iter().filter(|id| !to.contains(id)) {
            eventually("there is a copy to leave", || async {
                has_files(&cluster, number(*gone), &before).then_some(())
            })
            .await;
        }
        let reply = client.request(&move_to(to.clone(), None)).await.expect("it may move");
        assert!(reply.moves[0].changed, "{reply:?}");
        let after = moved(&cluster, &to).await;
        for gone in before.replicas.iter().filter(|id| !to.contains(id)) {
            eventually("the copy that was left is deleted", || async {
                (!has_files(&cluster, number(*gone), &after)).then_some(())
            })
            .await;
        }
        let again = client.request(&move_to(to, None)).await.expect("nothing to do");
        assert!(!again.moves[0].changed && again.moves[0].waits.is_none(), "{again:?}");
    }
    stop.cancel();
    check(&cluster, 0, [publishing.await.expect("no panic")].iter(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_waits_is_cancelled_and_goes_back() {
    let cluster = Cluster::start(4).await;
    cluster.topic("orders", 1, 3).await;
    let before = cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
    let mut kept = Kept::default();
    let leader = cluster.leader_client("orders", 0).await;
    // More than one frame to a follower takes.
    let long = "x".repeat(100_000);
    for _ in 0..15 {
        kept.add(&leader.publish("orders", 0, &[&long]).await.expect("acknowledged"), &[&long]);
    }
    let to = elsewhere(&before, 4);
    let client = cluster.client(0).await;
    // So slow that it does not end while the test looks: the second frame waits for hours.
    client.request(&move_to(to.clone(), Some(1))).await.expect("it may move");
    kept.add(&leader.publish("orders", 0, &[&long]).await.expect("acknowledged"), &[&long]);
    let name = PartitionName { topic: "orders".to_owned(), partition: PartitionIndex(0) };
    let list = ListMoves { partitions: Vec::new() };
    let moves = client.request(&list).await.expect("a list").moves;
    assert_eq!((moves[0].from.clone(), moves[0].to.clone()), (before.replicas.clone(), to.clone()));
    let cancel = CancelMoves { partitions: vec![name], dry_run: false };
    client.request(&cancel).await.expect("it goes back");
    let after = moved(&cluster, &before.replicas).await;
    assert_eq!(after.leader, before.leader, "nobody had to lead instead");
    assert_eq!(client.request(&list).await.expect("a list").moves, []);
    // As slowly again, until somebody says that it may go faster: what waits hears of that.
    client.request(&move_to(to.clone(), Some(1))).await.expect("it may move");
    let faster = client.request(&move_to(to.clone(), None)).await.expect("it may move faster");
    assert!(faster.moves[0].changed && faster.moves[0].bytes_per_second.is_none(), "{faster:?}");
    moved(&cluster, &to).await;
    kept.check(&cluster.leader_client("orders", 0).await.read_all("orders", 0).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_decommissioned_to_the_end() {
    let mut cluster = Cluster::start(3).await;
    cluster.topic("orders", 1, 3).await;
    let stop = CancellationToken::new();
    let publishing = publisher(&cluster, &stop).await;
    let client = cluster.client(0).await;
    let ask =
        DecommissionBroker { broker_id: BrokerId(3), cancel: false, bytes_per_second: None, dry_run: false };
    let stuck = client.request(&ask).await.expect("it is to go");
    assert_eq!((stuck.left, stuck.of, stuck.done), (1, 1, false));
    assert_eq!(stuck.stuck, ["no broker left that does not hold orders/0"]);
    // A fourth broker takes what it held, without anybody asking again.
    cluster.brokers.push(cluster.another_node());
    cluster.start_broker(3).await;
    let ended = cluster.broker_ends(2).await;
    assert!(
        matches!(&ended, BrokerError::Refused(error) if error.code == ErrorCode::Decommissioned),
        "{ended:?}"
    );
    let done = client.request(&ask).await.expect("it is gone");
    assert!(done.done, "{done:?}");
    let found = cluster.metadata(0, "orders").await;
    assert!(found.brokers.iter().all(|broker| broker.id != BrokerId(3)), "{:?}", found.brokers);
    let to = cluster.partition("orders", 0).await.replicas;
    assert!(to.contains(&BrokerId(4)) && !to.contains(&BrokerId(3)), "{to:?}");
    stop.cancel();
    check(&cluster, 0, [publishing.await.expect("no panic")].iter(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_broker_takes_the_place_of_a_dead_leader() {
    replace(|before| before.leader.expect("a leader")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_broker_takes_the_place_of_a_dead_follower() {
    replace(|before| *before.replicas.iter().find(|id| before.leader != Some(**id)).expect("a follower"))
        .await;
}

async fn replace(chosen: impl Fn(&PartitionInfo) -> BrokerId) {
    let mut cluster = Cluster::start(4).await;
    cluster.topic("orders", 1, 3).await;
    let before = cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
    let mut kept = Kept::default();
    let acked = cluster.leader_client("orders", 0).await.publish("orders", 0, &["before"]).await;
    kept.add(&acked.expect("acknowledged"), &["before"]);
    let dead = chosen(&before);
    let by = (1..=4).map(BrokerId).find(|id| !before.replicas.contains(id)).expect("a fourth broker");
    eventually("there is a copy", || async { has_files(&cluster, number(dead), &before).then_some(()) })
        .await;
    cluster.kill_broker(number(dead)).await;
    cluster.partition_when("it is fenced", "orders", 0, |info| !info.isr.contains(&dead)).await;
    let client = cluster.client(cluster.any()).await;
    let ask = ReplaceBroker { dead, by, bytes_per_second: None, dry_run: false };
    client.request(&ask).await.expect("it may take its place");
    let to: Vec<_> = before.replicas.iter().map(|id| if *id == dead { by } else { *id }).collect();
    moved(&cluster, &to).await;
    let acked = cluster.leader_client("orders", 0).await.publish("orders", 0, &["after"]).await;
    kept.add(&acked.expect("acknowledged"), &["after"]);
    // The dead one comes back with a copy that it no longer holds.
    cluster.start_broker(number(dead)).await;
    let info = cluster.partition("orders", 0).await;
    eventually("its copy is deleted", || async { (!has_files(&cluster, number(dead), &info)).then_some(()) })
        .await;
    kept.check(&cluster.leader_client("orders", 0).await.read_all("orders", 0).await);
}
