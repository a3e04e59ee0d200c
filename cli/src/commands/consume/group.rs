//! `yak consume -g`: as a member of a consumer group.

use super::{ConsumeArgs, Open, Printer, timed_out};
use crate::context::Context;
use crate::exit::Failure;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use yak_consumer::{EventHook, GroupConfig, GroupConsumer, GroupPolled, OnOutOfRange, Place, Start};
use yak_protocol::net::Cluster;

/// How often a member that hears nothing of its coordinator says so.
const MENTION_EVERY: Duration = Duration::from_secs(5);

/// Where a group goes on whose commit is no longer in the log.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// Nowhere: it is an error that names the gap
    None,
    /// With the first record that is there
    Earliest,
    /// At the end
    Latest,
}

/// Prints until a limit is reached or until Ctrl-C; then commits what was printed, and leaves.
pub(super) async fn run(
    args: &ConsumeArgs,
    context: &Context,
    cluster: &Cluster,
    group: &str,
    hook: EventHook,
    printer: &mut Printer<'_>,
) -> anyhow::Result<()> {
    let mut config = GroupConfig::new(group, args.topics.clone());
    config.instance.clone_from(&args.instance);
    config.start = args.group_start();
    config.consumer.on_out_of_range = match args.reset {
        Reset::None => OnOutOfRange::Fail,
        Reset::Earliest => OnOutOfRange::Earliest,
        Reset::Latest => OnOutOfRange::Latest,
    };
    if let Some(interval) = args.commit_interval {
        config.commit_interval = Some(interval);
    }
    if let Some(session) = args.session {
        config.session = session;
    }
    let mut member = GroupConsumer::join(cluster.clone(), config, hook);
    let outcome = tokio::select! {
        outcome = print(args, &mut member, printer) => outcome,
        () = context.shutdown.cancelled() => Err(Failure::interrupted().into()),
    };
    let closed = member.close().await;
    outcome?;
    closed?;
    Ok(())
}

async fn print(
    args: &ConsumeArgs,
    member: &mut GroupConsumer,
    printer: &mut Printer<'_>,
) -> anyhow::Result<()> {
    let mut open = Open::default();
    let mut ended: BTreeSet<Place> = BTreeSet::new();
    while args.count != Some(0) {
        let patience = args.timeout.unwrap_or(MENTION_EVERY);
        let polled = match tokio::time::timeout(patience, member.next()).await {
            Ok(polled) => polled?,
            Err(_) if args.timeout.is_some() => return timed_out(args, printer.printed, patience),
            Err(_) => {
                if let Some(trouble) = member.trouble() {
                    tracing::warn!("the group's coordinator does not answer: {trouble}");
                }
                continue;
            }
        };
        match polled {
            GroupPolled::Records { batch, generation } => {
                printer.generation = Some(generation);
                ended.retain(|place| !(*place.topic == *batch.topic && place.partition == batch.partition));
                match printer.print(&batch, &mut open) {
                    Ok(false) => {}
                    Ok(true) => {
                        member.processed_below(printer.next);
                        return Ok(());
                    }
                    Err(error) => {
                        member.not_processed();
                        return Err(error);
                    }
                }
            }
            GroupPolled::End { place, offset } => {
                tracing::info!("reached the end of {place} at offset {offset}");
                ended.insert(place);
            }
            GroupPolled::Assigned { places, generation } => {
                tracing::info!("generation {generation}: reads {}", list(&places));
                open.partitions.extend(places.iter().map(key));
            }
            GroupPolled::Revoked { places, lost } => {
                let how = if lost { "lost" } else { "gave up" };
                tracing::info!("{how} {}", list(&places));
                for place in &places {
                    open.partitions.remove(&key(place));
                    ended.remove(place);
                }
            }
        }
        if args.exit_at_end && !open.partitions.is_empty() && ended.len() == open.partitions.len() {
            return Ok(());
        }
    }
    Ok(())
}

fn key(place: &Place) -> (Arc<str>, yak_protocol::ids::PartitionIndex) {
    (Arc::clone(&place.topic), place.partition)
}

fn list(places: &[Place]) -> String {
    places.iter().map(Place::to_string).collect::<Vec<_>>().join(", ")
}

impl ConsumeArgs {
    /// Where a group begins in a partition of which it has no commit: with the first record, unless somebody
    /// says something else. A group must not skip what nobody has read.
    fn group_start(&self) -> Start {
        let typed = !self.offset.is_empty() || self.since.is_some() || self.from_beginning;
        if typed { self.start() } else { Start::Earliest }
    }
}
