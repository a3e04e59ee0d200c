//! The client's side of a connection against a real listener.
#![cfg(feature = "net")]

mod net;

use net::{Fake, Server, metadata_version};
use yak_protocol::error::ErrorCode;
use yak_protocol::message::{Hello, Metadata};
use yak_protocol::net::RequestError;

#[tokio::test]
async fn pipelined_requests_get_their_own_answers_in_any_order() {
    let server = Server::start(Fake::default()).await;
    let connection = server.connect().await;
    // `hello` is held back until the metadata request behind it has been answered.
    let first = connection.start(&Hello { client: "hold".into(), ..Hello::default() }, vec![]).unwrap();
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
    let hello = Hello { client: "drop".into(), ..Hello::default() };
    let Err(RequestError::Refused(error)) = connection.request(&hello, vec![]).await else {
        panic!("refused")
    };
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(error.message.contains("hello"), "{error}");
}
