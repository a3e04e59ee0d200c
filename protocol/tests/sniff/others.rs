//! Other protocols on the port.

use super::desk::{Typist, desk, desk_with};
use super::net::raw::{Raw, framed, hello};
use yak_protocol::error::ErrorCode;
use yak_protocol::net::ListenerConfig;

/// A TLS 1.3 greeting as `openssl s_client` begins it.
const TLS_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xaa\xbb";

#[tokio::test]
async fn tls_gets_an_alert() {
    let server = desk().await;
    // Record 3.3, alert, fatal, handshake_failure.
    assert_eq!(server.answer(TLS_HELLO, false).await, [21, 3, 3, 0, 2, 2, 40]);
    let events = server.service.observer.events.recent(10);
    assert_eq!(events[0].kind, "foreign");
    assert!(events[0].text.contains("a TLS client on a port without TLS"), "{}", events[0].text);
}

#[tokio::test]
async fn http_gets_http_and_never_becomes_text() {
    let server = desk().await;
    for request in [
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /health HTTP/1.0\n\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nPUBN t 1\nxQUIT\nPING\n",
        "PUBN t 1 HTTP/1.1\r\n\r\nPUBN t 1\nx\n",
    ] {
        let answer = server.told(request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert_eq!(body.matches('\n').count(), 1, "{body}");
        assert!(body.contains("no HTTP is served on this port"), "{body}");
    }
    assert_eq!(server.seen(), (vec![], vec![]), "nothing of it was run");
}

#[tokio::test]
async fn http_without_a_version_is_an_error_in_text() {
    let server = desk().await;
    for request in ["GET /\r\n", "POST / HTTP/3\nPUBN t 1\nx\n", "delete /x\n"] {
        let answer = server.told_open(format!("{request}PUBN t 1\nx\n")).await;
        assert!(answer.starts_with("-ERR PROTO looks like HTTP without a version "), "{answer}");
        assert_eq!(answer.matches('\n').count(), 1, "{answer}");
    }
    // A first line that says nothing about HTTP, then a header of it.
    let answer = server.told_open("PING\nhOsT: evil\nPUBN t 1\nx\n").await;
    let lines: Vec<_> = answer.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "+OK pong"));
    assert!(lines[1].starts_with("-ERR PROTO looks like the header of an HTTP request"), "{answer}");
    assert_eq!(server.seen(), (vec![], vec![]), "nothing of it was run");
}

#[tokio::test]
async fn a_byte_order_mark_is_passed_over() {
    let server = desk().await;
    assert_eq!(server.told("\u{feff}PING\r\nQUIT\r\n").await, "+OK pong\n+OK bye\n");
    let answer = server.told("\u{feff}{\"kind\":\"hello\",\"id\":3}\n").await;
    assert!(answer.starts_with(r#"{"id":3,"kind":"hello","ok":true"#), "{answer}");
    assert_eq!(server.told("\u{feff}ruok\n").await, "imok\n");
}

#[tokio::test]
async fn telnet_can_be_used() {
    let server = desk().await;
    // WILL, DO, a subnegotiation, and what it sends for Enter.
    let typed =
        b"\xff\xfb\x1f\xff\xfd\x03\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0PING\r\nWHOAMI\r\n\xff\xf4\xff\xfd\x06";
    let answer = String::from_utf8(server.answer(typed, false).await).unwrap();
    let lines: Vec<_> = answer.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "+OK pong"));
    assert!(lines[1].starts_with("+OK connection=1 address=127.0.0.1:"), "{answer}");
    // Ctrl-C as all there is: closed without a word.
    assert_eq!(server.answer(b"\xff\xf4\xff\xfd\x06", false).await, b"");
}

#[tokio::test]
async fn redis_and_bare_messagepack_are_named() {
    let server = desk().await;
    let answer = server.told_open("*1\r\n$4\r\nPING\r\n").await;
    assert_eq!(answer, "-ERR PROTO this is YAK, not Redis | hint: HELP lists the commands\r\n");
    let answer = server.told_open(&hello(1, "no length")[4..]).await;
    assert!(answer.starts_with("-ERR PROTO looks like MessagePack without the 4-byte length prefix"));
    assert_eq!(server.seen(), (vec![], vec![]));
}

#[tokio::test]
async fn kafka_and_zookeeper_clients_are_named() {
    let server = desk().await;
    // ApiVersions 3, correlation 1, client "rdkafka", no tags, two compact strings.
    let kafka = framed(b"\x00\x12\x00\x03\x00\x00\x00\x01\x00\x07rdkafka\x00\x0brdkafka\x062.3\x00");
    // ConnectRequest: protocol 0, zxid 0, timeout 30000, session 0, a password of 16 zeros, not read-only.
    let connect = [&[0; 12][..], &30_000u32.to_be_bytes(), &[0; 8], &16u32.to_be_bytes(), &[0; 17]].concat();
    for (greeting, name) in [(kafka, "Kafka"), (framed(&connect), "ZooKeeper")] {
        let mut raw = Raw::connect(&server.address).await;
        raw.send(&greeting).await;
        let (id, kind, error) = raw.refused().await;
        assert_eq!((id, kind.as_str(), error.code), (0, "error", ErrorCode::Proto));
        assert!(error.message.contains(&format!("a {name} client connected")), "{error}");
        assert!(raw.next().await.is_none());
        let event = &server.service.observer.events.recent(1)[0];
        assert!(event.text.contains(name), "{}", event.text);
    }
    // The same bytes behind a frame are a broken frame and nothing else.
    let mut raw = Raw::connect(&server.address).await;
    raw.lives().await;
    raw.send(&framed(b"\x00\x12\x00\x03")).await;
    assert_eq!(raw.refused().await.2.code, ErrorCode::BadFrame);
}

const PROXY_1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 9701\r\n";
/// Version 2, TCP over IPv4, 192.0.2.7:56324 to 198.51.100.1:9701.
const PROXY_2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x25\xe5";

#[tokio::test]
async fn a_proxy_header_is_taken_where_it_is_expected() {
    let config = ListenerConfig { proxy_protocol: true, ..ListenerConfig::default() };
    let server = desk_with(config).await;
    for header in [PROXY_1, PROXY_2] {
        let answer = server.told([header, b"WHOAMI\n"].concat()).await;
        // Who comes from another machine may look only, though the proxy is on this one.
        assert!(answer.contains(" address=192.0.2.7:56324 text=readonly "), "{answer}");
        let mut raw = Raw::connect(&server.address).await;
        for piece in header.chunks(5) {
            raw.send(piece).await;
        }
        raw.lives().await;
        let addresses: Vec<_> =
            server.service.observer.connections.list().iter().map(|info| info.address.to_string()).collect();
        assert!(addresses.contains(&"192.0.2.7:56324".to_owned()), "{addresses:?}");
    }
    assert_eq!(server.told([b"PROXY UNKNOWN\r\n", &b"PING\n"[..]].concat()).await, "+OK pong\n");
    let ran = server.seen();
    for other in [&b"PING\n"[..], b"PROXY TCP4 1.2.3.4\r\nPING\n", &hello(1, ""), TLS_HELLO] {
        let answer = server.told_open(other).await;
        assert!(answer.starts_with("-ERR PROTO this listener expects a PROXY protocol header"), "{answer}");
    }
    assert_eq!(server.seen(), ran);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_header_that_does_not_come_is_not_waited_for() {
    let config = ListenerConfig { proxy_protocol: true, ..ListenerConfig::default() };
    let server = desk_with(config).await;
    let answer = server.told_open("PROXY TCP4 192").await;
    assert!(answer.starts_with("-ERR PROTO this listener expects a PROXY protocol header"), "{answer}");
}

#[tokio::test]
async fn a_proxy_header_is_refused_where_nobody_asked_for_it() {
    let server = desk().await;
    for header in [PROXY_1, PROXY_2] {
        let answer = server.told_open([header, b"PUBN t 1\nx\n"].concat()).await;
        assert!(answer.starts_with("-ERR PROTO a PROXY protocol header that this listener does not expect"));
        assert_eq!(answer.matches('\n').count(), 1, "{answer}");
    }
    assert_eq!(server.seen(), (vec![], vec![]));
}

#[tokio::test]
async fn what_is_spoken_is_listed() {
    let server = desk().await;
    let mut typist = Typist::sit_down(&server).await;
    assert_eq!(typist.asks("PING").await, "+OK pong");
    let mut raw = Raw::connect(&server.address).await;
    raw.send(&hello(1, "a-client/1")).await;
    raw.next().await.expect("an answer");
    let list = server.service.observer.connections.list();
    let shown: Vec<_> = list.iter().map(|info| (info.mode.to_string(), info.client.as_deref())).collect();
    assert_eq!(shown, [("text".to_owned(), None), ("frames".to_owned(), Some("a-client/1"))]);
    assert_eq!(list[1].requests, 1);
    assert_eq!(list[1].bytes_in, hello(1, "a-client/1").len() as u64);
}
