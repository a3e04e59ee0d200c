//! What people type about what a topic keeps: settings, partitions, old records.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cluster;

use cluster::Dev;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Value and origin of a setting, as `get` has them.
fn setting(dev: &Dev, name: &str) -> (String, String) {
    let rows = json(&dev.ok(&["topic", "config", "get", "orders", name, "--output", "json"], ""));
    let text = |key: &str| rows[0][key].as_str().unwrap().to_owned();
    (text("value"), text("origin"))
}

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

#[test]
fn settings_are_shown_changed_and_reset() {
    let dev = Dev::start(1);
    dev.ok(&["topic", "create", "orders", "-c", "retention_ms=30d", "-c", "cleanup=both"], "");
    assert_eq!(setting(&dev, "retention_ms"), pair("2592000000", "topic"));
    assert_eq!(setting(&dev, "segment_bytes"), pair("268435456", "default"));
    let described = dev.ok(&["topic", "describe", "orders"], "");
    assert!(described.contains("set for this topic: cleanup=both, retention_ms=2592000000\n"), "{described}");
    let described = json(&dev.ok(&["topic", "describe", "orders", "--output", "json"], ""));
    assert_eq!(described[0]["config"]["segment_bytes"], 268_435_456);
    let all = dev.ok(&["topic", "config", "get", "orders"], "");
    for name in ["SETTING", "min_isr", "durability", "dedupe_window_ms", "delete_retention_ms"] {
        assert!(all.contains(name), "{all}");
    }
    let set = ["topic", "config", "set", "orders", "retention_ms=-1", "segment_ms=1h"];
    let dry = dev.ok(&[&set[..], &["--dry-run"]].concat(), "");
    assert_eq!(dry, "orders: retention_ms would become -1\norders: segment_ms would become 3600000\n");
    assert_eq!(setting(&dev, "retention_ms"), pair("2592000000", "topic"));
    let set = dev.ok(&set, "");
    assert_eq!(set, "orders: retention_ms is now -1\norders: segment_ms is now 3600000\n");
    assert_eq!(setting(&dev, "retention_ms"), pair("-1", "topic"));
    dev.ok(&["topic", "config", "reset", "orders", "retention_ms", "cleanup"], "");
    assert_eq!(setting(&dev, "retention_ms"), pair("604800000", "default"));
    let nothing = dev.ok(&["topic", "config", "reset", "orders", "retention_ms"], "");
    assert_eq!(nothing, "orders: nothing changes\n");
    let said = dev.fails(2, &["topic", "config", "set", "orders", "retention.ms=1"], "");
    assert!(said.contains("did you mean retention_ms?"), "{said}");
    let said = dev.fails(2, &["topic", "config", "set", "orders", "cleanup=sometimes"], "");
    assert!(said.contains("cleanup takes delete, compact or both"), "{said}");
    let said = dev.fails(2, &["topic", "create", "more", "-c", "cleanup=sometimes"], "");
    assert!(said.contains("cleanup takes delete, compact or both"), "{said}");
    let said = dev.fails(4, &["topic", "config", "get", "ordres"], "");
    assert!(said.contains("did you mean orders?"), "{said}");
}

#[test]
fn a_topic_is_trimmed_and_grown_and_keys_stay() {
    let dev = Dev::start(1);
    dev.ok(&["topic", "create", "orders", "-p", "3"], "");
    let lines: String = (0..30).map(|n| format!("k{n}:before\n")).collect();
    dev.ok(&["produce", "orders", "-K", ":"], &lines);
    let places = || dev.ok(&["consume", "orders", "-e", "-f", "%k %p\\n"], "");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let before = sorted(&places());
    assert_eq!(before.len(), 30);
    let grown = dev.ok(&["topic", "grow", "orders", "-p", "8"], "");
    assert_eq!(grown, "orders: partitions is now 8\n");
    let said = dev.fails(2, &["topic", "grow", "orders", "-p", "7"], "");
    assert!(said.contains("a topic can only grow"), "{said}");
    let trim = ["topic", "trim", "orders", "--all", "--output", "json"];
    let dry = json(&dev.ok(&[&trim[..], &["--dry-run"]].concat(), ""));
    let deleted = |rows: &Value| -> u64 {
        rows.as_array().unwrap().iter().map(|row| row["deleted"].as_u64().unwrap()).sum()
    };
    assert_eq!((dry.as_array().unwrap().len(), deleted(&dry)), (8, 30));
    assert_eq!(sorted(&places()), before, "a dry run deletes nothing");
    assert_eq!(deleted(&json(&dev.ok(&trim, ""))), 30);
    assert_eq!(places(), "");
    dev.ok(&["produce", "orders", "-K", ":"], &lines);
    assert_eq!(sorted(&places()), before, "every key is where it was");
    let none = dev.ok(&["topic", "trim", "orders", "--before", "-1h", "--output", "json"], "");
    assert_eq!(deleted(&json(&none)), 0);
    let said = dev.fails(2, &["topic", "trim", "orders"], "");
    assert!(said.contains("what is to go?"), "{said}");
    let beyond = ["topic", "trim", "orders", "-p", "0", "--before-offset", "1000"];
    let output = dev.run(&beyond, "");
    let said = cluster::text(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("only what is committed can be deleted"), "{said}");
}
