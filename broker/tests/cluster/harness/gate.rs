//! A way to a broker that can be closed without breaking: bytes stop, connections stay.

use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Clones are the same gate.
#[derive(Clone)]
pub struct Gate {
    address: String,
    target: Arc<OnceLock<String>>,
    passable: Arc<watch::Sender<bool>>,
}

impl Gate {
    /// A gate that is open, and leads nowhere yet.
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let gate = Self {
            address: listener.local_addr().expect("bound").to_string(),
            target: Arc::default(),
            passable: Arc::new(watch::Sender::new(true)),
        };
        let accepting = gate.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().carry(from));
            }
        });
        gate
    }

    /// Where it leads, once; returns its own address.
    pub fn lead_to(&self, target: &str) -> String {
        self.target.set(target.to_owned()).expect("a gate leads to one place");
        self.address.clone()
    }

    pub fn close(&self) {
        self.passable.send_replace(false);
    }

    pub fn open_again(&self) {
        self.passable.send_replace(true);
    }

    async fn carry(self, from: TcpStream) {
        let Some(target) = self.target.get() else { return };
        let Ok(to) = TcpStream::connect(target).await else { return };
        let (from_read, from_write) = from.into_split();
        let (to_read, to_write) = to.into_split();
        tokio::join!(self.pump(from_read, to_write), self.pump(to_read, from_write));
    }

    async fn pump(&self, mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
        let mut passable = self.passable.subscribe();
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            if count == 0 || passable.wait_for(|passable| *passable).await.is_err() {
                break;
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    }
}
