//! Settings from flags, variables and a file, as the binary shows them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cluster;

use cluster::{text, yak};
use serde_json::Value;
use std::process::Output;

const FILE: &str = "\
output = 'table'
[broker]
rack = 'north'
listen = '127.0.0.1:9744'
no-auto-create = true
[coordinator]
lease-backend = 'redis://yak:hunter2@cache:7000'
";

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    yak(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// What it prints, if it succeeds.
fn shown(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(arguments, variables);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The line of a setting, in words.
fn line<'a>(shown: &'a str, setting: &str) -> Vec<&'a str> {
    let found = shown.lines().find(|line| line.split_whitespace().next() == Some(setting));
    found.unwrap_or_else(|| panic!("no {setting}: {shown}")).split_whitespace().collect()
}

fn file() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("yak.toml");
    std::fs::write(&path, FILE).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn what_a_process_would_start_with_is_shown_with_who_set_it() {
    let (_dir, path) = file();
    let arguments = ["config", "show", "broker", "--origin", "--config", &path, "--", "--rack", "south"];
    let said = shown(&arguments, &[("BROKER_ID", "b7"), ("YAK_BROKER_ADVERTISE", "10.0.0.1:9744")]);
    assert_eq!(line(&said, "SETTING"), ["SETTING", "VALUE", "ORIGIN"]);
    assert_eq!(line(&said, "name"), ["name", "b7", "environment", "BROKER_ID"]);
    assert_eq!(
        line(&said, "advertise"),
        ["advertise", "10.0.0.1:9744", "environment", "YAK_BROKER_ADVERTISE"]
    );
    assert_eq!(line(&said, "listen")[1..], ["127.0.0.1:9744", &format!("{path}:4")]);
    assert_eq!(line(&said, "no-auto-create")[1], "true");
    assert_eq!(line(&said, "insecure")[1..], ["false", "default"]);
    assert_eq!(line(&said, "rack")[1..], ["south", "command", "line,", "over", &format!("{path}:3")]);

    let plain = shown(&["config", "show", "broker"], &[("YAK_CONFIG", &path)]);
    assert_eq!(line(&plain, "rack"), ["rack", "north"]);
    assert!(plain.contains("(on the coordinators' own disks)"), "{plain}");
    let name = line(&plain, "name")[1];
    assert!(name.starts_with("broker-") && name.ends_with("-9744"), "{name}");

    let acks = shown(&["config", "show", "produce", "--", "--acks", "0"], &[]);
    assert_eq!(line(&acks, "acks")[1], "0");
    let all = shown(&["config", "show"], &[]);
    for process in ["yak coordinator", "yak broker", "yak dev", "yak produce"] {
        assert!(all.lines().any(|line| line == process), "{process}: {all}");
    }
}

#[test]
fn it_is_shown_as_json_too() {
    let (_dir, path) = file();
    let arguments = ["config", "show", "broker", "--json", "--config", &path];
    let json = shown(&arguments, &[("FOLLOWER_URL", "http://b:5002"), ("YAK_BROKER_RACK", "west")]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["process"], "broker");
    let settings = json[0]["settings"].as_array().unwrap();
    let setting = |name: &str| settings.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(setting("rack")["value"], "west");
    assert_eq!(setting("rack")["origin"]["variable"], "YAK_BROKER_RACK");
    assert_eq!(setting("rack")["unheard"][0]["line"], 3);
    assert_eq!(setting("peers")["origin"]["from"], "default");
    assert_eq!(setting("peers")["value"], Value::Null);
    assert_eq!(setting("lease-time-seconds")["value"], "3");
    assert!(json[0]["notes"][0].as_str().unwrap().starts_with("FOLLOWER_URL"), "{json}");
}

#[test]
fn passwords_are_shown_nowhere() {
    let (_dir, path) = file();
    let variables = [
        ("YAK_BROKER_LEASE_BACKEND", "redis://:hunter2@cache"),
        ("REDIS_PASSWORD", "hunter2"),
        ("FOLLOWER_URL", "http://u:hunter2@k"),
    ];
    for arguments in [
        &["config", "show", "--origin", "--config", &path] as &[&str],
        &["config", "show", "--json", "--config", &path],
        &["config", "show", "coordinator", "--", "--lease-backend", "redis://a:hunter2@b"],
        &["config", "check", &path],
        &["config", "list"],
    ] {
        let output = run(arguments, &variables);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!said.contains("hunter2"), "{said}");
    }
    let said = shown(&["config", "show", "coordinator", "--config", &path], &[]);
    assert_eq!(line(&said, "lease-backend")[1], "redis://***@cache:7000");
    // Nor where it is wrong.
    let said = run(&["coordinator", "--lease-backend", "redis://u:hunter2@h/x"], &[]);
    assert_eq!(said.status.code(), Some(2));
    assert!(!text(&said.stderr).contains("hunter2"), "{}", text(&said.stderr));
}

#[test]
fn a_file_is_checked_without_a_process() {
    let (dir, path) = file();
    let said = shown(&["config", "check", &path], &[]);
    assert_eq!(
        said.trim_end(),
        format!("{path}: ok, 1 setting of every command, 1 setting of coordinator, 3 settings of broker")
    );
    let wrong = dir.path().join("wrong.toml");
    std::fs::write(&wrong, "[dev]\nnodes = 100\n\n[coordinator]\nlease-time-seconds = 'x'\n").unwrap();
    let output = run(&["config", "check", "--config", &path, wrong.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(3));
    for expected in ["wrong.toml:2: nodes = 100", "wrong.toml:5: lease-time-seconds = x"] {
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}

#[test]
fn a_broken_file_stops_a_process_but_not_its_help() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("yak.toml");
    std::fs::write(&path, "[broker]\nlisten = 'a:1'\nrak = 'north'\n").unwrap();
    let variables = [("YAK_CONFIG", path.to_str().unwrap())];
    let output = run(&["broker"], &variables);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("yak.toml:3: there is no setting rak in [broker]; did you mean rack?"), "{said}");
    assert!(shown(&["broker", "--help"], &variables).contains("Usage"));
    assert!(shown(&["config", "list"], &variables).contains("YAK_BROKER_RACK"));
    for named in [&["config", "check"] as &[_], &["config", "check", "--config", path.to_str().unwrap()]] {
        let output = run(named, &variables);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    }
}

#[test]
fn help_says_where_else_a_setting_may_come_from() {
    let help = shown(&["coordinator", "--help"], &[]);
    for expected in
        ["[env: LEASE_TIME_SECONDS]", "YAK_COORDINATOR_..", "--config <FILE>", "yak config show coordinator"]
    {
        assert!(help.contains(expected), "{expected}: {help}");
    }
}

#[test]
fn lists_of_brokers_of_the_systems_before_are_where_clients_start() {
    for (variables, tried) in [
        (
            &[("BROKER_URLS", "http://127.0.0.1:1/,127.0.0.1:2")] as &[_],
            &["127.0.0.1:1", "127.0.0.1:2"] as &[_],
        ),
        (&[("BROKER_NODES", "127.0.0.1:3")], &["127.0.0.1:3"]),
        (&[("BROKER_NODES", "127.0.0.1:3"), ("YAK_BROKERS", "127.0.0.1:4")], &["127.0.0.1:4"]),
    ] {
        let output = run(&["topic", "list"], variables);
        assert_eq!(output.status.code(), Some(7));
        let said = text(&output.stderr);
        let at = said.rsplit("answers at ").next().unwrap().split(": ").next().unwrap();
        assert_eq!(at.split(", ").collect::<Vec<_>>(), tried, "{said}");
    }
}
