//! What a listener does with peers that are wrong, slow, many or gone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![cfg(feature = "net")]

mod net;

use bytes::Bytes;
use net::raw::{Raw, framed, hello};
use net::{Fake, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use yak_protocol::defaults::FRAME_BYTES_CEILING;
use yak_protocol::error::ErrorCode;
use yak_protocol::message::{Hello, Metadata, Role};
use yak_protocol::net::limits::IN_FLIGHT_MAX;
use yak_protocol::net::{
    BindError, Closed, ConnectOptions, Connection, Listener, ListenerConfig, RequestError, RoleSet,
};

async fn fake() -> Server<Fake> {
    Server::start(Fake::default()).await
}

#[tokio::test]
async fn a_frame_cut_at_any_byte_is_answered_and_ends_only_its_connection() {
    let server = fake().await;
    let mut bystander = Raw::connect(&server.address).await;
    bystander.lives().await;
    let whole = hello(1, "cut");
    for cut in 1..whole.len() {
        let mut raw = Raw::connect(&server.address).await;
        raw.send(&whole[..cut]).await;
        raw.stream.shutdown().await.unwrap();
        let (id, kind, error) = raw.refused().await;
        assert_eq!((id, kind.as_str(), error.code), (0, "error", ErrorCode::BadFrame));
        assert!(error.message.contains(&format!("the connection ended after {cut} of ")), "{error}");
        assert!(raw.next().await.is_none());
        // A process that dies while it sends is a death like any other.
        assert_eq!(server.service.next_closed().await, Closed::PeerClosed);
    }
    bystander.lives().await;
}

#[tokio::test]
async fn bad_frames_get_one_answer_and_the_connection_closes() {
    let server = fake().await;
    let mut bystander = Raw::connect(&server.address).await;
    bystander.lives().await;
    let bomb = [&b"\x94\x01\x07\xa5hello\x81\xa1k"[..], &[0x91; 200_000]].concat();
    let cases: [(Vec<u8>, u64, &str, ErrorCode, &str); 7] = [
        (vec![0; 4], 0, "error", ErrorCode::BadFrame, "its length is 0"),
        (
            (FRAME_BYTES_CEILING).to_be_bytes().to_vec(),
            0,
            "error",
            ErrorCode::FrameTooLarge,
            "the most is 67108864",
        ),
        (framed(b"\xc0"), 0, "error", ErrorCode::BadFrame, "byte 0 of the frame: nil where the array"),
        (framed(b"\x93\x01\x01\xa1x"), 0, "error", ErrorCode::BadFrame, "an array of 3"),
        (framed(&bomb), 7, "hello", ErrorCode::BadFrame, "nested more than 32 deep"),
        (framed(b"\x94\x01\x07\xa5hello\xdf\xff\xff\xff\xff"), 7, "hello", ErrorCode::BadFrame, "left"),
        (framed(b"\x94\x01\x07\xa5hello\x80\x80"), 7, "hello", ErrorCode::BadFrame, "1 bytes too many"),
    ];
    for (bytes, id, kind, code, text) in cases {
        let mut raw = Raw::connect(&server.address).await;
        // What came before is answered first, in its place.
        raw.send(&[hello(1, ""), bytes].concat()).await;
        assert_eq!(raw.next().await.expect("an answer").id, 1);
        let (found_id, found_kind, error) = raw.refused().await;
        assert_eq!((found_id, found_kind.as_str(), error.code), (id, kind, code), "{error}");
        assert!(error.message.contains(text), "{error}");
        assert!(raw.next().await.is_none());
        assert!(matches!(server.service.next_closed().await, Closed::Other(why) if why.contains(text)));
    }
    bystander.lives().await;
}

#[tokio::test]
async fn unknown_kinds_and_versions_are_refused_and_the_connection_lives() {
    let server = fake().await;
    let mut raw = Raw::connect(&server.address).await;
    raw.send(&framed(b"\x94\x01\x05\xa5helo!\x80")).await;
    let (id, kind, error) = raw.refused().await;
    assert_eq!((id, kind.as_str(), error.code), (5, "helo!", ErrorCode::UnknownKind));
    for version in [0, 2, 255] {
        raw.send(&framed(&[&[0x94, 0xcc, version, 0x06][..], b"\xa5hello\x80"].concat())).await;
        let (id, kind, error) = raw.refused().await;
        assert_eq!((id, kind.as_str(), error.code), (6, "hello", ErrorCode::UnsupportedVersion));
    }
    raw.lives().await;
}

#[tokio::test]
async fn a_wrong_role_is_refused_before_the_body_is_looked_at() {
    let roles = RoleSet::of(&[Role::Client]);
    let server =
        Server::start_with(Fake::default(), ListenerConfig { roles, ..ListenerConfig::default() }).await;
    let mut raw = Raw::connect(&server.address).await;
    for kind in ["replicate", "register_broker"] {
        let head = [&[0x94, 1, 8, 0xa0 | u8::try_from(kind.len()).unwrap()][..], kind.as_bytes()].concat();
        // The body is garbage: 0xc1 is no MessagePack at all.
        raw.send(&framed(&[&head[..], &[0xc1; 30]].concat())).await;
        let (id, found, error) = raw.refused().await;
        assert_eq!((id, found.as_str(), error.code), (8, kind, ErrorCode::WrongRole));
        assert!(error.message.contains("this one has client"), "{error}");
    }
    raw.lives().await;
    assert_eq!(*server.service.kinds.lock().unwrap(), ["hello"], "the service saw nothing of it");
}

#[tokio::test]
async fn hello_is_answered_whatever_the_roles() {
    let roles = RoleSet::of(&[Role::Replica]);
    let server =
        Server::start_with(Fake::default(), ListenerConfig { roles, ..ListenerConfig::default() }).await;
    let connection = server.connect().await;
    connection.request(&Hello::default(), vec![]).await.unwrap();
    let refused = connection.request(&Metadata::default(), vec![]).await;
    assert!(matches!(refused, Err(RequestError::Refused(error)) if error.code == ErrorCode::WrongRole));
}

#[tokio::test]
async fn a_body_with_a_wrong_type_names_kind_and_key_and_the_connection_lives() {
    let server = fake().await;
    let mut raw = Raw::connect(&server.address).await;
    raw.send(&framed(b"\x94\x01\x05\xa5hello\x81\xa6client\x05")).await;
    let (_, _, error) = raw.refused().await;
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert!(error.message.starts_with("hello: client: "), "{error}");
    raw.lives().await;
}

#[tokio::test]
async fn what_is_no_frame_gets_a_line_that_a_human_can_read() {
    let server = fake().await;
    for first in [0x08, 0x1f, 0xa0, 0xfe] {
        let mut stream = server.raw().await;
        stream.write_all(&[first]).await.unwrap();
        let mut line = String::new();
        stream.read_to_string(&mut line).await.unwrap();
        assert!(line.starts_with("-ERR PROTO ") && line.ends_with('\n'), "{line}");
        assert!(line.contains(&format!("0x{first:02X}")), "{line}");
    }
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_nothing_else() {
    let server = fake().await;
    let bystander = server.connect().await;
    bystander.request(&Hello::default(), vec![]).await.unwrap();
    let mut raw = Raw::connect(&server.address).await;
    raw.send(&hello(3, "panic")).await;
    let (id, _, error) = raw.refused().await;
    assert_eq!((id, error.code), (3, ErrorCode::Internal));
    assert!(raw.next().await.is_none());
    assert!(matches!(server.service.next_closed().await, Closed::Other(why) if why.contains("panicked")));
    bystander.request(&Hello::default(), vec![]).await.unwrap();
    server.connect().await.request(&Hello::default(), vec![]).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_disconnected_at_the_limit() {
    let limit = 1 << 20;
    let config = ListenerConfig { outbox_bytes_max: limit, ..ListenerConfig::default() };
    let server = Server::start_with(Fake::default(), config).await;
    let mut raw = Raw::connect(&server.address).await;
    raw.lives().await;
    let peer = server.service.peers.lock().unwrap()[0].clone();
    let piece = Bytes::from(vec![7; 64 << 10]);
    let mut most = 0;
    while peer.send(0, "leader_info", &Hello::default(), vec![piece.clone()]).is_ok() {
        most = most.max(peer.queued_bytes());
        tokio::task::yield_now().await;
    }
    assert!(most <= limit, "{most}");
    assert!(
        matches!(server.service.next_closed().await, Closed::Other(why) if why.contains("reads too slowly"))
    );
}

#[tokio::test]
async fn one_frame_may_be_larger_than_the_limit() {
    let config = ListenerConfig { outbox_bytes_max: 1000, ..ListenerConfig::default() };
    let server = Server::start_with(Fake::default(), config).await;
    let connection = server.connect().await;
    let bin = Bytes::from(vec![7; 1 << 20]);
    assert_eq!(connection.request(&Metadata::default(), vec![bin.clone()]).await.unwrap().bin, bin);
}

#[tokio::test]
async fn no_more_requests_are_taken_than_may_be_unanswered() {
    let server = fake().await;
    let connection = server.connect().await;
    let held = Hello { client: "hold".into(), ..Hello::default() };
    let count = IN_FLIGHT_MAX + 500;
    let pending: Vec<_> = (0..count).map(|_| connection.start(&held, vec![]).unwrap()).collect();
    server.service.seen(IN_FLIGHT_MAX).await;
    assert_eq!(server.service.peers.lock().unwrap()[0].unanswered(), IN_FLIGHT_MAX);
    // Nothing more can come before something is answered: the reading side rests.
    (0..count).for_each(|_| server.service.release());
    for answer in pending {
        answer.await.unwrap();
    }
    assert_eq!(server.service.kinds.lock().unwrap().len(), count);
    assert!(server.service.most_unanswered() <= IN_FLIGHT_MAX);
}

#[tokio::test]
async fn a_peer_that_closed_its_sending_side_still_gets_its_answers() {
    let server = fake().await;
    let mut raw = Raw::connect(&server.address).await;
    raw.send(&[hello(1, ""), hello(2, "hold")].concat()).await;
    raw.stream.shutdown().await.unwrap();
    assert_eq!(raw.next().await.expect("an answer").id, 1);
    // Its end is told at once, not after the answer that is still missing.
    assert_eq!(server.service.next_closed().await, Closed::PeerClosed);
    server.service.release();
    assert_eq!(raw.next().await.expect("an answer").id, 2);
    assert!(raw.next().await.is_none());
}

#[tokio::test]
async fn a_reset_is_the_peers_end() {
    let server = fake().await;
    let mut raw = Raw::connect(&server.address).await;
    raw.lives().await;
    socket2::SockRef::from(&raw.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(raw);
    assert_eq!(server.service.next_closed().await, Closed::PeerClosed);
}

#[tokio::test]
async fn shutdown_lets_replies_out_and_closes_everything() {
    let server = fake().await;
    let connection = server.connect().await;
    let held = connection.start(&Hello { client: "hold".into(), ..Hello::default() }, vec![]).unwrap();
    server.service.seen(1).await;
    let (_idle, _silent) = (server.connect().await, server.raw().await);
    server.shutdown.cancel();
    assert!(matches!(server.service.next_closed().await, Closed::Other(why) if why.contains("shuts down")));
    server.service.release();
    held.await.unwrap();
    assert!(connection.wait_closed().await.is_by_peer());
    let mut server = server;
    (&mut server.task).await.unwrap();
    let refused = Connection::connect(&server.address, &ConnectOptions::default()).await.err().unwrap();
    assert_eq!(refused.to_string(), format!("connection refused by {}", server.address));
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_handler_that_never_returns() {
    let mut server = fake().await;
    let connection = server.connect().await;
    let stuck = connection.start(&Hello { client: "stuck".into(), ..Hello::default() }, vec![]).unwrap();
    server.service.seen(1).await;
    server.shutdown.cancel();
    (&mut server.task).await.unwrap();
    assert!(matches!(stuck.await, Err(RequestError::Refused(_) | RequestError::Lost { .. })));
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let config = ListenerConfig { connections_max: 1, ..ListenerConfig::default() };
    let server = Server::start_with(Fake::default(), config).await;
    let mut first = Raw::connect(&server.address).await;
    first.lives().await;
    let mut second = Raw::connect(&server.address).await;
    let (_, _, error) = second.refused().await;
    assert_eq!(error.code, ErrorCode::Overloaded);
    assert!(second.next().await.is_none());
    first.lives().await;
    drop(first);
    server.service.next_closed().await;
    loop {
        // The place is free again as soon as the accept loop has seen the end of the first.
        let connection = server.connect().await;
        if connection.request(&Hello::default(), vec![]).await.is_ok() {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_stands_still_ends_the_connection() {
    let server = fake().await;
    let mut raw = Raw::connect(&server.address).await;
    raw.send(&hello(1, "never finished")[..10]).await;
    assert!(matches!(server.service.next_closed().await, Closed::Other(why) if why.contains("no progress")));
    assert!(raw.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_says_anything_is_closed() {
    let server = fake().await;
    let mut raw = Raw::connect(&server.address).await;
    assert!(raw.next().await.is_none());
}

#[tokio::test]
async fn a_closed_peer_gets_what_was_queued_for_it() {
    let server = fake().await;
    let mut raw = Raw::connect(&server.address).await;
    raw.lives().await;
    let peer = server.service.peers.lock().unwrap()[0].clone();
    peer.send(0, "leader_info", &Hello::default(), vec![]).unwrap();
    peer.close();
    assert_eq!(raw.next().await.expect("what was queued").kind, "leader_info");
    assert!(raw.next().await.is_none());
    assert!(peer.send(0, "leader_info", &Hello::default(), vec![]).is_err());
}

#[tokio::test]
async fn what_cannot_be_bound_says_what_to_do() {
    let config = ListenerConfig::default;
    let taken = Listener::bind("127.0.0.1:0", config()).unwrap();
    let address = taken.local_addr().to_string();
    let error = Listener::bind(&address, config()).unwrap_err();
    assert_eq!(error, BindError::InUse(address.clone()));
    assert!(error.to_string().contains(&address) && error.to_string().contains("another port"), "{error}");

    for open in ["0.0.0.0:0", "[::]:0"] {
        let error = Listener::bind(open, config()).unwrap_err();
        assert_eq!(error, BindError::BeyondLoopback(open.to_owned()));
        assert!(error.to_string().contains("--insecure"), "{error}");
    }
    let insecure = Listener::bind("0.0.0.0:0", ListenerConfig { insecure: true, ..config() }).unwrap();
    assert!(insecure.is_insecure() && !taken.is_insecure());

    assert!(matches!(Listener::bind("127.0.0.1", config()), Err(BindError::BadAddress(..))));
    let foreign = ListenerConfig { insecure: true, ..config() };
    assert!(matches!(Listener::bind("192.0.2.1:0", foreign), Err(BindError::NotOurs(_))));
    let too_long = ListenerConfig { max_frame_bytes: FRAME_BYTES_CEILING + 1, ..config() };
    assert!(matches!(Listener::bind("127.0.0.1:0", too_long), Err(BindError::FrameLimit(_))));
}

#[test]
fn roles_are_named_as_they_are_read() {
    let set: RoleSet = "client, control".parse().unwrap();
    assert_eq!(set, RoleSet::of(&[Role::Control, Role::Client]));
    assert_eq!(set.to_string(), "client,control");
    assert_eq!(RoleSet::ALL.to_string().parse(), Ok(RoleSet::ALL));
    assert!("client,king".parse::<RoleSet>().unwrap_err().to_string().contains("`king`"));
}
