//! `yak bench`: how fast a cluster publishes, is read, and acknowledges single records.

mod consume;
mod latency;
mod produce;
mod progress;
mod report;
mod target;

use crate::commands::produce::{AcksArg, compression};
use crate::context::Context;
use crate::exit::Failure;
use crate::{table, text};
use clap::{Args, ValueEnum};
use report::{Parameters, Report};
use std::path::PathBuf;
use std::time::Duration;
use target::Target;
use yak_protocol::batch::Compression;
use yak_protocol::message::Durability;

/// Measure a cluster: a running one, or a throw-away one with --nodes.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak bench --nodes 3                                      # everything, on a throw-away cluster
  yak bench produce --size 1024 --producers 4 --seconds 10 # on the cluster of -b
  yak bench latency --nodes 3 --durability replicated --json

produce and consume measure rates; latency publishes one record after the other and waits for each
acknowledgement; end-to-end waits until a consumer has each record. once and groups compare: what it costs that nothing
is written twice, and what a consumer group costs. 1 MB is 1,000,000 bytes of values.")]
pub struct BenchArgs {
    /// What to measure [default: all of it]
    #[arg(value_enum)]
    pub modes: Vec<Mode>,
    /// Start a throw-away cluster of N brokers in this process instead of using a running one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: Option<u16>,
    /// Where a throw-away cluster keeps its data [default: a new folder in the temporary directory]
    #[arg(long, value_name = "DIR", requires = "nodes")]
    pub data: Option<PathBuf>,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    pub size: usize,
    /// About how many bytes a batch holds at most
    #[arg(long, default_value_t = 128 << 10, value_name = "BYTES")]
    pub batch: usize,
    /// How long a batch that is not full waits for company, in ms
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub linger: u64,
    /// How many producers (or consumers) at a time, each with its own connections
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub producers: u32,
    /// How much must have happened before a record counts as delivered
    #[arg(long, value_enum, default_value_t = AcksArg::All)]
    pub acks: AcksArg,
    /// When a record counts as kept
    #[arg(long, value_enum, default_value_t = DurabilityArg::Fsync)]
    pub durability: DurabilityArg,
    /// How many records [default: 1,000,000; 5,000 for latency and end-to-end]
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// Stop after so long, whatever the number of records
    #[arg(long, value_name = "DURATION", value_parser = crate::time::duration)]
    pub seconds: Option<Duration>,
    /// Partitions of the topic (latency and end-to-end use one)
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub partitions: u32,
    /// Replicas of each [default: 3, or as many as there are brokers]
    #[arg(long, value_name = "N")]
    pub replicas: Option<u32>,
    /// How batches are compressed
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = compression)]
    pub compression: Compression,
    /// Print JSON (as --output json)
    #[arg(long)]
    pub json: bool,
    /// No progress bar
    #[arg(long)]
    pub no_progress: bool,
}

/// What to measure.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Records published a second
    Produce,
    /// Records read a second
    Consume,
    /// Time to the acknowledgement of single records
    Latency,
    /// Time until a consumer has single records
    EndToEnd,
    /// What it costs that nothing is written twice: records published a second without idempotence, with it, and
    /// with a msg_id each
    Once,
    /// What a consumer group costs: records read a second by a consumer alone, and by a member of a group
    Groups,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Produce, Self::Consume, Self::Latency, Self::EndToEnd];

    /// How many records to do it with.
    fn records(self, args: &BenchArgs) -> u64 {
        let single = matches!(self, Self::Latency | Self::EndToEnd);
        let among_others = args.modes.len() != 1;
        match (args.records, args.seconds) {
            // Records that are waited for one by one take a thousand times as long.
            (Some(records), _) if single && among_others => records.min(SINGLE_RECORDS),
            (Some(records), _) => records,
            (None, Some(_)) => u64::MAX,
            (None, None) if single => SINGLE_RECORDS,
            (None, None) => 1_000_000,
        }
    }
}

/// How many records are published one by one, unless asked otherwise.
const SINGLE_RECORDS: u64 = 5_000;

/// When a record counts as kept.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum DurabilityArg {
    /// Every in-sync replica has synced it to disk
    Fsync,
    /// Every in-sync replica has written it
    Replicated,
}

impl From<DurabilityArg> for Durability {
    fn from(durability: DurabilityArg) -> Self {
        match durability {
            DurabilityArg::Fsync => Self::Fsync,
            DurabilityArg::Replicated => Self::Replicated,
        }
    }
}

/// Measures and prints.
///
/// # Errors
/// When the cluster cannot be reached or started, or a record was not delivered.
pub async fn run(args: BenchArgs, context: Context) -> anyhow::Result<()> {
    anyhow::ensure!(args.size > 0 && args.partitions > 0, "--size and --partitions are at least 1");
    let modes = if args.modes.is_empty() { Mode::ALL.to_vec() } else { args.modes.clone() };
    let target = Target::start(&args, &context).await?;
    let json = args.json || context.json();
    let parameters = Parameters::new(&args, &target);
    if !json {
        table::print_line(&parameters.line())?;
    }
    let outcome = tokio::select! {
        outcome = measure_all(&args, &target, &modes, json) => outcome,
        () = context.shutdown.cancelled() => Err(Failure::interrupted().into()),
    };
    target.stop().await?;
    let reports = outcome?;
    if json {
        table::print_json(&serde_json::json!({ "parameters": parameters, "results": reports }))?;
    }
    match reports.iter().map(|report| report.failed).sum::<u64>() {
        0 => Ok(()),
        failed => anyhow::bail!("{} not acknowledged", text::count(failed, "record was")),
    }
}

async fn measure_all(
    args: &BenchArgs,
    target: &Target,
    modes: &[Mode],
    quiet: bool,
) -> anyhow::Result<Vec<Report>> {
    let mut reports: Vec<Report> = Vec::new();
    let mut filled = None;
    for mode in modes {
        let report = match mode {
            Mode::Once | Mode::Groups => {
                let compared = match mode {
                    Mode::Groups => consume::compare(args, target).await?,
                    _ => produce::compare(args, target).await?,
                };
                for report in compared {
                    if !quiet {
                        table::print_line(&report.line())?;
                    }
                    reports.push(report);
                }
                continue;
            }
            Mode::Produce => {
                let topic = target.make_topic(args.partitions, args).await?;
                let report = produce::measure(args, target, &topic).await?;
                filled = Some((topic, report.records));
                report
            }
            Mode::Consume => {
                let (topic, records) = match filled.take() {
                    Some(filled) => filled,
                    None => {
                        let topic = target.make_topic(args.partitions, args).await?;
                        let filling = produce::measure(args, target, &topic).await?;
                        (topic, filling.records)
                    }
                };
                consume::measure(args, target, &topic, records).await?
            }
            Mode::Latency => {
                let topic = target.make_topic(1, args).await?;
                latency::measure(args, target, &topic).await?
            }
            Mode::EndToEnd => {
                let topic = target.make_topic(1, args).await?;
                latency::measure_end_to_end(args, target, &topic).await?
            }
        };
        if !quiet {
            table::print_line(&report.line())?;
        }
        reports.push(report);
    }
    Ok(reports)
}
