use super::{ask, known};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::{connect, table, time};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{CommitOffset, GroupCommit, GroupFetch};
use yak_protocol::net::{Cluster, ClusterError};

/// How long one partition may take to answer.
const ASK: Duration = Duration::from_secs(5);

/// Move the offsets of a group without members; shows what it would do unless told to do it.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak group seek billing --to start
  yak group seek billing --to -100 -t orders --execute
  yak group seek billing --to 2026-01-31T10:00 --execute
  yak group seek billing-2 --to-group billing --execute

A file for --to-file has a line for each partition: topic, partition, offset, between blanks.")]
pub struct SeekArgs {
    /// The group
    group: String,
    /// Where to: start, end, an offset, +N or -N from where it is, a time, or so long ago (2h)
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, value_parser = To::parse, required_unless_present_any = ["to_group", "to_file"])]
    to: Option<To>,
    /// To where another group is
    #[arg(long, value_name = "GROUP", conflicts_with_all = ["to", "to_file"])]
    to_group: Option<String>,
    /// To what a file says
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    to_file: Option<PathBuf>,
    /// These topics; without it those that the group has offsets of
    #[arg(short = 't', long, value_name = "TOPIC,..", value_delimiter = ',')]
    topics: Vec<String>,
    /// Do it
    #[arg(short = 'y', long, visible_alias = "yes")]
    execute: bool,
}

/// Where to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum To {
    Start,
    End,
    Offset(u64),
    By(i64),
    Time(i64),
}

impl To {
    fn parse(text: &str) -> Result<Self, String> {
        let by = |digits: &str| digits.parse::<i64>().ok();
        match text {
            "start" | "beginning" | "earliest" => return Ok(Self::Start),
            "end" | "latest" => return Ok(Self::End),
            _ => {}
        }
        if let Some(count) = text.strip_prefix('+').and_then(by) {
            return Ok(Self::By(count));
        }
        if let Some(count) = text.strip_prefix('-').and_then(by) {
            return Ok(Self::By(-count));
        }
        if let Ok(offset) = text.parse() {
            return Ok(Self::Offset(offset));
        }
        let now = Timestamp::now();
        if let Ok(ago) = time::duration(text) {
            let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            return Ok(Self::Time(now.as_millisecond().saturating_sub(ago)));
        }
        time::timestamp_ms(text, now).map(Self::Time).map_err(|_| {
            format!("{text:?} is no place; write start, end, an offset, +N, -N, a time such as 2026-01-31T10:00, or 2h for so long ago")
        })
    }
}

type Partition = (String, u32);

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: u32,
    before: Option<u64>,
    after: Option<u64>,
    error: Option<String>,
}

pub(super) async fn run(args: SeekArgs, context: Context) -> anyhow::Result<()> {
    let (cluster, _) = connect::reach(&context, connect::BRIEFLY).await?;
    check_idle(&cluster, &args.group).await?;
    let before = committed(&cluster, &args.group).await?;
    let mut rows = Vec::new();
    for ((topic, partition), wanted) in wanted(&args, &cluster, &before).await? {
        let current = before.get(&(topic.clone(), partition)).copied();
        let after = place(&cluster, &topic, partition, current, wanted).await;
        let (after, error) = match after {
            Ok(after) => (Some(after), None),
            Err(error) => (None, Some(error)),
        };
        rows.push(Row { topic, partition, before: current, after, error });
    }
    if rows.is_empty() {
        let what = format!("group {} has no offsets to move; name topics with -t", args.group);
        return Err(Failure::new(exit::NOT_FOUND, what).into());
    }
    let whole = rows.iter().all(|row| row.error.is_none());
    if args.execute && whole {
        execute(&cluster, &args.group, &mut rows).await?;
    }
    print(&context, &rows)?;
    if rows.iter().any(|row| row.error.is_some()) {
        let what = if whole { "not every offset was moved" } else { "nothing was moved" };
        return Err(Failure::new(exit::FAILURE, what).into());
    }
    if !args.execute {
        tracing::warn!("nothing was moved; --execute does it");
    }
    Ok(())
}

async fn check_idle(cluster: &Cluster, group: &str) -> anyhow::Result<()> {
    match known(cluster, group).await {
        Ok(found) if !found.members.is_empty() => {
            let members = found.members.len();
            let what = format!(
                "group {group} has {members} members, which would go on where they are; stop them first"
            );
            Err(Failure::new(exit::FAILURE, what).into())
        }
        Ok(_) => Ok(()),
        // A group can be given offsets before it has members.
        Err(ClusterError::Refused(error)) if error.code == ErrorCode::UnknownGroup => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn committed(cluster: &Cluster, group: &str) -> Result<BTreeMap<Partition, u64>, ClusterError> {
    let fetch = GroupFetch { group: group.to_owned(), forward: true, ..GroupFetch::default() };
    let found = ask(cluster, &fetch).await?.offsets.into_iter();
    Ok(found.filter_map(|found| Some(((found.topic, found.partition.0), found.offset?.0))).collect())
}

/// Which partitions, and where each is to go.
async fn wanted(
    args: &SeekArgs,
    cluster: &Cluster,
    before: &BTreeMap<Partition, u64>,
) -> anyhow::Result<BTreeMap<Partition, To>> {
    let mut wanted: BTreeMap<Partition, To> = BTreeMap::new();
    if let Some(file) = &args.to_file {
        wanted = read(file)?;
    } else if let Some(other) = &args.to_group {
        let known = committed(cluster, other).await?;
        wanted = known.into_iter().map(|(place, offset)| (place, To::Offset(offset))).collect();
    } else if let Some(to) = args.to {
        wanted.extend(before.keys().map(|place| (place.clone(), to)));
        for topic in &args.topics {
            let info = cluster.topic(topic, (Instant::now() + ASK).into()).await?;
            wanted.extend((0..info.partitions).map(|partition| ((topic.clone(), partition), to)));
        }
    }
    wanted.retain(|(topic, _), _| args.topics.is_empty() || args.topics.contains(topic));
    Ok(wanted)
}

fn read(file: &PathBuf) -> anyhow::Result<BTreeMap<Partition, To>> {
    let wrong = |line: usize| {
        let what = format!("{}:{line}: not `topic partition offset`", file.display());
        Failure::new(exit::USAGE, what)
    };
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(exit::FAILURE, format!("{}: {error}", file.display())))?;
    let mut wanted = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let words: Vec<_> = line.split([' ', '\t', ',']).filter(|word| !word.is_empty()).collect();
        match words[..] {
            [] => {}
            [topic, partition, offset] => {
                let partition = partition.parse().map_err(|_| wrong(at + 1))?;
                let offset = offset.parse().map_err(|_| wrong(at + 1))?;
                wanted.insert((topic.to_owned(), partition), To::Offset(offset));
            }
            _ => return Err(wrong(at + 1).into()),
        }
    }
    Ok(wanted)
}

/// The offset that is meant. One outside of the log is an error, not the nearest.
async fn place(
    cluster: &Cluster,
    topic: &str,
    partition: u32,
    current: Option<u64>,
    to: To,
) -> Result<u64, String> {
    let at_ms = if let To::Time(at) = to { Some(at) } else { None };
    let deadline = Instant::now() + ASK;
    let log = yak_consumer::offsets(cluster, topic, PartitionIndex(partition), at_ms, deadline)
        .await
        .map_err(|error| error.to_string())?;
    let (start, end) = (log.log_start.0, log.high_watermark.0);
    let offset = match to {
        To::Start => start,
        To::End => end,
        To::Time(_) => log.at.map_or(end, |at| at.0),
        To::Offset(offset) => offset,
        To::By(count) => {
            let current = current.ok_or("nothing is committed here to move from")?;
            current.saturating_add_signed(count)
        }
    };
    if (start..=end).contains(&offset) {
        Ok(offset)
    } else {
        Err(format!("{offset} is outside of the log, which has {start} to {end}"))
    }
}

async fn execute(cluster: &Cluster, group: &str, rows: &mut [Row]) -> anyhow::Result<()> {
    let offset = |row: &Row| {
        Some(CommitOffset {
            topic: row.topic.clone(),
            partition: PartitionIndex(row.partition),
            offset: Offset(row.after?),
            ..CommitOffset::default()
        })
    };
    let commit = GroupCommit {
        group: group.to_owned(),
        offsets: rows.iter().filter_map(offset).collect(),
        rewind: true,
        forward: true,
        ..GroupCommit::default()
    };
    let reply = ask(cluster, &commit).await?;
    for (row, result) in rows.iter_mut().zip(reply.results) {
        row.error = result.error.map(|error| error.to_string());
    }
    Ok(())
}

fn print(context: &Context, rows: &[Row]) -> anyhow::Result<()> {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                row.topic.clone(),
                row.partition.to_string(),
                number(row.before),
                number(row.after),
                row.error.clone().unwrap_or_default(),
            ]
        })
        .collect();
    Ok(table::print(context, &["TOPIC", "PARTITION", "BEFORE", "AFTER", "ERROR"], &cells, &rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_that_can_be_typed() {
        for (text, to) in [
            ("start", To::Start),
            ("end", To::End),
            ("42", To::Offset(42)),
            ("+5", To::By(5)),
            ("-5", To::By(-5)),
            ("2026-01-31T10:00:00Z", To::Time(1_769_853_600_000)),
        ] {
            assert_eq!(To::parse(text), Ok(to), "{text}");
        }
        assert!(matches!(To::parse("2h"), Ok(To::Time(_))));
        assert!(To::parse("nowhere").is_err());
    }
}
