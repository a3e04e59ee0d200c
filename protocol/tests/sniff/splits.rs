//! Frames in pieces, and the borders of their length.

use super::desk::{desk, desk_with};
use super::net::raw::{Raw, hello};
use std::time::Duration;
use tokio::time::sleep;
use yak_protocol::defaults::FRAME_BYTES_CEILING;
use yak_protocol::error::ErrorCode;
use yak_protocol::net::ListenerConfig;

#[tokio::test(start_paused = true)]
async fn a_frame_may_be_split_at_each_of_its_first_bytes() {
    let server = desk().await;
    let frame = hello(9, "");
    for cut in 1..=8 {
        let mut raw = Raw::connect(&server.address).await;
        raw.send(&frame[..cut]).await;
        sleep(Duration::from_secs(1)).await;
        raw.send(&frame[cut..]).await;
        assert_eq!(raw.next().await.expect("an answer").id, 9, "cut at {cut}");
        raw.lives().await;
    }
}

/// A `hello` whose frame has so many bytes after its length.
fn hello_of(bytes: usize) -> Vec<u8> {
    // A name of 256 to 65,535 bytes has one length of head.
    let probe = hello(1, &"x".repeat(300)).len() - 4 - 300;
    let frame = hello(1, &"x".repeat(bytes - probe));
    assert_eq!(frame.len(), 4 + bytes);
    frame
}

#[tokio::test]
async fn the_longest_frame_and_one_byte_more() {
    let max_frame_bytes = 1000;
    let config = ListenerConfig { max_frame_bytes, ..ListenerConfig::default() };
    let server = desk_with(config).await;
    let mut raw = Raw::connect(&server.address).await;
    raw.send(&hello_of(1000)).await;
    assert_eq!(raw.next().await.expect("an answer").kind, "hello");
    raw.lives().await;
    for length in [1001, FRAME_BYTES_CEILING] {
        let mut raw = Raw::connect(&server.address).await;
        raw.send(&length.to_be_bytes()).await;
        let (id, _, error) = raw.refused().await;
        assert_eq!((id, error.code), (0, ErrorCode::FrameTooLarge), "{length}");
        assert!(error.message.contains(&length.to_string()), "{error}");
        assert!(raw.next().await.is_none());
    }
    let above = (FRAME_BYTES_CEILING + 1).to_be_bytes();
    assert_eq!(above, [8, 0, 0, 0]);
    let answer = server.told_open(above).await;
    assert!(answer.starts_with("-ERR PROTO first byte 0x08 "), "{answer}");
}

#[tokio::test]
async fn a_broker_that_loses_its_place_is_cut_and_that_is_an_event() {
    let server = desk().await;
    let mut raw = Raw::connect(&server.address).await;
    raw.send(&hello(1, "broker-7")).await;
    raw.next().await.expect("an answer");
    raw.send(b"PING\n").await;
    let (_, _, error) = raw.refused().await;
    assert_eq!(error.code, ErrorCode::FrameTooLarge);
    assert!(raw.next().await.is_none());
    let events = server.service.observer.events.recent(10);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind, "desync");
    assert!(events[0].text.starts_with("broker-7 at 127.0.0.1:"), "{}", events[0].text);
    assert_eq!(server.seen().0, [""; 0], "nothing of it was run");
}
