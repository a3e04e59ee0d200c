use super::ask;
use crate::context::Context;
use crate::{connect, table};
use clap::Args;
use yak_protocol::message::GroupList;

/// List all groups.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  yak group list
  yak group list --output json | jq -r '.[].group'
  yak group list -b broker1,broker2")]
pub struct ListArgs {}

pub(super) async fn run(_args: ListArgs, context: Context) -> anyhow::Result<()> {
    let (cluster, metadata) = connect::reach(&context, connect::BRIEFLY).await?;
    let found = ask(&cluster, &GroupList { forward: true }).await?;
    let name = |id| metadata.brokers.iter().find(|broker| broker.id == id).map(|broker| broker.name.clone());
    let cells: Vec<_> = found
        .groups
        .iter()
        .map(|group| {
            vec![
                group.group.clone(),
                group.state.to_string(),
                group.members.to_string(),
                group.generation.to_string(),
                group.coordinator.and_then(name).unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    table::print(
        &context,
        &["GROUP", "STATE", "MEMBERS", "GENERATION", "COORDINATOR"],
        &cells,
        &found.groups,
    )?;
    for missing in &found.missing {
        tracing::warn!("not all groups are shown: {missing}");
    }
    if found.groups.is_empty() && found.missing.is_empty() {
        tracing::info!("there are no groups yet; `yak consume TOPIC -g NAME` makes one");
    }
    Ok(())
}
