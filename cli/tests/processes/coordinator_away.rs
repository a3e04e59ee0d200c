//! The coordinator is killed or halted while records are published and read.

use crate::harness::{
    Cluster, Partition, Process, Publisher, check_kept, check_kept_beside, until, until_elapsed,
};
use rustix::process::Signal;
use std::time::Duration;

fn epochs(partitions: &[Partition]) -> Vec<(Option<usize>, u64)> {
    partitions.iter().map(|partition| (partition.leader, partition.epoch)).collect()
}

#[test]
fn without_a_coordinator_publishing_and_reading_go_on_and_with_it_leaders_change_again() {
    let mut cluster = Cluster::start("1");
    cluster.create_topic("orders", 3, 3);
    let publisher = Publisher::start(&cluster, "orders");
    let before = epochs(&cluster.describe("orders"));
    let all = cluster.all();
    let reader = Process::start(&["consume", "orders", "--from-beginning", "-f", "%s\\n", "-b", &all]);

    cluster.kill_coordinator();
    publisher.goes_on(100);
    // Longer than a lease: nobody needs one to publish.
    until_elapsed(Duration::from_secs(2));
    publisher.goes_on(100);
    let read = reader.stdout.all().len();
    until("reading to go on", || (reader.stdout.all().len() > read + 100).then_some(()));
    // A producer needs a producer id, which the brokers have in store; 0 is no number of the publisher.
    let late = cluster.yak(&["produce", "orders", "-K", ":", "--output", "json"], "key0:0\n").expect_code(0);
    assert_eq!(late.stdout.len(), 1, "{late:?}");
    assert_eq!(epochs(&cluster.describe("orders")), before);

    cluster.start_coordinator();
    cluster.coordinator_found();
    until_elapsed(Duration::from_secs(2));
    assert_eq!(epochs(&cluster.describe("orders")), before, "healthy partitions keep their leader epochs");

    let leader = before[0].0.expect("it has a leader");
    cluster.kill_broker(leader);
    let others = cluster.all_but(leader);
    let now = cluster.new_leader(&others, "orders", 0, leader);
    assert!(now.epoch > before[0].1, "{now:?}");
    publisher.goes_on(100);
    cluster.start_broker(leader);
    cluster.in_sync("orders", 3, 3);
    check_kept_beside(&cluster, "orders", &publisher.finish(), &["0"]);
}

#[test]
fn a_coordinator_that_halts_for_three_leases_changes_no_leader() {
    let mut cluster = Cluster::start("1");
    cluster.create_topic("orders", 3, 3);
    let publisher = Publisher::start(&cluster, "orders");
    let before = epochs(&cluster.describe("orders"));

    cluster.coordinator().signal(Signal::STOP);
    until_elapsed(Duration::from_secs(3));
    publisher.goes_on(50);
    cluster.coordinator().signal(Signal::CONT);
    cluster.coordinator_found();
    publisher.goes_on(50);
    // Whoever had not renewed its lease by now would be given up.
    until_elapsed(Duration::from_secs(2));
    let after = cluster.in_sync("orders", 3, 3);
    assert_eq!(epochs(&after), before);
    check_kept(&cluster, "orders", &publisher.finish());
}
