use super::known;
use super::lag::{self, Row};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::{connect, table};
use clap::Args;
use serde::Serialize;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;
use yak_protocol::ids::Generation;
use yak_protocol::message::{GroupDescription, GroupState};
use yak_protocol::net::Cluster;

/// Show groups: members, offsets, lag, and why partitions moved.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak group describe billing
  yak group describe billing --watch
  yak group describe billing --max-lag 1000 > /dev/null || echo behind")]
pub struct DescribeArgs {
    /// Their names
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Only these topics
    #[arg(short = 't', long, value_name = "TOPIC,..", value_delimiter = ',')]
    topics: Vec<String>,
    /// Show it again and again, every so often [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = crate::time::duration, num_args = 0..=1, default_missing_value = "2s")]
    watch: Option<Duration>,
    /// Exit code 3 if a group is behind by more than so many records, or how far is not known
    #[arg(long, value_name = "N")]
    max_lag: Option<u64>,
}

#[derive(Serialize)]
struct Shown {
    group: String,
    coordinator: Option<u32>,
    state: GroupState,
    generation: Generation,
    why: String,
    balancer: &'static str,
    members: usize,
    total_lag: Option<u64>,
    partitions: Vec<Row>,
}

pub(super) async fn run(args: DescribeArgs, context: Context) -> anyhow::Result<()> {
    let (cluster, _) = connect::reach(&context, connect::BRIEFLY).await?;
    loop {
        let mut shown = Vec::new();
        for group in &args.groups {
            shown.push(look(&args, &cluster, &known(&cluster, group).await?).await);
        }
        let Some(pause) = args.watch else {
            print(&context, &shown)?;
            return judge(&args, &shown);
        };
        if !context.json() && std::io::stdout().is_terminal() {
            // Home, and clear what is below.
            write!(std::io::stdout(), "\x1b[H\x1b[J")?;
        }
        print(&context, &shown)?;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.shutdown.cancelled() => return Err(Failure::interrupted().into()),
        }
    }
}

async fn look(args: &DescribeArgs, cluster: &Cluster, group: &GroupDescription) -> Shown {
    let mut partitions = lag::rows(cluster, group).await;
    partitions.retain(|row| args.topics.is_empty() || args.topics.contains(&row.topic));
    // Where nothing is committed yet, the lag is not known.
    let total_lag = partitions.iter().map(|row| row.lag).sum();
    Shown {
        group: group.group.clone(),
        coordinator: group.coordinator.as_ref().map(|hint| hint.leader.0),
        state: group.state,
        generation: group.generation,
        why: group.why.clone(),
        balancer: group.assignor.name(),
        members: group.members.len(),
        total_lag,
        partitions,
    }
}

fn print(context: &Context, shown: &[Shown]) -> anyhow::Result<()> {
    if context.json() {
        return Ok(table::print_json(&shown)?);
    }
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let text = |text: &Option<String>| {
        text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
    };
    for (at, group) in shown.iter().enumerate() {
        if at > 0 {
            table::print_line("")?;
        }
        let coordinator = group.coordinator.map_or_else(|| "-".to_owned(), |id| id.to_string());
        for (name, value) in [
            ("GROUP", group.group.clone()),
            ("COORDINATOR", coordinator),
            ("STATE", group.state.to_string()),
            ("BALANCER", group.balancer.to_owned()),
            ("MEMBERS", group.members.to_string()),
            ("GENERATION", group.generation.to_string()),
            ("TOTAL-LAG", number(group.total_lag)),
        ] {
            table::print_line(&format!("{name:<12} {value}"))?;
        }
        if group.partitions.is_empty() {
            continue;
        }
        table::print_line("")?;
        let seconds = |row: &Row| row.lag_seconds.map_or_else(|| "-".to_owned(), |lag| format!("{lag:.1}"));
        let cells: Vec<_> = group
            .partitions
            .iter()
            .map(|row| {
                vec![
                    row.topic.clone(),
                    row.partition.to_string(),
                    number(row.current_offset),
                    number(row.log_end_offset),
                    number(row.lag),
                    seconds(row),
                    text(&row.member),
                    text(&row.instance),
                    text(&row.host),
                    text(&row.client),
                    text(&row.moved_why),
                ]
            })
            .collect();
        let headings = [
            "TOPIC",
            "PARTITION",
            "CURRENT-OFFSET",
            "LOG-END-OFFSET",
            "LAG",
            "LAG-SECONDS",
            "MEMBER-ID",
            "INSTANCE-ID",
            "HOST",
            "CLIENT-ID",
            "MOVED-WHY",
        ];
        table::print(context, &headings, &cells, &())?;
    }
    Ok(())
}

fn judge(args: &DescribeArgs, shown: &[Shown]) -> anyhow::Result<()> {
    let Some(most) = args.max_lag else { return Ok(()) };
    let behind = |group: &&Shown| group.total_lag.is_none_or(|lag| lag > most);
    match shown.iter().find(behind) {
        None => Ok(()),
        Some(group) => {
            let lag =
                group.total_lag.map_or_else(|| "an unknown number of".to_owned(), |lag| lag.to_string());
            let what =
                format!("group {} is behind by {lag} records, at most {most} are allowed", group.group);
            Err(Failure::new(exit::CHECK_FAILED, what).into())
        }
    }
}
