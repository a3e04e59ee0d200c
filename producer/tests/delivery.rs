//! What a producer promises, against brokers that break in every way.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod fake;

use fake::{Act, Fakes};
use std::time::Duration;
use yak_producer::{Delivery, Event, ProduceError, Producer, ProducerConfig, ProducerRecord};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{Offset, PartitionIndex, ProducerEpoch};
use yak_protocol::message::Acks;
use yak_protocol::net::{ClientOptions, Cluster};

/// One batch a record, so that the script counts records.
fn one_by_one() -> ProducerConfig {
    ProducerConfig { batch_bytes: 1, ..ProducerConfig::default() }
}

/// Gives up soon.
fn impatient() -> ProducerConfig {
    ProducerConfig { delivery_timeout: Duration::from_millis(300), ..one_by_one() }
}

async fn send(producer: &Producer, value: &str) -> Delivery {
    let record = ProducerRecord { value: Some(value.as_bytes()), ..ProducerRecord::default() };
    producer.send("orders", &record).await.unwrap()
}

async fn send_all(producer: &Producer, values: &[String]) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for value in values {
        deliveries.push(send(producer, value).await);
    }
    deliveries
}

fn values(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("v{number}")).collect()
}

#[tokio::test]
async fn five_batches_are_on_their_way_at_a_time_and_keep_their_order() {
    let fakes = Fakes::start(1).await;
    fakes.script(1, vec![Act::Hold; 5]);
    let producer = fakes.producer(one_by_one());
    let values = values(7);
    let deliveries = send_all(&producer, &values).await;
    fakes.until(|world| world.publishes == 5).await;
    assert_eq!(fakes.values("orders", 0), values[..5]);
    fakes.release();
    for (offset, delivery) in deliveries.iter().enumerate() {
        let delivered = delivery.wait().await.unwrap();
        assert_eq!(delivered.offset, Some(Offset(offset as u64)));
        assert_eq!((delivered.replicas, delivered.durable), (3, true));
    }
    assert_eq!(fakes.values("orders", 0), values);
}

#[tokio::test]
async fn after_a_broken_connection_everything_arrives_once_and_in_order() {
    let fakes = Fakes::start(2).await;
    // The second is appended but never answered, the rest of the pipeline is lost with the connection.
    fakes.script(1, [Act::Hold, Act::AppendThenCut]);
    let producer = fakes.producer(one_by_one());
    let values = values(20);
    let deliveries = send_all(&producer, &values).await;
    for delivery in &deliveries {
        delivery.wait().await.unwrap();
    }
    assert_eq!(fakes.values("orders", 0), values);
}

#[tokio::test]
async fn connections_that_break_again_and_again_lose_and_repeat_nothing() {
    let fakes = Fakes::start(1).await;
    let acts = [Act::AppendThenCut, Act::Cut, Act::Refuse(ErrorCode::NotEnoughReplicas), Act::AppendThenCut];
    fakes.script(1, std::iter::repeat_n(acts, 3).flatten());
    let producer = fakes.producer(one_by_one());
    let values = values(60);
    for delivery in send_all(&producer, &values).await {
        delivery.wait().await.unwrap();
    }
    assert_eq!(fakes.values("orders", 0), values);
}

#[tokio::test]
async fn a_hint_is_followed_without_asking_anybody_else() {
    let fakes = Fakes::start(2).await;
    let producer = fakes.producer(one_by_one());
    send(&producer, "first").await.wait().await.unwrap();
    let asked = fakes.world().metadata_asked;
    fakes.script(1, [Act::Hint(2)]);
    send(&producer, "second").await.wait().await.unwrap();
    send(&producer, "third").await.wait().await.unwrap();
    assert_eq!(fakes.world().metadata_asked, asked);
    assert_eq!(fakes.values("orders", 0), ["first", "second", "third"]);
}

#[tokio::test]
async fn a_leader_that_says_nothing_is_left_when_another_one_is_elected() {
    let fakes = Fakes::start(2).await;
    fakes.script(1, vec![Act::Silence; 5]);
    let producer = fakes.producer(one_by_one());
    let values = values(3);
    let deliveries = send_all(&producer, &values).await;
    fakes.until(|world| world.publishes == 3).await;
    {
        let mut world = fakes.world();
        world.leader = 2;
        world.leader_epoch = 2;
    }
    for delivery in &deliveries {
        delivery.wait().await.unwrap();
    }
    assert_eq!(fakes.values("orders", 0), values);
}

#[tokio::test]
async fn refused_every_time_is_a_failure_that_names_its_cause() {
    let fakes = Fakes::start(1).await;
    fakes.world().otherwise = Some(Act::Refuse(ErrorCode::NotEnoughReplicas));
    let producer = fakes.producer(impatient());
    let error = send(&producer, "v").await.wait().await.unwrap_err();
    assert!(!error.is_outcome_unknown());
    assert!(error.to_string().contains("orders/0"), "{error}");
    assert!(error.to_string().contains("NOT_ENOUGH_REPLICAS"), "{error}");
    assert_eq!(fakes.values("orders", 0), [""; 0]);
}

#[tokio::test]
async fn an_unanswered_attempt_makes_the_outcome_unknown_even_if_all_others_were_refused() {
    for act in [Act::AppendThenCut, Act::Cut, Act::AppendThenRefuse(ErrorCode::OutcomeUnknown)] {
        let fakes = Fakes::start(1).await;
        fakes.script(1, [act]);
        fakes.world().otherwise = Some(Act::Refuse(ErrorCode::NotEnoughReplicas));
        let producer = fakes.producer(impatient());
        let error = send(&producer, "v").await.wait().await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{error}");
    }
}

#[tokio::test]
async fn nobody_to_send_to_is_a_failure_not_an_unknown_outcome() {
    let fakes = Fakes::start(1).await;
    let producer = fakes.producer(impatient());
    send(&producer, "first").await.wait().await.unwrap();
    {
        let mut world = fakes.world();
        world.leader = 0;
        world.leader_epoch = 2;
        world.script.entry(1).or_default().push_back(Act::Refuse(ErrorCode::NoLeader));
    }
    let error = send(&producer, "second").await.wait().await.unwrap_err();
    assert!(matches!(&error, ProduceError::Failed { .. }), "{error}");
    assert!(error.to_string().contains("no leader for orders/0 since"), "{error}");
}

#[tokio::test]
async fn a_batch_that_is_refused_for_good_fails_alone() {
    let fakes = Fakes::start(1).await;
    fakes.script(1, [Act::Refuse(ErrorCode::BadBatch)]);
    let producer = fakes.producer(one_by_one());
    let deliveries = send_all(&producer, &values(4)).await;
    assert_eq!(deliveries[0].wait().await.unwrap_err().code(), Some(ErrorCode::BadBatch));
    for delivery in &deliveries[1..] {
        delivery.wait().await.unwrap();
    }
    assert_eq!(fakes.values("orders", 0), ["v1", "v2", "v3"]);
    let world = fakes.world();
    let epochs = world.log[&("orders".to_owned(), 0)].iter().map(|(header, _)| header.producer_epoch);
    assert!(epochs.max() == Some(ProducerEpoch(1)), "what follows a gap begins a new epoch");
}

#[tokio::test]
async fn without_acks_nobody_answers_and_records_arrive_all_the_same() {
    let fakes = Fakes::start(1).await;
    let producer = fakes.producer(ProducerConfig { acks: Acks::None, ..one_by_one() });
    let delivered = send(&producer, "v").await.wait().await.unwrap();
    assert_eq!(delivered.offset, None);
    fakes.until(|world| world.publishes == 1).await;
    assert_eq!(fakes.values("orders", 0), ["v"]);
}

#[tokio::test]
async fn a_wait_says_why_after_a_second_and_when_it_is_over() {
    let fakes = Fakes::start(1).await;
    fakes.script(1, [Act::Hold]);
    fakes.world().isr = 1;
    let (hook, heard) = Fakes::ears();
    let producer = fakes.producer_with(one_by_one(), hook);
    let delivery = send(&producer, "v").await;
    let said = |heard: &[Event]| {
        heard.iter().any(|event| matches!(event, Event::Waiting { why, .. } if why.contains("ISR 1 < min 2")))
    };
    fakes.until(|_| said(&heard.lock().unwrap())).await;
    fakes.release();
    delivery.wait().await.unwrap();
    let heard = heard.lock().unwrap();
    let Event::Waiting { since, partition, .. } = &heard[0] else { panic!("{heard:?}") };
    assert!(*since >= Duration::from_secs(1));
    assert_eq!(*partition, Some(PartitionIndex(0)));
    assert!(matches!(heard.last(), Some(Event::Resumed { .. })), "{heard:?}");
}

#[tokio::test]
async fn a_topic_is_made_on_the_first_publish_unless_the_brokers_do_not_want_that() {
    let fakes = Fakes::start(1).await;
    let (hook, heard) = Fakes::ears();
    let producer = fakes.producer_with(one_by_one(), hook);
    let record = ProducerRecord { key: Some(b"abc"), value: Some(b"v"), ..ProducerRecord::default() };
    let delivered = producer.send("payments", &record).await.unwrap().wait().await.unwrap();
    assert_eq!(
        delivered.partition,
        PartitionIndex(479_470_107 % 3),
        "the key decides, as with the Java clients"
    );
    assert!(matches!(heard.lock().unwrap()[0], Event::TopicMade { partitions: 3, .. }));

    fakes.world().auto_create_off = true;
    let error = producer.send("order", &record).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopic));
    assert!(error.to_string().contains("orders"), "it names the nearest: {error}");
    let error = producer.send("../etc", &record).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::IllegalTopicName));
    let record = ProducerRecord { partition: Some(PartitionIndex(9)), ..record };
    assert_eq!(producer.send("orders", &record).await.unwrap_err().code(), Some(ErrorCode::UnknownPartition));
}

#[tokio::test]
async fn a_record_larger_than_the_topic_takes_is_refused_before_it_is_sent() {
    let fakes = Fakes::start(1).await;
    let producer = fakes.producer(ProducerConfig::default());
    let value = vec![0; (1 << 20) + 1];
    let record = ProducerRecord { value: Some(&value), ..ProducerRecord::default() };
    assert_eq!(producer.send("orders", &record).await.unwrap_err().code(), Some(ErrorCode::BatchTooLarge));
    assert_eq!(fakes.world().publishes, 0);
}

#[tokio::test]
async fn a_full_buffer_makes_send_wait_until_something_is_acknowledged() {
    let fakes = Fakes::start(1).await;
    fakes.script(1, [Act::Hold]);
    let producer = fakes.producer(ProducerConfig { buffer_bytes: 100, ..one_by_one() });
    let value = "x".repeat(80);
    let first = send(&producer, &value).await;
    fakes.until(|world| world.publishes == 1).await;
    let second = tokio::spawn({
        let (producer, value) = (producer.clone(), value.clone());
        async move { send(&producer, &value).await.wait().await }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished() && first.get().is_none());
    fakes.release();
    first.wait().await.unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn flush_sends_what_lingers_and_close_refuses_what_comes_later() {
    let fakes = Fakes::start(1).await;
    let config = ProducerConfig { linger: Duration::from_secs(3600), ..ProducerConfig::default() };
    let producer = fakes.producer(config);
    let delivery = send(&producer, "v").await;
    producer.flush().await;
    assert!(delivery.get().unwrap().is_ok());
    let clone = producer.clone();
    producer.close().await;
    let record = ProducerRecord { value: Some(b"late"), ..ProducerRecord::default() };
    let error = clone.send("orders", &record).await.unwrap_err();
    assert!(matches!(error, ProduceError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn records_that_come_while_a_batch_is_on_its_way_share_the_next_one() {
    let fakes = Fakes::start(1).await;
    fakes.script(1, [Act::Hold]);
    let config = ProducerConfig { in_flight_max: 1, ..ProducerConfig::default() };
    let producer = fakes.producer(config);
    let first = send(&producer, "first").await;
    fakes.until(|world| world.publishes == 1).await;
    let rest = send_all(&producer, &values(100)).await;
    fakes.release();
    first.wait().await.unwrap();
    for delivery in &rest {
        delivery.wait().await.unwrap();
    }
    assert_eq!(fakes.world().publishes, 2);
    assert_eq!(rest[99].get().unwrap().unwrap().offset, Some(Offset(100)));
}

#[tokio::test]
async fn a_topic_that_comes_to_have_other_partitions_is_sent_to_as_it_is_then() {
    let fakes = Fakes::start(1).await;
    let cluster = Cluster::new(fakes.addresses.clone(), ClientOptions::default());
    let producer = Producer::new(cluster.clone(), one_by_one(), std::sync::Arc::new(|_| {}));
    let to = |partition| ProducerRecord {
        partition: Some(PartitionIndex(partition)),
        value: Some(b"v"),
        ..ProducerRecord::default()
    };
    let becomes = async |partitions| {
        {
            let mut world = fakes.world();
            world.topics[0].1 = partitions;
            world.leader_epoch += 1;
        }
        cluster.metadata(true).await.unwrap();
        let known = async {
            while producer.partitions("orders").await.unwrap() != partitions {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), known).await.expect("it is noticed");
    };
    producer.send("orders", &to(0)).await.unwrap().wait().await.unwrap();
    assert!(producer.send("orders", &to(3)).await.is_err());
    becomes(4).await;
    producer.send("orders", &to(3)).await.unwrap().wait().await.unwrap();
    becomes(2).await;
    let gone = producer.send("orders", &to(3)).await.unwrap_err();
    assert!(matches!(gone, ProduceError::Failed { code: Some(ErrorCode::UnknownPartition), .. }), "{gone}");
    becomes(4).await;
    let delivered = producer.send("orders", &to(3)).await.unwrap().wait().await.unwrap();
    assert_eq!(delivered.offset, Some(Offset(1)), "its numbers go on where they were");
}
