//! Whatever is sent to the port: no panic, and no allocation larger than what has arrived and 64 KiB.
//!
//! The allocator of this test binary notes the largest allocation; so it is a binary of its own, with one
//! test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "net/mod.rs"]
mod net;

use net::raw::{framed, hello};
use net::{Server, hello_reply};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use yak_protocol::message::Hello;
use yak_protocol::net::{Incoming, Observer, Peer, Replier, Service};

/// The largest allocation since it was last set to 0, in bytes.
static LARGEST: AtomicUsize = AtomicUsize::new(0);
/// How often anything has panicked.
static PANICS: AtomicUsize = AtomicUsize::new(0);

struct Noting;

#[expect(unsafe_code, reason = "an allocator cannot be written without; this one only passes on")]
// SAFETY: every call is passed to the system's allocator with the arguments it came with, so whatever the
// caller promises holds for it, and whatever it promises holds for the caller. Noting a size is one store to
// an atomic: it neither allocates nor unwinds.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; all pointers of this allocator come from the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: as above; all pointers of this allocator come from the system's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// What an allocation may be above what has arrived, in bytes.
const ABOVE_MAX: usize = 64 << 10;

/// Answers `hello`, and remembers nothing that could grow.
#[derive(Default)]
struct Plain(Observer);

impl Service for Plain {
    async fn call(&self, _: &Peer, request: Incoming, reply: Replier) {
        match request.parse::<Hello>() {
            Ok(_) => reply.reply::<Hello>(Ok(&hello_reply()), vec![request.bin]),
            Err(error) => reply.refuse(&error),
        }
    }

    fn observer(&self) -> Option<&Observer> {
        Some(&self.0)
    }
}

/// Pieces that mean something to one of the readers.
fn pieces() -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = [
        &b"PING\n"[..],
        b"HELP\r\n",
        b"CONNS format=json\n",
        b"PUBN t 5000000\n",
        b"PUBN t 3\nabc",
        b"EVENTS FOLLOW\n",
        b"LINGER 0.01\n",
        b"FORMAT kv\n",
        b"ruok",
        b"{\"kind\":\"hello\",\"id\":1}\n",
        b"{\"kind\":\"metadata\",\"bin\":{\"hex\":\"",
        b"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        b"GET / HTTP/1.1\r\n",
        b"Host: x\r\n",
        b"\xff\xfa\x18",
        b"\xff\xf0",
        b"\xff\xfd\x03",
        b"\xff\xf4\xff\xfd",
        b"\xef\xbb\xbf",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"\x16\x03\x01",
        b"\x03\xff\xff\xff",
        b"\x00\x00\xff\xff\x94\x01\x01\xdb\xff\xff\xff\xff",
        b"\"quoted \\x41",
        b" key=value -- ",
        b"# comment\n",
        b"\n",
        b"\r",
        b"\0",
    ]
    .iter()
    .map(|piece| piece.to_vec())
    .collect();
    pieces.push(hello(1, "fuzz"));
    pieces.push(framed(b"\x94\x01\x07\xa8metadata\xdd\x40\x00\x00\x00"));
    pieces.push(framed(&[0x91; 500]));
    pieces
}

fn rubbish(random: &mut Random, pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + random.below(8) {
        match random.below(4) {
            0 => bytes.extend((0..random.below(300)).map(|_| u8::try_from(random.below(256)).unwrap())),
            _ => bytes.extend_from_slice(&pieces[random.below(pieces.len())]),
        }
    }
    if random.below(4) == 0 && !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
    }
    bytes
}

/// A small generator (`SplitMix64`): the same bytes on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// Sends the bytes in two pieces, reads until the server closes, and returns the largest allocation.
async fn largest(server: &Server<Plain>, bytes: &[u8], cut: usize) -> usize {
    LARGEST.store(0, Ordering::Relaxed);
    let mut stream = server.raw().await;
    // The server may have heard enough before it has read everything.
    let _ = stream.write_all(&bytes[..cut]).await;
    tokio::task::yield_now().await;
    let _ = stream.write_all(&bytes[cut..]).await;
    let _ = stream.shutdown().await;
    let mut answer = [0; 4096];
    while matches!(stream.read(&mut answer).await, Ok(1..)) {}
    LARGEST.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn rubbish_is_answered_within_the_memory_that_it_paid_for() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        report(panic);
    }));
    let server = Server::start(Plain::default()).await;
    let pieces = pieces();
    let mut random = Random(0x0079_616b);
    for round in 0..3000 {
        let bytes = rubbish(&mut random, &pieces);
        let cut = random.below(bytes.len() + 1);
        let largest = largest(&server, &bytes, cut).await;
        assert!(
            largest <= bytes.len() + ABOVE_MAX,
            "round {round}: {largest} bytes at once for {}",
            bytes.escape_ascii()
        );
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "round {round}: {}", bytes.escape_ascii());
    }
    let connection = server.connect().await;
    connection.request(&Hello::default(), vec![]).await.unwrap();
}
