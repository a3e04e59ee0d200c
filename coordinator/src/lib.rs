//! The coordinator: the shell around the cluster machine of `yak-core`. It registers brokers, hears
//! their heartbeats, keeps every decision in its metadata log before anybody hears of it, and pushes it out.

mod answers;
mod backend;
mod clients;
mod clock;
mod data_dir;
mod front;
mod history;
mod knock;
pub mod metalog;
pub mod quorum;
pub mod redis;
mod server;
mod turns;
mod verbs;
mod why;

pub use backend::Backend;
pub use data_dir::DataDirError;
pub use redis::Target;

use history::History;
use metalog::{MetaLog, Standing};
use server::SelfPortrait;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use turns::Turns;
use yak_core::cluster::ClusterConfig;
use yak_core::rules::Rules;
use yak_protocol::defaults;
use yak_protocol::net::{Listener, Observer, serve};
use yak_protocol::text::Sources;

/// What a coordinator is told.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Where it keeps its data.
    pub data: PathBuf,
    /// What it calls itself; `None` = `coordinator-` and its address.
    pub name: Option<String>,
    /// Where the metadata is kept, and what decides which coordinator is active.
    pub backend: Backend,
    /// Where others reach it, `host:port`; `None` = where the listener is bound.
    pub advertise: Option<String>,
    /// How often brokers renew their lease.
    pub heartbeat: Duration,
    /// How long a broker lives without a heartbeat.
    pub lease: Duration,
    /// How long the coordinator waits for the answer to a probe.
    pub probe: Duration,
    /// Partitions of a topic that is made without a number.
    pub partitions: u32,
    /// Replicas of a topic that is made without a number.
    pub replicas: u32,
    /// Cancelled by the coordinator once it serves.
    pub ready: CancellationToken,
    /// Which of its settings were given, and where: for `CONF`.
    pub sources: Sources,
}

impl CoordinatorConfig {
    /// The defaults: alone, with its log in `data`.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            name: None,
            backend: Backend::default(),
            advertise: None,
            heartbeat: defaults::HEARTBEAT,
            lease: defaults::LEASE,
            probe: defaults::PROBE,
            partitions: defaults::PARTITIONS,
            replicas: defaults::REPLICAS,
            ready: CancellationToken::new(),
            sources: Sources::new(),
        }
    }

    /// What it calls itself when it is reached at `address`.
    pub(crate) fn name_at(&self, address: &str) -> String {
        self.name.clone().unwrap_or_else(|| format!("coordinator-{address}"))
    }
}

/// Why a coordinator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What it needs for its Redis is not there.
    #[error(transparent)]
    Redis(#[from] redis::RedisLogError),
    /// The quorum's log cannot be used, or failed while it ran.
    #[error(transparent)]
    Quorum(#[from] quorum::QuorumError),
    /// Brokers could not hold on to their lease.
    #[error("the lease ({lease:?}) must be at least twice the heartbeat ({heartbeat:?})")]
    LeaseTooShort {
        /// How long a broker lives without a heartbeat.
        lease: Duration,
        /// How often it sends one.
        heartbeat: Duration,
    },
}

/// Runs a coordinator on `listener` until `shutdown`. Dropping the future ends it as a crash would.
///
/// # Errors
/// [`RunError`]: each says what to do.
pub async fn run(
    listener: Listener,
    config: CoordinatorConfig,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let CoordinatorConfig { heartbeat, lease, probe, partitions, replicas, ready, .. } = config.clone();
    if heartbeat.is_zero() || lease < heartbeat.saturating_mul(2) {
        return Err(RunError::LeaseTooShort { lease, heartbeat });
    }
    let address = config.advertise.clone().unwrap_or_else(|| listener.local_addr().to_string());
    let (log, quorum) = backend::open(&config, &address).await?;
    let portrait = SelfPortrait {
        listen: listener.local_addr().to_string(),
        address,
        max_frame_bytes: listener.config().max_frame_bytes,
        insecure: listener.is_insecure(),
        config,
        started: Instant::now(),
    };
    let standing = log.standing();
    let observer = Observer::default();
    let (sender, inputs) = mpsc::unbounded_channel();
    let service = Arc::new(front::Front {
        inputs: sender,
        observer: observer.clone(),
        log: log.look(),
        standing: standing.clone(),
        quorum,
    });
    let preferred_in_sync = defaults::PREFERRED_IN_SYNC;
    let rules = Rules::all();
    let machine = ClusterConfig { heartbeat, lease, probe, partitions, replicas, preferred_in_sync, rules };
    let turns = Turns {
        log,
        inputs,
        portrait: Arc::new(portrait),
        observer,
        history: History::default(),
        machine,
        standing: standing.clone(),
    };
    // Connections end after the task that answers them has, so that it can let its last answers out.
    let hang_up = CancellationToken::new();
    let served = serve(listener, service, hang_up.clone());
    let mut served = std::pin::pin!(served);
    let watched = become_ready(standing, ready);
    let ended = tokio::select! {
        ended = turns.run(&shutdown) => ended,
        () = &mut served => Ok(()),
        () = watched => Ok(()),
    };
    if ended.is_ok() {
        hang_up.cancel();
        served.await;
    }
    ended
}

/// Says once that a coordinator is active, this one or another; goes on for ever.
async fn become_ready(mut standing: watch::Receiver<Standing>, ready: CancellationToken) {
    if standing.wait_for(|standing| standing.active.is_some()).await.is_ok() {
        ready.cancel();
    }
    std::future::pending().await
}
