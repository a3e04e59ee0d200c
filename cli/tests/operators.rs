//! What operators type: moves, elections, drains, a broker that goes, one that takes a dead one's place.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cluster;

use cluster::{Dev, Talk};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Waits until the topic's only partition is as wanted; polls, with a deadline.
fn partition_when(dev: &Dev, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let described = json(&dev.ok(&["topic", "describe", "orders", "--output", "json"], ""));
        let partition = described[0]["partitions"][0].clone();
        if wanted(&partition) {
            return partition;
        }
        assert!(std::time::Instant::now() < deadline, "waited in vain until {what}: {partition}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn orders(nodes: u16) -> (Dev, Value) {
    let dev = Dev::start(nodes);
    dev.ok(&["topic", "create", "orders", "-p", "1", "-r", "3"], "");
    dev.ok(&["produce", "orders"], "one\ntwo\n");
    let partition = partition_when(&dev, "all are in sync", |p| p["in_sync"].as_array().unwrap().len() == 3);
    (dev, partition)
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

fn row(ids: &[u64]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn a_partition_is_moved_and_nothing_is_lost() {
    let (dev, partition) = orders(4);
    let from = numbers(&partition["replicas"]);
    let new = (1..=4).find(|id| !from.contains(id)).unwrap();
    let to = row(&[new, from[2], from[1]]);
    let dry = dev.ok(&["topic", "move", "orders/0", "--to", &to, "--dry-run"], "");
    assert!(dry.contains(&format!("waits for broker {new} to be in sync")), "{dry}");
    assert_eq!(dev.ok(&["topic", "move", "--output", "json"], ""), "{\"moves\":[]}\n");
    let output = dev.run(&["topic", "move", "orders/0", "--to", &to, "--wait", "--output", "json"], "");
    assert!(output.status.success(), "{output:?}");
    let moved = json(&cluster::text(&output.stdout));
    assert_eq!(row(&numbers(&moved["moves"][0]["replicas"])), to);
    assert_eq!(moved["moves"][0]["waits"], Value::Null);
    assert_eq!(dev.ok(&["consume", "orders", "-e"], ""), "one\ntwo\n");
    // Asked again, nothing is left to do; and back it goes.
    let again = json(&dev.ok(&["topic", "move", "orders/0", "--to", &to, "--output", "json"], ""));
    assert_eq!(again["moves"][0]["changed"], false);
    let cancelled = json(&dev.ok(&["topic", "move", "--cancel", "--output", "json"], ""));
    assert_eq!(cancelled["moves"], serde_json::json!([]));
    let said = dev.fails(2, &["topic", "move", "orders/0", "--to", "1,2"], "");
    assert!(said.contains("a move keeps the number of replicas"), "{said}");
    let said = dev.fails(2, &["topic", "move", "orders", "--to", "1,2,3"], "");
    assert!(said.contains("name one as in orders/2"), "{said}");
    dev.fails(4, &["topic", "move", "ordres/0", "--to", "1,2,3"], "");
    for command in ["topic move orders/0 --to 1,2,3", "broker decommission 1", "broker replace 1 --by 2"] {
        let arguments: Vec<&str> = command.split(' ').chain(["--rate", "0"]).collect();
        let said = dev.fails(2, &arguments, "");
        assert!(said.contains("invalid value '0' for '--rate <BYTES>'"), "{said}");
    }
}

#[test]
fn leadership_is_given_and_given_back() {
    let (dev, partition) = orders(3);
    let replicas = numbers(&partition["replicas"]);
    let (preferred, other) = (replicas[0], replicas[1].to_string());
    let dry = dev.ok(&["topic", "elect", "orders/0", "--to", &other, "--dry-run"], "");
    assert!(dry.starts_with(&format!("broker {other} would lead orders/0 in epoch ")), "{dry}");
    let done = dev.ok(&["topic", "elect", "orders/0", "--to", &other], "");
    assert!(done.starts_with(&format!("broker {other} leads orders/0 in epoch ")), "{done}");
    let back = json(&dev.ok(&["topic", "elect", "orders", "--preferred", "--output", "json"], ""));
    assert_eq!(back["elections"][0]["to"], preferred);
    assert_eq!(back["elections"][0]["moved"], true);
    assert_eq!(dev.ok(&["topic", "elect", "--preferred", "--output", "json"], ""), "{\"elections\":[]}\n");
    // Nobody has to lead uncleanly while somebody leads.
    let clean = dev.ok(&["topic", "elect", "orders/0", "--unclean", "--confirm", "orders/0"], "");
    assert!(clean.contains("leads orders/0 already, in epoch"), "{clean}");
    let said = dev.fails(2, &["topic", "elect", "orders", "--unclean"], "");
    assert!(said.contains("name one as in orders/2"), "{said}");
}

#[test]
fn a_broker_drains_and_leads_again() {
    let (dev, partition) = orders(3);
    let leader = partition["leader"].as_u64().unwrap().to_string();
    let dry = dev.ok(&["broker", "drain", &leader, "--dry-run"], "");
    assert_eq!(
        dry,
        format!("broker {leader} would drain; it leads 1 partition and is needed in sync by 0\n")
    );
    let output = dev.run(&["broker", "drain", &leader, "--wait"], "");
    assert!(output.status.success(), "{output:?}");
    let said = cluster::text(&output.stdout);
    assert_eq!(said, format!("broker {leader} drains; it leads 0 partitions and is needed in sync by 0\n"));
    partition_when(&dev, "somebody else leads", |p| p["leader"].as_u64().unwrap().to_string() != leader);
    let back = dev.ok(&["broker", "drain", &leader, "--cancel"], "");
    assert!(back.starts_with(&format!("broker {leader} does not drain")), "{back}");
    let said = dev.fails(4, &["broker", "drain", "nobody"], "");
    assert!(said.contains("there is no broker nobody"), "{said}");
}

#[test]
fn a_broker_goes_for_good_once_another_can_take_what_it_holds() {
    let (dev, partition) = orders(4);
    let held = numbers(&partition["replicas"]);
    let goes = held[1].to_string();
    let dry = dev.ok(&["broker", "decommission", &goes, "--dry-run"], "");
    assert!(dry.contains("orders/0 would move to "), "{dry}");
    let output = dev.run(&["broker", "decommission", &goes, "--wait"], "");
    assert!(output.status.success(), "{output:?}");
    let said = cluster::text(&output.stdout);
    assert_eq!(said, format!("broker {goes} is gone; its process may be stopped\n"));
    let brokers = json(&dev.ok(&["broker", "list", "--output", "json"], ""));
    assert!(brokers.as_array().unwrap().iter().all(|broker| broker["id"] != held[1]), "{brokers}");
    assert_eq!(dev.ok(&["consume", "orders", "-e"], ""), "one\ntwo\n");
    // The next one is stuck, says why, and may stay after all.
    let left = held[0].to_string();
    let stuck = dev.ok(&["broker", "decommission", &left], "");
    assert_eq!(stuck, "1 of 1 partition left; no broker left that does not hold orders/0\n");
    let why = dev.ok(&["why", "broker", &left], "");
    assert!(why.contains("is decommissioned: 1 of 1 partition left; no broker left"), "{why}");
    let stays = dev.ok(&["broker", "decommission", &left, "--cancel"], "");
    assert_eq!(stays, format!("broker {left} stays\n"));
}

#[test]
fn another_broker_takes_the_place_of_a_dead_one() {
    let (mut dev, partition) = orders(4);
    let held = numbers(&partition["replicas"]);
    let dead = held[0].to_string();
    let by = (1..=4).find(|id| !held.contains(id)).unwrap().to_string();
    let said = dev.fails(1, &["broker", "replace", &dead, "--by", &by], "");
    assert!(said.contains("is alive"), "{said}");
    let brokers = json(&dev.ok(&["broker", "list", "--output", "json"], ""));
    let name = brokers.as_array().unwrap().iter().find(|broker| broker["id"] == held[0]).unwrap();
    let name = name["name"].as_str().unwrap().trim_start_matches('b').to_owned();
    dev.say(&format!("kill {name}"));
    partition_when(&dev, "it is out", |p| !numbers(&p["in_sync"]).contains(&held[0]));
    let output = dev.run(&["broker", "replace", &dead, "--by", &by, "--wait"], "");
    assert!(output.status.success(), "{output:?}");
    let replicas = row(&[by.parse().unwrap(), held[1], held[2]]);
    partition_when(&dev, "it has its place", |p| row(&numbers(&p["replicas"])) == replicas);
    assert_eq!(dev.ok(&["consume", "orders", "-e"], ""), "one\ntwo\n");
}

/// Waits for the end of a command; what it ended with, and said.
fn finish(talk: Talk) -> (Option<i32>, String) {
    let (sender, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(talk.finish()));
    end.recv_timeout(std::time::Duration::from_secs(60)).expect("it ends")
}

#[test]
fn who_waits_for_a_drain_does_not_undo_that_it_was_cancelled() {
    let dev = Dev::start(3);
    dev.ok(&["topic", "create", "orders", "-p", "1", "-r", "1"], "");
    let leader = partition_when(&dev, "somebody leads", |p| p["leader"].is_u64())["leader"].to_string();
    let mut waits = Talk::start(dev.yak(&["broker", "drain", &leader, "--wait"]));
    waits.noted(&format!("broker {leader} leads 1 partition"));
    dev.ok(&["broker", "drain", &leader, "--cancel"], "");
    let (code, said) = finish(waits);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("broker {leader} does not drain any more: somebody has cancelled")),
        "{said}"
    );
    let now = json(&dev.ok(&["broker", "drain", &leader, "--dry-run", "--output", "json"], ""));
    assert_eq!(now["draining"], false);
}

#[test]
fn who_waits_for_a_decommission_does_not_undo_that_it_was_cancelled() {
    let (dev, partition) = orders(3);
    let goes = partition["leader"].to_string();
    let mut waits = Talk::start(dev.yak(&["broker", "decommission", &goes, "--wait"]));
    waits.noted("1 of 1 partition left; no broker left that does not hold orders/0");
    dev.ok(&["broker", "decommission", &goes, "--cancel"], "");
    let (code, said) = finish(waits);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("broker {goes} is not to go any more")), "{said}");
    let now = json(&dev.ok(&["broker", "decommission", &goes, "--dry-run", "--output", "json"], ""));
    assert_eq!(now["decommissioning"], false);
}

#[test]
fn a_preferred_leader_that_had_to_be_waited_for_leads_in_the_epoch_that_is_printed() {
    let (mut dev, partition) = orders(3);
    let replicas = numbers(&partition["replicas"]);
    let preferred = replicas[0].to_string();
    let brokers = json(&dev.ok(&["broker", "list", "--output", "json"], ""));
    let name = brokers.as_array().unwrap().iter().find(|broker| broker["id"] == replicas[0]).unwrap();
    let name = name["name"].as_str().unwrap().trim_start_matches('b').to_owned();
    dev.say(&format!("kill {name}"));
    partition_when(&dev, "another one leads", |p| p["leader"].is_u64() && p["leader"] != replicas[0]);
    let wait = ["topic", "elect", "orders", "--preferred", "--wait", "--output", "json"];
    let mut waits = Talk::start(dev.yak(&wait));
    waits.noted(&format!("orders/0 waits for broker {preferred}"));
    dev.say(&format!("start {name}"));
    let printed = json(&waits.line())["elections"][0].clone();
    let (code, said) = finish(waits);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(printed["waits"], Value::Null, "{printed}");
    let look = ["topic", "elect", "orders/0", "--to", &preferred, "--dry-run", "--output", "json"];
    let now = json(&dev.ok(&look, ""));
    assert_eq!((&now["moved"], &now["leader_epoch"]), (&Value::Bool(false), &printed["leader_epoch"]));
}
