//! Wall clocks that jump.

use crate::harness::{Clocks, Cluster, Publisher, check_kept, until_elapsed};
use std::time::Duration;

const HOUR: i64 = 3600;

#[test]
fn clocks_that_jump_by_an_hour_change_no_leader_and_lose_nothing() {
    let Some(clocks) = Clocks::new() else { return };
    let cluster = Cluster::start_with_clocks(2, "1", clocks);
    cluster.create_topic("orders", 2, 2);
    let publisher = Publisher::start(&cluster, "orders");
    let before = cluster.describe("orders");
    for name in ["coordinator", "b1", "b2"] {
        for seconds in [HOUR, -HOUR, 0] {
            cluster.set_clock(name, seconds);
            // Longer than a lease.
            until_elapsed(Duration::from_millis(1200));
            publisher.goes_on(20);
        }
    }
    // All of them differ.
    for (name, seconds) in [("coordinator", HOUR), ("b1", -HOUR), ("b2", 2 * HOUR)] {
        cluster.set_clock(name, seconds);
    }
    until_elapsed(Duration::from_millis(1200));
    publisher.goes_on(20);
    assert_eq!(cluster.describe("orders"), before, "nobody lost its lease");
    check_kept(&cluster, "orders", &publisher.finish());
}
