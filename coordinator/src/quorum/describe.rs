//! What a coordinator of a quorum says of itself.

use super::node::Node;
use super::types::Metrics;
use crate::metalog::{Look, Totals};
use std::sync::Weak;
use yak_protocol::text::Value;

/// Looks at a coordinator without keeping it running.
pub(crate) struct View(pub(crate) Weak<Node>);

impl Look for View {
    fn describe(&self) -> Vec<(&'static str, Value)> {
        let mut said = vec![("backend", "quorum".into())];
        if let Some(node) = self.0.upgrade() {
            describe(&node, &mut said);
        }
        said
    }

    fn totals(&self) -> Totals {
        let Some(node) = self.0.upgrade() else { return Totals::default() };
        let metrics = node.metrics();
        let covered = metrics.snapshot.map_or(0, |last| last.index + 1);
        let entries = metrics.last_log_index.map_or(0, |last| last + 1);
        Totals {
            since_snapshot: entries.saturating_sub(covered),
            snapshots: node.machine.snapshots(),
            ..node.store.totals()
        }
    }

    fn trouble(&self) -> Option<String> {
        let Some(node) = self.0.upgrade() else { return Some("the quorum's log was closed".to_owned()) };
        if let Err(error) = &node.metrics().running_state {
            return Some(format!("the quorum's log has stopped: {error}"));
        }
        node.store.trouble().or_else(|| node.standing.borrow().trouble.clone())
    }
}

fn describe(node: &Node, said: &mut Vec<(&'static str, Value)>) {
    let metrics = node.metrics();
    let members = metrics.membership_config.membership();
    let role = match metrics.state {
        openraft::ServerState::Leader if node.leads_within(node.config.election_timeout_max) => "leading",
        openraft::ServerState::Leader => "leading, not heard by a majority",
        openraft::ServerState::Candidate => "candidate",
        openraft::ServerState::Follower => "following",
        _ if members.nodes().any(|(id, _)| *id == node.id) => "catching up",
        _ => "not in the quorum",
    };
    let peers = members.nodes().map(|(id, member)| {
        let voter = if members.voter_ids().any(|voter| voter == *id) { "votes" } else { "does not vote yet" };
        let state =
            if *id == node.id { "itself".to_owned() } else { peer(node, &metrics, *id, &member.address) };
        Value::Text(format!("{} {id} ({}): {voter}; {state}", member.address, member.name))
    });
    said.extend([
        ("id", node.id.into()),
        ("name", node.config.name.clone().into()),
        ("role", role.into()),
        ("term", metrics.current_term.into()),
        ("coordinator_epoch", node.machine.epoch().0.into()),
        ("last_log_index", metrics.last_log_index.into()),
        ("committed", node.store.committed().map(|last| last.index).into()),
        ("applied", metrics.last_applied.map(|last| last.index).into()),
        ("snapshot", metrics.snapshot.map(|last| last.index).into()),
        ("purged", metrics.purged.map(|last| last.index).into()),
        ("peers", Value::List(peers.collect())),
    ]);
}

/// How far another one is, and since when it is silent.
fn peer(node: &Node, metrics: &Metrics, id: u64, address: &str) -> String {
    let matched = match metrics.replication.as_ref().and_then(|all| all.get(&id)) {
        Some(Some(last)) => format!("has the log up to {}", last.index),
        Some(None) => "has nothing of the log yet".to_owned(),
        None if metrics.current_leader == Some(id) => "leads".to_owned(),
        None => "follows".to_owned(),
    };
    let heard = node.links.to(address).heard();
    match (heard.at, heard.trouble) {
        (_, None) => matched,
        (Some(at), Some(why)) => format!("{matched}; silent for {} ms ({why})", at.elapsed().as_millis()),
        (None, Some(why)) => format!("{matched}; never answered ({why})"),
    }
}
