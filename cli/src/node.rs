//! A coordinator or broker inside this process, on a runtime of its own.
//!
//! Killing one drops its tasks and closes its sockets, and flushes nothing: what a `kill -9` would leave
//! is what it leaves, but for the operating system's page cache, which outlives both.

use anyhow::Context as _;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use yak_protocol::net::{Listener, ListenerConfig};

/// How long a killed node's threads may take to let go of its files.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a node may take to hand over its leaderships and close its log.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A running coordinator or broker.
pub struct Node {
    /// Where it listens.
    pub address: SocketAddr,
    runtime: Option<Runtime>,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Node {
    /// Binds `address` and runs `run` on a runtime whose thread is called `name`.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub async fn start<F, Fut>(
        name: &str,
        address: &str,
        config: ListenerConfig,
        run: F,
    ) -> anyhow::Result<Self>
    where
        F: FnOnce(Listener, CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name(name)
            .build()
            .with_context(|| format!("starting the runtime of {name}"))?;
        let shutdown = CancellationToken::new();
        let (token, address) = (shutdown.clone(), address.to_owned());
        let (bound, listening) = tokio::sync::oneshot::channel();
        let task = runtime.spawn(async move {
            let listener = match Listener::bind(&address, config) {
                Ok(listener) => listener,
                Err(error) => {
                    let _ = bound.send(Err(error));
                    return Ok(());
                }
            };
            let _ = bound.send(Ok(listener.local_addr()));
            run(listener, token).await
        });
        let mut node = Self { address: ([127, 0, 0, 1], 0).into(), runtime: Some(runtime), shutdown, task };
        node.address = listening.await.with_context(|| format!("{name} ended before it listened"))??;
        Ok(node)
    }

    /// Ends it as a crash would.
    pub async fn kill(mut self) {
        self.end(KILL_TIMEOUT).await;
    }

    /// Asks it to hand over and close, and waits until it has.
    ///
    /// # Errors
    /// Why it ended, if not because it was asked to.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        let outcome = match tokio::time::timeout(STOP_TIMEOUT, self.outcome()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("did not stop within {} s", STOP_TIMEOUT.as_secs())),
        };
        self.end(KILL_TIMEOUT).await;
        outcome
    }

    /// Waits until it has ended by itself, and returns why.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn outcome(&mut self) -> anyhow::Result<()> {
        match (&mut self.task).await {
            Ok(outcome) => outcome,
            Err(panic) => Err(anyhow::anyhow!("ended by a panic: {panic}")),
        }
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for a runtime's threads, so that files and ports are free when this returns.
    async fn end(&mut self, timeout: Duration) {
        if let Some(runtime) = self.runtime.take() {
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(timeout)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
