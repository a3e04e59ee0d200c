//! `yak consume`: prints records, old ones, new ones or both.

mod format;
mod group;
mod json;
mod range;
mod topics;

use crate::connect;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::text;
use clap::Args;
use format::{Format, Shown};
use range::OffsetArg;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use yak_consumer::{Batch, Consumer, ConsumerConfig, Event, Polled, Start};
use yak_protocol::ids::{Generation, Offset, PartitionIndex};
use yak_protocol::net::Cluster;

/// Print records.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak consume orders --from-beginning -e
  yak consume orders -o -10 -f '%p/%o %k: %s\\n'
  yak consume orders --since 2h -J | jq .payload
  yak consume orders -g billing

Without a start only new records are shown (with -e: those that are there). Letters of -f: %t topic, %p partition, %o offset, %T timestamp,
%k key, %K its length, %s value, %S its length, %h headers, %g the group's generation; {hex} or {base64} behind %k and %s.

With -g the partitions are shared among all members of the group, and what has been printed is committed. The group goes on where it
stopped; where it has no commit, it begins with the first record that is there, or where -o says.")]
pub struct ConsumeArgs {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Begin with the first record that is there
    #[arg(long, conflicts_with_all = ["offset", "since"])]
    pub from_beginning: bool,
    /// Where to begin: beginning, end, N, -N (before the end), +N (behind the start), s@TIME; e@TIME is
    /// where to stop
    #[arg(short, long, value_name = "OFFSET", allow_hyphen_values = true, value_parser = range::offset)]
    pub offset: Vec<OffsetArg>,
    /// Begin so long ago (2h), or at a time
    #[arg(long, value_name = "TIME", value_parser = range::since, conflicts_with = "offset")]
    pub since: Option<i64>,
    /// Stop in front of the first record of this time
    #[arg(long, value_name = "TIME", value_parser = range::since)]
    pub until: Option<i64>,
    /// Only these partitions
    #[arg(short, long, value_name = "N,..", value_delimiter = ',')]
    pub partition: Vec<u32>,
    /// Stop after so many records
    #[arg(short = 'n', long, short_alias = 'c', value_name = "N")]
    pub count: Option<u64>,
    /// Stop once everything that is there has been shown
    #[arg(short = 'e', long)]
    pub exit_at_end: bool,
    /// How a record is printed, with kcat's letters
    #[arg(short, long, value_name = "FORMAT", conflicts_with_all = ["json_lines", "key_delimiter"], value_parser = Format::parse)]
    pub format: Option<Format>,
    /// One line of JSON for each record, with kcat's key names
    #[arg(short = 'J', long)]
    pub json_lines: bool,
    /// Print keys, too, followed by DELIM
    #[arg(short = 'K', long, value_name = "DELIM", conflicts_with = "json_lines")]
    pub key_delimiter: Option<String>,
    /// Print NULL for a missing key or value
    #[arg(short = 'Z', long)]
    pub null: bool,
    /// Stop when no record has come for so long; exit code 1 if -n records have not come by then
    #[arg(long, value_name = "DURATION", value_parser = crate::time::duration)]
    pub timeout: Option<Duration>,
    /// Make topics that do not exist
    #[arg(long)]
    pub create: bool,
    /// Read as a member of this consumer group
    #[arg(short, long, conflicts_with_all = ["partition", "until"])]
    pub group: Option<String>,
    /// The name of this member's place: whoever comes next with it goes on with the same partitions
    #[arg(long, value_name = "NAME", requires = "group")]
    pub instance: Option<String>,
    /// How often what has been printed is committed [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = crate::time::duration, requires = "group")]
    pub commit_interval: Option<Duration>,
    /// Where the group goes on if its commit is no longer in the log
    #[arg(long, value_enum, default_value_t = group::Reset::None, requires = "group")]
    pub reset: group::Reset,
    /// After how long without a sign of life this member's partitions go to others [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = crate::time::duration, requires = "group")]
    pub session: Option<Duration>,
}

/// Prints until a limit is reached, or until Ctrl-C.
///
/// # Errors
/// When the cluster cannot be reached, or a record cannot be read.
pub async fn run(args: ConsumeArgs, context: Context) -> anyhow::Result<()> {
    let (cluster, _) = connect::reach(&context, connect::PATIENTLY).await?;
    let hook = Arc::new(|event: Event| match event {
        Event::Resumed { .. } => tracing::info!("{event}"),
        Event::Waiting { .. } | Event::Moved { .. } => tracing::warn!("{event}"),
    });
    let mut printer = Printer::new(&args, &context)?;
    if let Some(name) = &args.group {
        let give_up_at = args.timeout.map(|timeout| Instant::now() + timeout);
        for topic in &args.topics {
            topics::find(&args, &context, &cluster, topic, give_up_at).await?;
        }
        return group::run(&args, &context, &cluster, name, hook, &mut printer).await;
    }
    let mut consumer = Consumer::new(cluster.clone(), ConsumerConfig::default(), hook);
    tokio::select! {
        outcome = consume(&args, &context, &cluster, &mut consumer, &mut printer) => outcome,
        () = context.shutdown.cancelled() => Err(Failure::interrupted().into()),
    }
}

async fn consume(
    args: &ConsumeArgs,
    context: &Context,
    cluster: &Cluster,
    consumer: &mut Consumer,
    printer: &mut Printer<'_>,
) -> anyhow::Result<()> {
    let give_up_at = args.timeout.map(|timeout| Instant::now() + timeout);
    let partitions: Vec<_> = args.partition.iter().copied().map(PartitionIndex).collect();
    let partitions = (!partitions.is_empty()).then_some(partitions.as_slice());
    let mut open = Open::default();
    for topic in &args.topics {
        topics::find(args, context, cluster, topic, give_up_at).await?;
        consumer.assign(topic, partitions, args.start()).await?;
    }
    let assignment: Vec<_> =
        consumer.assignment().map(|(topic, partition)| (Arc::clone(topic), partition)).collect();
    if let Some(until) = args.stop_at() {
        open.stops = stops(cluster, &assignment, until).await?;
    }
    open.partitions = assignment.iter().cloned().collect();
    if args.begins_at_the_end_silently() {
        note_earlier(cluster, &assignment, args.topics.len()).await;
    }
    while !open.partitions.is_empty() && args.count != Some(0) {
        let polled = match args.timeout {
            None => consumer.next().await?,
            Some(timeout) => match tokio::time::timeout(timeout, consumer.next()).await {
                Ok(polled) => polled?,
                Err(_) => return timed_out(args, printer.printed, timeout),
            },
        };
        match polled {
            Polled::Records(batch) => {
                if printer.print(&batch, &mut open)? {
                    return Ok(());
                }
            }
            Polled::End { topic, partition, offset } => {
                tracing::info!("reached the end of {topic}/{partition} at offset {offset}");
                let stop = open.stops.get(&(Arc::clone(&topic), partition));
                if args.exit_at_end || stop.is_some_and(|stop| offset >= *stop) {
                    open.partitions.remove(&(topic, partition));
                }
            }
        }
    }
    Ok(())
}

fn timed_out(args: &ConsumeArgs, printed: u64, timeout: Duration) -> anyhow::Result<()> {
    match args.count {
        Some(count) => Err(Failure::new(
            exit::FAILURE,
            format!("only {printed} of {} came, and none for {timeout:?}", text::count(count, "record")),
        )
        .into()),
        None => Ok(()),
    }
}

impl ConsumeArgs {
    fn start(&self) -> Start {
        let typed = self.offset.iter().rev().find_map(|offset| match offset {
            OffsetArg::Start(start) => Some(*start),
            OffsetArg::StopAt(_) => None,
        });
        match (typed, self.since) {
            (Some(start), _) => start,
            (None, Some(at)) => Start::Time(at),
            (None, None) if self.from_beginning => Start::Earliest,
            // To stop at the end of what was never shown would show nothing at all.
            (None, None) if self.exit_at_end || self.stop_at().is_some() => Start::Earliest,
            (None, None) => Start::Latest,
        }
    }

    fn stop_at(&self) -> Option<i64> {
        let typed = self.offset.iter().find_map(|offset| match offset {
            OffsetArg::StopAt(at) => Some(*at),
            OffsetArg::Start(_) => None,
        });
        typed.or(self.until)
    }

    fn begins_at_the_end_silently(&self) -> bool {
        self.start() == Start::Latest && self.offset.is_empty()
    }
}

/// The partitions that are still read, and where each stops.
#[derive(Default)]
struct Open {
    partitions: BTreeSet<(Arc<str>, PartitionIndex)>,
    stops: BTreeMap<(Arc<str>, PartitionIndex), Offset>,
}

/// Where each partition has its first record of this time, or ends now.
async fn stops(
    cluster: &Cluster,
    assignment: &[(Arc<str>, PartitionIndex)],
    until: i64,
) -> anyhow::Result<BTreeMap<(Arc<str>, PartitionIndex), Offset>> {
    let mut stops = BTreeMap::new();
    for (topic, partition) in assignment {
        let deadline = Instant::now() + cluster.options().timeout;
        let log = yak_consumer::offsets(cluster, topic, *partition, Some(until), deadline).await?;
        // Nothing that new yet: what is there now is all that is wanted.
        stops.insert((Arc::clone(topic), *partition), log.at.unwrap_or(log.high_watermark));
    }
    Ok(stops)
}

/// Says how many records `--from-beginning` would show.
async fn note_earlier(cluster: &Cluster, assignment: &[(Arc<str>, PartitionIndex)], topics: usize) {
    let mut earlier = 0;
    for (topic, partition) in assignment {
        let deadline = Instant::now() + Duration::from_secs(1);
        match yak_consumer::offsets(cluster, topic, *partition, None, deadline).await {
            Ok(log) => earlier += log.high_watermark.distance_from(log.log_start),
            Err(error) => return tracing::debug!("earlier records were not counted: {error}"),
        }
    }
    let where_ = if topics == 1 { "" } else { " of these topics" };
    tracing::info!(
        "waiting for new records{where_}; --from-beginning would show {}",
        text::count(earlier, "earlier record")
    );
}

/// Prints records to stdout.
struct Printer<'a> {
    args: &'a ConsumeArgs,
    format: Option<Format>,
    out: BufWriter<io::Stdout>,
    printed: u64,
    /// The generation of a group's member.
    generation: Option<Generation>,
    /// Behind the last record that was printed.
    next: Offset,
}

impl<'a> Printer<'a> {
    fn new(args: &'a ConsumeArgs, context: &Context) -> anyhow::Result<Self> {
        let format = match &args.format {
            Some(format) => Some(format.clone()),
            None if args.json_lines || context.json() => None,
            None => Some(Format::plain(args.key_delimiter.as_deref()).map_err(anyhow::Error::msg)?),
        };
        Ok(Self {
            args,
            format,
            out: BufWriter::with_capacity(64 << 10, io::stdout()),
            printed: 0,
            generation: None,
            next: Offset::ZERO,
        })
    }

    /// Prints a batch; whether that was all that is wanted.
    fn print(&mut self, batch: &Batch, open: &mut Open) -> anyhow::Result<bool> {
        let place = (Arc::clone(&batch.topic), batch.partition);
        if !open.partitions.contains(&place) {
            return Ok(false);
        }
        let stop = open.stops.get(&place).copied();
        let mut outcome = Ok(());
        for record in batch.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    outcome = Err(error.into());
                    break;
                }
            };
            if stop.is_some_and(|stop| record.offset >= stop) {
                break;
            }
            let (partition, generation) = (batch.partition, self.generation);
            let shown = Shown { topic: &batch.topic, partition, generation, record: &record };
            self.next = record.offset.next();
            match &self.format {
                Some(format) => format.write(&mut self.out, &shown, self.args.null)?,
                None => json::write(&mut self.out, &shown)?,
            }
            self.printed += 1;
            if self.args.count.is_some_and(|count| self.printed >= count) {
                self.out.flush()?;
                return Ok(true);
            }
        }
        self.out.flush()?;
        if stop.is_some_and(|stop| batch.next_offset() >= stop) {
            open.partitions.remove(&place);
        }
        outcome.map(|()| false)
    }
}
