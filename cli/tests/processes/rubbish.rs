//! Bytes that are no protocol, sent to brokers and the coordinator while records are published.

use crate::harness::{Cluster, PATIENCE, Publisher, check_kept};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

/// The errors that end a connection.
const LAST_WORDS: [&str; 3] = ["BAD_FRAME", "FRAME_TOO_LARGE", "PROTO"];
/// What begins neither a frame nor a line nor anything that is known.
const NOTHING: [u8; 6] = [0x08, 0x0b, 0x1f, 0x7f, 0xa5, 0xfe];

/// A frame with this content.
fn framed(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a small frame");
    [&length.to_be_bytes(), content].concat()
}

/// A whole and valid request: `metadata`.
fn whole() -> Vec<u8> {
    framed(b"\x94\x01\x07\xa8metadata\x80")
}

/// What is sent, and whether the server has something to say to it: to an end between two frames it has not.
fn cases() -> Vec<(String, Vec<u8>)> {
    let mut cases = vec![
        ("a length of zero".to_owned(), vec![0; 4]),
        ("the largest length".to_owned(), vec![0x07, 0xff, 0xff, 0xff]),
        ("a length above the limit".to_owned(), [&[6, 0, 0, 0][..], &[0; 1000]].concat()),
        ("a frame that never comes".to_owned(), [&[0, 0x10, 0, 0][..], &[0x94; 10]].concat()),
        ("a nesting bomb of arrays".to_owned(), framed(&[0x91; 100_000])),
        ("a nesting bomb in a body".to_owned(), {
            framed(&[&b"\x94\x01\x07\xa8metadata\x81\xa1k"[..], &[0x91; 100_000]].concat())
        }),
        ("an array that claims a billion items".to_owned(), {
            framed(b"\x94\x01\x07\xa8metadata\xdd\x40\x00\x00\x00")
        }),
        ("a map that claims a billion items".to_owned(), {
            framed(b"\x94\x01\x07\xa8metadata\xdf\x40\x00\x00\x00")
        }),
        ("text that claims four billion bytes".to_owned(), framed(b"\x94\x01\x07\xdb\xff\xff\xff\xff")),
        ("an empty array".to_owned(), framed(b"\x90")),
        ("nil".to_owned(), framed(b"\xc0")),
        ("Redis".to_owned(), b"*1\r\n$4\r\nPING\r\n".to_vec()),
    ];
    let whole = whole();
    cases.extend((1..whole.len()).map(|cut| (format!("a frame cut at {cut}"), whole[..cut].to_vec())));
    let mut random = fastrand::Rng::with_seed(0x0079_616b);
    for round in 0..40 {
        let mut bytes: Vec<u8> = (0..random.usize(1..400)).map(|_| random.u8(..)).collect();
        if round % 2 == 0 {
            // Half of them as the content of a frame whose length is right; 0xc1 begins no value.
            bytes.insert(0, 0xc1);
            bytes = framed(&bytes);
        } else {
            // And half as a stream that begins with neither a length nor text.
            bytes[0] = NOTHING[round / 2 % NOTHING.len()];
        }
        cases.push((format!("random bytes {round}"), bytes));
    }
    cases
}

/// What is answered in the words of another protocol, or line by line.
fn others() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(0x006c_696e);
    let mut others = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"\xff\xf4\xff\xfd\x06".to_vec(),
    ];
    for _ in 0..20 {
        let mut bytes: Vec<u8> = (0..random.usize(1..400)).map(|_| random.u8(..)).collect();
        bytes[0] = random.u8(b'A'..=b'Z');
        others.push(bytes);
    }
    others
}

/// Sends the bytes, ends the sending side, and returns what came back until the server closed.
fn talk(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let sent = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    if let Err(error) = sent {
        assert!(error.kind() != ErrorKind::WouldBlock, "{error}");
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the connection was not closed"),
    }
    answer
}

#[test]
fn rubbish_gets_one_error_and_disturbs_nobody() {
    let mut cluster = Cluster::start("3");
    cluster.create_topic("orders", 3, 3);
    let publisher = Publisher::start(&cluster, "orders");
    let before = cluster.describe("orders");
    for address in [cluster.address(1).to_owned(), cluster.coordinator_address().to_owned()] {
        for (name, bytes) in cases() {
            let answer = talk(&address, &bytes);
            let said = String::from_utf8_lossy(&answer);
            let errors: usize = LAST_WORDS.iter().map(|word| said.matches(word).count()).sum();
            assert_eq!(errors, 1, "{name} to {address}: {said:?}");
        }
        for bytes in others() {
            talk(&address, &bytes);
        }
        let answer = talk(&address, &whole());
        assert!(String::from_utf8_lossy(&answer).contains("ok"), "a valid request is still answered");
    }
    publisher.goes_on(50);
    assert!(cluster.coordinator().runs());
    assert!((1..=3).all(|n| cluster.broker(n).runs()));
    assert_eq!(cluster.describe("orders"), before);
    check_kept(&cluster, "orders", &publisher.finish());
}
