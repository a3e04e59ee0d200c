//! The coordinator: the shell around the cluster machine of `yak-core`. It registers brokers, hears
//! their heartbeats, keeps every decision in its journal before anybody hears of it, and pushes it out.

mod answers;
mod clients;
mod clock;
mod front;
mod history;
pub mod journal;
pub mod metalog;
mod server;
mod verbs;
mod why;

pub use journal::JournalError;

use journal::Journal;
use server::{SelfPortrait, Server, blocking};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use yak_core::cluster::{Cluster, ClusterConfig, Effect};
use yak_core::rules::Rules;
use yak_protocol::defaults;
use yak_protocol::ids::ClusterId;
use yak_protocol::net::{Listener, Observer, serve};
use yak_protocol::text::Sources;

/// What a coordinator is told.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Where its journal is kept.
    pub data: PathBuf,
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
    /// The defaults, with the journal in `data`.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
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
}

/// Why a coordinator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its journal cannot be used, or failed while it ran.
    #[error(transparent)]
    Journal(#[from] JournalError),
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
    let CoordinatorConfig { data, heartbeat, lease, probe, partitions, replicas, ready, .. } = config.clone();
    if heartbeat.is_zero() || lease < heartbeat * 2 {
        return Err(RunError::LeaseTooShort { lease, heartbeat });
    }
    let cluster_id = ClusterId(uuid::Uuid::new_v4().as_u128());
    let opened = tokio::task::spawn_blocking(move || Journal::open(&data, || Cluster::format(cluster_id)));
    let (journal, recovered) = opened.await.expect("opening the journal does not panic")?;
    if recovered.cut_bytes > 0 {
        tracing::warn!(bytes = recovered.cut_bytes, "an unfinished entry at the journal's end was cut");
    }
    let machine = ClusterConfig { heartbeat, lease, probe, partitions, replicas, rules: Rules::all() };
    let mut effects = Vec::new();
    let cluster = Cluster::recover(clock::now(), machine, recovered.records, &mut effects);
    let term = effects.into_iter().filter_map(|effect| match effect {
        Effect::Journal(records) => Some(records),
        _ => None,
    });
    let term: Vec<_> = term.collect();
    let (journal, kept) = blocking(journal, move |journal| journal.append(&term)).await;
    kept?;
    let state = cluster.state();
    tracing::info!(
        cluster_id = %state.cluster_id(),
        coordinator_epoch = %state.coordinator_epoch(),
        new = recovered.created,
        brokers = state.brokers().count(),
        topics = state.topics().count(),
        "coordinator started"
    );

    let portrait = SelfPortrait {
        listen: listener.local_addr().to_string(),
        address: config.advertise.clone().unwrap_or_else(|| listener.local_addr().to_string()),
        max_frame_bytes: listener.config().max_frame_bytes,
        insecure: listener.is_insecure(),
        config,
        started: Instant::now(),
    };
    let observer = Observer::default();
    let (sender, inputs) = mpsc::unbounded_channel();
    let service = Arc::new(front::Front { inputs: sender, observer: observer.clone() });
    let server = Server::new(cluster, journal, portrait, observer, inputs);
    // Connections end after the task that answers them has, so that it can let its last answers out.
    let hang_up = CancellationToken::new();
    let served = serve(listener, service, hang_up.clone());
    let mut served = std::pin::pin!(served);
    ready.cancel();
    let ended = tokio::select! {
        ended = server.run(shutdown) => ended,
        () = &mut served => Ok(()),
    };
    if ended.is_ok() {
        hang_up.cancel();
        served.await;
    }
    Ok(ended?)
}
