//! The commands that every process knows.

use super::desk::{Typist, desk, desk_with};
use super::net::raw::{Raw, hello};
use std::sync::Mutex;
use yak_protocol::net::{Levels, ListenerConfig, ProcessLog, TextAccess};

#[tokio::test]
async fn who_is_here() {
    let server = desk().await;
    let answer =
        server.told("\nVERSION\nHELP kill\nHELP ruok\nHELP kil\nPINGG\nPING x\nforward=maybe\n").await;
    let lines: Vec<_> = answer.lines().collect();
    assert_eq!(
        lines,
        [
            "+OK YAK fake 0; HELP lists the commands",
            "+OK process=fake software=0 protocol=1 cluster_id=- broker_id=- max_frame_bytes=1 unhealthy=-",
            "KILL <connection>",
            "  cuts a connection of CONNS",
            ".",
            "+OK access=admin",
            "ruok  (alone on a connection)",
            "  whether the process can do its job: `imok` or `imno: <reason>`",
            ".",
            "+OK",
            "-ERR UNKNOWN_KIND there is no command KIL | hint: did you mean KILL? HELP lists all of them",
            "-ERR UNKNOWN_KIND there is no command PINGG | hint: did you mean PING? HELP lists all of them",
            "-ERR BAD_REQUEST PING does not take x | hint: HELP PING",
            "-ERR BAD_REQUEST FORWARD is on or off, not maybe",
        ]
    );
}

#[tokio::test]
async fn what_commands_ask_goes_the_way_of_a_frame() {
    let server = desk().await;
    let answer = server.told("ASK somebody\nASK drop\nASK ignore\nASK stop\n").await;
    let lines: Vec<_> = answer.lines().collect();
    assert_eq!(lines[0], "+OK process=fake version=7 bin=10");
    assert!(lines[1].starts_with("-ERR INTERNAL hello: the request was dropped"), "{answer}");
    assert!(lines[2].starts_with("-ERR INTERNAL hello: nothing answers it here"), "{answer}");
    assert!(lines[3].starts_with("-ERR SHUTTING_DOWN it stops"), "{answer}");
    assert_eq!(server.seen().1, ["hello", "metadata", "hello", "hello", "hello"]);
}

#[tokio::test]
async fn records_are_shown_as_it_was_asked_for() {
    let server = desk().await;
    let time = "2023-11-14T22:13:20.123Z";
    let answer = server.told("SHOW\n").await;
    let expected = format!(
        "MSG orders 1 7 {time} \"u 1\" 8\na\\x00b\\\\\nMSG orders 1 7 {time} - -\nMSG orders 1 7 {time} \"\\xff\" 1\n.\n.\n+OK\n"
    );
    assert_eq!(answer, expected);
    let answer = server.answer(b"ESC off\nSHOW\n", true).await;
    let expected = format!(
        "+OK esc off\nMSG orders 1 7 {time} \"u 1\" 4\na\0b\\\nMSG orders 1 7 {time} - -\nMSG orders 1 7 {time} \"\\xff\" 1\n.\n.\n+OK\n"
    );
    assert_eq!(answer, expected.as_bytes());
    // Values only; no status but errors.
    let answer = server.answer(b"ESC off\nRAW on\nSHOW\nNONE\n", true).await;
    assert!(answer.starts_with(b"+OK esc off\na\0b\\\n\n.\n-ERR UNKNOWN_KIND "), "{}", answer.escape_ascii());
    let answer = server.told("SHOW format=json\n").await;
    let head = format!("{{\"topic\":\"orders\",\"partition\":1,\"offset\":7,\"time\":\"{time}\",");
    let expected = format!(
        "{head}\"key\":\"u 1\",\"value\":\"a\\u0000b\\\\\"}}\n{head}\"key\":null,\"value\":null}}\n\
         {head}\"key\":{{\"b64\":\"/w==\"}},\"value\":\".\"}}\n{{\"ok\":true}}\n"
    );
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn formats() {
    let server = desk().await;
    let answer = server
        .told("FORMAT kv\nROWS 1\nROWS 1 format=json\nNONE format=json\nFORMAT json\nHELP PING\nX\n")
        .await;
    let lines: Vec<_> = answer.lines().collect();
    assert_eq!(
        lines[..6],
        ["+OK format=kv", "row=0", ".", "+OK count=1", r#"{"row":0}"#, r#"{"ok":true,"count":1}"#]
    );
    assert_eq!(
        lines[7..10],
        [r#"{"ok":true,"format":"json"}"#, r#"{"line":"PING"}"#, r#"{"line":"  answers pong"}"#]
    );
    assert!(lines[11].starts_with(r#"{"ok":false,"code":3,"error":"UNKNOWN_KIND""#), "{answer}");
    assert!(server.told("FORMAT xml\n").await.starts_with("-ERR BAD_REQUEST `xml` is no format"));
}

#[tokio::test]
async fn connections_are_listed_and_killed() {
    let server = desk().await;
    let mut victim = Raw::connect(&server.address).await;
    victim.send(&hello(1, "victim")).await;
    victim.next().await.expect("an answer");
    let mut typist = Typist::sit_down(&server).await;
    typist.types("CONNS format=kv\n").await;
    let line = typist.reads().await.unwrap();
    assert!(
        line.starts_with("id=1 address=127.0.0.1:") && line.contains(" mode=frames client=victim "),
        "{line}"
    );
    assert!(line.contains(" requests=1 "), "{line}");
    assert!(typist.reads().await.unwrap().starts_with("id=2 "));
    assert_eq!(typist.reads().await.as_deref(), Some("."));
    assert_eq!(typist.reads().await.as_deref(), Some("+OK count=2"));
    assert_eq!(typist.asks("KILL 1").await, "+OK killed=1");
    assert!(victim.next().await.is_none());
    assert!(typist.asks("KILL 77").await.starts_with("-ERR BAD_REQUEST there is no connection 77"));
    assert!(typist.asks("KILL 2").await.starts_with("-ERR BAD_REQUEST that is this connection"));
    assert!(typist.asks("KILL me").await.starts_with("-ERR BAD_REQUEST KILL: me is not the number"));
    let event = &server.service.observer.events.recent(1)[0];
    assert!(event.kind == "killed" && event.text.starts_with("connection 1 by hand from "), "{}", event.text);
}

#[tokio::test]
async fn events_are_shown_and_followed() {
    let server = desk().await;
    let events = &server.service.observer.events;
    (1..=3).for_each(|n| events.note("election", format!("number {n}")));
    let answer = server.told("EVENTS 2\nEVENTS FOLLOW 1\nEVENTS 2 3\n").await;
    let lines: Vec<_> = answer.lines().collect();
    assert!(
        lines[0].ends_with("Z election number 2") && lines[1].ends_with("Z election number 3"),
        "{answer}"
    );
    assert_eq!(lines[2..4], [".", "+OK count=2"]);
    assert!(lines[4].ends_with(" number 3"), "{answer}");
    assert_eq!(lines[5..7], [".", "+OK count=1"]);
    assert!(lines[7].starts_with("-ERR BAD_REQUEST EVENTS does not take 3"), "{answer}");
    let mut typist = Typist::sit_down(&server).await;
    assert!(typist.asks("EVENTS 1 FOLLOW").await.ends_with("number 3"));
    events.note("election", "number 4\nof them".to_owned());
    assert!(typist.reads().await.unwrap().ends_with("Z election number 4"));
    assert_eq!(typist.reads().await.as_deref(), Some("of them"));
    typist.types("QUIT\n").await;
    assert_eq!(typist.reads().await.as_deref(), Some("."));
    assert_eq!(typist.reads().await.as_deref(), Some("+OK count=2"));
    assert!(server.told("evnt\n").await.contains("Z election number 1\n"));
}

#[tokio::test]
async fn frames_are_shown_to_whoever_taps() {
    let server = desk().await;
    let mut talker = Raw::connect(&server.address).await;
    talker.lives().await;
    let mut typist = Typist::sit_down(&server).await;
    typist.types("TAP 1 2 format=json\n").await;
    // There is no sign that it has begun but the frames themselves.
    let shown = async {
        let mut lines = Vec::new();
        while lines.len() < 3 {
            lines.push(typist.reads().await.expect("a line"));
        }
        lines
    };
    let talking = async {
        loop {
            talker.lives().await;
        }
    };
    let lines = tokio::select! {
        lines = shown => lines,
        () = talking => unreachable!("it never ends"),
    };
    let values: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for value in &values[..2] {
        assert_eq!(
            (&value["connection"], &value["message"]["kind"]),
            (&1.into(), &"hello".into()),
            "{value}"
        );
        let direction = value["direction"].as_str().unwrap();
        assert_eq!(value["message"].get("ok").is_some(), direction == "out", "{value}");
    }
    assert_eq!(values[2], serde_json::json!({"ok": true, "frames": 2, "dropped": 0}));
}

#[tokio::test]
async fn what_people_sent_is_masked_in_a_tap_unless_it_is_asked_for() {
    let server = desk().await;
    for (option, masked) in [("", true), (" payload=on", false)] {
        let mut tapping = Typist::sit_down(&server).await;
        tapping.types(format!("TAP orders 1 rate=1000{option}\n")).await;
        let mut talking = Typist::sit_down(&server).await;
        let publish =
            r#"{"kind":"metadata","topics":["orders"],"records":[{"value":"secret"}],"bin":{"b64":"AAAA"}}"#;
        let line = tokio::select! {
            line = tapping.reads() => line.expect("a frame"),
            () = async { loop { talking.asks(publish).await; } } => unreachable!("it never ends"),
        };
        assert!(line.contains(r#" in "#) && line.contains(r#""topics":["orders"]"#), "{line}");
        assert_eq!(line.contains("secret"), !masked, "{line}");
        assert_eq!(line.contains("AAAA"), !masked, "{line}");
    }
}

/// Knows one module.
struct Modules(Mutex<String>);

impl Levels for Modules {
    fn filter(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn set(&self, module: &str, level: &str) -> Result<String, String> {
        if module != "yak" {
            return Err(format!("{module} is no module"));
        }
        *self.0.lock().unwrap() = format!("yak={level}");
        Ok(self.filter())
    }
}

#[tokio::test]
async fn the_log_is_shown_and_its_level_changed_where_everything_may_be_done() {
    let log = ProcessLog::new(Modules(Mutex::new("info".to_owned())));
    log.note("info", "yak: first".to_owned());
    log.note("warn", "yak: second peer=7".to_owned());
    let config =
        |text| ListenerConfig { text: Some(text), log: Some(log.clone()), ..ListenerConfig::default() };
    let server = desk_with(config(TextAccess::Full)).await;
    let answer =
        server.told("LOG 1\nLEVEL\nLEVEL yak debug\nLEVEL kay debug\nLEVEL yak\nLOG x\nLOG 1 2\n").await;
    let lines: Vec<_> = answer.lines().collect();
    assert!(lines[0].ends_with("Z warn yak: second peer=7"), "{answer}");
    assert_eq!(
        lines[1..],
        [
            ".",
            "+OK count=1",
            "+OK filter=info",
            "+OK filter=yak=debug",
            "-ERR BAD_REQUEST kay is no module",
            "-ERR BAD_REQUEST LEVEL needs a level: error, warn, info, debug, trace or off | hint: HELP LEVEL",
            "-ERR BAD_REQUEST LOG: x is not a number of lines",
            "-ERR BAD_REQUEST LOG does not take 2 | hint: HELP LOG",
        ]
    );
    // Followed until the next line.
    let mut typist = Typist::sit_down(&server).await;
    typist.types("LOG 1 FOLLOW\n").await;
    assert!(typist.reads().await.unwrap().ends_with("warn yak: second peer=7"));
    log.note("error", "yak: third".to_owned());
    assert!(typist.reads().await.unwrap().ends_with("error yak: third"));
    typist.types("QUIT\n").await;
    assert_eq!([typist.reads().await.unwrap(), typist.reads().await.unwrap()], [".", "+OK count=2"]);

    let server = desk_with(config(TextAccess::ReadOnly)).await;
    let answer = server.told("LEVEL yak off\nLOG format=kv\n").await;
    assert!(answer.starts_with("-ERR DISABLED LEVEL is not allowed on this listener"), "{answer}");
    assert!(
        answer.contains("kind=error text=\"yak: third\"") && answer.ends_with("+OK count=3\n"),
        "{answer}"
    );
    let answer = desk().await.told("LOG\nLEVEL\n").await;
    assert_eq!(answer.matches("-ERR DISABLED this process keeps no lines of its log").count(), 2, "{answer}");
}
