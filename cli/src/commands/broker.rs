//! `yak broker`: stores partitioned topics and replicates them; `yak broker list` shows all of them.

use super::by_hand::ByHand;
use super::coordinator::announce;
use crate::context::Context;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use yak_broker::{AutoCreate, BrokerConfig};
use yak_protocol::defaults::BROKER_PORT;
use yak_protocol::net::Listener;

/// Run a broker, or list the brokers.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_long_help = "\
Examples:
  yak broker --data /var/lib/yak/broker
  yak broker --name b2 --coordinator 10.0.0.1:9700 --listen 0.0.0.0:9702 --advertise 10.0.0.2:9702 --insecure
  yak broker list --output json")]
pub struct BrokerArgs {
    /// `list`; nothing = run a broker.
    #[command(subcommand)]
    pub command: Option<BrokerCommand>,
    /// How to run it.
    #[command(flatten)]
    pub server: BrokerServerArgs,
}

/// What else can be done with brokers.
#[derive(Subcommand, Debug)]
pub enum BrokerCommand {
    /// List the brokers of the cluster
    List,
}

/// How to run a broker.
#[derive(Args, Debug)]
pub struct BrokerServerArgs {
    /// Its name [default: broker-HOSTNAME, with -PORT when not on 9701]
    #[arg(long, env = "BROKER_ID", value_name = "NAME")]
    pub name: Option<String>,
    /// Where the coordinators are
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:9700", value_name = "HOST:PORT,..")]
    pub coordinator: Vec<String>,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9701", value_name = "HOST:PORT")]
    pub listen: String,
    /// Where others reach it [default: the address it listens on]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Where its log is kept
    #[arg(long, default_value = "./yak-broker", value_name = "DIR")]
    pub data: PathBuf,
    /// Where it stands; replicas are spread over racks
    #[arg(long, default_value = "", value_name = "NAME")]
    pub rack: String,
    /// What its port takes besides frames.
    #[command(flatten)]
    pub by_hand: ByHand,
    /// Refuse to publish to a topic that does not exist instead of making it
    #[arg(long)]
    pub no_auto_create: bool,
}

/// Runs until shutdown, or lists the brokers.
///
/// # Errors
/// When the address or the data dir cannot be used.
pub async fn run(args: BrokerArgs, context: Context) -> anyhow::Result<()> {
    match args.command {
        Some(BrokerCommand::List) => super::cluster::list_brokers(context).await,
        None => serve(args.server, context).await,
    }
}

async fn serve(args: BrokerServerArgs, context: Context) -> anyhow::Result<()> {
    let listener = Listener::bind(&args.listen, args.by_hand.listener())?;
    let address = listener.local_addr();
    let name = args.name.unwrap_or_else(|| default_name(address.port()));
    let config = BrokerConfig {
        advertise: args.advertise,
        rack: args.rack,
        sources: context.sources.clone(),
        auto_create: AutoCreate { enabled: !args.no_auto_create, ..AutoCreate::default() },
        ..BrokerConfig::new(name, args.data, args.coordinator)
    };
    let ready = config.ready.clone();
    let run = yak_broker::run(listener, config, context.shutdown.clone());
    announce(run, ready, address).await
}

/// `broker-<hostname>`, with the port when it is not the usual one.
fn default_name(port: u16) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if port == BROKER_PORT { format!("broker-{host}") } else { format!("broker-{host}-{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_without_a_port_is_called_by_its_host() {
        let usual = default_name(BROKER_PORT);
        assert!(usual.strip_prefix("broker-").is_some_and(|host| !host.is_empty()), "{usual}");
        assert_eq!(default_name(9702), format!("{usual}-9702"));
    }
}
