//! Leaders that are halted, and leaders that are asked to stop.

use crate::harness::{Cluster, Publisher, check_kept, until};
use rustix::process::Signal;

#[test]
fn a_halted_leader_steps_down_when_it_goes_on_and_returns_to_the_isr() {
    let mut cluster = Cluster::start("1");
    cluster.create_topic("orders", 3, 3);
    let publisher = Publisher::start(&cluster, "orders");
    let before = cluster.describe("orders")[0].clone();
    let leader = before.leader.expect("it has a leader");

    cluster.broker(leader).signal(Signal::STOP);
    let others = cluster.all_but(leader);
    let after = cluster.new_leader(&others, "orders", 0, leader);
    assert!(after.epoch > before.epoch, "{after:?}");
    publisher.goes_on(100);

    cluster.broker(leader).signal(Signal::CONT);
    let own = cluster.address(leader).to_owned();
    until("the halted leader to know of the new one", || {
        let known = cluster.describe_by(&own, "orders")?.first()?.clone();
        (known.epoch >= after.epoch && known.leader != Some(leader)).then_some(())
    });
    cluster.in_sync("orders", 3, 3);
    publisher.goes_on(20);
    check_kept(&cluster, "orders", &publisher.finish());
}

#[test]
fn a_leader_that_is_asked_to_stop_hands_over_and_leaves_a_clean_dir() {
    // No lease runs out within this test: only a handover can change the leader.
    let mut cluster = Cluster::start("600");
    cluster.create_topic("orders", 3, 3);
    let publisher = Publisher::start(&cluster, "orders");
    let leader = cluster.describe("orders")[0].leader.expect("it has a leader");

    let stopping = cluster.take_broker(leader);
    stopping.signal(Signal::TERM);
    let stopped = stopping.finish().expect_code(0).expect_stderr(&["stopped cleanly"]);
    assert!(!stopped.stderr.contains("not everything was handed over"), "{}", stopped.stderr);
    let others = cluster.all_but(leader);
    let partitions = until("the topic to be described", || cluster.describe_by(&others, "orders"));
    for partition in partitions {
        assert!(partition.leader.is_some_and(|now| now != leader), "{partition:?}");
    }
    publisher.goes_on(50);
    cluster.start_broker(leader);
    cluster.in_sync("orders", 3, 3);
    check_kept(&cluster, "orders", &publisher.finish());
}
