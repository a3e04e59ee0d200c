//! `yak coordinator rebuild`, as an operator types it.

use crate::harness::{Cluster, EMBEDDED, Finished, Network, Publisher, Redis, check_kept, until, yak};
use serde_json::Value;

fn rebuild(cluster: &Cluster, dir: &str, more: &[&str]) -> Finished {
    let (dir, brokers) = (cluster.dir(dir), cluster.all());
    let dir = dir.to_str().expect("a readable path");
    yak(&[&["coordinator", "rebuild", "--data", dir, "-b", &brokers], more].concat(), "")
}

#[test]
fn an_operator_makes_a_lost_journal_again() {
    let mut cluster = Cluster::start("1");
    cluster.create_topic("orders", 2, 3);
    let publisher = Publisher::start(&cluster, "orders");
    let before = cluster.describe("orders");
    rebuild(&cluster, "made", &[])
        .expect_code(1)
        .expect_stderr(&["has a session with the coordinator", "second history"]);

    cluster.kill_coordinator();
    std::fs::remove_dir_all(cluster.dir("coordinator")).expect("it is lost");
    until("every broker to have lost the coordinator", || {
        (rebuild(&cluster, "made", &["--dry-run"]).code == Some(0)).then_some(())
    });
    assert!(!cluster.dir("made").exists(), "nothing is made");
    rebuild(&cluster, "b1", &[]).expect_code(2).expect_stderr(&["is not empty"]);
    rebuild(&cluster, "made", &["--without", "b1"]).expect_code(2).expect_stderr(&["that broker answers"]);
    rebuild(&cluster, "made", &["--without", "b9"]).expect_code(2).expect_stderr(&["has no such broker"]);
    let made = rebuild(&cluster, "made", &["--output", "json"]).expect_code(0);
    let made: Value = serde_json::from_str(&made.stdout.join("\n")).expect("it prints JSON");
    assert_eq!(
        (&made["partitions"], &made["recovering"]),
        (&Value::from(2), &Value::Array(Vec::new())),
        "{made}"
    );

    std::fs::rename(cluster.dir("made"), cluster.dir("coordinator")).expect("it is put in its place");
    cluster.start_coordinator();
    cluster.coordinator_found();
    publisher.goes_on(50);
    assert_eq!(cluster.describe("orders"), before, "no election, no other ISR");
    cluster.create_topic("payments", 1, 3);

    // One broker is gone for good as well.
    cluster.kill_coordinator();
    cluster.kill_broker(3);
    rebuild(&cluster, "again", &[]).expect_code(7).expect_stderr(&["b3 at", "must tell what it knows"]);
    let made = rebuild(&cluster, "again", &["--without", "b3", "--dry-run"]).expect_code(0).stdout.join("\n");
    assert!(made.contains("without     b3") && made.contains("rests       "), "{made}");
    cluster.start_coordinator();
    cluster.start_broker(3);
    cluster.in_sync("orders", 2, 3);
    check_kept(&cluster, "orders", &publisher.finish());
}

#[test]
fn a_redis_that_lost_everything_gets_its_journal_back_while_the_brokers_run() {
    let Some(redis) = Redis::start(&[]) else { return };
    let url = format!("redis://{}", redis.address());
    let backend = vec!["--lease-backend".to_owned(), url.clone()];
    let cluster = Cluster::start_within(&Network::default(), EMBEDDED, vec![backend; 2], None);
    cluster.create_topic("orders", 2, 2);
    let publisher = Publisher::start(&cluster, "orders");
    let before = cluster.describe("orders");
    let all = cluster.all();
    let arguments = ["coordinator", "rebuild", "--lease-backend", &url, "-b", &all];
    let rebuild = |more: &[&str]| yak(&[&arguments, more].concat(), "");
    rebuild(&[]).expect_code(1).expect_stderr(&["second history"]);

    // One that has never seen a journal cannot miss it.
    for name in ["b1-coordinator", "b2-coordinator"] {
        until("both coordinators to have seen the journal", || {
            let seen = std::fs::read_to_string(cluster.dir(name).join("redis-seen")).ok()?;
            (seen.contains("sequence ") && !seen.contains("sequence 0")).then_some(())
        });
    }
    redis.tell("FLUSHALL");
    until("every broker to have lost the coordinator", || {
        (rebuild(&["--dry-run"]).code == Some(0)).then_some(())
    });
    assert_eq!(redis.get("coordinator_journal:end"), "", "nothing is made");
    rebuild(&[]).expect_code(0);
    rebuild(&[]).expect_code(1);
    // Those that know what was lost go on from it, with a token above every one before.
    cluster.coordinator_found();
    publisher.goes_on(50);
    cluster.in_sync("orders", 2, 2);
    let leaders = |partitions: Vec<crate::harness::Partition>| -> Vec<_> {
        partitions.into_iter().map(|partition| (partition.leader, partition.epoch)).collect()
    };
    assert_eq!(leaders(cluster.describe("orders")), leaders(before), "no election");
    cluster.create_topic("payments", 1, 2);
    check_kept(&cluster, "orders", &publisher.finish());
}
