//! `yak produce`, `consume`, `topic`, `cluster` and `broker list` against a real cluster.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cluster;

use cluster::{Dev, Talk};
use rustix::process::Signal;
use serde_json::Value;

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Which broker of `yak dev` leads the topic's only partition: the N of its name, bN.
fn leader_of(dev: &Dev, topic: &str) -> String {
    let description = json(&dev.ok(&["topic", "describe", topic, "--output", "json"], ""));
    let leader = &description[0]["partitions"][0]["leader"];
    let brokers = json(&dev.ok(&["broker", "list", "--output", "json"], ""));
    let broker = brokers.as_array().unwrap().iter().find(|broker| broker["id"] == *leader).unwrap();
    broker["name"].as_str().unwrap().trim_start_matches('b').to_owned()
}

#[test]
fn what_is_published_is_read_in_every_form() {
    let dev = Dev::start(1);
    dev.ok(&["topic", "create", "t", "-p", "1"], "");
    let acks = dev.ok(&["produce", "t", "--output", "json"], "plain\n\nlast without newline");
    let offsets: Vec<_> = json_lines(&acks).iter().map(|ack| ack["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, [0, 1, 2]);
    dev.ok(&["produce", "t", "-K", ":", "-H", "a=1", "-H", "b:2", "-z", "zstd"], "key:val:ue\n");
    dev.ok(&["produce", "t", "-Z", "-k", "gone"], "\n");
    dev.ok(&["produce", "t", "-D", ";", "-p", "0"], "x;y");

    let all = dev.ok(&["consume", "t", "-e"], "");
    assert_eq!(all, "plain\n\nlast without newline\nval:ue\n\nx\ny\n");
    let formatted =
        dev.ok(&["consume", "t", "-o", "3", "-n", "2", "-Z", "-f", r"%t/%p@%o %k=%s (%h) %S\n"], "");
    assert_eq!(formatted, "t/0@3 key=val:ue (a=1,b=2) 6\nt/0@4 gone=NULL () -1\n");
    let lines = json_lines(&dev.ok(&["consume", "t", "-o", "-4", "-n", "1", "-J"], ""));
    assert_eq!(lines[0]["payload"], "val:ue");
    assert_eq!(lines[0]["key"], "key");
    assert_eq!(lines[0]["headers"], serde_json::json!(["a", "1", "b", "2"]));
    assert_eq!(dev.ok(&["consume", "t", "-o", "+5", "-e", "-f", "%s{hex} "], ""), "78 79 ");
    assert_eq!(dev.ok(&["consume", "t", "-o", "beginning", "-o", "e@2020-01-01", "-f", "%o "], ""), "");
    assert_eq!(
        dev.ok(&["consume", "t", "--since", "2h", "-e", "-K", "=>"], "").lines().nth(3),
        Some("key=>val:ue")
    );
}

#[test]
fn rows_of_a_csv_file_become_objects_with_a_key() {
    let dev = Dev::start(1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.csv");
    std::fs::write(&file, "id;name\n7;\"Ann; B\"\n8;Bob\n").unwrap();
    let file = file.to_str().unwrap();
    dev.ok(&["produce", "people", "--csv", file, "--key-field", "id"], "");
    let mut read: Vec<_> =
        dev.ok(&["consume", "people", "-e", "-f", r"%k %s\n"], "").lines().map(str::to_owned).collect();
    read.sort();
    assert_eq!(read, [r#"7 {"id":"7","name":"Ann; B"}"#, r#"8 {"id":"8","name":"Bob"}"#]);
    let said = dev.fails(2, &["produce", "people", "--csv", file, "--key-field", "mail"], "");
    assert!(said.contains("id, name"), "{said}");
}

#[test]
fn topics_are_made_listed_described_and_deleted() {
    let dev = Dev::start(3);
    let table = dev.ok(&["topic", "create", "orders", "payments", "-p", "2"], "");
    assert!(table.starts_with("TOPIC"), "{table}");
    assert!(table.contains("made: 2 partitions, 3 replicas"), "{table}");
    let said = dev.fails(1, &["topic", "create", "orders"], "");
    assert!(said.contains("TOPIC_EXISTS"), "{said}");
    dev.ok(&["topic", "create", "orders", "--if-not-exists"], "");
    dev.fails(2, &["topic", "create", "../etc"], "");

    let list = json(&dev.ok(&["topic", "list", "--output", "json"], ""));
    let names: Vec<_> =
        list.as_array().unwrap().iter().map(|topic| topic["topic"].as_str().unwrap()).collect();
    assert_eq!(names, ["orders", "payments"]);
    let words = dev.ok(&["topic", "describe", "orders"], "");
    assert!(words.contains("survives the loss of 1 broker without losing records"), "{words}");
    assert!(words.contains("publishing stops below 2 in-sync replicas"), "{words}");
    let said = dev.fails(4, &["topic", "describe", "order"], "");
    assert!(said.contains("did you mean orders?"), "{said}");

    dev.ok(&["topic", "delete", "payments"], "");
    let said = dev.fails(4, &["topic", "delete", "payments"], "");
    assert!(said.contains("no such topic"), "{said}");
    assert!(!dev.ok(&["topic", "list"], "").contains("payments"));
}

#[test]
fn the_cluster_says_who_is_there() {
    let dev = Dev::start(3);
    let info = json(&dev.ok(&["cluster", "info", "--output", "json"], ""));
    assert_eq!(info["brokers"], 3);
    assert_eq!(info["brokers_serving"], 3);
    assert_eq!(info["troubles"], serde_json::json!([]));
    assert!(dev.ok(&["cluster", "info"], "").contains("health       ok"));
    let brokers = json(&dev.ok(&["broker", "list", "--output", "json"], ""));
    let mut addresses: Vec<_> =
        brokers.as_array().unwrap().iter().map(|b| b["address"].as_str().unwrap()).collect();
    let mut expected: Vec<_> = dev.brokers.split(',').collect();
    addresses.sort_unstable();
    expected.sort_unstable();
    assert_eq!(addresses, expected);
    assert!(dev.ok(&["broker", "list"], "").contains("serving"));
}

#[test]
fn a_consumer_follows_and_ends_with_130_on_ctrl_c() {
    let dev = Dev::start(1);
    dev.ok(&["produce", "t"], "old\n");
    let mut consumer = Talk::start(dev.yak(&["consume", "t", "-v"]));
    let note = consumer.noted("earlier record");
    assert!(note.contains("--from-beginning would show 1 earlier record"), "{note}");
    // Where it begins is found out by asking, so what comes next may still be too early for it.
    let reading = std::thread::spawn(move || {
        let line = consumer.line();
        (consumer, line)
    });
    while !reading.is_finished() {
        dev.ok(&["produce", "t"], "new\n");
    }
    let (consumer, line) = reading.join().unwrap();
    assert_eq!(line, "new");
    consumer.signal(Signal::INT);
    assert_eq!(consumer.finish().0, Some(130));
}

#[test]
fn a_topic_that_does_not_exist_is_waited_for_or_made() {
    let dev = Dev::start(1);
    dev.ok(&["topic", "create", "orders"], "");
    let mut waiting = Talk::start(dev.yak(&["consume", "order", "--from-beginning", "-n", "1"]));
    let note = waiting.noted("no topic order yet");
    assert!(note.contains("--create") && note.contains("orders"), "{note}");
    dev.ok(&["produce", "order"], "found\n");
    assert_eq!(waiting.line(), "found");
    assert_eq!(waiting.finish().0, Some(0));

    assert_eq!(dev.ok(&["consume", "made", "--create", "-e"], ""), "");
    assert!(dev.ok(&["topic", "list"], "").contains("made"));
    let said = dev.fails(4, &["consume", "mad", "-e"], "");
    assert!(said.contains("did you mean") && said.contains("made"), "{said}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let dev = Dev::start(1);
    let lines: String = (0..50_000).map(|number| format!("{number}\n")).collect();
    dev.ok(&["topic", "create", "t", "-p", "1"], "");
    dev.ok(&["produce", "t"], &lines);
    let mut consumer = Talk::start(dev.yak(&["consume", "t", "--from-beginning"]));
    assert_eq!(consumer.line(), "0");
    assert_eq!(consumer.hang_up(), (Some(0), String::new()));
    let said = dev.fails(1, &["consume", "t", "-n", "1", "--timeout", "100ms"], "");
    assert!(said.contains("only 0 of 1 record"), "{said}");
}

#[test]
fn leaders_that_die_while_publishing_lose_repeat_and_reorder_nothing() {
    let mut dev = Dev::start(3);
    dev.ok(&["topic", "create", "t", "-p", "1"], "");
    let mut producer = Talk::start(dev.yak(&["produce", "t", "--output", "json"]));
    let mut sent = Vec::new();
    for round in 0..4 {
        let lines: Vec<_> = (0..500).map(|number| format!("{round}-{number}")).collect();
        producer.write(&(lines.join("\n") + "\n"));
        sent.extend(lines);
        if round == 3 {
            break;
        }
        // In the middle of the round its leader dies; it is back for the next one.
        let leader = leader_of(&dev, "t");
        dev.say(&format!("kill {leader}"));
        for _ in 0..500 {
            assert!(json(&producer.line())["offset"].is_u64());
        }
        dev.say(&format!("start {leader}"));
    }
    for _ in 0..500 {
        assert!(json(&producer.line())["offset"].is_u64());
    }
    assert_eq!(producer.finish().0, Some(0));
    let read = dev.ok(&["consume", "t", "-e"], "");
    assert_eq!(read.lines().collect::<Vec<_>>(), sent);
}

#[test]
fn records_without_an_answer_end_with_exit_code_6() {
    let dev = Dev::start(1);
    dev.ok(&["topic", "create", "t", "-p", "1"], "");
    let mut producer =
        Talk::start(dev.yak(&["produce", "t", "--output", "json", "-X", "delivery_timeout_ms=500"]));
    producer.write("answered\n");
    assert_eq!(json(&producer.line())["offset"], 0);
    dev.freeze();
    producer.write("unanswered\n");
    let (code, said) = producer.finish();
    dev.thaw();
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("line 2") && said.contains("may or may not have been written"), "{said}");
}

#[test]
fn bench_measures_a_running_cluster_and_leaves_nothing_behind() {
    let dev = Dev::start(1);
    let report = json(&dev.ok(&["bench", "--records", "2000", "--size", "50", "--json"], ""));
    let modes: Vec<_> =
        report["results"].as_array().unwrap().iter().map(|r| r["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["produce", "consume", "latency", "end-to-end"]);
    for result in report["results"].as_array().unwrap() {
        assert_eq!(
            (result["records"].as_u64(), result["failed"].as_u64()),
            (Some(2000), Some(0)),
            "{result}"
        );
    }
    assert_eq!(report["parameters"]["size_bytes"], 50);
    assert_eq!(dev.ok(&["topic", "list", "--output", "json"], "").trim(), "[]");
}
