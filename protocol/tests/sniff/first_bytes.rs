//! Each of the 256 first bytes, alone, followed by silence, and followed by more.

use super::desk::{Typist, desk};
use super::net::raw::hello;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

/// What may begin something longer than itself, so that silence does not close it.
fn is_open(first: u8) -> bool {
    matches!(first, 0x00..=0x07 | 0x09 | 0x0a | 0x0d | 0x20..=0x7e | 0xff) && first != b'*'
}

#[tokio::test]
async fn every_first_byte_alone_gets_what_it_deserves() {
    let server = desk().await;
    for first in 0..=u8::MAX {
        let answer = server.told([first]).await;
        match first {
            // A frame that was cut short: answered in a frame.
            0x00..=0x07 => assert!(answer.contains("BAD_FRAME"), "{first:#04x}: {answer}"),
            // An empty line.
            b'\n' | b'\r' | b' ' | b'\t' => {
                assert!(answer.starts_with("+OK YAK fake 0"), "{first:#04x}: {answer}")
            }
            b'#' => assert_eq!(answer, ""),
            b'{' => assert!(answer.contains(r#""error":"BAD_REQUEST""#), "{answer}"),
            b'?' => assert!(answer.contains("\n.\n+OK commands="), "{answer}"),
            b'*' => assert_eq!(
                answer.lines().next(),
                Some("-ERR PROTO this is YAK, not Redis | hint: HELP lists the commands")
            ),
            b'"' | b'\'' | b'\\' => assert!(answer.starts_with("-ERR BAD_REQUEST "), "{answer}"),
            0x21..=0x7e => assert!(answer.starts_with("-ERR UNKNOWN_KIND "), "{first:#04x}: {answer}"),
            // The beginning of telnet's negotiation, and no line.
            0xff => assert_eq!(answer, ""),
            0x80..=0x9f | 0xdc..=0xdf => {
                assert!(answer.contains("MessagePack without"), "{first:#04x}: {answer}")
            }
            _ => {
                let expected =
                    format!("-ERR PROTO first byte 0x{first:02X} is neither a frame length nor text");
                assert!(answer.starts_with(&expected), "{first:#04x}: {answer}");
            }
        }
        // One answer each, but for the list of commands.
        assert!(first == b'?' || answer.matches('\n').count() <= 1 || first < 8, "{first:#04x}: {answer}");
    }
    assert_eq!(server.seen().0, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_first_byte_and_a_pause_decide_nothing_that_is_open() {
    let server = desk().await;
    let pause = Duration::from_secs(1);
    for first in (0..=u8::MAX).filter(|first| !is_open(*first)) {
        // The server ends it, without being told that there is no more.
        let answer = server.told_open([first]).await;
        assert!(answer.starts_with("-ERR PROTO "), "{first:#04x}: {answer}");
    }
    for first in (0..=u8::MAX).filter(|first| is_open(*first)) {
        let mut typist = Typist::sit_down(&server).await;
        typist.types([first]).await;
        sleep(pause).await;
        match first {
            0x00..=0x07 => {
                // The rest of a frame that no listener takes, or of a `hello`.
                let frame = hello(7, "");
                let rest = if first == 0 { &frame[1..] } else { &[0xff; 3] };
                typist.types(rest).await;
                typist.stream.shutdown().await.unwrap();
                let mut answer = Vec::new();
                tokio::io::AsyncReadExt::read_to_end(&mut typist.stream, &mut answer).await.unwrap();
                let answer = String::from_utf8_lossy(&answer);
                let expected = match first {
                    0 => "process",
                    // Below 64 MiB: it could come, and did not.
                    1..=3 => "BAD_FRAME",
                    _ => "FRAME_TOO_LARGE",
                };
                assert!(answer.contains(expected), "{first:#04x}: {answer}");
            }
            b'\n' => {
                assert!(typist.reads().await.unwrap().starts_with("+OK YAK fake 0"));
                assert_eq!(typist.asks("PING").await, "+OK pong");
            }
            b'"' | b'\'' => {
                let quoted = format!("PING{}", char::from(first));
                assert_eq!(typist.asks(&quoted).await, "+OK pong");
            }
            b'#' | b'{' | b'\r' | 0xff => {
                // An unfinished comment, message, empty line or command of telnet: what follows is its rest.
                typist.types(b"\xf1\nPING\n").await;
                while typist.reads().await.expect("an answer") != "+OK pong" {}
            }
            _ => {
                let line = typist.asks("PING").await;
                let alone = matches!(first, b' ' | b'\t' | b'\\');
                assert_eq!(line == "+OK pong", alone, "{first:#04x}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_spoken_to_first() {
    let server = desk().await;
    let mut silent = server.raw().await;
    let mut busy = Typist::sit_down(&server).await;
    assert_eq!(busy.asks("PING").await, "+OK pong");
    let mut buffer = [0; 1];
    let nothing = silent.try_read(&mut buffer).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    silent.write_all(b"QUIT\n").await.unwrap();
    silent.readable().await.unwrap();
}

#[tokio::test]
async fn a_question_mark_is_a_line() {
    let server = desk().await;
    let answer = server.told("?\n").await;
    assert!(answer.starts_with("COMMAND ") && answer.contains("PING "), "{answer}");
    assert!(answer.contains("\nROWS ") && answer.contains("\n.\n+OK commands="), "{answer}");
}
