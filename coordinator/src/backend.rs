//! Which metadata log a coordinator uses.

use crate::metalog::AnyLog;
use crate::quorum::{Quorum, QuorumConfig, QuorumService};
use crate::redis::{RedisConfig, RedisLog, Target};
use crate::{CoordinatorConfig, RunError};

/// Where coordinators keep what they decide, and what decides which of them is active.
#[derive(Clone, Debug)]
pub enum Backend {
    /// The disks of a majority of coordinators (Raft).
    Quorum {
        /// The addresses of all coordinators of a new quorum, its own among them; none = it is the only one.
        peers: Vec<String>,
    },
    /// A Redis, or what is compatible with it: a lease and a guarded journal.
    Redis(Target),
}

impl Default for Backend {
    /// A quorum of one.
    fn default() -> Self {
        Self::Quorum { peers: Vec::new() }
    }
}

impl Backend {
    /// Whether brokers must serve nothing once their lease is over: the coordinator cannot promise more.
    pub(crate) fn steps_down(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// The coordinators of a new quorum, as `--peers` takes them.
    pub(crate) fn peers(&self) -> String {
        match self {
            Self::Quorum { peers } => peers.join(","),
            Self::Redis(_) => String::new(),
        }
    }

    /// The Redis as `--lease-backend` takes it, without user and password; empty for a quorum.
    pub(crate) fn lease_backend(&self) -> String {
        match self {
            Self::Quorum { .. } => String::new(),
            Self::Redis(target) => target.masked_url(),
        }
    }
}

/// Opens the log of a coordinator that is reached at `address`; with it what answers the other coordinators,
/// where they talk to each other.
pub(crate) async fn open(
    config: &CoordinatorConfig,
    address: &str,
) -> Result<(AnyLog, Option<QuorumService>), RunError> {
    let name = config.name_at(address);
    match &config.backend {
        Backend::Quorum { peers } => {
            let config =
                QuorumConfig { name, peers: peers.clone(), ..QuorumConfig::new(&config.data, address) };
            let (log, service) = Quorum::open(config).await?;
            Ok((AnyLog::Quorum(Box::new(log)), Some(service)))
        }
        Backend::Redis(target) => {
            let redis = RedisConfig::new(target.clone(), name, address, &config.data);
            let redis = RedisConfig { lease: config.lease, ..redis };
            let opened = tokio::task::spawn_blocking(move || RedisLog::open(redis)).await;
            let log = opened.expect("opening it does not panic")?;
            Ok((AnyLog::Redis(Box::new(log)), None))
        }
    }
}
