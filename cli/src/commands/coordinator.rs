//! `yak coordinator`: registers brokers, hears their heartbeats and elects partition leaders.

use super::by_hand::ByHand;
use crate::context::Context;
use crate::exit::{Failure, USAGE};
use clap::Args;
use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use yak_coordinator::CoordinatorConfig;
use yak_protocol::net::Listener;

/// Run a coordinator.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak coordinator --data /var/lib/yak/coordinator
  yak coordinator --listen 0.0.0.0:9700 --advertise 10.0.0.1:9700 --insecure --data ./coordinator
  LEASE_TIME_SECONDS=10 RENEW_INTERVAL_SECONDS=5 yak coordinator --data ./coordinator")]
pub struct CoordinatorArgs {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9700", value_name = "HOST:PORT")]
    pub listen: String,
    /// Where others reach it [default: the address it listens on]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Where its journal is kept
    #[arg(long, default_value = "./yak-coordinator", value_name = "DIR")]
    pub data: PathBuf,
    /// What its port takes besides frames.
    #[command(flatten)]
    pub by_hand: ByHand,
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
pub async fn run(args: CoordinatorArgs, context: Context) -> anyhow::Result<()> {
    let listener = Listener::bind(&args.listen, args.by_hand.listener())?;
    let address = listener.local_addr();
    let config = CoordinatorConfig {
        advertise: args.advertise,
        lease: seconds("--lease-time-seconds", args.lease_time_seconds)?,
        heartbeat: seconds("--renew-interval-seconds", args.renew_interval_seconds)?,
        partitions: args.default_partitions,
        replicas: args.default_replicas,
        sources: context.sources.clone(),
        ..CoordinatorConfig::new(args.data)
    };
    let ready = config.ready.clone();
    let run = yak_coordinator::run(listener, config, context.shutdown.clone());
    announce(run, ready, address).await?;
    Ok(())
}

/// Runs a server, and prints `ready <address>` once it can be used: the line that scripts wait for.
///
/// # Errors
/// The server's own, or that stdout is closed.
pub async fn announce<E>(
    server: impl Future<Output = Result<(), E>>,
    ready: CancellationToken,
    address: SocketAddr,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = ready.cancelled() => {}
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {address}")?;
    out.flush()?;
    drop(out);
    Ok(server.await?)
}

fn seconds(option: &str, value: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|error| anyhow::Error::new(Failure::new(USAGE, format!("{option} {value}: {error}"))))
}
