//! Consumer groups of processes that are killed, frozen, stopped and started under load, and the commands about
//! them.

use crate::harness::{Cluster, Finished, Process, Publisher, until, until_elapsed};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const PARTITIONS: usize = 12;
/// A session of the members here; who is frozen for longer has lost everything.
const SESSION: &str = "3s";
const FROZEN: Duration = Duration::from_secs(5);
/// For how long members are struck, in seconds, if nothing else is asked for.
const SECONDS: &str = "12";

fn member(cluster: &Cluster, options: &[&str]) -> Process {
    let all = cluster.all();
    let mut arguments = vec!["consume", "orders", "-g", "billing", "-J", "--session", SESSION];
    arguments.extend(["--commit-interval", "300ms", "-v", "-b", &all]);
    arguments.extend(options);
    Process::start(&arguments)
}

fn described(cluster: &Cluster) -> Option<Value> {
    let said = cluster.yak(&["group", "describe", "billing", "--output", "json"], "");
    let said: Value = serde_json::from_str(&said.stdout.join("\n")).ok()?;
    Some(said[0].clone()).filter(|said| said["group"] == "billing")
}

/// The commits, partition by partition.
fn commits(said: &Value) -> BTreeMap<u64, u64> {
    let rows = said["partitions"].as_array().into_iter().flatten();
    rows.filter_map(|row| Some((row["partition"].as_u64()?, row["current_offset"].as_u64()?))).collect()
}

/// Looks at the group, and checks that no commit has gone back since the last look.
fn look(cluster: &Cluster, known: &mut BTreeMap<u64, u64>) -> Option<Value> {
    let said = described(cluster)?;
    for (partition, offset) in commits(&said) {
        let before = known.insert(partition, offset).unwrap_or(0);
        assert!(before <= offset, "the commit of partition {partition} went back from {before} to {offset}");
    }
    Some(said)
}

/// Who handed what out: partition, offset and generation, by member.
fn handed_out(members: &[crate::harness::Lines]) -> (BTreeSet<(u64, u64)>, usize) {
    let mut seen = BTreeSet::new();
    let mut in_generation = BTreeMap::new();
    let mut again = 0;
    for (number, lines) in members.iter().enumerate() {
        for line in lines.all() {
            // The last line of one that was killed may be half a line.
            let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
            let field = |name: &str| line[name].as_u64().expect("a number");
            let place = (field("partition"), field("offset"));
            again += usize::from(!seen.insert(place));
            let twice = in_generation.insert((place, field("generation")), number);
            assert!(twice.is_none(), "{line} was handed out by members {twice:?} and {number}");
        }
    }
    (seen, again)
}

#[test]
fn members_that_are_killed_frozen_and_started_skip_nothing_and_share_no_generation() {
    let seconds = std::env::var("YAK_GROUP_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    let seconds = Duration::from_secs(seconds.parse().expect("seconds"));
    let mut cluster = Cluster::start("3");
    cluster.create_topic("orders", PARTITIONS, 3);
    let publisher = Publisher::start(&cluster, "orders");
    let mut running: Vec<Process> = (0..3).map(|_| member(&cluster, &[])).collect();
    let mut outputs: Vec<_> = running.iter().map(|process| process.stdout.clone()).collect();
    let mut known = BTreeMap::new();
    let (began, mut strikes) = (Instant::now(), 0);
    until("three members to share the topic", || {
        let said = look(&cluster, &mut known)?;
        (said["state"] == "stable" && said["members"] == 3).then_some(())
    });
    while began.elapsed() < seconds {
        let one = running.remove(0);
        match strikes % 4 {
            0 => one.kill(),
            1 => {
                one.signal(Signal::STOP);
                until_elapsed(FROZEN);
                one.signal(Signal::CONT);
                running.push(one);
            }
            2 => {
                one.signal(Signal::INT);
                let ended: Finished = one.finish();
                assert_eq!(ended.code, Some(130), "{}", ended.stderr);
            }
            _ => {
                running.push(one);
                let coordinator = until("the group to have a coordinator", || {
                    look(&cluster, &mut known)?["coordinator"].as_u64()
                });
                let coordinator = usize::try_from(coordinator).expect("a small number");
                cluster.kill_broker(coordinator);
                cluster.start_broker(coordinator);
            }
        }
        strikes += 1;
        while running.len() < 3 {
            running.push(member(&cluster, &[]));
            outputs.push(running.last().expect("just started").stdout.clone());
        }
        until("the group to be looked at", || look(&cluster, &mut known));
    }
    let acknowledged = publisher.finish();
    until("everything to be read and committed", || {
        let said = look(&cluster, &mut known)?;
        (said["total_lag"] == 0 && commits(&said).len() == PARTITIONS).then_some(())
    });
    let (seen, again) = handed_out(&outputs);
    let places = acknowledged.iter().filter_map(|line| Some((line.partition, line.offset?)));
    let skipped: Vec<_> = places.filter(|place| !seen.contains(place)).collect();
    assert!(skipped.is_empty(), "{} records were skipped: {skipped:?}", skipped.len());
    println!(
        "{} records, {} members, {strikes} strikes in {:.0} s: 0 skipped, 0 double within a generation, \
         {again} again in a later one, no commit went back",
        acknowledged.len(),
        outputs.len(),
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn a_group_is_shown_moved_and_forgotten() {
    let cluster = Cluster::start_with(1, "3");
    cluster.create_topic("orders", 2, 1);
    cluster.yak(&["group", "describe", "billing"], "").expect_code(4).expect_stderr(&["no group billing"]);
    let input: String = (0..10).map(|number| format!("k{number}:{number}\n")).collect();
    cluster.yak(&["produce", "orders", "-K", ":"], &input).expect_code(0);
    let read = ["consume", "orders", "-g", "billing", "-e"];
    let first = cluster.yak(&[&read[..], &["-n", "4"]].concat(), "").expect_code(0);
    let rest = cluster.yak(&read, "").expect_code(0);
    let mut all: Vec<_> = first.stdout.iter().chain(&rest.stdout).cloned().collect();
    all.sort();
    assert_eq!(
        all,
        (0..10).map(|number| number.to_string()).collect::<Vec<_>>(),
        "it goes on where it stopped"
    );
    assert_eq!(cluster.yak(&read, "").expect_code(0).stdout, [""; 0], "all is read");
    let said = described(&cluster).expect("a group");
    assert_eq!((said["total_lag"].as_u64(), said["state"].as_str()), (Some(0), Some("empty")));
    cluster.yak(&["group", "describe", "billing", "--max-lag", "0"], "").expect_code(0);

    // Moving it is a dry run first.
    let seek = ["group", "seek", "billing", "--to", "start"];
    cluster.yak(&seek, "").expect_code(0);
    assert_eq!(described(&cluster).expect("a group")["total_lag"], 0);
    cluster.yak(&[&seek[..], &["--execute"]].concat(), "").expect_code(0);
    assert_eq!(described(&cluster).expect("a group")["total_lag"], 10);
    cluster.yak(&["group", "describe", "billing", "--max-lag", "9"], "").expect_code(3);
    let beyond = cluster.yak(&["group", "seek", "billing", "--to", "+99", "--execute"], "");
    beyond.expect_code(1).expect_stderr(&["nothing was moved"]);
    let other = ["group", "seek", "audit", "--to-group", "billing", "--execute"];
    cluster.yak(&other, "").expect_code(0);
    let listed = cluster.yak(&["group", "list", "--output", "json"], "").expect_code(0);
    let listed: Value = serde_json::from_str(&listed.stdout.join("\n")).expect("JSON");
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|group| &group["group"]).collect();
    assert_eq!(names, ["audit", "billing"]);

    // Not while somebody reads.
    let reader = member(&cluster, &["--instance", "one"]);
    reader.stdout.wait("it reads", |line| line.contains("\"generation\""));
    cluster.yak(&[&seek[..], &["--execute"]].concat(), "").expect_code(1).expect_stderr(&["1 members"]);
    cluster.yak(&["group", "delete", "billing"], "").expect_code(1);
    drop(reader);
    until("the killed member to be gone", || {
        (cluster.yak(&["group", "delete", "billing"], "").code == Some(0)).then_some(())
    });
    let topics = cluster.yak(&["topic", "list"], "").expect_code(0).stdout.join("\n");
    assert!(!topics.contains("__consumer_offsets"), "{topics}");
    let topics = cluster.yak(&["topic", "list", "--internal"], "").expect_code(0).stdout.join("\n");
    assert!(topics.contains("__consumer_offsets"), "{topics}");
}
