//! A connection that can be held up between a coordinator and its Redis.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    pub requests: bool,
    pub replies: bool,
}

pub const OPEN: Flow = Flow { requests: true, replies: true };

/// What is held up passes later, in order, also when the one who sent it is gone.
pub struct Proxy {
    pub port: u16,
    flow: watch::Sender<Flow>,
    replies: Arc<Mutex<Vec<u8>>>,
    accepts: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let flow = watch::Sender::new(OPEN);
        let replies = Arc::new(Mutex::new(Vec::new()));
        let (flows, seen) = (flow.clone(), replies.clone());
        let accepts = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (client_reads, client_writes) = client.into_split();
                let (server_reads, server_writes) = server.into_split();
                let nowhere = Arc::new(Mutex::new(Vec::new()));
                tokio::spawn(pass(
                    client_reads,
                    server_writes,
                    flows.subscribe(),
                    |flow| flow.requests,
                    nowhere,
                ));
                tokio::spawn(pass(
                    server_reads,
                    client_writes,
                    flows.subscribe(),
                    |flow| flow.replies,
                    seen.clone(),
                ));
            }
        });
        Self { port: own_port, flow, replies, accepts }
    }

    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    /// How often the server has answered with that.
    pub fn replied(&self, what: &str) -> usize {
        let replies = self.replies.lock().unwrap();
        replies.windows(what.len()).filter(|window| *window == what.as_bytes()).count()
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut flow: watch::Receiver<Flow>,
    open: fn(&Flow) -> bool,
    seen: Arc<Mutex<Vec<u8>>>,
) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
        seen.lock().unwrap().extend_from_slice(&bytes[..count]);
        if flow.wait_for(open).await.is_err() {
            return;
        }
        // Who sent the request may be gone; the reply is noted above.
        let _ = to.write_all(&bytes[..count]).await;
    }
}
