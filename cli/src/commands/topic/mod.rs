//! `yak topic`: makes, lists, describes, changes and deletes topics.

mod config;
mod create;
mod delete;
mod describe;
mod elect;
mod grow;
mod list;
mod moves;
mod trim;

use crate::context::Context;
use crate::exit::{self, Failure};
use clap::{Args, Subcommand};
use std::time::Duration;
use yak_protocol::error::WireError;
use yak_protocol::ids::{BrokerId, TopicId};
use yak_protocol::message::{Metadata, MetadataReply, PartitionInfo, TopicInfo};
use yak_protocol::names::nearest;
use yak_protocol::net::{Cluster, RequestError};

/// Make, list, describe, change and delete topics.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak topic create orders payments -p 6 -r 3
  yak topic list
  yak topic describe orders --output json")]
pub struct TopicArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TopicCommand,
}

/// What to do with topics.
#[derive(Subcommand, Debug)]
pub enum TopicCommand {
    /// Make topics
    Create(create::CreateArgs),
    /// List all topics
    List(list::ListArgs),
    /// Show topics, and say in words what they survive
    Describe(describe::DescribeArgs),
    /// Delete topics and all their records
    Delete(delete::DeleteArgs),
    /// Show or change the settings of a topic
    Config(config::ConfigArgs),
    /// Give a topic more partitions; every key stays where it is
    Grow(grow::GrowArgs),
    /// Delete the oldest records of a topic
    Trim(trim::TrimArgs),
    /// Move partitions to other brokers, or show what moves
    Move(moves::MoveArgs),
    /// Give the lead to another replica
    Elect(elect::ElectArgs),
}

/// Runs one of them.
///
/// # Errors
/// When the cluster cannot be reached, or refuses.
pub async fn run(args: TopicArgs, context: Context) -> anyhow::Result<()> {
    match args.command {
        TopicCommand::Create(args) => create::run(args, context).await,
        TopicCommand::List(args) => list::run(args, context).await,
        TopicCommand::Describe(args) => describe::run(args, context).await,
        TopicCommand::Delete(args) => delete::run(args, context).await,
        TopicCommand::Config(args) => config::run(args, context).await,
        TopicCommand::Grow(args) => grow::run(args, context).await,
        TopicCommand::Trim(args) => trim::run(args, context).await,
        TopicCommand::Move(args) => moves::run(args, context).await,
        TopicCommand::Elect(args) => elect::run(args, context).await,
    }
}

/// The topic of that name.
fn find<'a>(metadata: &'a MetadataReply, name: &str) -> Result<&'a TopicInfo, Failure> {
    metadata.topics.iter().find(|topic| topic.name == name).ok_or_else(|| {
        let near = nearest(name, metadata.topics.iter().map(|topic| topic.name.as_str()));
        let hint = near.map_or_else(
            || "; `yak topic list` shows those that exist".to_owned(),
            |near| format!("; did you mean {near}?"),
        );
        Failure::new(exit::NOT_FOUND, format!("there is no topic {name}{hint}"))
    })
}

fn usage(error: WireError) -> Failure {
    let hint = error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    Failure::new(exit::USAGE, format!("{}{hint}", error.message))
}

/// How long the brokers may take to hear of a new or deleted topic.
const KNOWN_EVERYWHERE: Duration = Duration::from_secs(2);
/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Waits until every serving broker has heard of a change: the next command may ask any of them.
async fn known_everywhere(cluster: &Cluster, changed: impl Fn(&MetadataReply) -> bool) {
    let asking = async {
        let Ok(metadata) = cluster.metadata(false).await else { return };
        for broker in metadata.brokers.iter().filter(|broker| !broker.fenced) {
            let Ok(connection) = cluster.connection_to(&broker.address).await else { continue };
            loop {
                match connection.request(&Metadata::default(), Vec::new()).await {
                    Ok(answer) if changed(&answer.body) => break,
                    Err(RequestError::Lost { .. }) => break,
                    _ => tokio::time::sleep(ASK_EVERY).await,
                }
            }
        }
    };
    // One that is too slow to hear of it is no reason to fail.
    let _ = tokio::time::timeout(KNOWN_EVERYWHERE, asking).await;
}

/// The partitions of a topic, by index.
fn partitions(metadata: &MetadataReply, topic: TopicId) -> Vec<&PartitionInfo> {
    let mut partitions: Vec<_> = metadata.partitions.iter().filter(|info| info.id.topic == topic).collect();
    partitions.sort_by_key(|info| info.id.partition);
    partitions
}

/// A broker's name, as far as it is known.
pub(super) fn broker_name(metadata: &MetadataReply, id: BrokerId) -> String {
    let known = metadata.brokers.iter().find(|broker| broker.id == id);
    known.map_or_else(|| format!("broker {id}"), |broker| broker.name.clone())
}

/// How a topic fares: `ok`, or what is wrong with how many of its partitions.
fn health(wanted_replicas: u32, partitions: &[&PartitionInfo]) -> String {
    let count = |wrong: fn(&PartitionInfo) -> bool| partitions.iter().filter(|info| wrong(info)).count();
    let leaderless = count(|info| info.leader.is_none());
    let below_min = count(|info| info.leader.is_some() && (info.isr.len() as u64) < u64::from(info.min_isr));
    let behind = count(|info| info.isr.len() < info.replicas.len());
    let fewer =
        partitions.iter().filter(|info| (info.replicas.len() as u64) < u64::from(wanted_replicas)).count();
    let mut troubles = Vec::new();
    for (count, what) in [
        (count(|info| info.recovering), "recovering"),
        (leaderless, "without a leader"),
        (below_min, "below min ISR"),
        (behind, "with replicas out of sync"),
        (fewer, "with fewer replicas than wanted"),
    ] {
        if count > 0 {
            troubles.push(format!("{count} {what}"));
        }
    }
    if troubles.is_empty() { "ok".to_owned() } else { troubles.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::{LeaderEpoch, PartitionEpoch, PartitionIndex, TopicPartition};

    pub(super) fn partition(leader: Option<u32>, isr: &[u32]) -> PartitionInfo {
        PartitionInfo {
            id: TopicPartition { topic: TopicId(1), partition: PartitionIndex(0) },
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
        }
    }

    #[test]
    fn health_names_what_is_wrong() {
        let (well, behind, below, dead) = (
            partition(Some(1), &[1, 2, 3]),
            partition(Some(1), &[1, 2]),
            partition(Some(1), &[1]),
            partition(None, &[]),
        );
        assert_eq!(health(3, &[&well]), "ok");
        assert_eq!(health(3, &[&well, &behind]), "1 with replicas out of sync");
        assert_eq!(health(3, &[&below]), "1 below min ISR, 1 with replicas out of sync");
        assert_eq!(health(3, &[&dead]), "1 without a leader, 1 with replicas out of sync");
        assert_eq!(health(4, &[&well]), "1 with fewer replicas than wanted");
    }
}
