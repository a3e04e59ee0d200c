use super::find;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::operate::Operator;
use crate::text;
use crate::time::timestamp_ms;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use std::time::{Duration, Instant};
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{DeleteRecords, DeleteRecordsReply};

/// How long trimming one partition may take.
const TRIM_TIMEOUT: Duration = Duration::from_secs(30);

/// Delete the oldest records of a topic.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Only committed records are deleted, and whole batches: the log begins with the batch that holds the first record
to keep.

Examples:
  yak topic trim orders --before 2026-01-31 --dry-run
  yak topic trim orders --before -7d
  yak topic trim orders -p 2 --before-offset 100000
  yak topic trim tests --all")]
pub struct TrimArgs {
    /// Its name
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Only this partition
    #[arg(short, long, value_name = "N")]
    partition: Option<u32>,
    /// Records older than this go: 2026-01-31, RFC 3339, ms since 1970, or -2h for so long ago
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    before: Option<String>,
    /// Records below this offset go
    #[arg(long, value_name = "OFFSET", requires = "partition", conflicts_with = "before")]
    before_offset: Option<u64>,
    /// All records go that are committed now
    #[arg(long, conflicts_with_all = ["before", "before_offset"])]
    all: bool,
    /// Change nothing, and show what would be deleted
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Row {
    partition: PartitionIndex,
    was: Offset,
    log_start: Offset,
    high_watermark: Offset,
    deleted: u64,
}

pub(super) async fn run(args: TrimArgs, context: Context) -> anyhow::Result<()> {
    let operator = Operator::reach(context).await?;
    let topic = find(&operator.metadata, &args.topic)?;
    // After everything, whatever clocks said.
    let before_ms = match (&args.before, args.all, args.before_offset) {
        (Some(text), ..) => {
            let at = timestamp_ms(text, Timestamp::now());
            Some(at.map_err(|why| Failure::new(exit::USAGE, why))?)
        }
        (None, true, _) => Some(i64::MAX),
        (None, false, Some(_)) => None,
        (None, false, None) => {
            let what = "what is to go? say --before TIME, --before-offset N with -p, or --all";
            return Err(Failure::new(exit::USAGE, what).into());
        }
    };
    let partitions = match args.partition {
        Some(partition) => partition..partition.saturating_add(1),
        None => 0..topic.partitions,
    };
    let mut rows = Vec::new();
    for partition in partitions.map(PartitionIndex) {
        let ask = DeleteRecords {
            topic: args.topic.clone(),
            partition,
            before: args.before_offset.map(Offset),
            before_ms,
            dry_run: args.dry_run,
            forward: true,
        };
        let deadline = Instant::now() + TRIM_TIMEOUT;
        let answer = operator.cluster.request_any(&ask, Vec::new(), deadline.into()).await?;
        let DeleteRecordsReply { was, log_start, high_watermark, .. } = answer.body;
        let deleted = log_start.0.saturating_sub(was.0);
        rows.push(Row { partition, was, log_start, high_watermark, deleted });
    }
    let cells = |row: &Row| {
        let numbers = [row.was.0, row.log_start.0, row.high_watermark.0, row.deleted];
        [row.partition.to_string()].into_iter().chain(numbers.map(text::thousands)).collect::<Vec<String>>()
    };
    let cells: Vec<_> = rows.iter().map(cells).collect();
    let last = if args.dry_run { "WOULD-GO" } else { "DELETED" };
    operator.table(&["PARTITION", "WAS", "LOG-START", "HIGH-WATERMARK", last], &cells, &rows)
}
