//! Wall clocks that jump.

use crate::harness::{Clocks, Cluster, Publisher, check_kept, until_elapsed};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// How far the clock of the process there is ahead of this one's, as the time that it gives a line of its log shows.
fn ahead(address: &str) -> i64 {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"LEVEL yak info\nLOG 1\nQUIT\n").expect("it takes lines");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in words");
    let line =
        answer.lines().find(|line| line.contains("changed by hand")).expect("it has changed the level");
    let time =
        line.split_whitespace().find_map(|word| word.split_once('T')?.1.get(..8)).expect("it has a time");
    let seconds = time.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().expect("a number"));
    let own = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs();
    let own = i64::try_from(own).expect("it is not that late") % DAY;
    (seconds - own + DAY + DAY / 2) % DAY - DAY / 2
}

/// As far as a test can be sure of it: it is slow at times.
fn is_about(found: i64, wanted: i64) -> bool {
    (found - wanted).abs() < HOUR / 4
}

#[test]
fn clocks_that_jump_by_an_hour_change_no_leader_and_lose_nothing() {
    let Some(clocks) = Clocks::new() else { return };
    let cluster = Cluster::start_with_clocks(2, "3", clocks);
    cluster.create_topic("orders", 2, 2);
    // The clocks do move.
    for address in [cluster.coordinator_address(), cluster.address(1)] {
        assert!(is_about(ahead(address), 0), "{address}: {} s", ahead(address));
    }
    for (name, address) in [("coordinator", cluster.coordinator_address()), ("b1", cluster.address(1))] {
        cluster.set_clock(name, -2 * HOUR);
        assert!(is_about(ahead(address), -2 * HOUR), "{address}: {} s", ahead(address));
        cluster.set_clock(name, 0);
    }
    let publisher = Publisher::start(&cluster, "orders");
    let before = cluster.describe("orders");
    for name in ["coordinator", "b1", "b2"] {
        for seconds in [HOUR, -HOUR, 0] {
            cluster.set_clock(name, seconds);
            // Longer than a lease.
            until_elapsed(Duration::from_millis(3500));
            publisher.goes_on(20);
        }
    }
    // All of them differ.
    for (name, seconds) in [("coordinator", HOUR), ("b1", -HOUR), ("b2", 2 * HOUR)] {
        cluster.set_clock(name, seconds);
    }
    until_elapsed(Duration::from_millis(3500));
    publisher.goes_on(20);
    assert_eq!(cluster.describe("orders"), before, "nobody lost its lease");
    check_kept(&cluster, "orders", &publisher.finish());
}
