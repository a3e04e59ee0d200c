//! What a coordinator is told wherever it runs: by itself, or inside a broker.

use crate::address::seconds;
use crate::exit::{Failure, USAGE};
use clap::{Args, value_parser};
use std::path::PathBuf;
use std::time::Duration;
use yak_coordinator::{Backend, CoordinatorConfig, Target};

/// See the module.
#[derive(Args, Clone, Debug)]
pub struct MetadataArgs {
    /// The addresses of all coordinators of the quorum, this one's own among them [default: it is alone]
    #[arg(long, value_delimiter = ',', value_parser = crate::address::reachable, value_name = "HOST:PORT,..")]
    pub peers: Vec<String>,
    /// Keep the metadata and the lease in a Redis: `redis://[user:password@]host[:port]`, or just `redis` for
    /// REDIS_HOST, REDIS_PORT and REDIS_PASSWORD [default: on the coordinators' own disks]
    #[arg(long, value_parser = redis, value_name = "URL", conflicts_with = "peers")]
    pub lease_backend: Option<String>,
    /// How long a broker, or the active coordinator in a Redis, lives without a sign of life, in seconds
    #[arg(long, value_parser = seconds, default_value_t = 3.0, value_name = "SECONDS")]
    pub lease_time_seconds: f64,
    /// How often brokers renew their lease, in seconds
    #[arg(long, value_parser = seconds, default_value_t = 0.5, value_name = "SECONDS")]
    pub renew_interval_seconds: f64,
    /// Partitions of a topic that is made without a number
    #[arg(long, default_value_t = yak_protocol::defaults::PARTITIONS, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub default_partitions: u32,
    /// Replicas of a topic that is made without a number, if there are as many brokers
    #[arg(long, default_value_t = yak_protocol::defaults::REPLICAS, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub default_replicas: u32,
}

impl MetadataArgs {
    /// A coordinator with its data in `data`.
    ///
    /// # Errors
    /// When a value cannot be used.
    pub fn config(&self, data: PathBuf) -> anyhow::Result<CoordinatorConfig> {
        Ok(CoordinatorConfig {
            backend: self.backend()?,
            lease: Duration::from_secs_f64(self.lease_time_seconds),
            heartbeat: Duration::from_secs_f64(self.renew_interval_seconds),
            partitions: self.default_partitions,
            replicas: self.default_replicas,
            ..CoordinatorConfig::new(data)
        })
    }

    fn backend(&self) -> anyhow::Result<Backend> {
        match self.lease_backend.as_deref() {
            None => Ok(Backend::Quorum { peers: self.peers.clone() }),
            Some(url) => Ok(Backend::Redis(target(url)?)),
        }
    }
}

/// The Redis of `--lease-backend`, with what the environment adds to it.
///
/// # Errors
/// When that is none.
pub fn target(url: &str) -> Result<Target, Failure> {
    Target::resolve(url, |name| std::env::var(name).ok())
        .map_err(|error| Failure::new(USAGE, format!("--lease-backend: {error}")))
}

/// Checks the URL of a Redis, with what the environment adds to it.
///
/// # Errors
/// What is wrong with it.
pub fn redis(url: &str) -> Result<String, String> {
    Target::resolve(url, |name| std::env::var(name).ok()).map_err(|error| error.to_string())?;
    Ok(url.to_owned())
}
