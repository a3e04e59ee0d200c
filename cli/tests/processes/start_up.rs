//! What a server says when it cannot start: what was tried, what was found, and what to do.

use crate::harness::{Cluster, Process, yak};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use crate::harness::until_elapsed;

const FAILURE: i32 = 1;

fn broker<'a>(listen: &'a str, data: &'a str) -> Vec<&'a str> {
    vec!["broker", "--name", "x", "--coordinator", "127.0.0.1:1", "--listen", listen, "--data", data]
}

fn coordinator<'a>(listen: &'a str, data: &'a str) -> Vec<&'a str> {
    vec!["coordinator", "--listen", listen, "--data", data]
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}

#[test]
fn a_port_in_use_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("it is bound").to_string();
    let dir = tempfile::tempdir().expect("a folder");
    for arguments in [broker(&address, text(dir.path())), coordinator(&address, text(dir.path()))] {
        yak(&arguments, "").expect_code(FAILURE).expect_stderr(&[
            &address,
            "is in use by another process",
            "listen on another port",
        ]);
    }
    let left = std::fs::read_dir(dir.path()).expect("it is there").count();
    assert_eq!(left, 0, "whoever could not listen has touched no data");
}

#[test]
fn beyond_loopback_needs_insecure() {
    let dir = tempfile::tempdir().expect("a folder");
    for arguments in [broker("0.0.0.0:0", text(dir.path())), coordinator("0.0.0.0:0", text(dir.path()))] {
        yak(&arguments, "")
            .expect_code(FAILURE)
            .expect_stderr(&["0.0.0.0:0 can be reached from other machines", "--insecure"]);
    }
    let mut arguments = coordinator("0.0.0.0:0", text(dir.path()));
    arguments.push("--insecure");
    assert!(Process::start(&arguments).ready().starts_with("0.0.0.0:"));
}

#[test]
fn addresses_that_mean_nothing_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    yak(&broker("nonsense", text(dir.path())), "").expect_code(2).expect_stderr(&[
        "nonsense",
        "--listen",
        "host:port",
    ]);
}

#[test]
fn a_data_dir_that_is_in_use_is_refused() {
    let cluster = Cluster::start_with(1, "3");
    let (of_broker, of_coordinator) = (cluster.dir("b1"), cluster.dir("coordinator"));
    yak(&broker("127.0.0.1:0", text(&of_broker)), "").expect_code(FAILURE).expect_stderr(&[
        text(&of_broker),
        "in use",
        "--data",
    ]);
    yak(&coordinator("127.0.0.1:0", text(&of_coordinator)), "").expect_code(FAILURE).expect_stderr(&[
        text(&of_coordinator),
        "in use",
        "--data",
    ]);
    // Neither was disturbed.
    cluster.create_topic("orders", 1, 1);
    cluster.yak(&["produce", "orders"], "still here\n").expect_code(0);
}

#[test]
fn a_data_dir_of_another_kind_is_refused_and_left_alone() {
    let mut cluster = Cluster::start_with(1, "3");
    let (of_broker, of_coordinator) = (cluster.dir("b1"), cluster.dir("coordinator"));
    cluster.kill_broker(1);
    cluster.kill_coordinator();
    let strange = tempfile::tempdir().expect("a folder");
    std::fs::write(strange.path().join("thesis.txt"), "years of work").expect("it can be written");
    for dir in [&of_coordinator, &strange.path().to_owned()] {
        yak(&broker("127.0.0.1:0", text(dir)), "").expect_code(FAILURE).expect_stderr(&[
            text(dir),
            "is not a data dir of yak",
            "empty dir",
        ]);
    }
    for dir in [&of_broker, &strange.path().to_owned()] {
        yak(&coordinator("127.0.0.1:0", text(dir)), "").expect_code(FAILURE).expect_stderr(&[
            text(dir),
            "nothing of a coordinator",
            "empty dir",
        ]);
    }
    let kept = std::fs::read_to_string(strange.path().join("thesis.txt")).expect("it is still there");
    assert_eq!(kept, "years of work");
    cluster.start_coordinator();
    cluster.start_broker(1);
    cluster.create_topic("orders", 1, 1);
}

#[test]
fn a_data_dir_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "not a folder").expect("it can be written");
    // Permissions do not bind root, these do: a file in place of the folder, and a file system of the kernel.
    for path in [text(&file), "/proc/yak-data"] {
        for arguments in [broker("127.0.0.1:0", path), coordinator("127.0.0.1:0", path)] {
            yak(&arguments, "").expect_code(FAILURE).expect_stderr(&[path, "cannot "]);
        }
    }
    assert_eq!(std::fs::read_to_string(&file).expect("it is still there"), "not a folder");
}

#[test]
fn a_broker_waits_for_its_coordinator_and_says_so() {
    let mut cluster = Cluster::start_with(0, "3");
    let address = cluster.coordinator_address().to_owned();
    cluster.kill_coordinator();
    let dir = cluster.dir("early");
    let mut arguments = vec!["broker", "--name", "early", "--coordinator", &address];
    arguments.extend(["--listen", "127.0.0.1:0", "--data", text(&dir)]);
    let mut early = Process::start(&arguments);
    early.stderr.wait("a note about the coordinator", |line| {
        line.contains("waiting for the coordinator") && line.contains(&address)
    });
    assert!(early.runs());
    assert_eq!(early.stdout.all(), Vec::<String>::new(), "it is not ready");
    cluster.start_coordinator();
    early.ready();
}

#[test]
fn a_name_in_use_is_refused_with_the_address_of_its_owner() {
    let cluster = Cluster::start_with(1, "1");
    let (coordinator, dir) = (cluster.coordinator_address().to_owned(), cluster.dir("second"));
    let mut arguments = vec!["broker", "--name", "b1", "--coordinator", &coordinator];
    arguments.extend(["--listen", "127.0.0.1:0", "--data", text(&dir)]);
    let owner = cluster.address(1).to_owned();
    yak(&arguments, "").expect_code(FAILURE).expect_stderr(&[
        "the coordinator refuses this broker",
        &owner,
        "another data dir",
        "another name",
    ]);
    // The owner has not noticed.
    until_elapsed(Duration::from_secs(2));
    cluster.create_topic("orders", 1, 1);
    cluster.yak(&["produce", "orders"], "still here\n").expect_code(0);
}

#[test]
fn arguments_that_make_no_sense_have_their_own_code() {
    yak(&["coordinator", "--lease-time-seconds", "-1"], "").expect_code(2);
    yak(&["coordinator", "--lease-time-seconds=-1"], "")
        .expect_code(2)
        .expect_stderr(&["lease-time-seconds"]);
    yak(&["broker", "--nonsense"], "").expect_code(2).expect_stderr(&["--nonsense"]);
    yak(&["nonsense"], "").expect_code(2);
}
