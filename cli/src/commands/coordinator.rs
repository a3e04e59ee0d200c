//! `yak coordinator`: registers brokers, hears their heartbeats and elects partition leaders.

use crate::context::Context;
use clap::Args;
use std::path::PathBuf;

/// Run a coordinator.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak coordinator --data /var/lib/yak/coordinator
  yak coordinator --listen 0.0.0.0:9700 --insecure --data ./coordinator
  LEASE_TIME_SECONDS=10 RENEW_INTERVAL_SECONDS=5 yak coordinator --data ./coordinator")]
pub struct CoordinatorArgs {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9700", value_name = "HOST:PORT")]
    pub listen: String,
    /// Where its journal is kept
    #[arg(long, default_value = "./yak-coordinator", value_name = "DIR")]
    pub data: PathBuf,
    /// Listen beyond this machine although nobody is authenticated
    #[arg(long)]
    pub insecure: bool,
    /// How long a broker lives without a heartbeat, in seconds
    #[arg(long, env = "LEASE_TIME_SECONDS", default_value_t = 3.0, value_name = "SECONDS")]
    pub lease_time_seconds: f64,
    /// How often brokers renew their lease, in seconds
    #[arg(long, env = "RENEW_INTERVAL_SECONDS", default_value_t = 0.5, value_name = "SECONDS")]
    pub renew_interval_seconds: f64,
    /// Partitions of a topic that is made without a number
    #[arg(long, default_value_t = yak_protocol::defaults::PARTITIONS, value_name = "N")]
    pub default_partitions: u32,
    /// Replicas of a topic that is made without a number, if there are as many brokers
    #[arg(long, default_value_t = yak_protocol::defaults::REPLICAS, value_name = "N")]
    pub default_replicas: u32,
}

/// Runs until shutdown.
///
/// # Errors
/// When the address or the data dir cannot be used.
pub async fn run(args: CoordinatorArgs, _context: Context) -> anyhow::Result<()> {
    anyhow::bail!("the coordinator is not part of this build (listen {})", args.listen)
}
