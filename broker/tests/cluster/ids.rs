//! Message ids: what is published twice is stored once, whoever leads by then and however it was compressed.

use crate::harness::{Client, Cluster, eventually};
use bytes::Bytes;
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use yak_protocol::batch::{BatchBuilder, Compression, MSG_ID_HEADER, RecordRef};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{Offset, ProducerEpoch};
use yak_protocol::message::{
    Acked, Consume, ConsumeFrom, CreateTopic, PlainRecord, Publish, RegisterProducer, TopicConfig,
};

/// A batch of records, each named like its value.
fn named(builder: BatchBuilder, values: &[&str]) -> Bytes {
    let mut builder = builder;
    for value in values {
        builder.push(&RecordRef {
            timestamp_ms: 1,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[(MSG_ID_HEADER, value.as_bytes())],
        });
    }
    builder.build().expect("a batch")
}

/// Publishes until it is acknowledged.
async fn publish(client: &Client, batch: &Bytes) -> Acked {
    eventually("it is acknowledged", || async {
        let publish = Publish { msg_ids: true, ..Publish::default() };
        client.publish_with(publish, vec![("orders", 0, batch.clone())]).await.ok()?.remove(0).ack
    })
    .await
}

fn plain(values: &[&str]) -> Bytes {
    named(BatchBuilder::new(Compression::None), values)
}

async fn leader_of(cluster: &Cluster) -> Client {
    let client = cluster.leader_client("orders", 0).await;
    eventually("the leader leads", || async { client.offsets("orders", 0).await.ok() }).await;
    client
}

fn offsets(acked: &Acked, count: u32) -> Vec<u64> {
    (0..count).map(|index| acked.offset_of(index).expect("known").0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_id_is_stored_once_and_answered_with_the_first_offset_in_every_codec() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let client = leader_of(&cluster).await;
    for (round, codec) in Compression::ALL.into_iter().enumerate() {
        let value = |text: &str| format!("{round}{text}");
        let (a, b, c) = (value("a"), value("b"), value("c"));
        let batch = |values: &[&str]| named(BatchBuilder::new(codec), values);
        let first = publish(&client, &batch(&[&a, &b])).await;
        let base = first.offset.expect("new").0;
        assert_eq!(offsets(&first, 2), [base, base + 1]);
        let mixed = publish(&client, &batch(&[&b, &c, &c])).await;
        assert_eq!(offsets(&mixed, 3), [base + 1, base + 3, base + 3], "{codec}");
        assert_eq!(offsets(&publish(&client, &batch(&[&c, &a])).await, 2), [base + 3, base], "{codec}");
        let read = client.read_all("orders", 0).await;
        let of_round: Vec<_> = read.into_iter().filter(|(offset, _)| *offset >= base).collect();
        assert_eq!(of_round, [(base, a), (base + 1, b), (base + 3, c)], "{codec}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_and_the_next_start_know_the_ids() {
    let mut cluster = Cluster::start(3).await;
    cluster.topic("orders", 1, 3).await;
    cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
    let client = leader_of(&cluster).await;
    let producer = client.request(&RegisterProducer::default()).await.expect("an id").producer_id;
    let stamped = |sequence, values: &[&str]| {
        let builder = BatchBuilder::new(Compression::Lz4).producer(producer, ProducerEpoch(0), sequence);
        named(builder, values)
    };
    assert_eq!(offsets(&publish(&client, &stamped(0, &["a", "b"])).await, 2), [0, 1]);
    // Nothing of it is new, but its number is.
    assert_eq!(offsets(&publish(&client, &stamped(2, &["b"])).await, 1), [1]);

    let first = cluster.leader("orders", 0).await;
    cluster.kill_broker(first).await;
    let client = leader_of(&cluster).await;
    assert_eq!(offsets(&publish(&client, &plain(&["b", "a"])).await, 2), [1, 0]);
    assert_eq!(offsets(&publish(&client, &stamped(2, &["b"])).await, 1), [1]);
    assert_eq!(offsets(&publish(&client, &stamped(3, &["c", "a"])).await, 2), [3, 0]);

    cluster.start_broker(first).await;
    cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
    for number in 0..3 {
        cluster.stop_broker(number).await;
        cluster.start_broker(number).await;
    }
    let client = leader_of(&cluster).await;
    assert_eq!(offsets(&publish(&client, &plain(&["c", "b", "d"])).await, 3), [3, 1, 7]);
    let read = client.read_all("orders", 0).await;
    let kept: Vec<_> = read.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(kept, ["a", "b", "c", "d"]);
}

/// The leader dies somewhere between the arrival of a batch and its answer, again and again; whoever published sends
/// the same again to the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_leader_did_not_answer_is_stored_once_when_it_is_sent_again() {
    let mut cluster = Cluster::start(3).await;
    cluster.topic("orders", 1, 3).await;
    let mut placed: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..6 {
        cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
        let client = leader_of(&cluster).await;
        let leader = cluster.leader("orders", 0).await;
        let values: Vec<String> = (0..20).map(|number| format!("{round}-{number}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let pending: Vec<_> = values
            .chunks(2)
            .map(|two| {
                let record = |value: &&str| PlainRecord {
                    value: Some(ByteBuf::from(value.as_bytes())),
                    msg_id: Some(ByteBuf::from(value.as_bytes())),
                    ..PlainRecord::default()
                };
                let publish = Publish {
                    topic: Some("orders".into()),
                    records: two.iter().map(record).collect(),
                    ..Publish::default()
                };
                client.connection.start(&publish, Vec::new()).expect("queued")
            })
            .collect();
        // Some of them are answered, some are written, some are not.
        let mut pending = pending.into_iter();
        for answered in pending.by_ref().take(round) {
            let _ = answered.await;
        }
        cluster.kill_broker(leader).await;
        drop(pending);
        let client = leader_of(&cluster).await;
        for two in values.chunks(3) {
            let acked = publish(&client, &plain(two)).await;
            for (index, value) in (0..).zip(two) {
                placed.insert((*value).to_owned(), acked.offset_of(index).expect("known").0);
            }
        }
        cluster.start_broker(leader).await;
    }
    let client = leader_of(&cluster).await;
    let read = client.read_all("orders", 0).await;
    let found: BTreeMap<String, u64> = read.iter().map(|(offset, value)| (value.clone(), *offset)).collect();
    assert_eq!(read.len(), 120, "each is there once");
    assert_eq!(found, placed, "and where it was said to be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_chooses_the_partition_and_is_known_in_its_topic_only() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 8, 1).await;
    cluster.topic("others", 8, 1).await;
    let client = leader_of(&cluster).await;
    let publish = async |topic: &str, id: &str| {
        eventually("it is acknowledged", || async {
            let record = PlainRecord {
                value: Some(ByteBuf::from("v")),
                msg_id: Some(ByteBuf::from(id)),
                ..PlainRecord::default()
            };
            let publish = Publish { topic: Some(topic.into()), records: vec![record], ..Publish::default() };
            let result = client.request(&publish).await.expect("answered").results.remove(0);
            Some((result.partition, result.ack?.offset?))
        })
        .await
    };
    for id in ["one", "two", "three"] {
        let first = publish("orders", id).await;
        assert_eq!(publish("orders", id).await, first);
        assert_eq!(publish("others", id).await.1, Offset(0), "another topic has its own ids");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_out_of_bounds_are_refused_and_a_topic_may_take_no_note_of_them() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let config = TopicConfig { dedupe_window_ms: 0, ..TopicConfig::default() };
    let create = CreateTopic {
        topic: "unchecked".into(),
        partitions: Some(1),
        replicas: Some(1),
        config,
        ..CreateTopic::default()
    };
    cluster.topic_with(create).await;
    let client = leader_of(&cluster).await;
    let long = "x".repeat(65);
    let result = client.publish_with(Publish::default(), vec![("orders", 0, plain(&[&long]))]).await;
    let error = result.expect("answered").remove(0).error.expect("refused");
    assert_eq!(error.code, ErrorCode::BadBatch);
    assert!(error.message.contains("1 to 64 bytes"), "{error}");
    for offset in 0..2 {
        let acked = eventually("it is acknowledged", || async {
            let batches = vec![("unchecked", 0, plain(&["a"]))];
            client.publish_with(Publish::default(), batches).await.ok()?.remove(0).ack
        })
        .await;
        assert_eq!(acked.offset, Some(Offset(offset)));
    }
}

/// Readers of plain records go by what they get: a batch of which nothing was stored must not hold them up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_plain_records_gets_past_a_batch_of_which_nothing_was_stored() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let client = leader_of(&cluster).await;
    let producer = client.request(&RegisterProducer::default()).await.expect("an id").producer_id;
    for sequence in 0..3 {
        let builder = BatchBuilder::new(Compression::None).producer(producer, ProducerEpoch(0), sequence);
        publish(&client, &named(builder, &["same"])).await;
    }
    let partition = yak_protocol::ids::PartitionIndex(0);
    let from = ConsumeFrom { topic: "orders".into(), partition, offset: Offset(1) };
    let consume = Consume { partitions: vec![from], ..Consume::default() };
    let answer = client.request(&consume).await.expect("answered").partitions.remove(0);
    assert_eq!((answer.records.len(), answer.next), (0, Some(Offset(3))));
}
