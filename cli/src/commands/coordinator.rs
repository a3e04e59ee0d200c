//! `yak coordinator`: registers brokers, hears their heartbeats and elects partition leaders; `yak coordinator
//! peers` shows and changes which of them make the quorum.

use super::by_hand::ByHand;
use super::metadata::MetadataArgs;
use super::peers::PeersArgs;
use super::rebuild::RebuildArgs;
use crate::context::Context;
use clap::{Args, Subcommand};
use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;
use yak_coordinator::CoordinatorConfig;
use yak_protocol::net::Listener;

/// Run a coordinator, or look after those that there are.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_long_help = "\
Examples:
  yak coordinator --data /var/lib/yak/coordinator
  yak coordinator --listen 0.0.0.0:9700 --advertise 10.0.0.1:9700 --insecure --data ./coordinator
  yak coordinator --listen 10.0.0.1:9700 --insecure --peers 10.0.0.1:9700,10.0.0.2:9700,10.0.0.3:9700
  REDIS_HOST=10.0.0.9 LEASE_TIME_SECONDS=10 yak coordinator --lease-backend redis --data ./coordinator
  yak coordinator peers list -b 10.0.0.1:9700
  yak coordinator rebuild --data ./coordinator-2 -b 10.0.0.1:9701 --dry-run")]
pub struct CoordinatorArgs {
    /// What to do with coordinators; nothing = run one.
    #[command(subcommand)]
    pub command: Option<CoordinatorCommand>,
    /// How to run it.
    #[command(flatten)]
    pub server: CoordinatorServerArgs,
}

/// What else can be done with coordinators.
#[derive(Subcommand, Debug)]
pub enum CoordinatorCommand {
    /// Show or change which coordinators make the quorum
    Peers(PeersArgs),
    /// Make a coordinator's data dir again from what the brokers know
    Rebuild(RebuildArgs),
}

/// How to run a coordinator.
#[derive(Args, Debug)]
pub struct CoordinatorServerArgs {
    /// Where to listen
    #[arg(long, value_parser = crate::address::address, default_value = "127.0.0.1:9700", value_name = "HOST:PORT")]
    pub listen: String,
    /// Where others reach it [default: the address it listens on]
    #[arg(long, value_parser = crate::address::reachable, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// What it calls itself [default: coordinator-ADDRESS]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where it keeps its data
    #[arg(long, default_value = "./yak-coordinator", value_name = "DIR")]
    pub data: PathBuf,
    /// What its port takes besides frames.
    #[command(flatten)]
    pub by_hand: ByHand,
    /// Where the metadata is kept, and what new topics get.
    #[command(flatten)]
    pub metadata: MetadataArgs,
}

/// Runs until shutdown, or looks after the quorum.
///
/// # Errors
/// When the address or the data dir cannot be used.
pub async fn run(args: CoordinatorArgs, context: Context) -> anyhow::Result<()> {
    match args.command {
        Some(CoordinatorCommand::Peers(args)) => super::peers::run(args, context).await,
        Some(CoordinatorCommand::Rebuild(args)) => super::rebuild::run(args, context).await,
        None => serve(args.server, context).await,
    }
}

async fn serve(args: CoordinatorServerArgs, context: Context) -> anyhow::Result<()> {
    let listener = Listener::bind(&args.listen, args.by_hand.listener())?;
    let address = listener.local_addr();
    let config = CoordinatorConfig {
        name: args.name,
        advertise: args.advertise,
        sources: context.configured.sources(),
        ..args.metadata.config(args.data)?
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
