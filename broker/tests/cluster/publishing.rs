//! What a publish is answered, and in which order publishes are applied.

use crate::harness::{Client, Cluster, batch, eventually, stamped};
use bytes::{Bytes, BytesMut};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{
    Acks, BatchRef, CreateTopic, Durability, PlainRecord, Publish, RegisterProducer, TopicConfig,
};
use yak_protocol::net::RequestError;

fn refused(error: RequestError) -> yak_protocol::error::WireError {
    match error {
        RequestError::Refused(error) => error,
        other => panic!("not refused but {other}"),
    }
}

async fn ready_leader(cluster: &Cluster, topic: &str) -> Client {
    let client = cluster.leader_client(topic, 0).await;
    eventually("the leader leads", || async { client.offsets(topic, 0).await.ok() }).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_publishes_of_one_connection_keep_their_order() {
    let cluster = Cluster::start(3).await;
    cluster.topic("orders", 2, 3).await;
    let client = ready_leader(&cluster, "orders").await;
    let pending: Vec<_> = (0..200)
        .map(|number| {
            let batch = batch(&[&number.to_string()]);
            let length = u32::try_from(batch.len()).expect("small");
            let batches = vec![BatchRef("orders".into(), PartitionIndex(0), length)];
            client.connection.start(&Publish { batches, ..Publish::default() }, vec![batch]).expect("queued")
        })
        .collect();
    for (number, pending) in pending.into_iter().enumerate() {
        let reply = pending.await.expect("answered").body;
        let acked = reply.results[0].ack.clone().expect("acknowledged");
        assert_eq!(acked.offset, Some(Offset(number as u64)));
    }
    let read = client.read_all("orders", 0).await;
    assert!(read.iter().all(|(offset, value)| offset.to_string() == *value), "{read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_names_the_leader_and_passes_on_when_asked_to() {
    let cluster = Cluster::start(3).await;
    cluster.topic("orders", 1, 3).await;
    let leader = cluster.leader("orders", 0).await;
    ready_leader(&cluster, "orders").await;
    let follower = (0..3).find(|number| *number != leader).expect("three brokers");
    let client = cluster.client(follower).await;
    let error = client.publish("orders", 0, &["one"]).await.expect_err("it does not lead");
    assert_eq!(error.code, ErrorCode::NotLeader);
    assert_eq!(error.leader.expect("it says who does").address, cluster.brokers[leader].address);
    let publish = Publish { forward: true, ..Publish::default() };
    let results = client.publish_with(publish, vec![("orders", 0, batch(&["one"]))]).await.expect("answered");
    assert_eq!(results[0].ack.clone().expect("acknowledged").offset, Some(Offset(0)));
    let (consumed, _) = client.consume("orders", 0, 0, 0).await;
    assert_eq!(consumed.error.expect("it does not lead").code, ErrorCode::NotLeader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_publishes_are_refused_with_what_is_wrong_and_write_nothing() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let client = ready_leader(&cluster, "orders").await;

    let mut flipped = BytesMut::from(&batch(&["value"])[..]);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let large = "x".repeat(2 << 20);
    let cases: [(&str, u32, Bytes, ErrorCode); 6] = [
        ("orders", 0, flipped.freeze(), ErrorCode::BadBatch),
        ("orders", 0, Bytes::from_static(b"not a batch"), ErrorCode::BadBatch),
        ("orders", 0, batch(&[&large]), ErrorCode::BatchTooLarge),
        ("orders", 9, batch(&["value"]), ErrorCode::UnknownPartition),
        ("../etc", 0, batch(&["value"]), ErrorCode::IllegalTopicName),
        ("", 0, batch(&["value"]), ErrorCode::IllegalTopicName),
    ];
    for (topic, partition, batch, code) in cases {
        let results =
            client.publish_with(Publish::default(), vec![(topic, partition, batch)]).await.expect("answered");
        assert_eq!(results[0].error.as_ref().expect("refused").code, code, "{results:?}");
    }
    let both = Publish {
        records: vec![PlainRecord::default()],
        topic: Some("orders".into()),
        batches: vec![BatchRef("orders".into(), PartitionIndex(0), 0)],
        ..Publish::default()
    };
    assert_eq!(refused(client.request(&both).await.expect_err("both")).code, ErrorCode::BadRequest);
    let neither = refused(client.request(&Publish::default()).await.expect_err("neither"));
    assert_eq!(neither.code, ErrorCode::BadRequest);
    let short =
        Publish { batches: vec![BatchRef("orders".into(), PartitionIndex(0), 7)], ..Publish::default() };
    let short = client.with_bin(&short, vec![Bytes::from_static(b"123")]).await.expect_err("lengths differ");
    assert_eq!(refused(short).code, ErrorCode::BadRequest);
    assert_eq!(client.offsets("orders", 0).await.expect("known").log_end, Offset(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_carries_batches_of_several_partitions_and_each_has_its_result() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 2, 1).await;
    let client = ready_leader(&cluster, "orders").await;
    let batches =
        vec![("orders", 0, batch(&["a", "b"])), ("orders", 7, batch(&["c"])), ("orders", 1, batch(&["d"]))];
    let results = client.publish_with(Publish::default(), batches).await.expect("answered");
    let named: Vec<_> = results.iter().map(|result| (result.partition.0, result.ack.is_some())).collect();
    assert_eq!(named, [(0, true), (7, false), (1, true)]);
    assert_eq!(client.read_all("orders", 1).await, [(0, "d".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_records_become_batches_and_come_back_plain() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 3, 1).await;
    let client = ready_leader(&cluster, "orders").await;
    let results = client.publish_plain("orders", &["one", "two"]).await.expect("answered");
    assert_eq!(results.len(), 1, "records without keys stay together");
    let partition = results[0].partition;
    assert_eq!(results[0].ack.clone().expect("acknowledged").offset, Some(Offset(0)));
    let consume = yak_protocol::message::Consume {
        partitions: vec![yak_protocol::message::ConsumeFrom {
            topic: "orders".into(),
            partition,
            offset: Offset(1),
        }],
        ..Default::default()
    };
    let reply = client.request(&consume).await.expect("answered");
    let records = &reply.partitions[0].records;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value.as_deref().map(Vec::as_slice), Some(&b"two"[..]));
    assert_eq!(records[0].offset, Some(Offset(1)));

    let keyed = |key: &str| PlainRecord {
        key: Some(serde_bytes::ByteBuf::from(key.as_bytes())),
        ..PlainRecord::default()
    };
    let records = vec![keyed("a"), keyed("b"), keyed("c"), keyed("a")];
    let publish = Publish { topic: Some("orders".into()), records, ..Publish::default() };
    for result in client.request(&publish).await.expect("answered").results {
        assert!(result.ack.is_some(), "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_batch_of_an_idempotent_producer_is_written_once() {
    let mut cluster = Cluster::start(2).await;
    cluster.topic("orders", 1, 2).await;
    cluster.partition_when("both are in sync", "orders", 0, |info| info.isr.len() == 2).await;
    let client = ready_leader(&cluster, "orders").await;
    let producer = client.request(&RegisterProducer::default()).await.expect("an id").producer_id;
    let publish = async |client: &Client, sequence: i32, value: &str| {
        eventually("it has a definite result", || async {
            let batches = vec![("orders", 0, stamped(producer, sequence, value))];
            let result = client.publish_with(Publish::default(), batches).await.expect("answered").remove(0);
            match (result.ack, result.error) {
                (Some(acked), _) => Some(Ok(acked.offset)),
                (_, Some(error)) if error.code.action() == yak_protocol::error::Action::GiveUp => {
                    Some(Err(error.code))
                }
                _ => None,
            }
        })
        .await
    };
    assert_eq!(publish(&client, 0, "a").await, Ok(Some(Offset(0))));
    assert_eq!(publish(&client, 1, "b").await, Ok(Some(Offset(1))));
    assert_eq!(publish(&client, 1, "b").await, Ok(Some(Offset(1))));
    assert_eq!(publish(&client, 5, "gap").await, Err(ErrorCode::OutOfOrderSequence));
    // The next leader remembers, because the log does.
    cluster.kill_broker(cluster.leader("orders", 0).await).await;
    let client = ready_leader(&cluster, "orders").await;
    assert_eq!(publish(&client, 1, "b").await, Ok(Some(Offset(1))));
    assert_eq!(publish(&client, 2, "c").await, Ok(Some(Offset(2))));
    assert_eq!(client.read_all("orders", 0).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_none_is_not_answered_and_replicated_is_not_called_durable() {
    let cluster = Cluster::start(3).await;
    let config = TopicConfig { durability: Durability::Replicated, ..TopicConfig::default() };
    let create = CreateTopic {
        topic: "fast".into(),
        partitions: Some(1),
        replicas: Some(3),
        config,
        ..CreateTopic::default()
    };
    cluster.topic_with(create).await;
    let client = ready_leader(&cluster, "fast").await;
    let unanswered = Publish {
        acks: Acks::None,
        batches: vec![BatchRef(
            "fast".into(),
            PartitionIndex(0),
            u32::try_from(batch(&["quiet"]).len()).expect("small"),
        )],
        ..Publish::default()
    };
    let pending = client.connection.start(&unanswered, vec![batch(&["quiet"])]).expect("queued");
    let acked = client.publish("fast", 0, &["loud"]).await.expect("acknowledged");
    assert_eq!((acked.offset, acked.replicas), (Some(Offset(1)), 3));
    assert_eq!(client.connection.waiting(), 1, "only the one that gets no answer waits");
    drop(pending);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_leaves_a_snapshot_of_the_producers_and_the_next_start_knows_them() {
    let mut cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let topic = cluster.partition("orders", 0).await.id.topic;
    let client = ready_leader(&cluster, "orders").await;
    let producer = client.request(&RegisterProducer::default()).await.expect("an id").producer_id;
    let large = "x".repeat(200_000);
    for sequence in 0..8 {
        let batches = vec![("orders", 0, stamped(producer, sequence, &large))];
        let acked = client.publish_with(Publish::default(), batches).await.expect("answered").remove(0).ack;
        assert_eq!(
            acked.expect("acknowledged").offset,
            Some(Offset(u64::try_from(sequence).expect("small")))
        );
    }
    let folder = cluster.data_of(0).join(format!("topics/{topic}/0"));
    eventually("there is a segment", || async { folder.exists().then_some(()) }).await;
    cluster.stop_broker(0).await;
    let snapshot = folder.join(format!("{:020}.producers", 8));
    assert!(snapshot.exists(), "{}", snapshot.display());
    cluster.start_broker(0).await;
    let client = ready_leader(&cluster, "orders").await;
    let acked = eventually("the producers are known", || async {
        let batches = vec![("orders", 0, stamped(producer, 7, &large))];
        client.publish_with(Publish::default(), batches).await.ok()?.remove(0).ack
    })
    .await;
    assert_eq!(acked.offset, Some(Offset(7)), "the same batch again");
}
