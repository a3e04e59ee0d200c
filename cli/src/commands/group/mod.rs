//! `yak group`: consumer groups, how far they are, and moving them.

mod delete;
mod describe;
mod lag;
mod list;
mod seek;

use crate::context::Context;
use clap::{Args, Subcommand};
use std::time::{Duration, Instant};
use yak_protocol::message::{GroupDescribe, GroupDescription, Message};
use yak_protocol::net::{Cluster, ClusterError};

/// List, describe, move and delete consumer groups.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak group list
  yak group describe billing --watch
  yak group seek billing --to start --execute")]
pub struct GroupArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: GroupCommand,
}

/// What to do with groups.
#[derive(Subcommand, Debug)]
pub enum GroupCommand {
    /// List all groups
    List(list::ListArgs),
    /// Show groups: members, offsets, lag, and why partitions moved
    Describe(describe::DescribeArgs),
    /// Move the offsets of a group without members; shows what it would do unless told to do it
    Seek(seek::SeekArgs),
    /// Forget groups without members, and their offsets
    Delete(delete::DeleteArgs),
}

/// Runs one of them.
///
/// # Errors
/// When the cluster cannot be reached, or refuses.
pub async fn run(args: GroupArgs, context: Context) -> anyhow::Result<()> {
    match args.command {
        GroupCommand::List(args) => list::run(args, context).await,
        GroupCommand::Describe(args) => describe::run(args, context).await,
        GroupCommand::Seek(args) => seek::run(args, context).await,
        GroupCommand::Delete(args) => delete::run(args, context).await,
    }
}

/// How long a question about groups may take: a coordinator may just be taking over.
const ASK: Duration = Duration::from_secs(15);

async fn ask<M: Message>(cluster: &Cluster, message: &M) -> Result<M::Reply, ClusterError> {
    cluster.request_any(message, Vec::new(), (Instant::now() + ASK).into()).await.map(|answer| answer.body)
}

async fn known(cluster: &Cluster, group: &str) -> Result<GroupDescription, ClusterError> {
    ask(cluster, &GroupDescribe { group: group.to_owned(), forward: true }).await
}
