//! The client's side of a connection against a real listener.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![cfg(feature = "net")]

mod net;

use bytes::Bytes;
use net::{Fake, Server, metadata_version};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use yak_protocol::error::ErrorCode;
use yak_protocol::message::{Hello, LeaderInfo, Metadata, Probe};
use yak_protocol::net::{Closed, ConnectOptions, Connection, ListenerConfig, RequestError};

fn hello(client: &str) -> Hello {
    Hello { client: client.into(), ..Hello::default() }
}

#[tokio::test]
async fn pipelined_requests_get_their_own_answers_in_any_order() {
    let server = Server::start(Fake::default()).await;
    let connection = server.connect().await;
    // `hello` is held back until the metadata request behind it has been answered.
    let first = connection.start(&hello("hold"), vec![]).unwrap();
    let second = connection.request(&Metadata::default(), vec![]).await.unwrap();
    assert_eq!(second.body.version, metadata_version());
    server.service.release();
    assert_eq!(first.await.unwrap().body.process, "fake");
    assert_eq!(connection.waiting(), 0);
}

#[tokio::test]
async fn a_dropped_replier_answers_internal() {
    let server = Server::start(Fake::default()).await;
    let connection = server.connect().await;
    let Err(RequestError::Refused(error)) = connection.request(&hello("drop"), vec![]).await else {
        panic!("refused")
    };
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(error.message.contains("hello"), "{error}");
}

#[tokio::test]
async fn answers_carry_the_bytes_that_came_with_the_request() {
    let server = Server::start(Fake::default()).await;
    let connection = server.connect().await;
    let parts = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from(vec![2; 100_000])];
    let answer = connection.request(&Metadata::default(), parts.clone()).await.unwrap();
    assert_eq!(answer.bin, parts.concat());
}

#[tokio::test]
async fn many_small_and_large_requests_at_once_are_all_answered() {
    let server = Server::start(Fake::default()).await;
    let connection = server.connect().await;
    let pending: Vec<_> = (0..1000_usize)
        .map(|n| {
            let bin = Bytes::from(vec![u8::try_from(n % 251).unwrap(); n * 7 % 5000]);
            (bin.clone(), connection.start(&Metadata::default(), vec![bin]).unwrap())
        })
        .collect();
    for (bin, answer) in pending {
        assert_eq!(answer.await.unwrap().bin, bin);
    }
    assert_eq!((connection.queued_bytes(), connection.waiting()), (0, 0));
}

#[tokio::test]
async fn an_answer_nobody_waits_for_is_thrown_away() {
    let server = Server::start(Fake::default()).await;
    let (connection, mut incoming) =
        Connection::connect(&server.address, &ConnectOptions::default()).await.unwrap();
    drop(connection.start(&hello("hold"), vec![]).unwrap());
    assert_eq!(connection.waiting(), 0);
    server.service.seen(1).await;
    server.service.release();
    connection.request(&hello(""), vec![]).await.unwrap();
    assert!(incoming.try_recv().is_err(), "it is not taken for something that the server wanted to say");
}

#[tokio::test(start_paused = true)]
async fn a_request_can_be_given_a_limit() {
    let server = Server::start(Fake::default()).await;
    let connection = server.connect().await;
    let limit = Duration::from_secs(3);
    let late = connection.start(&hello("hold"), vec![]).unwrap().within(limit).await;
    assert_eq!(late.err(), Some(RequestError::Timeout(limit)));
    assert!(!connection.closed() && connection.waiting() == 0);
}

#[tokio::test]
async fn what_the_server_sends_on_its_own_comes_in_order() {
    let server = Server::start(Fake::default()).await;
    let (connection, mut incoming) =
        Connection::connect(&server.address, &ConnectOptions::default()).await.unwrap();
    connection.request(&hello(""), vec![]).await.unwrap();
    let peer = server.service.peers.lock().unwrap()[0].clone();
    let probe = 1 << 63 | 5;
    peer.send(0, "leader_info", &LeaderInfo::default(), vec![Bytes::from_static(b"bin")]).unwrap();
    peer.send(probe, "probe", &Probe {}, vec![]).unwrap();
    let first = incoming.recv().await.unwrap();
    assert_eq!((first.id, first.kind.as_str(), &first.bin[..]), (0, "leader_info", &b"bin"[..]));
    assert_eq!(first.parse_body::<LeaderInfo>().unwrap(), LeaderInfo::default());
    let second = incoming.recv().await.unwrap();
    assert_eq!((second.id, second.parse::<Probe>()), (probe, Ok(Probe {})));
    connection.send(probe, "probe", &Probe {}, vec![]).unwrap();
    server.service.seen(2).await;
    assert_eq!(*server.service.kinds.lock().unwrap(), ["hello", "probe"]);
}

#[tokio::test]
async fn a_lost_connection_ends_every_request_and_keeps_its_cause() {
    let server = Server::start(Fake::default()).await;
    let connection = server.connect().await;
    let held = connection.start(&hello("hold"), vec![]).unwrap();
    server.service.seen(1).await;
    let address = server.address.clone();
    server.stop().await;
    let Err(RequestError::Lost { cause, sent: true }) = held.await else { panic!("lost after it was sent") };
    assert!(cause.is_by_peer() && cause.to_string().contains(&address), "{cause}");
    assert_eq!(connection.wait_closed().await, cause);
    let Err(RequestError::Lost { cause: later, sent: false }) = connection.request(&hello(""), vec![]).await
    else {
        panic!("refused without being sent")
    };
    assert_eq!(later, cause);
    assert_eq!(connection.send(0, "hello", &hello(""), vec![]).unwrap_err().0, cause);
}

#[tokio::test]
async fn a_request_that_was_never_written_is_known_not_to_have_been_sent() {
    let server = Server::start(Fake::default()).await;
    let connection = server.connect().await;
    // On this one thread the writer has not run yet.
    let pending = connection.start(&hello(""), vec![]).unwrap();
    connection.close();
    assert!(matches!(pending.await, Err(RequestError::Lost { sent: false, .. })));
    assert_eq!(connection.wait_closed().await.to_string(), "closed from this side");
}

/// A server that answers the first bytes of a connection with these and hangs up.
async fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(bytes).await.unwrap();
    });
    address
}

async fn failed_request(bytes: &'static [u8]) -> (String, bool) {
    let address = answering(bytes).await;
    let (connection, _incoming) = Connection::connect(&address, &ConnectOptions::default()).await.unwrap();
    match connection.request(&hello(""), vec![]).await {
        Err(RequestError::Lost { cause, sent: true }) => (cause.to_string(), cause.is_by_peer()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_cut_within_an_answer_is_the_peers_end() {
    let (cause, by_peer) = failed_request(b"\x00\x00\x00\x20\x94\x01\x01").await;
    assert!(by_peer && cause.ends_with("within a frame"), "{cause}");
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_told_apart() {
    let (cause, by_peer) = failed_request(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(!by_peer && cause.contains("`HTTP`"), "{cause}");
    let (cause, _) = failed_request(b"\x00\x00\x00\x01\xc0").await;
    assert!(cause.contains("sent a bad frame: byte 0 of the frame: nil"), "{cause}");
}

#[tokio::test]
async fn the_servers_last_word_is_the_cause() {
    let server = Server::start(Fake::default()).await;
    let connection = server.connect().await;
    let too_long = ListenerConfig { max_frame_bytes: 100, ..ListenerConfig::default() };
    let strict = Server::start_with(Fake::default(), too_long).await;
    let refused = strict.connect().await;
    let answer = refused.request(&Metadata::default(), vec![Bytes::from(vec![0; 200])]).await;
    let Err(RequestError::Lost { cause, .. }) = answer else { panic!("{answer:?}") };
    assert!(
        cause.to_string().contains("FRAME_TOO_LARGE") && cause.to_string().contains("the most is 100"),
        "{cause}"
    );
    connection.request(&hello(""), vec![]).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_refuses_before_anything_is_sent() {
    let server = Server::start(Fake::default()).await;
    let options = ConnectOptions { queue_bytes_max: 1000, ..ConnectOptions::default() };
    let (connection, _incoming) = Connection::connect(&server.address, &options).await.unwrap();
    let bin = || vec![Bytes::from(vec![0; 600])];
    let first = connection.start(&Metadata::default(), bin()).unwrap();
    let second = connection.start(&Metadata::default(), bin()).err().unwrap();
    assert!(matches!(second, RequestError::Refused(error) if error.code == ErrorCode::Overloaded));
    first.await.unwrap();
    connection.request(&Metadata::default(), bin()).await.unwrap();
}

#[tokio::test]
async fn what_was_queued_is_sent_though_nobody_holds_the_connection_any_more() {
    let server = Server::start(Fake::default()).await;
    let connection = server.connect().await;
    connection.send(0, "hello", &hello("ignore"), vec![]).unwrap();
    drop(connection);
    server.service.seen(1).await;
    assert_eq!(server.service.next_closed().await, Closed::PeerClosed);
}
