//! A Redis for as long as the demo runs.

use super::layout::free_addresses;
use anyhow::{Context as _, bail};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use yak_coordinator::redis::local_server;

/// How long it may take to listen.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A running server. Dropping it kills it.
pub struct Redis {
    address: String,
    child: Child,
}

impl Redis {
    /// Starts the machine's `redis-server`, with every write synced, on a free port and below `data`.
    pub async fn start(data: &Path) -> anyhow::Result<Self> {
        let dir = data.join("redis");
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let address = free_addresses(1)?.remove(0);
        let port = address.rsplit(':').next().unwrap_or_default();
        let command = local_server().context(
            "the lease needs a Redis, and this machine has no redis-server: install it (Debian: redis-server), \
             or name one with YAK_REDIS_SERVER",
        )?;
        let child = Command::from(command)
            .args(["--port", port, "--bind", "127.0.0.1", "--daemonize", "no"])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
            .arg("--dir")
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(data.join("redis.log"))?)
            // Ctrl-C at the terminal is for the demo.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("starting redis-server")?;
        let mut redis = Self { address, child };
        let deadline = Instant::now() + READY_TIMEOUT;
        while TcpStream::connect(&redis.address).await.is_err() {
            if let Some(status) = redis.child.try_wait()? {
                bail!("redis-server ended with {status}; its notes: {}", data.join("redis.log").display());
            }
            if Instant::now() > deadline {
                bail!(
                    "redis-server does not listen on {} after {} s",
                    redis.address,
                    READY_TIMEOUT.as_secs()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(redis)
    }

    /// For `--lease-backend`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}
