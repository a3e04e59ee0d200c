//! Every record once, whoever dies while it is published, and whoever publishes it again.

use crate::harness::{Cluster, Publisher, Record, check_kept, until};
use serde_json::Value;

/// Ten times the leader of a partition is killed while lines are published to three of them.
#[test]
fn a_bulk_publish_interrupted_by_ten_leader_kills_holds_every_record_once() {
    let mut cluster = Cluster::start("1");
    cluster.create_topic("orders", 3, 3);
    let publisher = Publisher::start_as(&cluster, "orders", &["--msg-id", "bulk", "-z", "lz4"], &[]);
    for kill in 0..10 {
        let partitions = cluster.in_sync("orders", 3, 3);
        let leader = partitions[kill % 3].leader.expect("it has a leader");
        publisher.goes_on(20);
        cluster.kill_broker(leader);
        publisher.goes_on(20);
        cluster.start_broker(leader);
    }
    cluster.in_sync("orders", 3, 3);
    check_kept(&cluster, "orders", &publisher.finish());
}

/// Connections are cut after a few answers: what was written is not always acknowledged, and comes again.
#[test]
fn a_publish_whose_answers_are_lost_stores_nothing_twice_and_keeps_the_order() {
    let mut cluster = Cluster::start("2");
    cluster.create_topic("orders", 3, 3);
    let proxy = cluster.behind_proxy(&["--cut-after", "to-client=40frames"]);
    cluster.in_sync("orders", 3, 3);
    let publisher = Publisher::start_as(&cluster, "orders", &["--msg-id", "cut"], &[]);
    publisher.goes_on(1000);
    let acknowledged = publisher.finish();
    check_kept(&cluster, "orders", &acknowledged);
    drop(proxy);
}

#[test]
fn the_same_input_published_again_is_stored_once() {
    let mut cluster = Cluster::start("1");
    cluster.create_topic("orders", 3, 3);
    cluster.in_sync("orders", 3, 3);
    let input: String = (0..200).map(|number| format!("{number}\n")).collect();
    let publish = |cluster: &Cluster, codec: &str| -> Vec<(u64, u64, u64)> {
        let arguments = ["produce", "orders", "--msg-id", "load-7", "-z", codec, "--output", "json"];
        let finished = cluster.yak(&arguments, &input).expect_code(0);
        let of = |line: &String| {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            let number = |name: &str| line[name].as_u64().expect("a number");
            (number("number"), number("partition"), number("offset"))
        };
        let mut places: Vec<_> = finished.stdout.iter().map(of).collect();
        places.sort_unstable();
        places
    };
    let first = publish(&cluster, "none");
    assert_eq!(publish(&cluster, "zstd"), first, "where it was the first time");
    let leader = cluster.describe("orders")[0].leader.expect("it has a leader");
    cluster.kill_broker(leader);
    assert_eq!(publish(&cluster, "gzip"), first, "after a failover, too");
    cluster.start_broker(leader);
    cluster.in_sync("orders", 3, 3);
    let records: Vec<Record> = until("the topic to be readable", || {
        let records = cluster.read("orders");
        (records.len() >= 200).then_some(records)
    });
    let mut values: Vec<u64> =
        records.iter().map(|record| record.payload.parse().expect("a number")).collect();
    values.sort_unstable();
    assert_eq!(values, (0..200).collect::<Vec<_>>());
}

/// Two processes of one name: the first is told that the second has taken its place.
#[test]
fn a_named_producer_is_fenced_by_the_next_one_of_its_name() {
    let cluster = Cluster::start("1");
    cluster.create_topic("orders", 1, 3);
    cluster.in_sync("orders", 1, 3);
    let first = Publisher::start_as(&cluster, "orders", &["--name", "shop"], &[]);
    let second =
        cluster.yak(&["produce", "orders", "--name", "shop"], "key:from the second\n").expect_code(0);
    drop(second);
    let fenced = first.fails();
    assert!(fenced.stderr.contains("PRODUCER_FENCED"), "{}", fenced.stderr);
}
