//! The clock of a coordinator: signs of life while it leads, elections while nobody does, and what it knows of
//! who is active.
//!
//! openraft would stand for election whenever its own timer runs out, and so raise the term: one that was cut
//! off comes back with a higher term than everybody else and ends a healthy leadership. Here nobody stands
//! before a majority has said that it would vote for it (`pre` in `raft_vote`; Pre-Vote, Ongaro's thesis 9.6).

use super::bootstrap;
use super::convert;
use super::node::Node;
use super::types::{Member, Membership, Metrics};
use crate::metalog::{Active, Standing};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use yak_protocol::ids::CoordinatorId;
use yak_protocol::message::{Ballot, RaftVote};

/// The least time between two looks at whether the leading one is silent.
const LOOK: Duration = Duration::from_millis(10);

/// Runs until the node is over.
pub(crate) async fn run(node: Arc<Node>) {
    let over = node.over.clone();
    tokio::select! {
        () = bootstrap::run(node.clone()) => {}
        () = tell(&node) => {}
        () = over.cancelled() => return,
    }
    tokio::select! {
        () = keep(&node) => {}
        () = tell(&node) => {}
        () = over.cancelled() => {}
    }
}

async fn keep(node: &Arc<Node>) {
    let config = &node.config;
    let mut metrics = node.raft.metrics();
    // How much quiet is borne, and until when this one does not stand (again).
    let (mut patience, mut not_before) = (draw_patience(node), Instant::now());
    loop {
        let now = metrics.borrow_and_update().clone();
        if now.running_state.is_err() {
            return;
        }
        let members = now.membership_config.membership();
        let voters = members.voter_ids().count();
        let quiet = node.lease.quiet() >= patience || voters == 1;
        if now.state.is_leader() {
            // Fails only when the log has stopped, which the metrics say, too.
            let _ = node.raft.trigger().heartbeat().await;
            not_before = Instant::now() + patience;
        } else if quiet && Instant::now() >= not_before && members.voter_ids().any(|id| id == node.id) {
            patience = draw_patience(node);
            let pause = if would_win(node, &now).await {
                let _ = node.raft.trigger().elect().await;
                // As long as it takes to be elected, at most.
                patience
            } else {
                config.heartbeat.mul_f64(1.0 + fastrand::f64())
            };
            not_before = Instant::now() + pause;
        }
        // A change of who votes is looked for at each heartbeat.
        let wait = not_before.saturating_duration_since(Instant::now());
        let wait =
            wait.max(patience.saturating_sub(node.lease.quiet())).clamp(LOOK, config.heartbeat.max(LOOK));
        let wait = if now.state.is_leader() { config.heartbeat } else { wait };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = wait_leading(&mut metrics, now.state.is_leader()) => if changed.is_err() { return },
        }
    }
}

/// Ends when this one begins or ends to lead.
async fn wait_leading(
    metrics: &mut tokio::sync::watch::Receiver<Metrics>,
    leads: bool,
) -> Result<(), tokio::sync::watch::error::RecvError> {
    metrics.wait_for(|now| now.state.is_leader() != leads || now.running_state.is_err()).await.map(drop)
}

/// After how much silence this one stands: drawn anew each time, so that two rarely stand at once.
fn draw_patience(node: &Node) -> Duration {
    let (min, max) = (node.config.election_timeout_min, node.config.election_timeout_max);
    min + (max - min).mul_f64(fastrand::f64())
}

/// Whether a majority says that it would vote for this one.
async fn would_win(node: &Arc<Node>, now: &Metrics) -> bool {
    let members = now.membership_config.membership().clone();
    let last = node.store.last();
    let term = node.store.vote().map_or(0, |vote| vote.leader_id.term) + 1;
    let mut asked = JoinSet::new();
    for (id, member) in members.nodes().filter(|(id, _)| **id != node.id) {
        let vote = RaftVote {
            cluster_id: node.cluster_id(),
            to: CoordinatorId(*id),
            ballot: Ballot { term, id: CoordinatorId(node.id), elected: false },
            last: last.as_ref().map(convert::position),
            pre: true,
        };
        let (id, link, limit) = (*id, node.links.to(&member.address), node.config.election_timeout_min);
        asked.spawn(async move {
            let answer = link.request(&vote, Vec::new(), limit).await;
            answer.is_ok_and(|answer| answer.body.granted).then_some(id)
        });
    }
    let mut granted = BTreeSet::from([node.id]);
    while !is_majority(&members, &granted) {
        match asked.join_next().await {
            Some(Ok(Some(id))) => drop(granted.insert(id)),
            Some(_) => {}
            None => return false,
        }
    }
    true
}

/// Whether these are a majority of every set of voters.
pub(crate) fn is_majority(members: &Membership, these: &BTreeSet<u64>) -> bool {
    let sets = members.get_joint_config();
    !sets.is_empty() && sets.iter().all(|set| set.intersection(these).count() > set.len() / 2)
}

/// Keeps what is known of who is active up to date.
async fn tell(node: &Arc<Node>) {
    let mut metrics = node.raft.metrics();
    let heartbeat = node.config.heartbeat;
    loop {
        // A statement of its own: who looks again while the first look lasts may wait for a writer that waits
        // for that one to end.
        let now = metrics.borrow_and_update().clone();
        let standing = standing(node, &now);
        node.standing.send_if_modified(|known| {
            let modified = *known != standing;
            *known = standing;
            modified
        });
        // Silence is no event: it is looked for.
        if let Ok(Err(_)) = tokio::time::timeout(heartbeat, metrics.changed()).await {
            return;
        }
    }
}

fn standing(node: &Node, now: &Metrics) -> Standing {
    let members = now.membership_config.membership();
    let mut peers: Vec<String> = members.nodes().map(|(_, member)| member.address.clone()).collect();
    if peers.is_empty() {
        peers = node.config.peers();
    }
    match active(node, now, members) {
        Ok(active) => Standing { active: Some(active), trouble: None, peers },
        Err(trouble) => Standing { active: None, trouble: Some(trouble), peers },
    }
}

/// Who is active, or why nobody is known to be.
fn active(node: &Node, now: &Metrics, members: &Membership) -> Result<Active, String> {
    if let Some(waits_for) = node.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone() {
        return Err(waits_for);
    }
    if let Err(error) = &now.running_state {
        return Err(format!("the quorum's log has stopped: {error}"));
    }
    let Some(leader) = now.current_leader else {
        return Err(format!("no coordinator is elected; {}", reached(node, members)));
    };
    let limit = node.config.election_timeout_max;
    let myself = leader == node.id;
    let heard = if myself { node.leads_within(limit) } else { node.lease.silence() < limit * 2 };
    // The log may not know yet that its address has changed.
    let itself = node.member();
    match if myself { Some(&itself) } else { members.get_node(&leader) } {
        Some(Member { name, address }) if heard => {
            Ok(Active { name: name.clone(), address: address.clone(), myself })
        }
        Some(Member { name, address }) if !myself => {
            Err(format!("the active coordinator {name} ({address}) is silent; {}", reached(node, members)))
        }
        _ => Err(format!("no majority answers; {}", reached(node, members))),
    }
}

/// How many of the others cannot be reached, and why.
fn reached(node: &Node, members: &Membership) -> String {
    let others = members.nodes().filter(|(id, _)| **id != node.id);
    let silent = others.filter_map(|(_, member)| {
        let trouble = node.links.to(&member.address).heard().trouble?;
        Some(format!("{}: {trouble}", member.address))
    });
    let silent: Vec<String> = silent.collect();
    match silent.len() {
        0 => "an election is under way".to_owned(),
        count => {
            let all = members.nodes().count();
            format!("{count} of {all} peers cannot be reached: {}", silent.join("; "))
        }
    }
}
