//! `yak decode`, `encode`, `proxy` and `tap` as people use them: in pipes, and between processes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cluster;

use cluster::{Dev, send_signal, text, yak};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};
use yak_protocol::decode::Direction;
use yak_protocol::decode::capture::CaptureWriter;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child =
        yak(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A command that fails early does not read all of it.
    let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}

/// Runs it, insists on this exit code, and gives stdout and stderr.
fn ends(code: i32, arguments: &[&str], input: &[u8]) -> (String, String) {
    let output = run(arguments, input);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    (out, err)
}

/// The bytes of a message.
fn frame(message: &str) -> Vec<u8> {
    let output = run(&["encode", message], b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    output.stdout
}

/// Sends bytes, closes the sending side, and gives all that comes back: `nc -N`.
fn nc(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    // A connection that is cut ends with an error, after what came before.
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn lines(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn encode_and_decode_talk_to_a_broker_through_pipes() {
    let dev = Dev::start(1);
    let ask = br#"{"kind":"publish","topic":"orders","records":[{"key":"k1","value":{"hex":"ff00"}}]}
        # comments and empty lines are fine

        {"kind":"consume","id":2,"format":"batch","partitions":[{"topic":"orders","partition":0,"offset":0}],"wait_ms":0}"#;
    // Each as its own request: the second asks for what the first has written.
    let asked = run(&["encode"], ask).stdout;
    let (out, _) = ends(0, &["decode", "--json"], &nc(&dev.brokers, &asked));
    let answers = lines(&out);
    assert_eq!(answers.len(), 2, "{out}");
    let published = answers.iter().find(|answer| answer["kind"] == "publish").unwrap();
    assert_eq!(published["message"]["results"][0]["ack"]["durable"], true, "{out}");
    let partition = &published["message"]["results"][0]["partition"];

    let consume = format!(
        r#"{{"kind":"consume","id":3,"format":"batch","partitions":[{{"topic":"orders","partition":{partition},"offset":0}}]}}"#
    );
    let answer = nc(&dev.brokers, &frame(&consume));
    let (out, _) = ends(0, &["decode", "--bodies"], &answer);
    for expected in
        ["consume reply  id 3", "1 record  none  crc ", " ok  base offset 0", r#"key "k1"  value 0xff00"#]
    {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    let (out, _) = ends(0, &["decode", "--bodies", "--json"], &answer);
    assert_eq!(lines(&out)[0]["batches"][0]["records"][0]["value"]["b64"], "/wA=");
    // What it says is what it reads, in every form.
    let message = lines(&out)[0]["message"].to_string();
    assert_eq!(run(&["encode", "--as-is", "-"], message.as_bytes()).stdout.len(), answer.len());
    let (hex, _) = ends(0, &["decode", "--hex"], &answer);
    assert_eq!(ends(0, &["decode", "--hex"], hex.as_bytes()).0, hex);
}

#[test]
fn decode_ends_with_3_when_not_every_byte_is_known() {
    let whole = frame(r#"{"kind":"hello","id":9}"#);
    let cut = &whole[..whole.len() - 5];
    for (input, expected) in [
        (&[&whole[..], b"ABCDEFG"].concat()[..], format!("byte {}: trailing 7 bytes", whole.len())),
        (cut, format!("byte 0: truncated: need {} have {}", whole.len(), cut.len())),
        (b"GET / HTTP/1.1\r\n\r\n", "byte 0: this is not YAK: HTTP `GET / HTTP/1.1`".to_owned()),
        (b"1603010200010001fc0303", "byte 0: this is not YAK: TLS hello".to_owned()),
        (b"AAAAEwASAAMAAAABAAdyZGthZmthAA==", "byte 0: this is not YAK: Kafka ApiVersions".to_owned()),
    ] {
        let (out, err) = ends(3, &["decode"], input);
        assert!(out.contains(&expected), "{expected}: {out}");
        assert!(err.contains("1 problem"), "{err}");
        let (out, _) = ends(3, &["decode", "--json"], input);
        let told = lines(&out).last().unwrap()["problems"][0]["what"].as_str().unwrap().to_owned();
        assert!(expected.contains(&told) || told.contains(expected.split_once(": ").unwrap().1), "{told}");
    }
    let (_, err) = ends(1, &["decode", "no-such-file"], b"");
    assert!(err.contains("cannot read no-such-file"), "{err}");
    let (_, err) = ends(1, &["decode", "--input", "hex"], b"00 0\n");
    assert!(err.contains("line 1: \"0\" has an odd number"), "{err}");
    let (out, _) = ends(0, &["decode", "--input", "raw"], b"00000000");
    assert!(out.contains("text  00000000"), "it is what it is said to be: {out}");
    let newer = run(&["encode", "--as-is", r#"{"kind":"teleport","v":3}"#], b"").stdout;
    let (out, _) = ends(3, &["decode"], &newer);
    assert!(out.contains("unknown kind `teleport` (protocol newer than this tool: v3 vs v1)"), "{out}");
}

/// What `yak decode` says of each of these pieces before the next one comes.
fn live(pieces: &[Vec<u8>]) -> Vec<Value> {
    let mut child = yak(&["decode", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    for piece in pieces {
        stdin.write_all(piece).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        said.push(serde_json::from_str(&line).unwrap());
    }
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert!(child.wait().unwrap().success());
    said
}

#[test]
fn decode_shows_frames_and_captures_while_they_come() {
    let frames = [1, 2, 3].map(|id| frame(&format!(r#"{{"kind":"hello","id":{id}}}"#)));
    // The second one comes with the beginning of the third.
    let pieces = [&frames[0][..], &[&frames[1][..], &frames[2][..7]].concat(), &frames[2][7..]];
    let ids = |said: &[Value]| said.iter().map(|line| line["id"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(ids(&live(&pieces.map(<[u8]>::to_vec))), [1, 2, 3]);

    let mut file = Vec::new();
    let mut parts = Vec::new();
    let (client, server) = ("127.0.0.1:40000".parse().unwrap(), "127.0.0.1:9701".parse().unwrap());
    let mut writer = CaptureWriter::new(&mut file).unwrap();
    let mut connection = writer.open(Duration::ZERO, client, server).unwrap();
    for bytes in &frames {
        // Packets without the head of a file, which is there already.
        let mut some = Vec::new();
        let mut writer = CaptureWriter::new(&mut some).unwrap();
        writer.data(Duration::ZERO, &mut connection, Direction::ToServer, bytes).unwrap();
        file.extend_from_slice(&some[24..]);
        parts.push(std::mem::take(&mut file));
    }
    assert_eq!(ids(&live(&parts)), [1, 2, 3]);
}

#[test]
fn filters_hide_frames_but_no_problems() {
    let messages = br#"{"kind":"publish","id":1,"topic":"orders","records":[{"value":"a"}]}
        {"kind":"publish","id":2,"topic":"others","records":[{"value":"orders"}]}
        {"kind":"hello","id":3}"#;
    let mut stream = run(&["encode"], messages).stdout;
    let ids = |out: &str| lines(out).iter().map(|line| line["id"].as_u64()).collect::<Vec<_>>();
    let decode = |filter: &[&str], stream: &[u8], code| {
        ends(code, &[&["decode", "--json", "--filter"], filter].concat(), stream).0
    };
    assert_eq!(ids(&decode(&["kind=publish"], &stream, 0)), [Some(1), Some(2)]);
    assert_eq!(ids(&decode(&["kind=publish", "topic=orders"], &stream, 0)), [Some(1)]);
    assert_eq!(ids(&decode(&["id=3"], &stream, 0)), [Some(3)]);
    stream.extend(b"rest");
    assert_eq!(ids(&decode(&["id=3"], &stream, 3)), [Some(3), None]);
}

/// A running `yak proxy`.
struct Proxy {
    child: Child,
    address: String,
}

impl Proxy {
    fn start(to: &str, options: &[&str]) -> Self {
        let arguments = [&["proxy", "--listen", "127.0.0.1:0", "--to", to, "--json"], options].concat();
        let mut child = yak(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        std::thread::spawn(move || drop(std::io::copy(&mut stderr, &mut std::io::sink())));
        let address = line.strip_prefix("ready ").and_then(|line| line.split(' ').next()).expect(&line);
        Self { address: address.to_owned(), child }
    }

    /// Stops it, and gives what it printed.
    fn stop(mut self) -> Vec<Value> {
        send_signal(&self.child, Signal::INT);
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert!(self.child.wait().unwrap().success(), "{out}");
        lines(&out)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_proxy_shows_what_passes_and_writes_it_down() {
    let dev = Dev::start(1);
    let folder = tempfile::tempdir().unwrap();
    let pcap = folder.path().join("all.pcap");
    let pcap = pcap.to_str().unwrap();
    let proxy = Proxy::start(&dev.brokers, &["--pcap", pcap, "--delay", "to-client=100ms"]);
    let started = Instant::now();
    let answer = nc(&proxy.address, &frame(r#"{"kind":"hello","id":7}"#));
    assert!(started.elapsed() >= Duration::from_millis(100), "it is held back");
    assert!(!answer.is_empty());
    let session = nc(&proxy.address, b"PING\nQUIT\n");
    assert!(text(&session).starts_with("+OK pong\n"), "{}", text(&session));
    let seen = proxy.stop();
    let of = |connection: u64| {
        let of = seen.iter().filter(|line| line["connection"] == connection);
        of.map(|line| (line["direction"].as_str().unwrap(), &line["kind"], &line["text"])).collect::<Vec<_>>()
    };
    let hello = Value::from("hello");
    assert_eq!(of(1), [("to_server", &hello, &Value::Null), ("to_client", &hello, &Value::Null)]);
    assert_eq!(of(2)[0], ("to_server", &Value::Null, &Value::from("PING\n")));
    assert!(seen[1]["latency_ms"].as_f64().is_some(), "{}", seen[1]);

    let (out, _) = ends(0, &["decode", "--json", pcap], b"");
    let again: Vec<_> = lines(&out);
    let told = |lines: &[Value]| {
        let mut told: Vec<String> = lines
            .iter()
            .map(|line| {
                format!("{} {} {} {}", line["connection"], line["direction"], line["at"], line["length"])
            })
            .collect();
        told.sort();
        told
    };
    assert_eq!(told(&again), told(&seen), "the file has what was shown");
}

#[test]
fn a_proxy_loses_frames_but_leaves_text_alone() {
    let dev = Dev::start(1);
    let proxy = Proxy::start(&dev.brokers, &["--drop", "to-server=100%", "--seed", "1"]);
    assert_eq!(nc(&proxy.address, &frame(r#"{"kind":"hello","id":7}"#)), b"");
    assert!(text(&nc(&proxy.address, b"PING\nQUIT\n")).starts_with("+OK pong\n"));
    // Without a line break, as `echo -n` sends it; the broker waits for the end of its input.
    assert!(!nc(&proxy.address, b"PING").is_empty());
    let seen = proxy.stop();
    assert_eq!((&seen[0]["kind"], &seen[0]["fault"]), (&Value::from("hello"), &Value::from("dropped")));
    assert!(seen[1..].iter().all(|line| line["fault"].is_null()), "{seen:?}");
}

#[test]
fn a_proxy_cuts_after_frames_and_within_them() {
    let dev = Dev::start(1);
    let hello = frame(r#"{"kind":"hello","id":7}"#);
    let whole = nc(&dev.brokers, &hello);

    let proxy = Proxy::start(&dev.brokers, &["--cut-after", "to-client=1"]);
    assert_eq!(nc(&proxy.address, &[&hello[..], &hello].concat()).len(), whole.len(), "one answer of two");
    let seen = proxy.stop();
    assert!(seen.iter().any(|line| line["fault"] == "cut after 1 frame"), "{seen:?}");

    let proxy = Proxy::start(&dev.brokers, &["--cut-after", "to-client=20bytes"]);
    assert_eq!(nc(&proxy.address, &hello), whole[..20]);
    let seen = proxy.stop();
    let truncated = format!("truncated: need {} have 20", whole.len());
    assert!(seen.iter().any(|line| line["problems"][0]["what"] == truncated), "{seen:?}");
}

/// A server that says to `TAP` what it is given to say; returns what it was asked.
fn tapped(says: &'static [u8], arguments: &[&str], code: i32) -> (Vec<String>, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut asked = Vec::new();
        for _ in 0..2 {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            asked.push(line.trim_end().to_owned());
        }
        stream.write_all(says).unwrap();
        asked
    });
    let (out, err) = ends(code, &[&["tap", &address], arguments].concat(), b"");
    (server.join().unwrap(), out, err)
}

const TAPPED: &[u8] = br##"{"ok":true,"format":"json"}
{"time":"2026-11-20T20:31:05.123Z","connection":3,"direction":"in","bytes":30,"message":{"id":7,"kind":"hello"}}
{"line":"# 12 frames were dropped"}
{"time":"2026-11-20T20:31:05.124Z","connection":3,"direction":"out","bytes":80,"message":{"id":7,"kind":"hello","ok":true}}
{"ok":true,"frames":2,"dropped":12}
"##;

#[test]
fn tap_shows_frames_and_says_how_many_it_does_not() {
    let (asked, out, err) = tapped(TAPPED, &["topic=orders", "--payload", "--rate", "5", "-n", "2"], 0);
    assert_eq!(asked, ["FORMAT json", "TAP orders 2 rate=5 payload=on"]);
    let shown: Vec<_> = out.lines().collect();
    assert_eq!(shown.len(), 2, "{out}");
    assert!(
        shown[0].starts_with("#3 -> ") && shown[0].ends_with(r#"length 30 (0x1e)  {"id":7,"kind":"hello"}"#),
        "{out}"
    );
    assert!(shown[1].starts_with("#3 <- "), "{out}");
    assert!(err.contains("12 frames were dropped"), "{err}");
    let (asked, out, _) = tapped(TAPPED, &["conn=3", "--json"], 0);
    assert_eq!(asked[1], "TAP 3");
    assert_eq!(lines(&out)[1]["message"]["ok"], true);
}

#[test]
fn tap_shows_the_frames_of_a_broker_without_what_people_sent() {
    let dev = Dev::start(1);
    let mut tap = yak(&["tap", &dev.brokers, "topic=orders", "--json", "-n", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let publish = frame(r#"{"kind":"publish","topic":"orders","records":[{"key":"k1","value":"hello"}]}"#);
    let started = Instant::now();
    // When it has begun to listen is not known: it has once it sees enough.
    while tap.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < PATIENCE, "it sees nothing");
        nc(&dev.brokers, &publish);
    }
    let output = tap.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    let seen = lines(&out);
    assert_eq!(seen.len(), 3, "{out}");
    let published = seen.iter().find(|line| line["direction"] == "in").unwrap();
    let message = &published["message"];
    assert_eq!((&message["kind"], &message["topic"]), (&Value::from("publish"), &Value::from("orders")));
    assert_eq!(message["records"][0]["value"], serde_json::json!({"masked": 5}));
    assert!(!out.contains("hello"), "{out}");
}

#[test]
fn tap_says_why_there_is_nothing_to_see() {
    let refused = b"{\"ok\":false,\"code\":42,\"error\":\"DISABLED\",\"message\":\"text is off\",\"hint\":\"ask another\"}\n";
    let (asked, _, err) = tapped(refused, &[], 1);
    assert_eq!(asked[1], "TAP *");
    assert!(err.contains("DISABLED: text is off; ask another"), "{err}");
    let (_, _, err) = tapped(b"", &[], 7);
    assert!(err.contains("has closed the connection"), "{err}");
    let (_, err) = ends(7, &["tap", "127.0.0.1:1"], b"");
    assert!(err.contains("cannot reach 127.0.0.1:1"), "{err}");
}

/// Every `console` block of docs/TOOLS.md does what it shows.
#[test]
fn the_page_about_tools_is_true() {
    const PAGE: &str = include_str!("../../docs/TOOLS.md");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_yak"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut executed = 0;
    for block in PAGE.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for step in block.split("$ ").skip(1) {
            let (command, expected) = step.split_once('\n').unwrap();
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("{{ {command}; }} 2>&1")])
                .env("PATH", &path)
                .env_remove("YAK_LOG")
                .output()
                .unwrap();
            assert_eq!(text(&output.stdout), expected, "{command}");
            executed += 1;
        }
    }
    assert!(executed >= 6, "{executed}");
}
