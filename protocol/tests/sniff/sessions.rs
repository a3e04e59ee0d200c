//! Sessions of text: lines, words, ends, limits.

use super::desk::{Typist, desk, desk_with, interrupted};
use super::net::raw::hello;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use yak_protocol::net::limits::{LINE_BYTES_MAX, ROWS_MAX, TEXT_BYTES_PAUSE};
use yak_protocol::net::{Closed, Interrupt, ListenerConfig, TextAccess, allowed_by_hand};

#[tokio::test]
async fn words_with_and_without_an_end_of_line() {
    let server = desk().await;
    for text in ["ruok\n", "ruok\r\n", "ruok"] {
        assert_eq!(server.told(text).await, "imok\n", "{text:?}");
    }
    assert!(server.told("cons\n").await.starts_with("ID "));
    // Not the first bytes, not lower case, not alone: commands, and no such ones.
    assert!(
        server.told("PING\nruok\n").await.starts_with("+OK pong\n-ERR UNKNOWN_KIND there is no command RUOK")
    );
    for text in ["RUOK\n", "ruok x\n", " ruok\n"] {
        assert!(server.told(text).await.starts_with("-ERR UNKNOWN_KIND "), "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_word_and_silence_is_a_word() {
    let server = desk().await;
    // As `echo -n ruok | nc` without -N: nothing says that this is all.
    assert_eq!(server.told_open("ruok").await, "imok\n");
    let mut typist = Typist::sit_down(&server).await;
    for piece in ["r", "u", "o"] {
        typist.types(piece).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    typist.types("k").await;
    assert_eq!(typist.reads().await.as_deref(), Some("imok"));
    assert_eq!(typist.reads().await, None);
}

#[tokio::test]
async fn everything_that_was_sent_is_answered_before_the_end() {
    let server = desk().await;
    // Text, its last line without an end.
    let answer = server.told("# a comment\n\nping\n\nROWS 2\nPiNg").await;
    assert_eq!(answer, "+OK pong\nROW\n0\n1\n.\n+OK count=2\n+OK pong\n");
    assert_eq!(server.service.fake.next_closed().await, Closed::PeerClosed);
    // JSON, with an answer that takes until after the end.
    let mut stream = server.raw().await;
    stream.write_all(b"{\"kind\":\"hello\",\"client\":\"hold\",\"id\":5}").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(server.service.fake.next_closed().await, Closed::PeerClosed);
    server.service.fake.release();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with(r#"{"id":5,"kind":"hello","ok":true"#), "{answer}");
    // Frames are tested beside: `server.rs`. HTTP and words end by themselves.
    assert!(server.told("GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert!(!server.answer(&hello(1, ""), true).await.is_empty());
}

#[tokio::test]
async fn an_answer_larger_than_the_buffers_arrives_whole_after_the_end() {
    let server = desk().await;
    let rows = 80_000;
    let answer = server.told(format!("ROWS {rows}\nQUIT\n")).await;
    assert!(answer.len() > TEXT_BYTES_PAUSE);
    assert_eq!(answer.lines().count(), 1 + rows + 1 + 2);
    assert!(answer.ends_with("\n79999\n.\n+OK count=80000\n+OK bye\n"));
}

#[tokio::test]
async fn quit_ends_it_and_what_follows_is_not_run() {
    let server = desk().await;
    assert_eq!(server.told_open("PING\nQUIT\nPUBN t 1\nxPING\n").await, "+OK pong\n+OK bye\n");
    assert_eq!(server.seen().0, [""; 0]);
}

#[tokio::test]
async fn counted_bytes_are_taken_as_they_are() {
    let server = desk().await;
    let bytes = b"\0\xff\xf4\xff\xfd\nPING\n.\r\n{\"kind\":\"hello\"}";
    let head = format!("PUBN t {} forward=off key=a\n", bytes.len());
    for end in ["", "\n", "\r\n"] {
        let answer = server.told([head.as_bytes(), bytes, end.as_bytes(), b"PING\n"].concat()).await;
        assert_eq!(answer, format!("+OK bytes={} forward=no\n+OK pong\n", bytes.len()), "{end:?}");
        let ran = server.service.ran.lock().unwrap().pop().expect("it ran");
        assert_eq!(ran.payload.as_deref(), Some(&bytes[..]));
        assert_eq!((ran.option("key"), ran.option("forward")), (Some("a"), None));
    }
    // Cut short: not run. Without a count, or with too large a one: nothing after it is run.
    assert_eq!(server.told("PUBN t 5\nabc").await, "");
    for line in ["PUBN t x\n", "PUBN t\n"] {
        let answer = server.told_open(format!("{line}PING\n")).await;
        assert!(answer.starts_with("-ERR BAD_REQUEST PUBN") && answer.matches('\n').count() == 1, "{answer}");
    }
    let answer = server.told_open("PUBN t 999999999999\nPING\n").await;
    assert!(answer.starts_with("-ERR FRAME_TOO_LARGE ") && answer.matches('\n').count() == 1, "{answer}");
    assert_eq!(server.seen(), (vec![], vec![]));
}

#[tokio::test]
async fn a_line_may_be_so_long_and_no_longer() {
    let server = desk().await;
    let longest = format!("# {}\nPING\n", "x".repeat(LINE_BYTES_MAX - 2));
    assert_eq!(server.told(longest).await, "+OK pong\n");
    let answer = server.told_open(format!("# {}\nPING\n", "x".repeat(LINE_BYTES_MAX - 1))).await;
    assert!(answer.starts_with("-ERR BAD_REQUEST a line of more than 65536 bytes"), "{answer}");
    assert_eq!(answer.matches('\n').count(), 1, "{answer}");
    // Without an end the server does not wait for one.
    let answer = server.told_open("x".repeat(LINE_BYTES_MAX + 2)).await;
    assert!(answer.starts_with("-ERR BAD_REQUEST a line of more than 65536 bytes"), "{answer}");
}

#[tokio::test]
async fn a_line_that_is_not_text_is_refused_and_the_session_goes_on() {
    let server = desk().await;
    let answer = server.answer(b"PING\nab\xfe\n'x\nPING\n", true).await;
    let answer = String::from_utf8(answer).unwrap();
    let lines: Vec<_> = answer.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[3]), (4, "+OK pong", "+OK pong"));
    assert!(lines[1].starts_with("-ERR BAD_REQUEST byte 3 of the line is not UTF-8"), "{answer}");
    assert!(lines[2].starts_with("-ERR BAD_REQUEST the ' at column 1 is not closed"), "{answer}");
}

#[tokio::test]
async fn a_command_answers_so_many_lines_unless_more_are_asked_for() {
    let server = desk().await;
    let more = ROWS_MAX + 10;
    let answer = server.told(format!("ROWS {more}\nROWS {more} max={}\nPING\n", 2 * more)).await;
    let mut statuses = answer.lines().filter(|line| line.starts_with(['+', '-']));
    let refused = statuses.next().expect("a status");
    assert!(refused.starts_with("-ERR OVERLOADED more than 100000 lines of data"), "{refused}");
    assert_eq!(statuses.next(), Some(format!("+OK count={more}").as_str()));
    assert_eq!(statuses.next(), Some("+OK pong"));
    assert_eq!(answer.lines().filter(|line| *line == ".").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_says_nothing_is_ended() {
    let server = desk().await;
    let answer = server.told_open("STUCK\nPING\nQUIT\n").await;
    let lines: Vec<_> = answer.lines().collect();
    assert!(lines[0].starts_with("-ERR TIMEOUT STUCK said nothing for 60 s"), "{answer}");
    assert_eq!(lines[1..], ["+OK pong", "+OK bye"]);
    assert_eq!(*server.service.dropped.lock().unwrap(), ["STUCK"]);
}

#[tokio::test(start_paused = true)]
async fn who_types_nothing_for_long_is_told_and_closed() {
    let server = desk().await;
    let mut typist = Typist::sit_down(&server).await;
    assert_eq!(typist.asks("PING").await, "+OK pong");
    let line = typist.reads().await.expect("a last line");
    assert!(line.starts_with("-ERR TIMEOUT nothing was typed for 10 min"), "{line}");
    assert_eq!(typist.reads().await, None);
}

#[tokio::test(start_paused = true)]
async fn oneshot_ends_with_the_first_silence() {
    let server = desk().await;
    assert_eq!(
        server.told_open("ONESHOT\nPING\nROWS 0\n").await,
        "+OK oneshot\n+OK pong\nROW\n.\n+OK count=0\n"
    );
}

#[tokio::test]
async fn what_follows_ends_with_the_next_line_or_the_end() {
    let server = desk().await;
    let end = interrupted(Interrupt::End);
    assert_eq!(server.told("WATCH FOLLOW\n").await, format!("watching\n.\n{end}\n"));
    let mut typist = Typist::sit_down(&server).await;
    assert_eq!(typist.asks("WATCH FOLLOW").await, "watching");
    typist.types("PING\n").await;
    assert_eq!(typist.reads().await.as_deref(), Some("."));
    assert_eq!(typist.reads().await, Some(interrupted(Interrupt::Line)));
    assert_eq!(typist.reads().await.as_deref(), Some("+OK pong"));
    // A server that stops is heard of, and the last line still goes out.
    assert_eq!(typist.asks("WATCH FOLLOW").await, "watching");
    server.shutdown.cancel();
    assert_eq!(typist.reads().await.as_deref(), Some("."));
    assert_eq!(typist.reads().await, Some(interrupted(Interrupt::Shutdown)));
    assert_eq!(typist.reads().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_follows_goes_on_after_the_end_if_it_is_asked_to() {
    let server = desk().await;
    let begun = tokio::time::Instant::now();
    let answer = server.told("LINGER 300\nWATCH FOLLOW\nPING\n").await;
    assert!(answer.ends_with("+OK interrupted=Line\n+OK pong\n"), "{answer}");
    let answer = server.told("LINGER 300\nWATCH FOLLOW\n").await;
    assert_eq!(answer, format!("+OK linger 300 s\nwatching\n.\n{}\n", interrupted(Interrupt::End)));
    assert!(begun.elapsed().as_secs() >= 300);
}

#[tokio::test]
async fn a_peer_that_is_gone_ends_its_command() {
    let server = desk().await;
    let mut typist = Typist::sit_down(&server).await;
    assert_eq!(typist.asks("PING").await, "+OK pong");
    typist.types("STUCK\n").await;
    while server.seen().0.is_empty() {
        tokio::task::yield_now().await;
    }
    let connection = server.service.observer.connections.list()[0].id;
    assert!(server.service.observer.connections.kill(connection, "the test says so"));
    assert_eq!(server.service.fake.next_closed().await, Closed::Other("the test says so".to_owned()));
    assert_eq!(*server.service.dropped.lock().unwrap(), ["STUCK"]);
    while server.service.observer.connections.count() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(!server.service.observer.connections.kill(connection, "again"));
}

#[tokio::test]
async fn a_listener_allows_as_much_as_it_is_told() {
    let publish = "PUBN t 3\nabcROWS 0\n";
    let json = "{\"kind\":\"metadata\"}\n{\"kind\":\"publish\"}\n";
    let mut answers = Vec::new();
    for text in [TextAccess::Full, TextAccess::ReadOnly, TextAccess::Words, TextAccess::Off] {
        let server = desk_with(ListenerConfig { text: Some(text), ..ListenerConfig::default() }).await;
        assert_eq!(server.told("ruok").await, "imok\n", "{text}");
        assert_eq!(server.told("cons\n").await.starts_with("ID "), text >= TextAccess::Words, "{text}");
        let answer = server.told(format!("PING\n{publish}QUIT\n")).await;
        // Whether it is allowed or not, the counted bytes are no command.
        let refusals = answer.matches("-ERR DISABLED ").count();
        assert!(answer.starts_with("+OK pong\n") && answer.ends_with("+OK bye\n"), "{text}: {answer}");
        let messages = server.told(json).await;
        answers.push((refusals, messages.matches(r#""error":"DISABLED""#).count(), server.seen()));
    }
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(answers[0], (0, 0, (names(&["PUBN", "ROWS"]), names(&["metadata", "publish"]))));
    assert_eq!(answers[1], (1, 1, (names(&["ROWS"]), names(&["metadata"]))));
    assert_eq!(answers[2], (2, 2, (vec![], vec![])));
    assert_eq!(answers[3], (2, 2, (vec![], vec![])));
}

#[tokio::test]
async fn a_listener_answers_what_it_names_beyond_what_it_allows() {
    let text_allow = ["cons", "ROWS", "NONE"].map(str::to_owned).to_vec();
    let config = ListenerConfig { text: Some(TextAccess::Off), text_allow, ..ListenerConfig::default() };
    let server = desk_with(config).await;
    assert!(server.told("cons\n").await.starts_with("ID "));
    assert!(server.told("evnt\n").await.starts_with("-ERR DISABLED evnt is not allowed on this listener"));
    let answer = server.told("ROWS 0\nASK x\nNONE\nQUIT\n").await;
    let starts =
        ["+OK count=0", "-ERR DISABLED ASK", "-ERR UNKNOWN_KIND there is no command NONE", "+OK bye"];
    let told: Vec<&str> = answer.lines().filter(|line| line.starts_with(['+', '-'])).collect();
    assert_eq!(told.len(), starts.len(), "{answer}");
    for (line, start) in told.iter().zip(starts) {
        assert!(line.starts_with(start), "{answer}");
    }
    assert_eq!(server.seen().0, ["ROWS"]);
    assert_eq!(allowed_by_hand("mntr"), Ok("mntr".to_owned()));
    assert_eq!(allowed_by_hand("Topics"), Ok("TOPICS".to_owned()));
    assert!(allowed_by_hand("to pics").expect_err("two words").contains("no command"));
}

#[test]
fn what_is_allowed_by_default_depends_on_where_it_comes_from() {
    for (address, access) in [
        ("127.0.0.1:1", TextAccess::Full),
        ("127.8.9.1:1", TextAccess::Full),
        ("[::1]:1", TextAccess::Full),
        ("[::ffff:127.0.0.1]:1", TextAccess::Full),
        ("192.168.0.1:1", TextAccess::ReadOnly),
        ("[2001:db8::1]:1", TextAccess::ReadOnly),
    ] {
        assert_eq!(TextAccess::default_for(address.parse().unwrap()), access, "{address}");
    }
    for access in [TextAccess::Full, TextAccess::ReadOnly, TextAccess::Words, TextAccess::Off] {
        assert_eq!(access.to_string().parse(), Ok(access));
    }
    assert!("some".parse::<TextAccess>().unwrap_err().to_string().contains("`some`"));
}
