//! Everything ends at once.

use crate::harness::{Cluster, Publisher, check_kept};

#[test]
fn every_process_is_killed_at_once_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start("1");
    cluster.create_topic("orders", 3, 3);
    let publisher = Publisher::start(&cluster, "orders");
    publisher.goes_on(300);
    for _ in 0..2 {
        cluster.kill_coordinator();
        (1..=3).for_each(|n| cluster.kill_broker(n));
        cluster.start_coordinator();
        (1..=3).for_each(|n| cluster.launch_broker(n));
        (1..=3).for_each(|n| cluster.broker_ready(n));
        cluster.in_sync("orders", 3, 3);
        publisher.goes_on(100);
    }
    check_kept(&cluster, "orders", &publisher.finish());
}
