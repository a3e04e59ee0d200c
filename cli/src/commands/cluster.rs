//! `yak cluster info`: who is there, and whether all is well.

use super::topic::broker_name;
use crate::context::Context;
use crate::text;
use crate::{connect, table};
use clap::{Args, Subcommand};
use serde::Serialize;
use yak_protocol::message::{BrokerInfo, MetadataReply};

/// Show the cluster.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak cluster info
  yak cluster info --output json | jq .troubles
  yak cluster info -b broker1:9701")]
pub struct ClusterArgs {
    /// What to show.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// What to show of the cluster.
#[derive(Subcommand, Debug)]
pub enum ClusterCommand {
    /// Who is there, and whether all is well
    Info,
}

#[derive(Serialize)]
struct Info {
    cluster_id: Option<String>,
    metadata_version: u64,
    coordinator: String,
    coordinator_lost: Option<String>,
    brokers: usize,
    brokers_serving: usize,
    topics: usize,
    partitions: usize,
    troubles: Vec<String>,
}

/// Runs one of them.
///
/// # Errors
/// When the cluster cannot be reached.
pub async fn run(args: ClusterArgs, context: Context) -> anyhow::Result<()> {
    let ClusterCommand::Info = args.command;
    let (_, metadata) = connect::reach(&context, connect::BRIEFLY).await?;
    let info = Info {
        cluster_id: metadata.cluster_id.map(|id| id.to_string()),
        metadata_version: metadata.version.0,
        coordinator: metadata.coordinator.clone(),
        coordinator_lost: metadata.coordinator_lost.clone(),
        brokers: metadata.brokers.len(),
        brokers_serving: metadata.brokers.iter().filter(|broker| !broker.fenced).count(),
        topics: metadata.topics.len(),
        partitions: metadata.partitions.len(),
        troubles: troubles(&metadata),
    };
    if context.json() {
        return Ok(table::print_json(&info)?);
    }
    table::print_line(&format!("cluster      {}", info.cluster_id.as_deref().unwrap_or("not known yet")))?;
    let lost =
        info.coordinator_lost.as_ref().map(|why| format!(" (cannot be reached: {why})")).unwrap_or_default();
    let coordinator = if info.coordinator.is_empty() { "not known" } else { &info.coordinator };
    table::print_line(&format!("coordinator  {coordinator}{lost}"))?;
    table::print_line(&format!("brokers      {}, {} serving", info.brokers, info.brokers_serving))?;
    let partitions = text::count(info.partitions as u64, "partition");
    table::print_line(&format!("topics       {}, {partitions}", info.topics))?;
    match info.troubles.as_slice() {
        [] => table::print_line("health       ok")?,
        troubles => {
            for trouble in troubles {
                table::print_line(&format!("health       {trouble}"))?;
            }
        }
    }
    Ok(())
}

/// What is not as it should be, one sentence each.
fn troubles(metadata: &MetadataReply) -> Vec<String> {
    let mut troubles = Vec::new();
    if let Some(why) = &metadata.coordinator_lost {
        troubles.push(format!("the coordinator cannot be reached, leaders stay where they are: {why}"));
    }
    for broker in metadata.brokers.iter().filter(|broker| broker.fenced) {
        troubles.push(format!("{} at {} is fenced", broker.name, broker.address));
    }
    for info in &metadata.partitions {
        let topic = metadata.topics.iter().find(|topic| topic.id == info.id.topic);
        let name = topic.map_or_else(|| info.id.topic.to_string(), |topic| topic.name.clone());
        let place = format!("{name}/{}", info.id.partition);
        let missing = info.replicas.iter().filter(|id| !info.isr.contains(id));
        let missing: Vec<_> = missing.map(|id| broker_name(metadata, *id)).collect();
        if info.recovering {
            troubles.push(format!("{place} recovers: the coordinator knows less than a broker does"));
        } else if info.leader.is_none() {
            troubles.push(format!("{place} has no leader"));
        } else if (info.isr.len() as u64) < u64::from(info.min_isr) {
            troubles.push(format!(
                "{place} takes no records with acks=all: ISR {} < min {}",
                info.isr.len(),
                info.min_isr
            ));
        } else if !missing.is_empty() {
            troubles.push(format!("{place} is under-replicated: {} out of sync", missing.join(", ")));
        }
    }
    troubles
}

#[derive(Serialize)]
struct BrokerRow<'a> {
    #[serde(flatten)]
    broker: &'a BrokerInfo,
    leads: usize,
    replicas: usize,
}

/// `yak broker list`.
///
/// # Errors
/// When the cluster cannot be reached.
pub async fn list_brokers(context: Context) -> anyhow::Result<()> {
    let (_, metadata) = connect::reach(&context, connect::BRIEFLY).await?;
    let rows: Vec<_> = metadata
        .brokers
        .iter()
        .map(|broker| BrokerRow {
            broker,
            leads: metadata.partitions.iter().filter(|info| info.leader == Some(broker.id)).count(),
            replicas: metadata.partitions.iter().filter(|info| info.replicas.contains(&broker.id)).count(),
        })
        .collect();
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            let state = match (row.broker.fenced, row.broker.draining) {
                (true, _) => "fenced",
                (_, true) => "draining",
                _ => "serving",
            };
            let rack = if row.broker.rack.is_empty() { "-" } else { &row.broker.rack };
            vec![
                row.broker.id.to_string(),
                row.broker.name.clone(),
                row.broker.address.clone(),
                rack.to_owned(),
                row.broker.broker_epoch.to_string(),
                state.to_owned(),
                row.leads.to_string(),
                row.replicas.to_string(),
            ]
        })
        .collect();
    let headings = ["ID", "NAME", "ADDRESS", "RACK", "EPOCH", "STATE", "LEADS", "REPLICAS"];
    Ok(table::print(&context, &headings, &cells, &rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, TopicPartition};
    use yak_protocol::message::PartitionInfo;

    #[test]
    fn every_trouble_is_a_sentence() {
        let partition = |index, leader: Option<u32>, isr: &[u32]| PartitionInfo {
            id: TopicPartition { topic: TopicId(1), partition: PartitionIndex(index) },
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            leader: leader.map(BrokerId),
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            isr: isr.iter().copied().map(BrokerId).collect(),
            elr: Vec::new(),
            min_isr: 2,
            recovering: false,
            moving: None,
            unclean: None,
        };
        let metadata = MetadataReply {
            coordinator_lost: Some("connection refused".to_owned()),
            partitions: vec![
                partition(0, Some(1), &[1, 2, 3]),
                partition(1, Some(1), &[1, 2]),
                partition(2, Some(1), &[1]),
                partition(3, None, &[]),
            ],
            ..MetadataReply::default()
        };
        let troubles = troubles(&metadata).join("\n");
        for expected in [
            "connection refused",
            "/1 is under-replicated: broker 3 out of sync",
            "/2 takes no records",
            "ISR 1 < min 2",
            "/3 has no leader",
        ] {
            assert!(troubles.contains(expected), "{expected}: {troubles}");
        }
        assert_eq!(super::troubles(&MetadataReply::default()), Vec::<String>::new());
    }
}
