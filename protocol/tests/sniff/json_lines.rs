//! Messages as lines of JSON.

use super::desk::{Typist, desk, desk_with};
use bytes::Bytes;
use serde_json::Value;
use yak_protocol::message::{Hello, Message, Role};
use yak_protocol::net::limits::IN_FLIGHT_MAX;
use yak_protocol::net::{ListenerConfig, RoleSet};

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[tokio::test]
async fn a_line_is_a_message_and_its_answer_is_a_line() {
    let server = desk().await;
    let mut typist = Typist::sit_down(&server).await;
    let answer = parsed(&typist.asks(r#"{"kind":"hello","id":7,"client":"by hand"}"#).await);
    assert_eq!((&answer["id"], &answer["ok"], &answer["process"]), (&7.into(), &true.into(), &"fake".into()));
    // Text and JSON can be mixed.
    assert_eq!(typist.asks("PING").await, "+OK pong");
    let answer = parsed(&typist.asks(r#" {"kind":"metadata","bin":{"hex":"00ff"}}"#).await);
    assert_eq!(
        (&answer["id"], &answer["version"], &answer["bin"]["b64"]),
        (&1.into(), &7.into(), &"AP8=".into())
    );
    let info = &server.service.observer.connections.list()[0];
    assert_eq!(
        (info.mode.to_string().as_str(), info.client.as_deref(), info.requests),
        ("json", Some("by hand"), 2)
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_said_and_the_session_goes_on() {
    let server =
        desk_with(ListenerConfig { roles: RoleSet::of(&[Role::Client]), ..ListenerConfig::default() }).await;
    let mut typist = Typist::sit_down(&server).await;
    for (line, id, error, part) in [
        (r#"{"kind":"hello""#, 0, "BAD_REQUEST", "column 15"),
        (r#"{"id":3}"#, 0, "BAD_REQUEST", "kind"),
        (r#"{"id":3,"kind":"helo"}"#, 3, "UNKNOWN_KIND", "`helo`"),
        (r#"{"id":4,"kind":"hello","v":9}"#, 4, "UNSUPPORTED_VERSION", "version 9"),
        // Refused before its body is looked at, as in a frame.
        (r#"{"id":5,"kind":"replicate","nonsense":true}"#, 5, "WRONG_ROLE", "this one has client"),
        (r#"{"id":6,"kind":"hello","client":5}"#, 6, "BAD_REQUEST", "hello: client"),
    ] {
        let answer = parsed(&typist.asks(line).await);
        assert_eq!(
            (&answer["id"], &answer["ok"], &answer["error"]),
            (&id.into(), &false.into(), &error.into()),
            "{line}"
        );
        assert!(answer["message"].as_str().expect("a text").contains(part), "{answer}");
    }
    assert_eq!(typist.asks("PING").await, "+OK pong");
    assert_eq!(server.seen().1, ["hello"], "only the body that could be read was looked at");
}

#[tokio::test]
async fn what_the_server_sends_by_itself_is_a_line_too() {
    let server = desk().await;
    let mut typist = Typist::sit_down(&server).await;
    parsed(&typist.asks(r#"{"kind":"hello"}"#).await);
    let peer = server.service.fake.peers.lock().unwrap()[0].clone();
    let hello = Hello { client: "pushed".into(), ..Hello::default() };
    peer.send(0, Hello::KIND, &hello, vec![Bytes::from_static(b"\0")]).unwrap();
    let push = parsed(&typist.reads().await.expect("a push"));
    assert_eq!(
        (&push["id"], &push["client"], &push["bin"]["b64"]),
        (&0.into(), &"pushed".into(), &"AA==".into())
    );
    peer.close();
    assert_eq!(typist.reads().await, None);
}

#[tokio::test]
async fn messages_are_accounted_for_as_frames_are() {
    let server = desk().await;
    let count = IN_FLIGHT_MAX + 10;
    let lines: String =
        (1..=count).map(|id| format!("{{\"kind\":\"hello\",\"client\":\"hold\",\"id\":{id}}}\n")).collect();
    let mut typist = Typist::sit_down(&server).await;
    typist.types(lines).await;
    server.service.fake.seen(IN_FLIGHT_MAX).await;
    (0..count).for_each(|_| server.service.fake.release());
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(parsed(&typist.reads().await.expect("an answer"))["id"].as_u64().expect("a number"));
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=count as u64).collect::<Vec<_>>());
    assert_eq!(server.service.fake.most_unanswered(), IN_FLIGHT_MAX);
}

#[tokio::test]
async fn a_panic_ends_the_session_and_nothing_else() {
    let server = desk().await;
    let answer = server.told_open("{\"kind\":\"hello\",\"client\":\"panic\",\"id\":3}\nPING\n").await;
    assert_eq!(answer.matches('\n').count(), 1);
    assert_eq!((&parsed(&answer)["id"], &parsed(&answer)["error"]), (&3.into(), &"INTERNAL".into()));
    // A command that asks the same is refused, and its session goes on.
    let answer = server.told("ASK panic\nPING\n").await;
    assert!(answer.starts_with("-ERR INTERNAL hello: ") && answer.ends_with("\n+OK pong\n"), "{answer}");
}

#[tokio::test]
async fn a_message_larger_than_a_frame_may_be_is_refused() {
    let server = desk_with(ListenerConfig { max_frame_bytes: 100, ..ListenerConfig::default() }).await;
    let long = "x".repeat(200);
    let answer = parsed(&server.told(format!("{{\"kind\":\"hello\",\"client\":\"{long}\"}}\n")).await);
    assert_eq!(answer["error"], "FRAME_TOO_LARGE");
    assert!(
        server.told(format!("ASK {long}\n")).await.starts_with("-ERR FRAME_TOO_LARGE as a frame it has ")
    );
    assert_eq!(server.seen().1, [""; 0]);
}
