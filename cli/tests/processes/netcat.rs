//! People with `nc`: the real ones, `nc` of netcat-openbsd and `ncat`, against real processes; and the
//! transcripts of docs/NETCAT.md, each line of them.

use crate::harness::{Cluster, until};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/NETCAT.md");

/// How a client is called in the transcripts' place of `nc -N` and `nc`.
#[derive(Clone, Copy)]
struct Netcat {
    /// Closes its sending side at the end of its input.
    closing: &'static str,
    plain: &'static str,
}

const NC: Netcat = Netcat { closing: "nc -N", plain: "nc" };
const NCAT: Netcat = Netcat { closing: "ncat", plain: "ncat" };

/// Whether the client is there. Where it must be (`CI=true`) its absence is a failure.
fn is_here(netcat: Netcat) -> bool {
    let name = netcat.plain;
    let found = shell(&format!("command -v {name}"));
    // Another nc knows no -N.
    let works =
        !found.is_empty() && (name != "nc" || shell("nc -h 2>&1").iter().any(|line| line.contains("-N")));
    let needed = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(works || !needed, "{name} is not installed: scripts/test.sh says which package has it");
    if !works {
        eprintln!("SKIPPED: {name} is not installed");
    }
    works
}

/// What a command prints; one that hangs fails the test.
fn shell(command: &str) -> Vec<String> {
    let output = Command::new("timeout")
        .args(["90", "sh", "-c", command])
        .stdin(Stdio::null())
        .output()
        .expect("coreutils and a shell are there");
    assert!(output.status.code() != Some(124), "it hangs: {command}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Puts the cluster's ports in the place of 9700 to 9703.
fn placed(cluster: &Cluster, text: &str) -> String {
    let mut placed = text.to_owned();
    for n in 0..=3 {
        let address = if n == 0 { cluster.coordinator_address() } else { cluster.address(n) };
        let port = address.rsplit_once(':').expect("an address has a port").1;
        placed = placed.replace(&format!("970{n}"), &format!("\u{1}{port}"));
    }
    placed.replace('\u{1}', "")
}

/// One command of a transcript, and what it is shown to print.
struct Step {
    command: String,
    expected: Vec<String>,
}

/// Every `$ command` in the blocks that are marked `console`.
fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in std::fs::read_to_string(PAGE).expect("the page is there").lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step { command: command.to_owned(), expected: Vec::new() }),
                None => steps.last_mut().expect("a block begins with $").expected.push(line.to_owned()),
            },
            (false, _) => {}
        }
    }
    steps
}

/// Whether a printed line is as shown. `<n>` stands for digits, `<time>`, `<address>`, `<id>` and `<text>` for
/// what they say; how many blanks part two columns does not matter.
fn fits(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (shown.trim_end(), printed.trim_end());
    let Some(at) = shown.find(['<', ' ']) else { return shown == printed };
    let (before, rest) = shown.split_at(at);
    let Some(printed) = printed.strip_prefix(before) else { return false };
    if rest.starts_with(' ') {
        let (shown, blanks) = (rest.trim_start(), printed.trim_start());
        return blanks.len() < printed.len() && fits(shown, blanks);
    }
    let may: fn(char) -> bool = match rest.split_once('>').map(|(name, _)| name) {
        Some("<n") => |c| c.is_ascii_digit(),
        Some("<time") => |c| c.is_ascii_digit() || "-:.TZ".contains(c),
        Some("<address") => |c| c.is_ascii_digit() || ".:".contains(c),
        Some("<id") => |c| c.is_ascii_hexdigit() || c == '-',
        Some("<text") => |_| true,
        _ => return printed.strip_prefix('<').is_some_and(|printed| fits(&rest[1..], printed)),
    };
    let shown = rest.split_once('>').map_or("", |(_, after)| after);
    let most = printed.find(|c| !may(c)).unwrap_or(printed.len());
    (1..=most).rev().any(|end| printed.is_char_boundary(end) && fits(shown, &printed[end..]))
}

/// Whether all lines are as shown; a line `...` stands for any number of lines.
fn all_fit(shown: &[String], printed: &[String]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((line, rest)), _) if line == "..." => {
            (0..=printed.len()).any(|skipped| all_fit(rest, &printed[skipped..]))
        }
        (Some((line, shown)), Some((found, printed))) => fits(line, found) && all_fit(shown, printed),
        _ => false,
    }
}

/// Runs every transcript of the page.
fn transcripts(netcat: Netcat) {
    if !is_here(netcat) {
        return;
    }
    let cluster = Cluster::start("10");
    let steps = steps();
    assert!(steps.len() >= 10, "the page has transcripts");
    for Step { command, expected } in steps {
        let command = command.replace("nc -N ", "\u{1} ").replace("| nc ", &format!("| {} ", netcat.plain));
        let command = placed(&cluster, &command.replace('\u{1}', netcat.closing));
        let expected: Vec<String> = expected.iter().map(|line| placed(&cluster, line)).collect();
        let printed = shell(&command);
        assert!(all_fit(&expected, &printed), "{command}\nshown: {expected:#?}\nprinted: {printed:#?}");
    }
}

#[test]
fn the_page_says_what_nc_shows() {
    transcripts(NC);
}

#[test]
fn the_page_says_what_ncat_shows() {
    transcripts(NCAT);
}

#[test]
fn lines_of_the_page_are_compared_by_pattern() {
    for (shown, printed, fit) in [
        ("+OK offset=<n> x", "+OK offset=17 x", true),
        ("+OK offset=<n>", "+OK offset=a", false),
        ("+OK offset=<n>", "+OK offset=", false),
        ("a  b", "a      b", true),
        ("a b", "ab", false),
        ("<time> u1", "2026-11-20T20:31:05.123Z u1", true),
        ("{<text>}", "{\"a\":1}", true),
        ("<text>x", "yyy", false),
        ("a < b", "a < b", true),
        ("end", "end more", false),
    ] {
        assert_eq!(fits(shown, printed), fit, "{shown} / {printed}");
    }
    let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert!(all_fit(&lines("a ... d"), &lines("a b c d")));
    assert!(!all_fit(&lines("a ... e"), &lines("a b c d")));
    assert!(!all_fit(&lines("a"), &lines("a b")));
}

#[test]
fn a_topic_is_made_filled_and_read_by_any_broker() {
    let cluster = Cluster::start("10");
    for netcat in [NC, NCAT].into_iter().filter(|netcat| is_here(*netcat)) {
        for n in 1..=3 {
            let (host, port) = cluster.address(n).rsplit_once(':').expect("an address has a port");
            let topic = format!("{}-{n}", netcat.plain);
            let typed = format!(
                "CREATE {topic} parts=3\\nPUB {topic} key=u1 -- hello\\nSUB {topic} from=earliest max=1\\nQUIT\\n"
            );
            let printed = shell(&format!("printf '{typed}' | {} {host} {port}", netcat.plain));
            let shown = format!(
                "+OK topic={topic} partitions=3 rf=<n> epoch=<n>\n\
                 +OK topic={topic} partition=<n> offset=0 replicas=<n>/<n> durable=yes leader_epoch=<n>\n\
                 MSG {topic} <n> 0 <time> u1 5\nhello\n.\n+OK count=1 next=<n>:1\n+OK bye"
            );
            let shown: Vec<String> = shown.lines().map(str::to_owned).collect();
            assert!(all_fit(&shown, &printed), "broker {n}: {printed:#?}");
        }
    }
}

/// A client whose stdin stays open.
struct Typing {
    client: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Typing {
    fn to(netcat: Netcat, address: &str) -> Self {
        let (host, port) = address.rsplit_once(':').expect("an address has a port");
        let mut client = Command::new(netcat.plain)
            .args([host, port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let stdin = client.stdin.take().expect("it is piped");
        let out = BufReader::new(client.stdout.take().expect("it is piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { client, stdin, lines }
    }

    /// Sends a message, and returns its answer; what is pushed in between goes to `pushed`.
    fn ask(&mut self, message: &Value, pushed: &mut VecDeque<Value>) -> Value {
        writeln!(self.stdin, "{message}").expect("it takes what is typed");
        loop {
            let line = self.lines.recv_timeout(crate::harness::PATIENCE).expect("an answer");
            let line: Value = serde_json::from_str(&line).expect("a line of JSON");
            if line["id"] == message["id"] && line["kind"] == message["kind"] {
                return line;
            }
            pushed.push_back(line);
        }
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// The state that `BROKERS` shows of the broker of that name.
fn state_of(netcat: Netcat, address: &str, name: &str) -> Option<String> {
    let (host, port) = address.rsplit_once(':').expect("an address has a port");
    let typed = "BROKERS format=json\\nQUIT\\n";
    let lines = shell(&format!("printf '{typed}' | {} {host} {port}", netcat.plain));
    let rows = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let row = rows.into_iter().find(|row| row["name"] == name)?;
    row["state"].as_str().map(str::to_owned)
}

#[test]
fn a_broker_that_is_typed_by_hand_lives_by_its_heartbeats_and_expires() {
    if !is_here(NC) {
        return;
    }
    let cluster = Cluster::start_with(1, "3");
    let address = cluster.coordinator_address().to_owned();
    let mut typing = Typing::to(NC, &address);
    let mut pushed = VecDeque::new();
    let register = serde_json::json!({
        "kind": "register_broker", "id": 1, "name": "ghost", "advertise": "127.0.0.1:1",
        "incarnation": "00000000-0000-0000-0000-000000000001",
        "data_dir": "00000000-0000-0000-0000-000000000002",
    });
    let session = typing.ask(&register, &mut pushed);
    assert_eq!(session["ok"], true, "{session}");
    let mut newest = session["leader_info"]["version"].clone();
    let mut id = 1;
    until("the hand-typed broker to be alive", || {
        id += 1;
        let heartbeat = serde_json::json!({
            "kind": "heartbeat", "id": id, "broker_id": session["broker_id"],
            "broker_epoch": session["broker_epoch"], "metadata_version": newest,
        });
        let answer = typing.ask(&heartbeat, &mut pushed);
        assert_eq!(answer["ok"], true, "{answer}");
        newest = answer["metadata_version"].clone();
        (state_of(NC, &address, "ghost").as_deref() == Some("alive")).then_some(())
    });
    // Nothing more is typed, and the connection stays: only the lease can end it.
    until("it to expire", || (state_of(NC, &address, "ghost").as_deref() == Some("fenced")).then_some(()));
    assert!(typing.client.try_wait().expect("our child").is_none(), "the connection was open all the time");
}
