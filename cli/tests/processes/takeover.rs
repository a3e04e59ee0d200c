//! The active one of three coordinators is killed in the middle of a move.

use crate::harness::{Cluster, PATIENCE, Process, free_ports, until, yak};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// What a coordinator answers to a typed line.
fn typed(address: &str, line: &str) -> Option<String> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    connection.write_all(format!("{line}\nQUIT\n").as_bytes()).ok()?;
    let mut said = String::new();
    connection.read_to_string(&mut said).ok()?;
    Some(said)
}

fn replicas(cluster: &Cluster) -> Vec<u64> {
    let said = cluster.yak(&["topic", "describe", "orders", "--output", "json"], "").expect_code(0);
    let said: Value = serde_json::from_str(&said.stdout.join("\n")).expect("it prints JSON");
    let replicas = said[0]["partitions"][0]["replicas"].as_array().expect("a list");
    replicas.iter().map(|id| id.as_u64().expect("a number")).collect()
}

#[test]
fn a_move_goes_on_under_another_coordinator_and_whoever_waits_for_it_waits_on() {
    let addresses = free_ports(3);
    let peers = addresses.join(",");
    let data = tempfile::tempdir().expect("a folder for data");
    let start = |address: &String| {
        let dir = data.path().join(address.replace(':', "-"));
        let dir = dir.to_str().expect("a temporary folder has a plain name");
        Process::start(&["coordinator", "--listen", address, "--data", dir, "--peers", &peers])
    };
    let mut coordinators: Vec<Process> = addresses.iter().map(start).collect();
    coordinators.iter_mut().for_each(|coordinator| drop(coordinator.ready()));
    let cluster = Cluster::start_under(&peers, 4);
    cluster.create_topic("orders", 1, 3);
    // More than one frame to a follower takes.
    let lines: Vec<String> = (0..30).map(|number| format!("{number}-{}", "x".repeat(100_000))).collect();
    cluster.yak(&["produce", "orders"], &(lines.join("\n") + "\n")).expect_code(0);

    let before = replicas(&cluster);
    let new = (1..=4).find(|id| !before.contains(id)).expect("a fourth broker");
    let to = vec![new, before[1], before[2]];
    let wanted = to.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    // So slow that it does not end by itself.
    cluster.yak(&["topic", "move", "orders/0", "--to", &wanted, "--rate", "1"], "").expect_code(0);
    // Whoever is asked first, active or on standby.
    let mut waits: Vec<Process> = addresses
        .iter()
        .map(|address| {
            Process::start(&["topic", "move", "orders/0", "--wait", "-b", &format!("{address},{peers}")])
        })
        .collect();
    for wait in &waits {
        wait.stderr.wait("the move to wait", |line| line.contains(&format!("waits for broker {new}")));
    }
    let described = cluster.yak(&["topic", "describe", "orders"], "").expect_code(0).stdout;
    assert!(described.iter().any(|line| line.ends_with("MOVING-TO")), "{described:#?}");
    let active = until("one to be active", || {
        addresses.iter().position(|at| typed(at, "BACKEND").is_some_and(|said| said.contains("leading")))
    });
    coordinators.remove(active).kill();

    // It is known to the next one, and goes on at the pace that that one is told.
    until("another one to know of the move", || {
        let said = yak(&["topic", "move", "--output", "json", "-b", &cluster.all()], "");
        let said: Value = serde_json::from_str(&said.stdout.join("\n")).ok()?;
        (said["moves"][0]["bytes_per_second"] == 1).then_some(())
    });
    assert!(waits.iter_mut().all(Process::runs));
    cluster.yak(&["topic", "move", "orders/0", "--to", &wanted], "").expect_code(0);
    for wait in waits {
        let waited = wait.finish().expect_code(0);
        assert!(waited.stdout.iter().any(|line| line.ends_with("through")), "{waited:?}");
    }
    assert_eq!(replicas(&cluster), to);
    let read = cluster.yak(&["consume", "orders", "--from-beginning", "-e"], "").expect_code(0);
    assert_eq!(read.stdout, lines);
}
