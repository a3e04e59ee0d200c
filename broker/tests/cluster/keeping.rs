//! What a topic keeps: old records go by age, by size and on request, everywhere; and settings change.

use crate::harness::{Client, Cluster, eventually};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{
    AlterTopic, AlterTopicReply, CreateTopic, DeleteRecords, DeleteRecordsReply, PlainRecord, Publish,
    SettingChange, TopicConfig,
};
use yak_protocol::net::RequestError;

/// Brokers that look after retention all the time, by a clock that the test sets.
#[derive(Clone, Default)]
struct Clock {
    ms: Arc<AtomicI64>,
    /// How often each broker has asked.
    looks: Arc<[AtomicUsize; 3]>,
}

impl Clock {
    async fn cluster(&self, brokers: usize) -> Cluster {
        let clock = self.clone();
        Cluster::start_with(brokers, move |number, mut config| {
            let clock = clock.clone();
            config.retention_check = Duration::from_millis(10);
            config.wall_clock = Arc::new(move || {
                clock.looks[number].fetch_add(1, Ordering::Relaxed);
                clock.ms.load(Ordering::Relaxed)
            });
            config
        })
        .await
    }

    fn pass(&self, ms: i64) {
        self.ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Waits until every broker has looked a few times since.
    async fn looked(&self, brokers: usize) {
        let now = || self.looks.iter().take(brokers).map(|looks| looks.load(Ordering::Relaxed));
        let before: Vec<usize> = now().collect();
        eventually("everybody has looked", || async {
            now().zip(&before).all(|(now, before)| now > before + 5).then_some(())
        })
        .await;
    }
}

async fn topic(cluster: &Cluster, replicas: u32, config: TopicConfig) {
    let create = CreateTopic {
        topic: "orders".into(),
        partitions: Some(1),
        replicas: Some(replicas),
        config,
        ..CreateTopic::default()
    };
    cluster.topic_with(create).await;
    let all = replicas as usize;
    cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == all).await;
}

/// So many batches of about 300 bytes, all of them of the first second of 1970.
async fn fill(client: &Client, count: usize) {
    let value = "x".repeat(230);
    for _ in 0..count {
        eventually("acknowledged", || async { client.publish("orders", 0, &[&value]).await.ok() }).await;
    }
}

async fn log_start(client: &Client) -> u64 {
    eventually("the leader says", || async { client.offsets("orders", 0).await.ok() }).await.log_start.0
}

async fn delete(client: &Client, ask: DeleteRecords) -> Result<DeleteRecordsReply, ErrorCode> {
    let ask = DeleteRecords { topic: "orders".into(), ..ask };
    client.request(&ask).await.map_err(|error| match error {
        RequestError::Refused(error) => error.code,
        other => panic!("the connection was lost: {other}"),
    })
}

/// The bases of the segments that a broker has on disk.
fn segments(data: &Path) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut folders = vec![data.join("topics")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let log = path.extension().is_some_and(|extension| extension == "log");
            match path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) {
                Some(base) if log => drop(found.insert(base)),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_segments_go_by_age_on_every_replica_and_a_clock_that_jumps_takes_nothing() {
    let clock = Clock::default();
    let mut cluster = clock.cluster(3).await;
    let config = TopicConfig { retention_ms: 60_000, segment_bytes: 1024, ..TopicConfig::default() };
    topic(&cluster, 3, config).await;
    let client = cluster.leader_client("orders", 0).await;
    fill(&client, 12).await;
    clock.looked(3).await;
    // By records of 1970 a year is very old; but no clock goes that fast.
    clock.pass(365 * 24 * 3_600_000);
    clock.looked(3).await;
    assert_eq!(log_start(&client).await, 0);
    for number in 0..3 {
        eventually("it is written to several segments", || async {
            (segments(cluster.data_of(number)).len() >= 4).then_some(())
        })
        .await;
    }
    drop(client);
    // After a restart the clocks are believed, and a minute is long enough.
    for number in 0..3 {
        cluster.kill_broker(number).await;
    }
    clock.pass(-365 * 24 * 3_600_000);
    for number in 0..3 {
        cluster.start_broker(number).await;
    }
    let client = cluster.leader_client("orders", 0).await;
    fill(&client, 1).await;
    assert_eq!(log_start(&client).await, 0);
    clock.pass(60_002);
    eventually("all is gone", || async { (log_start(&client).await == 13).then_some(()) }).await;
    fill(&client, 1).await;
    for number in 0..3 {
        eventually("every replica drops its files", || async {
            let kept = segments(cluster.data_of(number));
            kept.iter().all(|base| *base >= 13).then_some(())
        })
        .await;
    }
    assert_eq!(
        client.consume("orders", 0, 5, 0).await.0.error.expect("gone").code,
        ErrorCode::OffsetOutOfRange
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_segments_go_when_there_are_too_many_bytes_and_others_stay() {
    let clock = Clock::default();
    let cluster = clock.cluster(1).await;
    let config = TopicConfig { retention_bytes: 2500, segment_bytes: 1024, ..TopicConfig::default() };
    topic(&cluster, 1, config).await;
    let client = cluster.leader_client("orders", 0).await;
    fill(&client, 30).await;
    // Three batches make a segment of 900 bytes: three segments are more than 2500, two are not.
    eventually("old ones are gone", || async { (log_start(&client).await == 21).then_some(()) }).await;
    clock.looked(1).await;
    assert_eq!(log_start(&client).await, 21);
    assert_eq!(client.read_all_from("orders", 0, 21).await.len(), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_takes_appends_is_closed_at_its_age() {
    let clock = Clock::default();
    let cluster = clock.cluster(1).await;
    let config = TopicConfig { retention_ms: -1, segment_ms: 60_000, ..TopicConfig::default() };
    topic(&cluster, 1, config).await;
    let client = cluster.leader_client("orders", 0).await;
    fill(&client, 2).await;
    clock.looked(1).await;
    clock.pass(60_001);
    clock.looked(1).await;
    fill(&client, 1).await;
    eventually("there are two", || async {
        (segments(cluster.data_of(0)) == BTreeSet::from([0, 2])).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_deleted_up_to_an_offset_or_a_time_and_stay_deleted() {
    let mut cluster = Cluster::start(3).await;
    topic(&cluster, 3, TopicConfig::default()).await;
    let client = cluster.leader_client("orders", 0).await;
    fill(&client, 6).await;
    client.publish("orders", 0, &["a", "b", "c", "d"]).await.expect("acknowledged");
    let before = |offset| DeleteRecords { before: Some(Offset(offset)), ..DeleteRecords::default() };
    let dry = delete(&client, DeleteRecords { dry_run: true, ..before(3) }).await.expect("it could be");
    assert_eq!((dry.was, dry.log_start, dry.high_watermark), (Offset(0), Offset(3), Offset(10)));
    assert_eq!(log_start(&client).await, 0);
    let done = delete(&client, before(3)).await.expect("deleted");
    assert_eq!((done.was, done.log_start), (Offset(0), Offset(3)));
    assert_eq!(log_start(&client).await, 3);
    // Whole batches: the one that holds the first record to keep stays.
    assert_eq!(delete(&client, before(8)).await.expect("deleted").log_start, Offset(6));
    assert_eq!(delete(&client, before(2)).await.expect("nothing to do").log_start, Offset(6));
    assert_eq!(delete(&client, before(11)).await, Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(delete(&client, DeleteRecords::default()).await, Err(ErrorCode::BadRequest));
    // Asked of a broker that does not lead; and the followers know.
    let leader = cluster.leader("orders", 0).await;
    let other = cluster.client((leader + 1) % 3).await;
    assert_eq!(delete(&other, before(6)).await, Err(ErrorCode::NotLeader));
    let at = DeleteRecords { before_ms: Some(1), forward: true, ..DeleteRecords::default() };
    assert_eq!(delete(&other, at).await.expect("all are of that time").log_start, Offset(6));
    fill(&client, 1).await;
    cluster.kill_broker(leader).await;
    let client = cluster.leader_client("orders", 0).await;
    assert_eq!(log_start(&client).await, 6);
    let late = DeleteRecords { before_ms: Some(2), ..DeleteRecords::default() };
    let late = eventually("it leads", || async { delete(&client, late.clone()).await.ok() }).await;
    assert_eq!((late.was, late.log_start), (Offset(6), Offset(11)), "none is that young: all go");
    fill(&client, 1).await;
    assert_eq!(client.read_all_from("orders", 0, 11).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_while_records_were_deleted_begins_where_the_log_does() {
    let mut cluster = Cluster::start(3).await;
    topic(&cluster, 3, TopicConfig::default()).await;
    let client = cluster.leader_client("orders", 0).await;
    fill(&client, 2).await;
    let leader = cluster.leader("orders", 0).await;
    let away = (leader + 1) % 3;
    cluster.kill_broker(away).await;
    fill(&client, 4).await;
    let all = DeleteRecords { before: Some(Offset(5)), ..DeleteRecords::default() };
    assert_eq!(delete(&client, all).await.expect("deleted").log_start, Offset(5));
    cluster.start_broker(away).await;
    cluster.partition_when("it is back", "orders", 0, |info| info.isr.len() == 3).await;
    fill(&client, 1).await;
    eventually("it has what is left, and nothing else", || async {
        segments(cluster.data_of(away)).iter().all(|base| *base >= 5).then_some(())
    })
    .await;
}

async fn alter(client: &Client, set: &[(&str, &str)], partitions: Option<u32>) -> AlterTopicReply {
    let set = set.iter().map(|(name, value)| SettingChange((*name).to_owned(), Some((*value).to_owned())));
    let alter = AlterTopic { topic: "orders".into(), set: set.collect(), partitions, dry_run: false };
    client.request(&alter).await.expect("altered")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_grows_and_every_key_stays_where_it_is() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 3, 1).await;
    let client = cluster.leader_client("orders", 0).await;
    let place = async |key: u32| {
        let key = Some(serde_bytes::ByteBuf::from(key.to_be_bytes()));
        let records = vec![PlainRecord { key, ..PlainRecord::default() }];
        let publish = Publish { topic: Some("orders".into()), records, ..Publish::default() };
        eventually("acknowledged", || async {
            let results = client.request(&publish).await.ok()?.results;
            results[0].ack.clone().map(|_| results[0].partition)
        })
        .await
    };
    let mut before = Vec::new();
    for key in 0..50 {
        before.push(place(key).await);
    }
    let grown = alter(&client, &[], Some(7)).await;
    assert_eq!((grown.topic.partitions, grown.changed), (7, vec!["partitions".to_owned()]));
    for key in 0..50 {
        assert_eq!(place(key).await, before[key as usize], "key {key}");
    }
    assert!(before.iter().all(|partition| *partition < PartitionIndex(3)));
    let new = eventually("the new ones lead", || async { client.publish("orders", 6, &["new"]).await.ok() });
    assert_eq!(new.await.offset, Some(Offset(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn min_isr_and_other_settings_change_while_records_come() {
    let mut cluster = Cluster::start(3).await;
    topic(&cluster, 3, TopicConfig::default()).await;
    let client = cluster.leader_client("orders", 0).await;
    fill(&client, 1).await;
    let leader = cluster.leader("orders", 0).await;
    for number in (0..3).filter(|number| *number != leader) {
        cluster.kill_broker(number).await;
    }
    cluster.partition_when("one is left", "orders", 0, |info| info.isr.len() == 1).await;
    let refused = client.publish("orders", 0, &["too few"]).await.expect_err("two are needed");
    assert_eq!(refused.code, ErrorCode::NotEnoughReplicas);
    let altered = alter(&client, &[("min_isr", "1"), ("batch_bytes_max", "200")], None).await;
    assert_eq!(altered.changed, ["batch_bytes_max", "min_isr"]);
    let info = cluster.partition_when("it is told", "orders", 0, |info| info.min_isr == 1).await;
    assert_eq!((info.isr.len(), info.elr.len()), (1, 0));
    eventually("one is enough", || async { client.publish("orders", 0, &["alone"]).await.ok() }).await;
    let long = "x".repeat(300);
    let refused = client.publish("orders", 0, &[&long]).await.expect_err("too large now");
    assert_eq!(refused.code, ErrorCode::BatchTooLarge);
    alter(&client, &[("min_isr", "3")], None).await;
    for number in (0..3).filter(|number| *number != leader) {
        cluster.start_broker(number).await;
    }
    cluster.partition_when("all are needed", "orders", 0, |info| info.min_isr == 3).await;
}
