//! What can be typed: the commands and the options that all of them share.

use crate::commands;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// A small replicated log: acknowledged means kept.
#[derive(Parser, Debug)]
#[command(
    name = "yak",
    version,
    about,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = crate::exit::CODES_HELP
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Addresses of brokers to start from, separated by commas; the port defaults to 9701
    #[arg(
        short,
        long,
        alias = "bootstrap-server",
        global = true,
        value_delimiter = ',',
        value_parser = crate::address::bootstrap,
        value_name = "HOST[:PORT],..",
        default_value = "127.0.0.1:9701,127.0.0.1:9702,127.0.0.1:9703"
    )]
    pub brokers: Vec<String>,
    /// In which form results are printed
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Only errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// More on stderr: -v for notes even when piped, -vv for every step
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// In which form results are printed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: keys are stable.
    Json,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start a coordinator and brokers in one process, to try things out
    Dev(commands::dev::DevArgs),
    /// Run a coordinator
    Coordinator(commands::coordinator::CoordinatorArgs),
    /// Run a broker, or list the brokers
    Broker(commands::broker::BrokerArgs),
    /// Publish a file through leaders that die, read it back, and say what was lost
    Demo(commands::demo::DemoArgs),
    /// Publish lines of stdin or a file, or the rows of a CSV file
    Produce(commands::produce::ProduceArgs),
    /// Print records, old ones, new ones or both
    Consume(commands::consume::ConsumeArgs),
    /// Make, list, describe and delete topics
    Topic(commands::topic::TopicArgs),
    /// List, describe, move and delete consumer groups
    Group(commands::group::GroupArgs),
    /// Say what is wrong with a partition, a topic, a broker or the cluster, and what to do
    Why(commands::why::WhyArgs),
    /// Show the cluster
    Cluster(commands::cluster::ClusterArgs),
    /// Show what a process would be told by flags, variables and a file
    Config(commands::config::ConfigArgs),
    /// Measure a cluster: a running one, or a throw-away one
    Bench(commands::bench::BenchArgs),
    /// Look at the files of a broker: batches, indexes, the write-ahead log
    Log(commands::log_files::LogArgs),
    /// Show captured bytes as frames: raw ones, hex dumps, base64, pcap and pcapng
    Decode(commands::wire::decode::DecodeArgs),
    /// Turn messages in JSON into frames, for nc and for files
    Encode(commands::wire::encode::EncodeArgs),
    /// Stand between two processes, show their frames, and delay, drop or cut them
    Proxy(commands::wire::proxy::ProxyArgs),
    /// Show the frames of a running server as they come and go
    Tap(commands::wire::tap::TapArgs),
}

impl Command {
    /// Whether the command runs until it is stopped and logs as a server does.
    #[must_use]
    pub fn is_server(&self) -> bool {
        match self {
            Self::Dev(_) => true,
            Self::Coordinator(args) => args.command.is_none(),
            Self::Broker(args) => args.command.is_none(),
            Self::Demo(_)
            | Self::Produce(_)
            | Self::Consume(_)
            | Self::Topic(_)
            | Self::Group(_)
            | Self::Why(_)
            | Self::Cluster(_)
            | Self::Config(_)
            | Self::Bench(_)
            | Self::Log(_)
            | Self::Decode(_)
            | Self::Encode(_)
            | Self::Proxy(_)
            | Self::Tap(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_table_of_arguments_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn broker_without_a_subcommand_is_a_server_and_with_list_it_is_not() {
        let server = Cli::parse_from(["yak", "broker", "--listen", "127.0.0.1:0"]);
        assert!(server.command.is_server());
        let list = Cli::parse_from(["yak", "broker", "list"]);
        assert!(!list.command.is_server());
        assert!(Cli::parse_from(["yak", "coordinator", "--peers", "a:1,b:1"]).command.is_server());
        assert!(!Cli::parse_from(["yak", "coordinator", "peers", "list"]).command.is_server());
    }
}
