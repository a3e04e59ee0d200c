//! `yak demo`: publishes a file through leaders that die, reads it back, and says what was lost.

mod layout;
mod processes;
mod publish;
mod read;
mod redis;
mod strike;
mod terms;
mod verdict;

use crate::context::Context;
use crate::exit::{CHECK_FAILED, Failure};
use crate::text;
use anyhow::{Context as _, bail};
use clap::Args;
use layout::Coordinators;
use processes::Processes;
use publish::Publishing;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use strike::{Fault, strike};
use verdict::judge;
use yak_protocol::ids::PartitionIndex;
use yak_protocol::message::CreateTopic;
use yak_protocol::net::{ClientOptions, Cluster};

/// The topic that is published to.
const TOPIC: &str = "demo";
/// How many partitions the topic has.
const PARTITIONS: u32 = 3;
/// How long a fault may take until publishing goes on and every replica is back in sync.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often conditions are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Publish a file through leaders that die, read it back, and say what was lost.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Starts a coordinator and three brokers as processes of their own on free ports and publishes every
line of the file as a record. Meanwhile the leader of a loaded partition is killed with kill -9 twice,
paused with SIGSTOP until others have taken over, and stopped with Ctrl-C, and comes back each time.
Then everything is read back.

With other --coordinators the active coordinator meets the same fate each time, at the same moment, and
the time until the next topic could be made is printed.

Examples:
  yak demo --file /usr/share/dict/words --data /tmp/demo
  yak demo --file access.log --data /tmp/demo --rate 50000
  yak demo --file access.log --data /tmp/demo --coordinators redis --kills 10
  scripts/demo.sh                          # finds a file by itself

Exit code 0 only when nothing was lost, duplicated or reordered.")]
pub struct DemoArgs {
    /// The file whose lines are published
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
    /// Where the cluster keeps its data; deleted by whoever gave it
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Who coordinates
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub coordinators: Coordinators,
    /// Records a second at most, so that faults happen while publishing [default: 12000, less with --kills]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Kill leaders N times with kill -9 instead, and print the median and the longest pause
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub kills: Option<u32>,
}

/// Records a second, unless told otherwise.
const RATE: u32 = 12_000;
/// About how long a kill and the recovery from it may take, when the rate is chosen for many kills.
const KILL_SECONDS: u32 = 2;
/// The share of the records within which faults happen, in percent.
const FAULTS_UNTIL: usize = 90;

/// Which faults happen, in this order, each after how many records are acknowledged.
fn plan(lines: usize, kills: Option<u32>) -> Vec<(usize, Fault)> {
    let faults = match kills {
        Some(kills) => vec![Fault::Kill; kills as usize],
        None => vec![Fault::Kill, Fault::Kill, Fault::Pause, Fault::Interrupt],
    };
    let step = lines * FAULTS_UNTIL / 100 / (faults.len() + 1);
    (1..).map(|n| n * step).zip(faults).collect()
}

fn rate(args: &DemoArgs, lines: usize) -> u32 {
    let chosen = match args.kills {
        Some(kills) => RATE.min(u32::try_from(lines).unwrap_or(u32::MAX) / (kills * KILL_SECONDS)),
        None => RATE,
    };
    args.rate.unwrap_or(chosen).max(1)
}

/// Runs the whole demo.
///
/// # Errors
/// When the cluster cannot be run, or something was lost, duplicated or reordered.
pub async fn run(args: DemoArgs, context: Context) -> anyhow::Result<()> {
    let lines = read_lines(&args.file)?;
    let mut cluster = Processes::start(&args.data, args.coordinators).await?;
    println!("cluster   {}: {}", args.coordinators.described(), cluster.addresses().join(" "));
    let outcome = tokio::select! {
        outcome = play(&args, &lines, &mut cluster) => outcome,
        () = context.shutdown.cancelled() => Err(Failure::interrupted().into()),
    };
    let stopped = cluster.stop().await;
    outcome.and(stopped)?;
    let terms = terms::count(&args.data)?;
    println!("terms         {terms:>9}, each of one coordinator");
    println!("verdict       nothing lost, nothing duplicated, nothing reordered");
    Ok(())
}

fn read_lines(file: &std::path::Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    if lines.is_empty() {
        bail!("{} has no lines to publish", file.display());
    }
    Ok(lines)
}

async fn play(args: &DemoArgs, lines: &[Vec<u8>], cluster: &mut Processes) -> anyhow::Result<()> {
    let client = Cluster::new(cluster.addresses(), ClientOptions::default());
    let create = CreateTopic { topic: TOPIC.into(), partitions: Some(PARTITIONS), ..CreateTopic::default() };
    client.request_any(&create, Vec::new(), (Instant::now() + RECOVERY_TIMEOUT).into()).await?;
    in_sync(&client, args.coordinators).await?;

    println!("publish   {} of {}", text::count(lines.len() as u64, "line"), args.file.display());
    let plan = plan(lines.len(), args.kills);
    // Half of what lies between two faults is there to be published while the first of them lasts.
    let until = |count: usize| count + plan.first().map_or(0, |(first, _)| first / 2);
    let publishing = Publishing::start(&client, TOPIC, PARTITIONS, lines.to_vec(), rate(args, lines.len()));
    let mut struck = Vec::new();
    for (count, fault) in &plan {
        publishing.allow(until(*count));
        publishing.reached(*count).await?;
        struck.push(strike(&client, cluster, &publishing, args.coordinators, *fault).await?);
        in_sync(&client, args.coordinators).await?;
    }
    publishing.allow(usize::MAX);
    if args.kills.is_some() {
        summarize("pauses   ", "in publishing", struck.iter().map(|one| one.pause));
        summarize("takeovers", "until the next topic was made", struck.iter().filter_map(|one| one.takeover));
    }
    let told = publishing.finish().await?;

    let read = read::everything(&client, TOPIC).await?;
    let verdict = judge(lines, &told, read);
    println!("{verdict}");
    if !verdict.kept() {
        return Err(Failure::new(CHECK_FAILED, "records were lost, duplicated or reordered").into());
    }
    Ok(())
}

/// The median and the longest, if there are any.
fn summarize(what: &str, of: &str, times: impl Iterator<Item = Duration>) {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    if let (Some(median), Some(longest)) = (times.get(times.len() / 2), times.last()) {
        println!(
            "{what} median {:.0} ms, longest {:.0} ms {of}, of {}",
            ms(median),
            ms(longest),
            times.len()
        );
    }
}

/// Waits until every partition of the topic has all its replicas in sync.
async fn in_sync(client: &Cluster, how: Coordinators) -> anyhow::Result<()> {
    let deadline = Instant::now() + RECOVERY_TIMEOUT;
    loop {
        let metadata = client.metadata(true).await?;
        let topic = metadata.topics.iter().find(|topic| topic.name == TOPIC).map(|topic| topic.id);
        let of_topic = metadata.partitions.iter().filter(|info| Some(info.id.topic) == topic);
        let whole = of_topic.filter(|info| info.leader.is_some() && info.isr.len() == how.brokers()).count();
        if whole == PARTITIONS as usize {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "only {whole} of {PARTITIONS} partitions are in sync after {} s",
                RECOVERY_TIMEOUT.as_secs()
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The key of a line: what stands before its last `/` or first blank, so that many lines share one.
fn key_of(line: &[u8]) -> &[u8] {
    let end =
        line.iter().rposition(|byte| *byte == b'/').or_else(|| line.iter().position(|byte| *byte == b' '));
    end.map_or(line.get(..1).unwrap_or_default(), |end| &line[..end])
}

/// The partition of a line's key. Chosen here, as the producer would, to follow acknowledgements by partition.
fn partition_of(line: &[u8], partitions: u32) -> PartitionIndex {
    yak_protocol::partitioner::partition_for_key(key_of(line), partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_spread_over_the_records() {
        let counts: Vec<_> = plan(1000, None).into_iter().map(|(count, _)| count).collect();
        assert_eq!(counts, [180, 360, 540, 720]);
        assert!(plan(1000, None).iter().any(|(_, fault)| *fault == Fault::Interrupt));
        assert_eq!(plan(1000, Some(20)).len(), 20);
    }

    #[test]
    fn lines_of_one_folder_or_first_word_share_a_key() {
        assert_eq!(key_of(b"/usr/bin/env"), b"/usr/bin");
        assert_eq!(key_of(b"GET it"), b"GET");
        assert_eq!(key_of(b"word"), b"w");
        assert_eq!(key_of(b""), b"");
    }
}
