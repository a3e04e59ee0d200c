//! `yak dev`: a coordinator and brokers in one process, to try things out.

use crate::context::Context;
use clap::Args;
use std::path::PathBuf;

/// Start a coordinator and brokers in one process, to try things out.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak dev
  yak dev --nodes 1 --data /tmp/yak --clean
  yak dev --base-port 9800        # coordinator on 9800, brokers on 9801, 9802, 9803

On its stdin: `kill N` stops broker N as a crash would, `start N` brings it back.")]
pub struct DevArgs {
    /// Where everything is kept
    #[arg(long, default_value = "./yak-data", value_name = "DIR")]
    pub data: PathBuf,
    /// How many brokers
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=99))]
    pub nodes: u16,
    /// Begin with empty data dirs: deletes what an earlier `yak dev` left in --data
    #[arg(long)]
    pub clean: bool,
    /// The coordinator's port; brokers take the next ones
    #[arg(long, default_value_t = yak_protocol::defaults::COORDINATOR_PORT, value_name = "PORT")]
    pub base_port: u16,
}

/// Runs until shutdown.
///
/// # Errors
/// When an address or the data dir cannot be used.
pub async fn run(args: DevArgs, _context: Context) -> anyhow::Result<()> {
    anyhow::bail!("the development cluster is not part of this build ({} nodes)", args.nodes)
}
