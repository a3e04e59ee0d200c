//! What a consumer promises, against brokers that break in every way.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod fake;

use fake::{Act, Fakes, batch};
use std::collections::BTreeMap;
use std::time::Duration;
use yak_consumer::{ConsumeError, Consumer, ConsumerConfig, Polled, Start};
use yak_protocol::batch::{Compression, HEADER_BYTES};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{Offset, PartitionIndex};

/// What was read: partition, offset and value.
type Read = Vec<(u32, u64, String)>;

async fn next(consumer: &mut Consumer) -> Result<Polled, ConsumeError> {
    tokio::time::timeout(Duration::from_secs(20), consumer.next()).await.expect("nothing came")
}

/// Reads until every assigned partition has reached its end.
async fn read_to_end(consumer: &mut Consumer) -> Result<Read, ConsumeError> {
    let mut open = consumer.assignment().count();
    let mut read = Vec::new();
    while open > 0 {
        match next(consumer).await? {
            Polled::Records(batch) => {
                for record in batch.records() {
                    let record = record?;
                    let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
                    read.push((batch.partition.0, record.offset.0, value));
                }
            }
            Polled::End { .. } => open -= 1,
        }
    }
    Ok(read)
}

fn values(read: &Read) -> Vec<&str> {
    read.iter().map(|(_, _, value)| value.as_str()).collect()
}

async fn from_beginning(fakes: &Fakes) -> Consumer {
    let mut consumer = fakes.consumer(ConsumerConfig::default());
    consumer.assign("orders", None, Start::Earliest).await.unwrap();
    consumer
}

const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

fn ten_batches(fakes: &Fakes) -> Vec<String> {
    let mut all = Vec::new();
    for name in NAMES {
        let values = [format!("{name}1"), format!("{name}2")];
        fakes.append(0, &[&values[0], &values[1]]);
        all.extend(values);
    }
    all
}

#[tokio::test]
async fn everything_is_read_in_order_and_the_position_follows() {
    let fakes = Fakes::start(1, 1).await;
    let all = ten_batches(&fakes);
    let mut consumer = from_beginning(&fakes).await;
    let read = read_to_end(&mut consumer).await.unwrap();
    assert_eq!(values(&read), all);
    assert_eq!(read.iter().map(|(_, offset, _)| *offset).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    assert_eq!(consumer.position("orders", PartitionIndex(0)), Some(Offset(20)));
    // What comes later comes by itself.
    fakes.append(0, &["late"]);
    assert_eq!(values(&read_to_end(&mut consumer).await.unwrap()), ["late"]);
}

#[tokio::test]
async fn several_partitions_share_a_request_and_each_keeps_its_order() {
    let fakes = Fakes::start(1, 3).await;
    for partition in 0..3 {
        for name in NAMES {
            fakes.append(partition, &[name]);
        }
    }
    let mut consumer = from_beginning(&fakes).await;
    let mut by_partition: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (partition, _, value) in read_to_end(&mut consumer).await.unwrap() {
        by_partition.entry(partition).or_default().push(value);
    }
    assert_eq!(by_partition.len(), 3);
    assert!(by_partition.values().all(|values| *values == NAMES));
    fakes.until(|world| world.asked.iter().any(|asked| asked.len() == 3)).await;
}

#[tokio::test]
async fn leader_changes_and_broken_connections_lose_repeat_and_reorder_nothing() {
    let fakes = Fakes::start(3, 1).await;
    let all = ten_batches(&fakes);
    fakes.script(1, [Act::Cut, Act::Refuse(ErrorCode::NoLeader), Act::Refuse(ErrorCode::HwUnknown)]);
    let mut consumer = from_beginning(&fakes).await;
    let mut read = Vec::new();
    for leader in [2, 3, 1, 2] {
        let Polled::Records(batch) = next(&mut consumer).await.unwrap() else { panic!("there is more") };
        let found = batch.records().map(|record| record.unwrap().value.unwrap().to_vec());
        read.extend(found.map(|value| String::from_utf8(value).unwrap()));
        fakes.elect(0, leader);
        fakes.script(leader, [Act::Cut]);
    }
    let rest = read_to_end(&mut consumer).await.unwrap();
    read.extend(values(&rest).into_iter().map(str::to_owned));
    assert_eq!(read, all);
}

#[tokio::test]
async fn a_hint_is_followed() {
    let fakes = Fakes::start(2, 1).await;
    fakes.append(0, &["a"]);
    let mut consumer = from_beginning(&fakes).await;
    fakes.script(1, [Act::Hint(2)]);
    fakes.world().leaders.insert(0, 2);
    assert_eq!(values(&read_to_end(&mut consumer).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_leader_that_says_nothing_is_left_when_another_one_is_elected() {
    let fakes = Fakes::start(2, 1).await;
    fakes.append(0, &["a"]);
    fakes.script(1, [Act::Silence]);
    let mut consumer =
        fakes.consumer(ConsumerConfig { fetch_wait: Duration::from_millis(50), ..ConsumerConfig::default() });
    consumer.assign("orders", None, Start::Earliest).await.unwrap();
    let reading = tokio::spawn(async move { read_to_end(&mut consumer).await });
    fakes.until(|world| world.asked.len() == 1).await;
    fakes.elect(0, 2);
    assert_eq!(values(&reading.await.unwrap().unwrap()), ["a"]);
}

#[tokio::test]
async fn a_damaged_batch_is_named_and_reading_goes_on_behind_it_if_wanted() {
    let fakes = Fakes::start(1, 1).await;
    fakes.append(0, &["a", "b"]);
    fakes.append_changed(0, batch(Compression::None, &["c", "d"]), |bytes| *bytes.last_mut().unwrap() ^= 1);
    fakes.append(0, &["e"]);
    let mut consumer = from_beginning(&fakes).await;
    let Polled::Records(first) = next(&mut consumer).await.unwrap() else { panic!("the first is whole") };
    assert_eq!(first.records().count(), 2);
    let error = next(&mut consumer).await.unwrap_err();
    assert!(error.to_string().contains("orders/0 cannot be read at offset 2"), "{error}");
    let ConsumeError::Poison { next: behind, .. } = next(&mut consumer).await.unwrap_err() else {
        panic!("it stays where it is")
    };
    consumer.seek("orders", PartitionIndex(0), Start::Offset(behind)).unwrap();
    assert_eq!(read_to_end(&mut consumer).await.unwrap(), [(0, 4, "e".to_owned())]);
}

#[tokio::test]
async fn compressed_garbage_with_a_good_checksum_is_named_too() {
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let fakes = Fakes::start(1, 1).await;
        fakes.append_changed(0, batch(compression, &["a", "b"]), |bytes| {
            bytes[HEADER_BYTES..].fill(0xa5);
            let crc = crc32c::crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        });
        let mut consumer = from_beginning(&fakes).await;
        let error = next(&mut consumer).await.unwrap_err().to_string();
        assert!(error.contains("orders/0 cannot be read at offset 0"), "{error}");
        assert!(error.contains(compression.name()), "{error}");
    }
}

#[tokio::test]
async fn every_start_begins_where_it_says() {
    let fakes = Fakes::start(1, 1).await;
    fakes.world().log_start = 100;
    ten_batches(&fakes);
    for (start, first) in [
        (Start::Earliest, Some(100)),
        (Start::Offset(Offset(107)), Some(107)),
        (Start::AfterStart(3), Some(103)),
        (Start::BeforeEnd(2), Some(118)),
        (Start::Latest, None),
    ] {
        let mut consumer = fakes.consumer(ConsumerConfig::default());
        consumer.assign("orders", Some(&[PartitionIndex(0)]), start).await.unwrap();
        let read = read_to_end(&mut consumer).await.unwrap();
        assert_eq!(read.first().map(|(_, offset, _)| *offset), first, "{start:?}");
    }
}

#[tokio::test]
async fn records_that_are_gone_are_an_error_that_names_the_gap() {
    let fakes = Fakes::start(1, 1).await;
    fakes.world().log_start = 100;
    ten_batches(&fakes);
    let mut consumer = fakes.consumer(ConsumerConfig::default());
    consumer.assign("orders", None, Start::Offset(Offset(90))).await.unwrap();
    let error = next(&mut consumer).await.unwrap_err().to_string();
    assert!(error.contains("offsets 100 to 120") && error.contains("10 records are gone"), "{error}");
}

#[tokio::test]
async fn what_does_not_exist_is_named_with_what_is_near() {
    let fakes = Fakes::start(1, 2).await;
    let mut consumer = fakes.consumer(ConsumerConfig::default());
    let error = consumer.assign("order", None, Start::Earliest).await.unwrap_err().to_string();
    assert!(error.contains("did you mean orders?"), "{error}");
    let error = consumer.assign("orders", Some(&[PartitionIndex(2)]), Start::Earliest).await.unwrap_err();
    assert!(error.to_string().contains("there are 2, from 0 on"), "{error}");
    assert!(matches!(consumer.next().await, Err(ConsumeError::NothingAssigned)));
}

#[tokio::test]
async fn dropping_a_poll_loses_nothing() {
    let fakes = Fakes::start(1, 1).await;
    let all = ten_batches(&fakes);
    let mut consumer = from_beginning(&fakes).await;
    for _ in 0..50 {
        // Polled once and dropped.
        let mut poll = std::pin::pin!(consumer.next());
        let waker = std::task::Waker::noop();
        if std::future::Future::poll(poll.as_mut(), &mut std::task::Context::from_waker(waker)).is_ready() {
            panic!("nothing can have come before the runtime ran");
        }
    }
    assert_eq!(values(&read_to_end(&mut consumer).await.unwrap()), all);
}
