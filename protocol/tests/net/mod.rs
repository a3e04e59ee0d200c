//! A small service to talk to, and a server that stops with its test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod brokers;
pub mod raw;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::MetadataVersion;
use yak_protocol::message::{Hello, HelloReply, Message, Metadata, MetadataReply, Probe};
use yak_protocol::net::{
    Closed, ConnectOptions, Connection, Incoming, Listener, ListenerConfig, Peer, Replier, Service, serve,
};

/// What [`Fake`] answers to `metadata`.
pub fn metadata_version() -> MetadataVersion {
    MetadataVersion(7)
}

/// Answers `hello` by the name that it carries, and `metadata`.
pub struct Fake {
    held: Arc<Semaphore>,
    pub kinds: Mutex<Vec<String>>,
    pub peers: Mutex<Vec<Peer>>,
    closed: Mutex<Vec<Closed>>,
    closes: Semaphore,
    calls: watch::Sender<usize>,
    most_unanswered: AtomicUsize,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            held: Arc::new(Semaphore::new(0)),
            kinds: Mutex::default(),
            peers: Mutex::default(),
            closed: Mutex::default(),
            closes: Semaphore::new(0),
            calls: watch::Sender::new(0),
            most_unanswered: AtomicUsize::new(0),
        }
    }
}

impl Fake {
    /// Lets one held `hello` go.
    pub fn release(&self) {
        self.held.add_permits(1);
    }

    /// Waits until so many requests have come.
    pub async fn seen(&self, count: usize) {
        let mut calls = self.calls.subscribe();
        within_reason(calls.wait_for(|calls| *calls >= count)).await.unwrap();
    }

    /// The most requests of one connection that were unanswered at once.
    pub fn most_unanswered(&self) -> usize {
        self.most_unanswered.load(Ordering::SeqCst)
    }

    /// How the next connection to end ended.
    pub async fn next_closed(&self) -> Closed {
        within_reason(self.closes.acquire()).await.unwrap().forget();
        self.closed.lock().unwrap().remove(0)
    }
}

/// What never comes fails the test instead of hanging it.
async fn within_reason<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(120), wait).await.expect("it never came")
}

pub fn hello_reply() -> HelloReply {
    HelloReply {
        version: 1,
        process: "fake".into(),
        software: "0".into(),
        cluster_id: None,
        broker_id: None,
        max_frame_bytes: 1,
        insecure: false,
        unhealthy: None,
    }
}

impl Service for Fake {
    async fn call(&self, peer: &Peer, request: Incoming, reply: Replier) {
        self.kinds.lock().unwrap().push(request.kind.to_string());
        self.peers.lock().unwrap().push(peer.clone());
        self.most_unanswered.fetch_max(peer.unanswered(), Ordering::SeqCst);
        self.calls.send_modify(|calls| *calls += 1);
        if request.kind == Probe::KIND {
            return reply.discard();
        }
        if request.kind == Metadata::KIND {
            let answer = MetadataReply { version: metadata_version(), ..MetadataReply::default() };
            return reply.reply::<Metadata>(Ok(&answer), vec![request.bin]);
        }
        let hello = match request.parse::<Hello>() {
            Ok(hello) => hello,
            Err(error) => return reply.refuse(&error),
        };
        match hello.client.as_str() {
            "hold" => {
                let held = self.held.clone();
                tokio::spawn(async move {
                    held.acquire().await.unwrap().forget();
                    reply.reply::<Hello>(Ok(&hello_reply()), vec![]);
                });
            }
            "drop" => drop(reply),
            "stop" => drop(reply.if_dropped(WireError::new(ErrorCode::ShuttingDown, "it stops"))),
            "ignore" => reply.discard(),
            "stuck" => std::future::pending().await,
            "panic" => panic!("as the test asked for"),
            _ => reply.reply::<Hello>(Ok(&hello_reply()), vec![request.bin]),
        }
    }

    fn closed(&self, _: &Peer, how: Closed) {
        self.closed.lock().unwrap().push(how);
        self.closes.add_permits(1);
    }
}

/// A listener on a free port with its service.
pub struct Server<S: Service> {
    pub address: String,
    pub service: Arc<S>,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<()>,
}

impl<S: Service> Server<S> {
    pub async fn start(service: S) -> Self {
        Self::start_with(service, ListenerConfig::default()).await
    }

    pub async fn start_with(service: S, config: ListenerConfig) -> Self {
        let listener = Listener::bind("127.0.0.1:0", config).unwrap();
        Self::on(listener, service)
    }

    pub fn on(listener: Listener, service: S) -> Self {
        let address = listener.local_addr().to_string();
        let (service, shutdown) = (Arc::new(service), CancellationToken::new());
        let task = tokio::spawn(serve(listener, service.clone(), shutdown.clone()));
        Self { address, service, shutdown, task }
    }

    pub async fn connect(&self) -> Connection {
        Connection::connect(&self.address, &ConnectOptions::default()).await.unwrap().0
    }

    pub async fn raw(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }
}

impl<S: Service> Server<S> {
    /// Stops at once, as a killed process does: nothing is flushed, every socket is closed.
    pub async fn stop(self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

/// An address of this machine on which nobody listens.
pub fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl<S: Service> Drop for Server<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
