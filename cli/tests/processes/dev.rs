//! `yak dev`: a cluster in one process, with commands on its stdin.

use crate::harness::{Process, until, yak};
use rustix::process::Signal;
use std::path::Path;

fn start(data: &Path) -> (Process, String) {
    let data = data.to_str().expect("a temporary folder has a plain name");
    let mut dev = Process::start(&["dev", "--data", data, "--base-port", "0"]);
    let brokers = dev.ready();
    (dev, brokers)
}

/// The leader of partition 0, by the broker's number.
fn leader(brokers: &str) -> Option<u64> {
    let said = yak(&["topic", "describe", "orders", "--output", "json", "-b", brokers], "");
    let said: serde_json::Value = serde_json::from_str(&said.stdout.join("\n")).ok()?;
    let partition = &said[0]["partitions"][0];
    let whole = partition["in_sync"].as_array()?.len() == 3;
    partition["leader"].as_u64().filter(|_| whole)
}

#[test]
fn dev_obeys_its_stdin_and_clients_survive_a_kill() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut dev, brokers) = start(dir.path());
    assert_eq!(brokers.split(',').count(), 3);
    dev.stdout.wait("lines to paste", |line| line.contains("consume orders --from-beginning"));
    yak(&["topic", "create", "orders", "-p", "1", "-b", &brokers], "").expect_code(0);
    let led = until("a leader", || leader(&brokers));

    let mut producer = Process::start(&["produce", "orders", "--output", "json", "-b", &brokers]);
    let consumer = Process::start(&["consume", "orders", "--from-beginning", "-b", &brokers]);
    producer.type_line("before");
    consumer.stdout.wait("the first record", |line| line == "before");
    dev.type_line(&format!("kill {led}"));
    dev.stdout.wait("the kill", |line| line == format!("killed broker {led}"));
    producer.type_line("after");
    consumer.stdout.wait("a record of the next leader", |line| line == "after");

    dev.type_line(&format!("kill {led}"));
    dev.stdout.wait("a refusal", |line| line.contains("error") && line.contains("does not run"));
    dev.type_line("kill 9");
    dev.stdout.wait("a refusal", |line| line.contains("there is no broker 9"));
    dev.type_line("dance");
    dev.stdout.wait("a refusal", |line| line.contains("`dance` is not known here"));
    dev.type_line(&format!("start {led}"));
    dev.stdout.wait("the start", |line| line == format!("started broker {led}"));
    until("all replicas to be in sync", || leader(&brokers));
    producer.type_line("at last");
    consumer.stdout.wait("the last record", |line| line == "at last");
    let produced = producer.finish().expect_code(0);
    assert_eq!(produced.stdout.len(), 3);
    assert_eq!(consumer.stdout.all(), ["before", "after", "at last"]);
    consumer.signal(Signal::INT);
    consumer.finish().expect_code(130);

    dev.type_line("quit");
    dev.finish().expect_code(0);
}

#[test]
fn dev_ends_cleanly_on_sigterm_keeps_its_data_and_clean_deletes_only_that() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("mine.txt"), "kept").expect("it can be written");
    let (dev, brokers) = start(dir.path());
    yak(&["produce", "orders", "-b", &brokers], "one\ntwo\n").expect_code(0);
    dev.signal(Signal::TERM);
    dev.finish().expect_code(0);

    let (mut dev, brokers) = start(dir.path());
    let read = yak(&["consume", "orders", "-e", "-b", &brokers], "").expect_code(0);
    let mut lines = read.stdout;
    lines.sort();
    assert_eq!(lines, ["one", "two"]);
    // Its stdin ends: it runs on, as it must when a script started it.
    drop(dev.stdin.take());
    yak(&["topic", "list", "-b", &brokers], "").expect_code(0);
    dev.signal(Signal::INT);
    dev.finish().expect_code(0);

    let data = dir.path().to_str().expect("a plain name");
    let mut dev = Process::start(&["dev", "--data", data, "--base-port", "0", "--nodes", "1", "--clean"]);
    let brokers = dev.ready();
    yak(&["consume", "orders", "-e", "-b", &brokers], "").expect_code(4);
    dev.type_line("quit");
    dev.finish().expect_code(0);
    assert_eq!(std::fs::read_to_string(dir.path().join("mine.txt")).expect("it is there"), "kept");
}
