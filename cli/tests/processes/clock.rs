//! Wall clocks that jump.

use crate::harness::{
    Clocks, Cluster, EMBEDDED, Network, Process, Publisher, Redis, check_kept, until, until_elapsed,
};
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

#[test]
fn clients_whose_clocks_jump_by_an_hour_lose_nothing() {
    let Some(clocks) = Clocks::new() else { return };
    let cluster = Cluster::start_with(2, "3");
    cluster.create_topic("orders", 2, 2);
    let publisher = Publisher::start_with(&cluster, "orders", &clocks.environment("producer"));
    let all = cluster.all();
    let reads = ["consume", "orders", "--from-beginning", "-b", &all];
    let consumer = Process::start_with(&reads, &clocks.environment("consumer"));
    let read = || consumer.stdout.all().len();
    until("the first records to be read", || (read() > 0).then_some(()));
    for name in ["producer", "consumer"] {
        for seconds in [HOUR, -HOUR, 0] {
            clocks.set(name, seconds);
            publisher.goes_on(50);
            let wanted = publisher.acknowledged();
            until("everything so far to be read", || (read() >= wanted).then_some(()));
        }
    }
    let acknowledged = publisher.finish();
    until("everything to be read", || (read() >= acknowledged.len()).then_some(()));
    assert_eq!(read(), acknowledged.len(), "nothing is read twice");
    check_kept(&cluster, "orders", &acknowledged);
}

#[test]
fn a_redis_whose_clock_jumps_by_an_hour_costs_a_failover_at_most() {
    let Some(clocks) = Clocks::new() else { return };
    let Some(redis) = Redis::start(&clocks.environment("redis")) else { return };
    let backend = ["--lease-backend".to_owned(), format!("redis://{}", redis.address())];
    let mut cluster = Cluster::start_within(&Network::default(), EMBEDDED, vec![backend.to_vec(); 2], None);
    cluster.create_topic("orders", 2, 2);
    let publisher = Publisher::start(&cluster, "orders");
    // The clock does move: the lease of whoever is active is over, and taken again.
    let token = || redis.get("leader_lease:token");
    let before = token();
    clocks.set("redis", HOUR);
    until("the lease to be over", || (token() != before).then_some(()));
    publisher.goes_on(50);
    // Back again. Whoever is active goes on.
    clocks.set("redis", 0);
    publisher.goes_on(50);
    cluster.in_sync("orders", 2, 2);
    // Back by an hour, and the holder dies before it can renew what is now an hour long.
    let holder = redis.get("leader_lease");
    let n = if holder == "b1" { 1 } else { 2 };
    cluster.broker(n).signal(rustix::process::Signal::STOP);
    clocks.set("redis", -HOUR);
    cluster.kill_broker(n);
    publisher.goes_on(50);
    until("the other one to hold the lease", || (redis.get("leader_lease") != holder).then_some(()));
    cluster.start_broker(n);
    cluster.in_sync("orders", 2, 2);
    check_kept(&cluster, "orders", &publisher.finish());
}
