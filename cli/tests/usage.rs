//! What the binary says when it is used wrongly, or asked for help.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cluster;

use cluster::{text, yak};

fn refused(arguments: &[&str]) -> String {
    let output = yak(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    text(&output.stderr)
}

#[test]
fn wrong_arguments_exit_with_2_and_say_what_is_right() {
    for (arguments, expected) in [
        (&["prodcue"] as &[&str], "produce"),
        (&["produce"], "<TOPIC>"),
        (&["produce", "t", "-z", "rar"], "snappy"),
        (&["produce", "t", "-H", "nothing"], "name=value"),
        (&["produce", "t", "-k", "a", "-K", ":"], "cannot be used with"),
        (&["produce", "t", "--key-field", "a"], "--csv"),
        (&["produce", "t", "-X", "lingers=1"], "linger_ms"),
        (&["produce", "t", "--acks", "2"], "all"),
        (&["consume", "t", "-o", "soon"], "s@TIME"),
        (&["consume", "t", "-f", "%q"], "%s value"),
        (&["consume", "t", "-f", "%s", "-J"], "cannot be used with"),
        (&["consume", "t", "--timeout", "x"], "2h"),
        (&["topic", "create", "t", "-c", "durability=paper"], "replicated"),
        (&["topic", "create"], "<TOPIC>"),
        (&["bench", "fly"], "produce"),
        (&["dev", "--nodes", "0"], "1..="),
        (&["decode", "--input", "morse"], "base64"),
        (&["decode", "--json", "--hex"], "cannot be used with"),
        (&["decode", "--filter", "colour=red"], "kind="),
        (&["encode", "{}"], "no key `kind`"),
        (&["encode", r#"{"kind":"publsh"}"#], "did you mean publish?"),
        (&["encode", r#"{"kind":"publish","topik":"t"}"#], "topik: publish has no such key"),
        (&["encode", r#"{"kind":"publish","records":[{"key":5}]}"#], "records[0].key"),
        (&["proxy"], "--listen"),
        (&["proxy", "--listen", ":0"], "--to"),
        (&["proxy", "--listen", ":0", "--to", ":1", "--listen", ":0"], "2 times --listen, but 1 times --to"),
        (&["proxy", "--listen", ":0", "--to", ":1", "--drop", "up=1%"], "to-server"),
        (&["proxy", "--listen", ":0", "--to", ":1", "--cut-after", "soon"], "4096bytes"),
        (&["tap"], "HOST"),
        (&["broker", "--coordinator", "kiwi"], "host:port"),
        (&["coordinator", "peers", "add", "kiwi"], "host:port"),
        (&["coordinator", "--peers", "127.0.0.1:1", "peers", "list"], "cannot be used with"),
        (&["config", "show", "topic"], "coordinator, broker, dev, produce"),
        (&["config", "check"], "YAK_CONFIG"),
        (&["-b", "tcp://kiwi:1", "topic", "list"], "host:port"),
        (&["tap", "127.0.0.1", "orders"], "topic=NAME"),
    ] {
        let said = refused(arguments);
        assert!(said.contains(expected), "{arguments:?} does not mention {expected}: {said}");
    }
}

#[test]
fn every_command_shows_three_examples_and_the_exit_codes_are_documented() {
    for command in [
        &["produce"] as &[&str],
        &["consume"],
        &["topic"],
        &["topic", "create"],
        &["topic", "list"],
        &["topic", "describe"],
        &["topic", "delete"],
        &["cluster"],
        &["bench"],
        &["broker"],
        &["coordinator"],
        &["coordinator", "peers"],
        &["coordinator", "peers", "list"],
        &["coordinator", "peers", "add"],
        &["coordinator", "peers", "remove"],
        &["coordinator", "peers", "replace"],
        &["config"],
        &["config", "show"],
        &["config", "check"],
        &["config", "list"],
        &["dev"],
        &["decode"],
        &["encode"],
        &["proxy"],
        &["tap"],
    ] {
        let output = yak(command).arg("--help").output().unwrap();
        assert!(output.status.success());
        let help = text(&output.stdout);
        let examples = help.split("Examples:").nth(1).unwrap_or_default();
        let count = examples.lines().filter(|line| line.starts_with("  ") && line.contains("yak ")).count();
        assert!(count >= 3, "{command:?} shows {count} examples: {help}");
    }
    let help = text(&yak(&["--help"]).output().unwrap().stdout);
    for code in ["2    wrong arguments", "6    outcome unknown", "7    no broker", "130  Ctrl-C"] {
        assert!(help.contains(code), "{code}: {help}");
    }
}

#[test]
fn a_cluster_that_is_not_there_is_said_with_what_was_tried_and_what_to_do() {
    let output = yak(&["topic", "list", "-b", "127.0.0.1:1"]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    for expected in ["127.0.0.1:1", "refused", "YAK_BROKERS", "yak dev"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn input_that_is_not_there_is_named_before_anything_else() {
    let output = yak(&["produce", "t", "-l", "no-such-file"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot read no-such-file"));
}
