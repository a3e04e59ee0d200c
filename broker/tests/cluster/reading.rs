//! What consumers see: committed records, empty answers at the end, errors with the bounds beyond it.

use crate::harness::{Client, Cluster, PATIENCE, eventually, values_of};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use yak_protocol::envelope;
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{Consume, ConsumeFrom, Format, Hello, Metadata, Offsets, RegisterConsumer};

async fn with_records(cluster: &Cluster, count: usize) -> Client {
    cluster.topic("orders", 2, 1).await;
    let client = cluster.leader_client("orders", 0).await;
    for number in 0..count {
        let value = number.to_string();
        eventually("it is acknowledged", || async { client.publish("orders", 0, &[&value]).await.ok() })
            .await;
    }
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_there_is_nothing_and_beyond_it_an_error_with_the_bounds() {
    let cluster = Cluster::start(1).await;
    let client = with_records(&cluster, 3).await;
    let (consumed, bin) = client.consume("orders", 0, 3, 0).await;
    assert_eq!((consumed.error, bin.len(), consumed.high_watermark), (None, 0, Offset(3)));
    let (consumed, _) = client.consume("orders", 0, 4, 0).await;
    let error = consumed.error.expect("out of range");
    assert_eq!(error.code, ErrorCode::OffsetOutOfRange);
    assert_eq!((consumed.log_start, consumed.high_watermark), (Offset(0), Offset(3)));
    let (consumed, bin) = client.consume("orders", 0, 1, 0).await;
    assert_eq!(consumed.bytes as usize, bin.len());
    assert_eq!(values_of(&bin), [(1, "1".to_owned()), (2, "2".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_consumer_gets_the_next_record_when_it_is_committed() {
    let cluster = Cluster::start(1).await;
    let client = with_records(&cluster, 1).await;
    let reader = cluster.leader_client("orders", 0).await;
    let waiting = tokio::spawn(async move { reader.consume("orders", 0, 1, 20_000).await });
    let publisher = async {
        // The consumer may look before or after this; either way it gets the record.
        client.publish("orders", 0, &["next"]).await.expect("acknowledged");
    };
    let (found, ()) = tokio::join!(waiting, publisher);
    let (_, bin) = found.expect("no panic");
    assert_eq!(values_of(&bin), [(1, "next".to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_reads_several_partitions_within_its_bytes() {
    let cluster = Cluster::start(1).await;
    let client = with_records(&cluster, 5).await;
    client.publish("orders", 1, &["other"]).await.expect("acknowledged");
    let from = |partition: u32| ConsumeFrom {
        topic: "orders".into(),
        partition: PartitionIndex(partition),
        offset: Offset(0),
    };
    let consume = Consume { partitions: vec![from(0), from(1)], format: Format::Batch, ..Consume::default() };
    let (reply, bin) = client.with_bin(&consume, Vec::new()).await.expect("answered");
    let split = reply.partitions[0].bytes as usize;
    assert_eq!(values_of(&bin[..split]).len(), 5);
    assert_eq!(values_of(&bin[split..]), [(0, "other".to_owned())]);
    let little = Consume { bytes_max: 1, ..consume };
    let (reply, bin) = client.with_bin(&little, Vec::new()).await.expect("answered");
    assert_eq!(values_of(&bin).len(), 1, "a first batch comes even if it is larger");
    assert_eq!(reply.partitions[1].bytes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_reads_for_its_client_what_others_lead() {
    let cluster = Cluster::start(3).await;
    cluster.topic("orders", 3, 1).await;
    for partition in 0..3 {
        let client = cluster.leader_client("orders", partition).await;
        let value = format!("in {partition}");
        eventually("acknowledged", || async { client.publish("orders", partition, &[&value]).await.ok() })
            .await;
    }
    let partitions = (0..3)
        .map(|partition| ConsumeFrom {
            topic: "orders".into(),
            partition: PartitionIndex(partition),
            offset: Offset(0),
        })
        .collect();
    let consume = Consume { partitions, format: Format::Batch, forward: true, ..Consume::default() };
    let (reply, bin) = cluster.client(0).await.with_bin(&consume, Vec::new()).await.expect("answered");
    let asked: Vec<_> = reply.partitions.iter().map(|found| found.partition.0).collect();
    assert_eq!(asked, [0, 1, 2]);
    let values: Vec<_> = values_of(&bin).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["in 0", "in 1", "in 2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_about_the_cluster_are_answered_by_any_broker() {
    let cluster = Cluster::start(2).await;
    let client = with_records(&cluster, 2).await;
    let hello = client.request(&Hello::default()).await.expect("answered");
    assert_eq!((hello.process.as_str(), hello.version, hello.unhealthy), ("broker", 1, None));
    let metadata = client.request(&Metadata { topics: Some(vec!["orderz".into()]) }).await.expect("answered");
    assert_eq!(metadata.brokers.len(), 2);
    assert_eq!(metadata.unknown[0].nearest.as_deref(), Some("orders"));
    assert_eq!(metadata.coordinator_lost, None);
    let consumer = client.request(&RegisterConsumer::default()).await.expect("answered");
    assert!(consumer.consumer > 0);
    let at = Offsets {
        topic: "orders".into(),
        partition: PartitionIndex(0),
        at_ms: Some(0),
        stale_ok: false,
        forward: false,
    };
    let reply = client.request(&at).await.expect("answered");
    assert_eq!((reply.high_watermark, reply.log_end), (Offset(2), Offset(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_without_news_ends_empty() {
    let cluster = Cluster::start(1).await;
    let client = with_records(&cluster, 1).await;
    let waited = tokio::time::timeout(Duration::from_secs(20), client.consume("orders", 0, 1, 30));
    let (consumed, bin) = waited.await.expect("it does not wait for ever");
    assert_eq!((consumed.error, bin.len()), (None, 0));
}

/// Flow control is the long poll: what is not asked for is not sent. This one asks and asks, and reads nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_does_not_read_is_cut_off_and_others_go_on() {
    let cluster = Cluster::start(1).await;
    let client = with_records(&cluster, 1).await;
    let address = client.connection.address().to_owned();
    let mut greedy = TcpStream::connect(&address).await.expect("somebody listens");
    let from = ConsumeFrom { topic: "orders".into(), partition: PartitionIndex(0), offset: Offset(1) };
    let wait_ms = 20_000;
    let consume = Consume { partitions: vec![from], format: Format::Batch, wait_ms, ..Consume::default() };
    // More answers than may wait for one connection, all of them for the record that comes next.
    for id in 1..=200 {
        let frame = envelope::encode(1, id, "consume", &consume, Vec::new()).expect("it can be encoded");
        greedy.write_all(&frame.to_bytes()).await.expect("taken");
    }
    // Requests are taken in order: once this one is answered, all the others wait.
    let hello = envelope::encode(1, 201, "hello", &Hello::default(), Vec::new()).expect("it can be encoded");
    greedy.write_all(&hello.to_bytes()).await.expect("taken");
    let length = timeout(PATIENCE, greedy.read_u32()).await.expect("it is answered").expect("a frame");
    let mut answer = vec![0; length as usize];
    greedy.read_exact(&mut answer).await.expect("a whole frame");
    let large = "x".repeat(900 << 10);
    client.publish("orders", 0, &[&large]).await.expect("acknowledged");
    let (consumed, _) = client.consume("orders", 0, 1, 0).await;
    assert_eq!(consumed.error, None);
    let mut read = 0;
    let mut buffer = vec![0; 1 << 20];
    // What was on its way arrives; then it is over.
    while let Ok(count) = timeout(PATIENCE, greedy.read(&mut buffer)).await.expect("it goes on or ends")
        && count > 0
    {
        read += count;
    }
    assert!(read < 180 << 20, "{read} bytes were kept for somebody who did not read");
    client.publish("orders", 0, &["and on"]).await.expect("acknowledged");
}
