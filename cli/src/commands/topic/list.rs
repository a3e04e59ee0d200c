use super::{health, partitions};
use crate::context::Context;
use crate::{connect, table};
use clap::Args;
use serde::Serialize;
use yak_protocol::message::Durability;
use yak_protocol::names::is_internal;

/// List all topics.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak topic list
  yak topic list --output json | jq -r '.[].topic'
  yak topic list -b broker1,broker2")]
pub struct ListArgs {
    /// The brokers' own topics, too
    #[arg(long)]
    internal: bool,
}

#[derive(Serialize)]
struct Row {
    topic: String,
    partitions: u32,
    replicas: u32,
    min_isr: u32,
    durability: Durability,
    health: String,
}

pub(super) async fn run(args: ListArgs, context: Context) -> anyhow::Result<()> {
    let (_, metadata) = connect::reach(&context, connect::BRIEFLY).await?;
    let mut rows: Vec<_> = metadata
        .topics
        .iter()
        .filter(|topic| args.internal || !is_internal(&topic.name))
        .map(|topic| Row {
            topic: topic.name.clone(),
            partitions: topic.partitions,
            replicas: topic.wanted_replicas,
            min_isr: topic.min_isr,
            durability: topic.config.durability,
            health: health(topic.wanted_replicas, &partitions(&metadata, topic.id)),
        })
        .collect();
    rows.sort_by(|a, b| a.topic.cmp(&b.topic));
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                row.topic.clone(),
                row.partitions.to_string(),
                row.replicas.to_string(),
                row.min_isr.to_string(),
                super::describe::durability_name(row.durability).to_owned(),
                row.health.clone(),
            ]
        })
        .collect();
    let headings = ["TOPIC", "PARTITIONS", "REPLICAS", "MIN-ISR", "DURABILITY", "HEALTH"];
    table::print(&context, &headings, &cells, &rows)?;
    if rows.is_empty() {
        tracing::info!(
            "there are no topics yet; `yak topic create NAME` makes one, and so does publishing to one"
        );
    }
    Ok(())
}
