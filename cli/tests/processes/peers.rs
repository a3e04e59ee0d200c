//! The quorum of coordinators is changed by hand while it runs.

use crate::harness::{Finished, Process, until, yak};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;

/// An address that nobody has; another may take it before it is used.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").to_string()
}

fn start(address: &str, peers: &[String], data: &Path) -> Process {
    let peers = peers.join(",");
    let data = data.to_str().expect("a temporary folder has a plain name");
    Process::start(&["coordinator", "--listen", address, "--peers", &peers, "--data", data])
}

fn peers(words: &[&str], bootstrap: &str) -> Finished {
    let mut arguments = vec!["coordinator", "peers"];
    arguments.extend_from_slice(words);
    arguments.extend(["-b", bootstrap]);
    yak(&arguments, "")
}

/// Addresses and states, as JSON has them.
fn listed(finished: Finished) -> Vec<(String, String)> {
    let finished = finished.expect_code(0);
    let json: Value = serde_json::from_str(&finished.stdout.join("\n")).expect("JSON");
    let voters = json["voters"].as_array().expect("a list").iter();
    let word = |value: &Value| value.as_str().expect("a word").to_owned();
    voters.map(|voter| (word(&voter["address"]), word(&voter["state"]))).collect()
}

fn list(bootstrap: &str) -> Vec<(String, String)> {
    listed(peers(&["list", "--output", "json"], bootstrap))
}

fn addresses(voters: &[(String, String)]) -> Vec<&str> {
    voters.iter().map(|(address, _)| address.as_str()).collect()
}

#[test]
fn peers_are_listed_added_removed_and_replaced_by_hand() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut wanted: Vec<String> = (0..3).map(|_| free()).collect();
    wanted.sort();
    let dirs: Vec<_> = (0..5).map(|n| dir.path().join(format!("c{n}"))).collect();
    let mut running: Vec<_> = wanted.iter().zip(&dirs).map(|(own, data)| start(own, &wanted, data)).collect();
    running.iter_mut().for_each(|one| drop(one.ready()));

    // Whoever of them is asked, the active one answers.
    for one in &wanted {
        let voters = list(one);
        assert_eq!(addresses(&voters), wanted);
        assert_eq!(voters.iter().filter(|(_, state)| state == "active").count(), 1, "{voters:?}");
    }
    let table = peers(&["list"], &wanted[0]).expect_code(0);
    assert!(table.stdout[0].split_whitespace().eq(["ID", "NAME", "ADDRESS", "STATE"]), "{table:?}");
    assert_eq!(table.stdout.len(), 4);

    // One that does not run is not let in; one that does is, once.
    let fourth = free();
    peers(&["add", &fourth], &wanted[0]).expect_code(7).expect_stderr(&[&fourth, "cannot be added", "start"]);
    let mut new = start(&fourth, &[wanted.clone(), vec![fourth.clone()]].concat(), &dirs[3]);
    until("the new one can be added", || {
        let tried = peers(&["add", &fourth, "--dry-run"], &wanted[1]);
        (tried.code == Some(0)).then(|| assert!(tried.stdout[0].contains("nothing was changed"), "{tried:?}"))
    });
    assert_eq!(list(&wanted[0]).len(), 3);
    let added = peers(&["add", &fourth], &wanted[1]).expect_code(0);
    assert_eq!(added.stdout[0], format!("{fourth} is in the quorum"));
    new.ready();
    let again = peers(&["add", &fourth], &wanted[2]).expect_code(0);
    assert_eq!(again.stdout[0], format!("{fourth} is in the quorum already: nothing was changed"));
    assert_eq!(list(&fourth).len(), 4);

    // A broker is asked: it knows where the active one is.
    let data = dir.path().join("b");
    let coordinators = wanted.join(",");
    let data = data.to_str().expect("a temporary folder has a plain name");
    let mut broker = Process::start(&[
        "broker",
        "--listen",
        "127.0.0.1:0",
        "--coordinator",
        &coordinators,
        "--data",
        data,
    ]);
    let by_broker = broker.ready();
    assert_eq!(list(&by_broker).len(), 4);
    let gone = peers(&["remove", &fourth], &by_broker).expect_code(0);
    assert_eq!(gone.stdout[0], format!("{fourth} is not in the quorum"));
    for nobody in [fourth.as_str(), "nonsense"] {
        peers(&["remove", nobody], &by_broker).expect_code(2).expect_stderr(&[
            nobody,
            &wanted[0],
            "there are",
        ]);
    }
    new.kill();

    // A dead one is seen, and replaced in one step.
    let follower = list(&wanted[0]).iter().position(|(_, state)| state != "active").expect("there are two");
    running.remove(follower).kill();
    let dead = wanted.remove(follower);
    until("the dead one is missed", || {
        let voters = list(&wanted[0]);
        voters.iter().any(|(address, state)| *address == dead && state == "silent").then_some(())
    });
    let other = wanted[1].as_str();
    peers(&["remove", other], &wanted[0]).expect_code(1).expect_stderr(&["would be lost", "force"]);
    let fifth = free();
    let mut fresh = start(&fifth, &[wanted.clone(), vec![fifth.clone()]].concat(), &dirs[4]);
    until("it is replaced", || {
        let tried = peers(&["replace", &dead, &fifth], &wanted[0]);
        (tried.code == Some(0)).then_some(())
    });
    fresh.ready();
    let mut after = [wanted.clone(), vec![fifth]].concat();
    after.sort();
    assert_eq!(addresses(&list(&wanted[0])), after);
}

#[test]
fn without_an_active_coordinator_it_is_said_who_was_asked() {
    let finished = peers(&["list"], "127.0.0.1:1");
    finished.expect_code(7).expect_stderr(&[
        "no active coordinator is found",
        "127.0.0.1:1",
        "refused",
        "-b",
    ]);
}

#[test]
fn one_that_is_alone_refuses_to_let_the_silent_one_go() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut wanted = [free(), free()];
    wanted.sort();
    let mut running: Vec<_> =
        wanted.iter().map(|own| start(own, &wanted, &dir.path().join(own.replace(':', "-")))).collect();
    running.iter_mut().for_each(|one| drop(one.ready()));
    let voters = list(&wanted[0]);
    let active = voters.iter().position(|(_, state)| state == "active").expect("one is");
    // The other one is halted: the active one cannot do it, and says so instead of trying for ever.
    running[1 - active].signal(rustix::process::Signal::STOP);
    until("the active one knows that it is alone", || {
        (peers(&["list"], &wanted[active]).code == Some(7)).then_some(())
    });
    for how in [&["--dry-run"] as &[&str], &[]] {
        let words = [&["remove", wanted[1 - active].as_str()], how].concat();
        peers(&words, &wanted[active]).expect_code(7).expect_stderr(&["no majority", &wanted[1 - active]]);
    }
    running[1 - active].signal(rustix::process::Signal::CONT);
    until("both are in it", || {
        let said = peers(&["list", "--output", "json"], &wanted[active]);
        (said.code == Some(0)).then(|| assert_eq!(addresses(&listed(said)), wanted))
    });
}
