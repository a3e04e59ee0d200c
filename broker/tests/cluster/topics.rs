//! Topics are made, made by their first publish, and deleted.

use crate::harness::{Cluster, batch, eventually};
use futures_util::future::join_all;
use std::path::Path;
use yak_broker::AutoCreate;
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::Offset;
use yak_protocol::message::{CreateTopic, DeleteTopic, Publish};
use yak_protocol::net::RequestError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_publish_makes_the_topic_once_however_many_come() {
    let cluster = Cluster::start(3).await;
    let clients = [cluster.client(0).await, cluster.client(1).await, cluster.client(2).await];
    let publishes = clients.iter().cycle().take(12).map(|client| async move {
        let publish = Publish { forward: true, ..Publish::default() };
        eventually("acknowledged", || async {
            let results =
                client.publish_with(publish.clone(), vec![("new", 1, batch(&["first"]))]).await.ok()?;
            results[0].ack.clone()
        })
        .await
    });
    let acked = join_all(publishes).await;
    let mut offsets: Vec<_> = acked.iter().map(|acked| acked.offset.expect("new").0).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..12).collect::<Vec<_>>());
    let found = cluster.metadata(0, "new").await;
    assert_eq!((found.topics.len(), found.partitions.len()), (1, 3));
    assert!(found.partitions.iter().all(|partition| partition.replicas.len() == 3), "{:?}", found.partitions);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn making_topics_by_publishing_can_be_turned_off() {
    let cluster = Cluster::start_with(1, |_, mut config| {
        config.auto_create = AutoCreate { enabled: false, ..AutoCreate::default() };
        config
    })
    .await;
    let client = cluster.client(0).await;
    let error = client.publish("new", 0, &["first"]).await.expect_err("there is no such topic");
    assert_eq!(error.code, ErrorCode::UnknownTopic);
    assert!(cluster.metadata(0, "new").await.topics.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_passes_creation_on_and_knows_the_topic_when_it_answers() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client(1).await;
    let create = CreateTopic {
        topic: "orders".into(),
        partitions: Some(2),
        replicas: Some(2),
        ..CreateTopic::default()
    };
    let made = client.request(&create).await.expect("made");
    assert!(made.created);
    assert_eq!(cluster.metadata(1, "orders").await.partitions.len(), 2);
    let Err(RequestError::Refused(error)) = client.request(&create).await else { panic!("it exists") };
    assert_eq!(error.code, ErrorCode::TopicExists);
    let illegal = CreateTopic { topic: "a/b".into(), ..CreateTopic::default() };
    let Err(RequestError::Refused(error)) = client.request(&illegal).await else { panic!("illegal") };
    assert_eq!(error.code, ErrorCode::IllegalTopicName);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_topic_is_gone_and_one_of_the_same_name_begins_empty() {
    let mut cluster = Cluster::start(2).await;
    cluster.topic("orders", 1, 2).await;
    let client = cluster.leader_client("orders", 0).await;
    eventually("acknowledged", || async { client.publish("orders", 0, &["old"]).await.ok() }).await;
    let old = cluster.partition("orders", 0).await.id;
    // One broker sleeps through the deletion.
    let away = (0..2)
        .find(|number| !client.connection.address().ends_with(&cluster.brokers[*number].address))
        .expect("two");
    cluster.kill_broker(away).await;
    client.request(&DeleteTopic { topic: "orders".into() }).await.expect("deleted");
    let (consumed, _) = client.consume("orders", 0, 0, 0).await;
    assert_eq!(consumed.error.expect("gone").code, ErrorCode::UnknownTopic);
    cluster.start_broker(away).await;
    cluster.topic("orders", 1, 2).await;
    let new = cluster.partition("orders", 0).await.id;
    assert_ne!(old, new);
    let client = cluster.leader_client("orders", 0).await;
    let acked =
        eventually("acknowledged", || async { client.publish("orders", 0, &["new"]).await.ok() }).await;
    assert_eq!(acked.offset, Some(Offset(0)));
    for number in 0..2 {
        let folder = cluster.data_of(number).join("topics").join(old.topic.to_string());
        eventually("the old data is gone", || async { (!folder.exists()).then_some(()) }).await;
    }
}

/// Every folder below `dir`, by name.
fn folders(dir: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(dir).expect("it can be listed").map(|entry| entry.expect("an entry").path());
    let inside = entries.filter(|path| path.is_dir());
    inside.flat_map(|path| [vec![path.display().to_string()], folders(&path)].concat()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_missed_a_deletion_never_takes_the_old_bytes_for_the_new_topics() {
    let mut cluster = Cluster::start(2).await;
    cluster.topic("orders", 1, 2).await;
    let client = cluster.leader_client("orders", 0).await;
    let old = cluster.partition_when("both are in sync", "orders", 0, |info| info.isr.len() == 2).await;
    client.publish("orders", 0, &["old"]).await.expect("acknowledged");
    let stays = cluster.leader("orders", 0).await;
    let away = 1 - stays;
    cluster.stop_broker(away).await;
    // Same name, same partition, same leader epoch, same offset: only the folder tells the two apart.
    client.request(&DeleteTopic { topic: "orders".into() }).await.expect("deleted");
    cluster.topic("orders", 1, 2).await;
    let new = cluster.partition("orders", 0).await;
    assert_eq!(new.leader_epoch, old.leader_epoch);
    let client = cluster.leader_client("orders", 0).await;
    let acked =
        eventually("acknowledged", || async { client.publish("orders", 0, &["new"]).await.ok() }).await;
    assert_eq!(acked.offset, Some(Offset(0)));
    cluster.start_broker(away).await;
    cluster.partition_when("it is a replica of the new one", "orders", 0, |info| info.isr.len() == 2).await;
    cluster.stop_broker(stays).await;
    let client = cluster.leader_client("orders", 0).await;
    client.committed("orders", 0, 1).await;
    assert_eq!(client.read_all("orders", 0).await, [(0, "new".to_owned())]);
    let named: Vec<_> =
        folders(cluster.data_of(away)).into_iter().filter(|folder| folder.contains("orders")).collect();
    assert!(named.is_empty(), "no name that a user chose is part of a path: {named:?}");
}
