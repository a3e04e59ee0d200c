//! A process that has run out of file descriptors goes on serving, and accepts again when it has some.
//! Alone in its file, because the limit is that of the whole process.
#![cfg(feature = "net")]

mod net;

use net::raw::Raw;
use net::{Fake, Server};
use std::fs::File;

#[tokio::test]
async fn the_accept_loop_outlives_a_lack_of_descriptors() {
    let server = Server::start(Fake::default()).await;
    let mut before = Raw::connect(&server.address).await;
    before.lives().await;

    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(1 << 20).collect();
    assert!(File::open("/dev/null").is_err(), "the process has a limit of descriptors");
    // One for the client's end; there is none left for the server's.
    hoard.pop();
    let mut waiting = Raw::connect(&server.address).await;
    for _ in 0..100 {
        before.lives().await;
    }
    drop(hoard);
    waiting.lives().await;
    before.lives().await;
}
