//! `yak produce`, `consume` and `topic` against a cluster: what goes where, and the exit codes.

use crate::harness::{Cluster, Process, records, yak};
use serde_json::Value;

const NOT_FOUND: i32 = 4;
const OUTCOME_UNKNOWN: i32 = 6;
const UNREACHABLE: i32 = 7;

#[test]
fn what_was_published_can_be_read_in_every_form() {
    let cluster = Cluster::start_with(1, "3");
    cluster.create_topic("orders", 1, 1);
    let input = "a:zero\nb:one\na:two\nb:three\n";
    let produced = cluster.yak(&["produce", "orders", "-K", ":", "-H", "from=shop", "-z", "lz4"], input);
    let produced = produced.expect_code(0);
    assert_eq!((produced.stdout, produced.stderr), (Vec::new(), String::new()), "silent when piped");

    let json = cluster.yak(&["consume", "orders", "-e", "-J"], "").expect_code(0);
    let first: Value = serde_json::from_str(&json.stdout[0]).expect("JSON");
    let keys = ["topic", "partition", "offset", "tstype", "ts", "headers", "key", "payload"];
    let found: Vec<_> = first.as_object().expect("a map").keys().map(String::as_str).collect();
    assert_eq!(
        {
            let mut found = found;
            found.sort_unstable();
            found
        },
        {
            let mut keys = keys;
            keys.sort_unstable();
            keys
        }
    );
    assert_eq!(
        (&first["topic"], &first["key"], &first["payload"]),
        (&"orders".into(), &"a".into(), &"zero".into())
    );
    assert_eq!(first["headers"], serde_json::json!(["from", "shop"]));
    let offsets: Vec<_> = records(&json.stdout).iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3]);
    let at = first["ts"].as_u64().expect("milliseconds since 1970");

    let forms: [(&[&str], &[&str]); 10] = [
        (&["-o", "beginning"], &["zero", "one", "two", "three"]),
        (&["-o", "end"], &[]),
        (&["-o", "2"], &["two", "three"]),
        (&["-o", "-1"], &["three"]),
        (&["-o", "+1"], &["one", "two", "three"]),
        (&["-o", &format!("s@{at}")], &["zero", "one", "two", "three"]),
        (&["-o", "s@4102444800000"], &[]),
        (&["-o", &format!("e@{at}")], &[]),
        (&["--since", "1h", "-n", "2"], &["zero", "one"]),
        (&["--from-beginning", "-n", "3"], &["zero", "one", "two"]),
    ];
    for (options, expected) in forms {
        let read = cluster.yak(&[&["consume", "orders", "-e"], options].concat(), "").expect_code(0);
        assert_eq!(read.stdout, expected, "{options:?}");
    }
    let formatted = cluster.yak(&["consume", "orders", "-o", "-1", "-e", "-f", "%t/%p/%o %k=%s\\n"], "");
    assert_eq!(formatted.expect_code(0).stdout, ["orders/0/3 b=three"]);
    cluster.yak(&["consume", "orders", "-o", "99", "-e"], "").expect_code(NOT_FOUND).expect_stderr(&["99"]);
    cluster
        .yak(&["consume", "orders", "-o", "nonsense"], "")
        .expect_code(2)
        .expect_stderr(&["-N (before the end)"]);

    let table = "id,name\n7,Ada\n8,\"Grace, H\"\n";
    let file = cluster.dir("rows.csv");
    std::fs::write(&file, table).expect("it can be written");
    let file = file.to_str().expect("a plain name");
    cluster.yak(&["produce", "people", "--csv", file, "--key-field", "id"], "").expect_code(0);
    let mut people: Vec<_> = cluster.read("people").into_iter().map(|r| (r.key, r.payload)).collect();
    people.sort();
    let row = |key: &str, payload: &str| (Some(key.to_owned()), payload.to_owned());
    assert_eq!(people, [row("7", r#"{"id":"7","name":"Ada"}"#), row("8", r#"{"id":"8","name":"Grace, H"}"#)]);
}

#[test]
fn a_topic_that_does_not_exist_is_waited_for_made_or_missed() {
    let cluster = Cluster::start_with(1, "3");
    cluster.create_topic("orders", 1, 1);
    cluster
        .yak(&["consume", "order", "-e"], "")
        .expect_code(NOT_FOUND)
        .expect_stderr(&["there is no topic order", "orders"]);
    cluster
        .yak(&["topic", "describe", "order"], "")
        .expect_code(NOT_FOUND)
        .expect_stderr(&["did you mean orders?"]);
    cluster.yak(&["topic", "delete", "order"], "").expect_code(NOT_FOUND);
    cluster.yak(&["produce", "orders", "-p", "7"], "x\n").expect_code(NOT_FOUND);
    cluster.yak(&["topic", "create", "../up"], "").expect_code(2);

    let all = cluster.all();
    let waiting = Process::start(&["consume", "later", "--from-beginning", "-n", "1", "-b", &all]);
    waiting
        .stderr
        .wait("a note", |line| line.contains("there is no topic later yet") && line.contains("--create"));
    cluster.yak(&["produce", "later"], "here\n").expect_code(0);
    assert_eq!(waiting.finish().expect_code(0).stdout, ["here"]);

    cluster.yak(&["consume", "made", "--create", "-e"], "").expect_code(0);
    assert_eq!(cluster.describe("made").len(), 3);
}

#[test]
fn exit_codes_say_whether_records_may_have_been_written() {
    let mut cluster = Cluster::start("1");
    cluster.create_topic("orders", 1, 3);
    let all = cluster.all();
    let mut producer = Process::start(&[
        "produce",
        "orders",
        "--output",
        "json",
        "-X",
        "delivery_timeout_ms=3000",
        "-b",
        &all,
    ]);
    producer.type_line("acknowledged");
    producer.stdout.wait("the first acknowledgement", |line| line.contains("\"offset\":0"));
    // The followers halt, so the leader has the record and cannot say whether it stays; then it dies, too.
    let leader = cluster.describe("orders")[0].leader.expect("it has a leader");
    for n in (1..=3).filter(|n| *n != leader) {
        cluster.broker(n).signal(rustix::process::Signal::STOP);
    }
    producer.type_line("who knows");
    let finished =
        producer.finish().expect_code(OUTCOME_UNKNOWN).expect_stderr(&["unknown outcome", "line 2"]);
    assert_eq!(finished.stdout.len(), 1);
    (1..=3).for_each(|n| cluster.kill_broker(n));

    let said = yak(&["topic", "list", "-b", &all], "").expect_code(UNREACHABLE);
    let said = said.expect_stderr(&["no broker or coordinator answers", cluster.address(1)]);
    assert!(said.stdout.is_empty());
}
