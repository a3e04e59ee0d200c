//! `yak broker`: stores partitioned topics and replicates them; `yak broker list` shows all of them.

use super::broker_verbs::{self, DecommissionArgs, DrainArgs, ReplaceArgs};
use super::by_hand::ByHand;
use super::coordinator::announce;
use super::embedded::{self, Embedded};
use super::metadata::MetadataArgs;
use crate::context::Context;
use clap::{Args, Subcommand, ValueEnum};
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
  yak broker --coordinator embedded --lease-backend redis://10.0.0.9 --data ./b1
  yak broker --coordinator embedded --peers 10.0.0.1:9801,10.0.0.2:9801,10.0.0.3:9801 \\
      --listen 10.0.0.1:9701 --insecure --data ./b1
  yak broker list --output json")]
pub struct BrokerArgs {
    /// What to do with brokers; nothing = run one.
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
    /// Take all leaderships from a broker, or let it lead again
    Drain(DrainArgs),
    /// Take a broker out of the cluster: what it holds moves to others
    Decommission(DecommissionArgs),
    /// Put another broker in the place of a dead one
    Replace(ReplaceArgs),
}

/// How to run a broker.
#[derive(Args, Debug)]
pub struct BrokerServerArgs {
    /// Its name [default: broker-HOSTNAME, with -PORT when not on 9701]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where the coordinators are; `embedded` = one runs in this process
    #[arg(long, value_delimiter = ',', value_parser = crate::address::coordinator, default_value = "127.0.0.1:9700", value_name = "HOST:PORT,..")]
    pub coordinator: Vec<String>,
    /// Where to listen
    #[arg(long, value_parser = crate::address::address, default_value = "127.0.0.1:9701", value_name = "HOST:PORT")]
    pub listen: String,
    /// Where others reach it [default: the address it listens on]
    #[arg(long, value_parser = crate::address::reachable, value_name = "HOST:PORT")]
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
    /// What to do once the coordinator has been away for longer than the lease
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub on_lease_loss: OnLeaseLoss,
    /// Where the embedded coordinator listens [default: the broker's host, its port + 100]
    #[arg(long, value_parser = crate::address::address, value_name = "HOST:PORT")]
    pub coordinator_listen: Option<String>,
    /// Where others reach the embedded coordinator [default: the address it listens on]
    #[arg(long, value_parser = crate::address::reachable, value_name = "HOST:PORT")]
    pub coordinator_advertise: Option<String>,
    /// Where the embedded coordinator keeps its data [default: the broker's folder with `-coordinator`]
    #[arg(long, value_name = "DIR")]
    pub coordinator_data: Option<PathBuf>,
    /// What the embedded coordinator is told.
    #[command(flatten, next_help_heading = "Embedded coordinator")]
    pub metadata: MetadataArgs,
}

/// What a broker does without its lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum OnLeaseLoss {
    /// Go on with what needs no vouching: `acks=all` and reading.
    #[default]
    Serve,
    /// Serve nothing.
    StepDown,
}

/// Runs until shutdown, or lists the brokers.
///
/// # Errors
/// When the address or the data dir cannot be used.
pub async fn run(args: BrokerArgs, context: Context) -> anyhow::Result<()> {
    match args.command {
        Some(BrokerCommand::List) => super::cluster::list_brokers(context).await,
        Some(BrokerCommand::Drain(args)) => broker_verbs::drain(args, context).await,
        Some(BrokerCommand::Decommission(args)) => broker_verbs::decommission(args, context).await,
        Some(BrokerCommand::Replace(args)) => broker_verbs::replace(args, context).await,
        None => serve(args.server, context).await,
    }
}

async fn serve(args: BrokerServerArgs, context: Context) -> anyhow::Result<()> {
    let listener = Listener::bind(&args.listen, args.by_hand.clone().listener())?;
    let address = listener.local_addr();
    let name = args.name.clone().unwrap_or_else(|| default_name(address.port()));
    let embedded = Embedded::wanted(&args.coordinator)?;
    let coordinator = if embedded { Some(Embedded::bind(&args, &name, address, &context)?) } else { None };
    let coordinators = coordinator.as_ref().map_or(args.coordinator, Embedded::addresses);
    let config = BrokerConfig {
        advertise: args.advertise,
        rack: args.rack,
        step_down: args.on_lease_loss == OnLeaseLoss::StepDown,
        sources: context.configured.sources(),
        auto_create: AutoCreate { enabled: !args.no_auto_create, ..AutoCreate::default() },
        ..BrokerConfig::new(name, args.data, coordinators)
    };
    let ready = config.ready.clone();
    let run = yak_broker::run(listener, config, context.shutdown.clone());
    match coordinator {
        None => announce(run, ready, address).await,
        Some(coordinator) => embedded::beside(coordinator, announce(run, ready, address)).await,
    }
}

/// `broker-<hostname>`, with the port when it is not the usual one.
pub fn default_name(port: u16) -> String {
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
