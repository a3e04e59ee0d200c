//! What servers are told by variables and a file, and what they say about it.

use crate::harness::{Process, until, yak};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}

/// What a process answers to a line.
fn typed(address: &str, line: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(format!("{line}\nQUIT\n").as_bytes()).expect("it takes lines");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in words");
    // A table is padded for people.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    answer.lines().map(words).collect::<Vec<_>>().join("\n")
}

#[test]
fn servers_start_by_variables_and_a_file_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("c");
    let file = dir.path().join("yak.toml");
    let written =
        format!("[coordinator]\nlisten = '127.0.0.1:0'\ndata = '{}'\nlease-time-seconds = 9\n", text(&data));
    std::fs::write(&file, written).expect("it can be written");
    let variables = [("YAK_CONFIG", text(&file)), ("LEASE_TIME_SECONDS", "2.5"), ("DEFAULT_PARTITIONS", "7")];
    let mut coordinator = Process::start_with(&["coordinator"], &variables);
    let address = coordinator.ready();
    // It may not be active yet.
    let said =
        until("its settings", || Some(typed(&address, "CONF")).filter(|said| said.contains("SETTING")));
    for expected in [
        "lease_time_seconds 2.5 environment LEASE_TIME_SECONDS",
        "default_partitions 7 environment DEFAULT_PARTITIONS",
        &format!("name coordinator-{address} default"),
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(said.lines().any(|line| line.starts_with("data ") && line.contains("yak.toml:3")), "{said}");

    // The broker of a system before: what works works, the rest is answered.
    let data = dir.path().join("b");
    let variables = [
        ("BROKER_ID", "broker-2"),
        ("FLASK_RUN_PORT", "5002"),
        ("FOLLOWER_URL", "http://10.0.0.2:5002"),
        ("REDIS_HOST", "10.0.0.9"),
        ("YAK_BROKER_COORDINATOR", &address),
        ("YAK_BROKER_LISTEN", "127.0.0.1:0"),
        ("YAK_BROKER_DATA", text(&data)),
    ];
    let mut broker = Process::start_with(&["broker"], &variables);
    let own = broker.ready();
    let said = typed(&own, "CONF name");
    assert!(said.contains("name broker-2 environment BROKER_ID"), "{said}");
    for name in ["FLASK_RUN_PORT=5002", "FOLLOWER_URL=http://10.0.0.2:5002", "REDIS_HOST"] {
        broker
            .stderr
            .wait(name, |line| line.contains("WARN") && line.contains(&format!("{name} sets nothing")));
    }
}

#[test]
fn an_address_that_cannot_be_used_is_told_with_who_set_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("it is bound").to_string();
    let variables = [("YAK_COORDINATOR_LISTEN", taken.as_str())];
    let process = Process::start_with(&["coordinator", "--data", text(&dir.path().join("c"))], &variables);
    process.finish().expect_code(1).expect_stderr(&[
        "--listen is set by environment YAK_COORDINATOR_LISTEN",
        &taken,
        "in use by another process",
    ]);
}

#[test]
fn a_bad_value_of_a_variable_stops_a_server_by_name() {
    let process = Process::start_with(&["coordinator"], &[("LEASE_TIME_SECONDS", "soon")]);
    process.finish().expect_code(2).expect_stderr(&["LEASE_TIME_SECONDS=soon", "such as 3 or 0.5"]);
    yak(&["config", "show", "broker", "--", "--nonsense"], "").expect_code(2).expect_stderr(&["--nonsense"]);
}
