use super::{broker_name, find, health, partitions};
use crate::context::Context;
use crate::{connect, table, text};
use clap::Args;
use serde::Serialize;
use std::time::{Duration, Instant};
use yak_protocol::ids::{BrokerId, PartitionIndex};
use yak_protocol::message::{Durability, MetadataReply, OffsetsReply, PartitionInfo, TopicConfig, TopicInfo};
use yak_protocol::net::Cluster;
use yak_protocol::topic_settings::SETTINGS;

/// How long the offsets of one partition are waited for.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(1);

/// Show topics, and say in words what they survive.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak topic describe orders
  yak topic describe orders payments
  yak topic describe orders --output json | jq '.[0].partitions[].leader'")]
pub struct DescribeArgs {
    /// Their names
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
}

#[derive(Serialize)]
struct Description {
    topic: String,
    topic_id: String,
    wanted_replicas: u32,
    min_isr: u32,
    durability: Durability,
    batch_bytes_max: u32,
    /// Every setting, whether it was set or has its default.
    config: TopicConfig,
    health: String,
    survives: String,
    partitions: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    partition: PartitionIndex,
    leader: Option<BrokerId>,
    leader_epoch: u32,
    replicas: Vec<BrokerId>,
    in_sync: Vec<BrokerId>,
    eligible: Vec<BrokerId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    moving_to: Vec<BrokerId>,
    log_start: Option<u64>,
    high_watermark: Option<u64>,
}

pub(super) async fn run(args: DescribeArgs, context: Context) -> anyhow::Result<()> {
    let (cluster, metadata) = connect::reach(&context, connect::BRIEFLY).await?;
    let mut descriptions = Vec::new();
    for name in &args.topics {
        let topic = find(&metadata, name)?;
        descriptions.push(describe(&cluster, &metadata, topic).await);
    }
    if context.json() {
        return Ok(table::print_json(&descriptions)?);
    }
    for (at, description) in descriptions.iter().enumerate() {
        if at > 0 {
            table::print_line("")?;
        }
        print(&context, &metadata, description)?;
    }
    Ok(())
}

async fn describe(cluster: &Cluster, metadata: &MetadataReply, topic: &TopicInfo) -> Description {
    let partitions = partitions(metadata, topic.id);
    let mut rows = Vec::new();
    for info in &partitions {
        let log = if info.leader.is_some() { offsets(cluster, topic, info).await } else { None };
        rows.push(Row {
            partition: info.id.partition,
            leader: info.leader,
            leader_epoch: info.leader_epoch.0,
            replicas: info.replicas.clone(),
            in_sync: info.isr.clone(),
            eligible: info.elr.clone(),
            moving_to: info.moving.as_ref().map(|moving| moving.to.clone()).unwrap_or_default(),
            log_start: log.map(|log| log.log_start.0),
            high_watermark: log.map(|log| log.high_watermark.0),
        });
    }
    let replicas = partitions.iter().map(|info| info.target().len()).min().unwrap_or_default();
    let min_isr = partitions.iter().map(|info| info.min_isr).min().unwrap_or(topic.min_isr);
    Description {
        topic: topic.name.clone(),
        topic_id: topic.id.to_string(),
        wanted_replicas: topic.wanted_replicas,
        min_isr: topic.min_isr,
        durability: topic.config.durability,
        batch_bytes_max: topic.config.batch_bytes_max,
        config: topic.config.clone(),
        health: health(topic.wanted_replicas, &partitions),
        survives: survives(u32::try_from(replicas).unwrap_or(u32::MAX), min_isr, topic.config.durability),
        partitions: rows,
    }
}

async fn offsets(cluster: &Cluster, topic: &TopicInfo, info: &PartitionInfo) -> Option<OffsetsReply> {
    let deadline = Instant::now() + OFFSETS_TIMEOUT;
    let asked = yak_consumer::offsets(cluster, &topic.name, info.id.partition, None, deadline).await;
    asked.inspect_err(|error| tracing::warn!("{}/{}: {error}", topic.name, info.id.partition)).ok()
}

fn print(context: &Context, metadata: &MetadataReply, description: &Description) -> std::io::Result<()> {
    let Description { topic, durability, min_isr, survives, health, .. } = description;
    let durability = durability_name(*durability);
    let replicas = text::count(description.wanted_replicas.into(), "replica");
    table::print_line(&format!("{topic}: {replicas}, min ISR {min_isr}, durability {durability}"))?;
    table::print_line(&format!("  {survives}"))?;
    let set = SETTINGS.iter().filter(|setting| setting.get(&description.config) != setting.default_value());
    let set: Vec<_> =
        set.map(|setting| format!("{}={}", setting.name, setting.get(&description.config))).collect();
    if !set.is_empty() {
        table::print_line(&format!("  set for this topic: {}", set.join(", ")))?;
    }
    table::print_line(&format!("  health: {health}"))?;
    let names = |ids: &[BrokerId]| {
        let names: Vec<_> = ids.iter().map(|id| broker_name(metadata, *id)).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(",") }
    };
    let moving = description.partitions.iter().any(|row| !row.moving_to.is_empty());
    let cells: Vec<_> = description
        .partitions
        .iter()
        .map(|row| {
            let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), text::thousands);
            let records = row.high_watermark.zip(row.log_start).map(|(end, start)| end.saturating_sub(start));
            let mut cells = vec![
                row.partition.to_string(),
                row.leader.map_or_else(|| "none".to_owned(), |id| broker_name(metadata, id)),
                row.leader_epoch.to_string(),
                names(&row.replicas),
                names(&row.in_sync),
                number(row.log_start),
                number(row.high_watermark),
                number(records),
            ];
            cells.extend(moving.then(|| names(&row.moving_to)));
            cells
        })
        .collect();
    let mut headings =
        vec!["PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN-SYNC", "LOG-START", "HIGH-WATERMARK", "RECORDS"];
    headings.extend(moving.then_some("MOVING-TO"));
    table::print(context, &headings, &cells, &())
}

pub(super) fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Fsync => "fsync",
        Durability::Replicated => "replicated",
    }
}

/// What a topic survives, in words. An acknowledged record is on every in-sync replica, and those are at
/// least `min_isr`.
fn survives(replicas: u32, min_isr: u32, durability: Durability) -> String {
    let brokers = |count: u32| text::count(count.into(), "broker");
    let losses = min_isr.min(replicas).saturating_sub(1);
    let loss = if losses == 0 {
        "does not survive the loss of the broker that has it: a lost disk can lose acknowledged records"
            .to_owned()
    } else {
        format!("survives the loss of {} without losing records", brokers(losses))
    };
    let down = replicas.saturating_sub(min_isr);
    let publishing = match (down, replicas) {
        (_, 1) => "publishing stops while that broker is down".to_owned(),
        (0, _) => "publishing stops as soon as one replica is down or out of sync".to_owned(),
        (_, _) if min_isr <= 1 => format!("publishing goes on with {} down", brokers(down)),
        (_, _) => format!("publishing stops below {min_isr} in-sync replicas"),
    };
    let power = match durability {
        Durability::Fsync => "crashes and power cuts lose nothing that was acknowledged",
        Durability::Replicated => {
            "crashes of processes lose nothing; a power cut of all in-sync replicas at once can lose the last second"
        }
    };
    format!("{loss}; {publishing}; {power}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_topic_survives_in_words() {
        let text = survives(3, 2, Durability::Fsync);
        assert!(text.starts_with(
            "survives the loss of 1 broker without losing records; publishing stops below 2 in-sync replicas"
        ));
        assert!(text.contains("power cuts lose nothing"));
        assert!(survives(5, 3, Durability::Fsync).starts_with("survives the loss of 2 brokers"));
        assert!(survives(2, 1, Durability::Fsync).contains("publishing goes on with 1 broker down"));
        assert!(survives(2, 2, Durability::Fsync).contains("as soon as one replica is down"));
        assert!(survives(1, 1, Durability::Fsync).contains("does not survive"));
        assert!(survives(3, 2, Durability::Replicated).contains("can lose the last second"));
    }
}
