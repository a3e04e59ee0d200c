//! How a quorum begins: its coordinators, all with empty data dirs, find each other and agree on who they are.
//!
//! One of them, that of the first address, makes the quorum; the others join it as soon as it writes to them. So
//! one whose data dir is emptied meanwhile cannot make two. One that meets an existing quorum makes nothing.

use super::links::NoAnswer;
use super::node::Node;
use super::types::Member;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::message::{CoordinatorHello, CoordinatorHelloReply};

/// How often the others are asked while something is missing.
const AGAIN: Duration = Duration::from_millis(100);
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(1);

/// Whether this coordinator belongs to a quorum: it has voted, or has entries of its log.
pub(crate) fn is_member(node: &Node) -> bool {
    node.store.last().is_some() || node.store.vote().is_some_and(|vote| vote.leader_id.term > 0)
}

/// Asks the coordinator at an address who it is.
pub(crate) async fn ask(node: &Node, address: &str) -> Result<CoordinatorHelloReply, NoAnswer> {
    let hello = CoordinatorHello {
        coordinator_id: node.info().id,
        cluster_id: node.machine.cluster_id(),
        peers: node.config.peers(),
    };
    Ok(node.links.to(address).request(&hello, Vec::new(), ANSWER).await?.body)
}

/// What is to be done after everybody was asked.
#[derive(PartialEq, Debug)]
enum Verdict {
    Begin(BTreeMap<u64, Member>),
    Wait(String),
}

/// Returns once this coordinator belongs to a quorum.
pub(crate) async fn run(node: Arc<Node>) {
    while !is_member(&node) {
        match look(&node).await {
            Verdict::Begin(members) => {
                node.say_what_it_waits_for(None);
                if let Err(error) = node.raft.initialize(members).await {
                    // Another one's entries came first: then it is a member now.
                    tracing::debug!("this coordinator did not begin the quorum: {error}");
                }
            }
            Verdict::Wait(what) => node.say_what_it_waits_for(Some(what)),
        }
        tokio::time::sleep(AGAIN).await;
    }
    node.say_what_it_waits_for(None);
}

async fn look(node: &Node) -> Verdict {
    let peers = node.config.peers();
    let journal = node.journal.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_some();
    // A single coordinator's journal is a cluster of one already; the others are added to it.
    let others = peers.iter().filter(|address| !journal && **address != node.config.address);
    let mut answers = BTreeMap::new();
    for address in others {
        answers.insert(address.clone(), ask(node, address).await);
    }
    verdict(node, &peers, &answers)
}

fn verdict(
    node: &Node,
    peers: &[String],
    answers: &BTreeMap<String, Result<CoordinatorHelloReply, NoAnswer>>,
) -> Verdict {
    let own = &node.config.address;
    let known = || answers.values().filter_map(|answer| answer.as_ref().ok());
    if let Some(member) = known().find(|answer| answer.member) {
        let at = &member.coordinator.address;
        return Verdict::Wait(format!(
            "the quorum of {at} exists, and this coordinator, {own}, is not part of it; let it in: {}",
            Node::how_to_add(own, at)
        ));
    }
    if let Some(other) = known().find(|answer| answer.peers != peers) {
        return Verdict::Wait(format!(
            "{} was started with --peers {}, this coordinator with {}: no quorum is made before all lists are \
             the same",
            other.coordinator.address,
            other.peers.join(","),
            peers.join(",")
        ));
    }
    let missing = answers
        .iter()
        .filter_map(|(address, answer)| answer.as_ref().err().map(|error| format!("{address} ({error})")));
    let missing: Vec<String> = missing.collect();
    if !missing.is_empty() {
        return Verdict::Wait(format!("a new quorum waits for {}", missing.join(", ")));
    }
    let found =
        answers.iter().filter_map(|(address, answer)| Some((address, &answer.as_ref().ok()?.coordinator)));
    let mut members: BTreeMap<u64, Member> = found
        .map(|(address, info)| (info.id.0, Member { name: info.name.clone(), address: address.clone() }))
        .collect();
    members.insert(node.id, node.member());
    if members.len() <= answers.len() {
        return Verdict::Wait(format!("two of --peers {} lead to one coordinator", peers.join(",")));
    }
    match peers.first() {
        Some(first) if first != own && !answers.is_empty() => {
            Verdict::Wait(format!("{first} is about to make the quorum"))
        }
        _ => Verdict::Begin(members),
    }
}
