//! Changes of the quorum while the cluster runs.

use super::bootstrap;
use super::convert;
use super::keeper::is_majority;
use super::node::Node;
use super::types::{Member, Membership};
use openraft::ChangeMembers;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::MutexGuard;
use yak_protocol::defaults::{QUORUM_CATCH_UP, QUORUM_CHANGE};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::CoordinatorId;
use yak_protocol::message::{ChangePeers, ChangePeersReply, CoordinatorInfo};

/// What to do when nobody knows what became of a change.
const LOOK: &str = "look with `yak coordinator peers list`, and ask again";

/// Carries out a change. It goes on when the one who asked has gone.
pub(crate) async fn change(node: &Arc<Node>, asked: &ChangePeers) -> Result<ChangePeersReply, WireError> {
    leads(node)?;
    if asked.add.is_none() && asked.remove.is_none() {
        return Ok(reply(node, node.metrics().membership_config.membership(), false));
    }
    // Who only asks what would be waits for nobody.
    let _one = if asked.dry_run { None } else { Some(alone(node).await?) };
    if !asked.dry_run {
        finish(node).await?;
    }
    let members = node.metrics().membership_config.membership().clone();
    let before: BTreeSet<u64> = members.voter_ids().collect();
    let added = match &asked.add {
        Some(address) => Some(look_at(node, &members, address, asked.remove.is_some()).await?),
        None => None,
    };
    let added_id = added.as_ref().map(|(id, _)| *id);
    let removed = match &asked.remove {
        Some(what) => find(&members, what, added_id)?,
        None => None,
    };
    if let (Some(what), None) = (&asked.remove, removed)
        && !added_id.is_some_and(|id| before.contains(&id))
    {
        return Err(nobody(&members, what));
    }
    let mut after = before.clone();
    after.extend(added_id);
    if let Some(id) = removed {
        after.remove(&id);
    }
    if after == before {
        let moved = match added {
            Some((id, member)) if asked.dry_run => members.get_node(&id) != Some(&member),
            Some((id, member)) => rename(node, id, member).await?,
            None => false,
        };
        return Ok(reply(node, node.metrics().membership_config.membership(), moved));
    }
    if !asked.force {
        refuse_a_loss(node, &members, &after, added_id)?;
    }
    if asked.dry_run {
        let known = members.nodes().map(|(id, member)| (*id, member.clone())).chain(added);
        return Ok(reply(node, &Membership::new(vec![after], known.collect::<BTreeMap<_, _>>()), true));
    }
    if let Some((id, member)) = added {
        join(node, &members, id, member).await?;
    }
    set_voters(node, after).await?;
    Ok(reply(node, node.metrics().membership_config.membership(), true))
}

/// Completes a change that an earlier leader began.
pub(crate) async fn finish(node: &Node) -> Result<(), WireError> {
    let members = node.metrics().membership_config.membership().clone();
    match &members.get_joint_config()[..] {
        [_, .., newest] => set_voters(node, newest.clone()).await,
        _ => Ok(()),
    }
}

/// Makes known that a coordinator of the quorum has another name or is reached elsewhere; whether it was.
pub(crate) async fn rename(node: &Node, id: u64, member: Member) -> Result<bool, WireError> {
    let known = node.metrics().membership_config.membership().get_node(&id).cloned();
    if known.is_none() || known.as_ref() == Some(&member) {
        return Ok(false);
    }
    // What is sent to an address names whom it is for: a wrong one reaches nobody.
    let rename = ChangeMembers::SetNodes(BTreeMap::from([(id, member)]));
    let renamed = in_time(node.raft.change_membership(rename, true)).await?;
    renamed.map(|_| true).map_err(|error| failed(node, &error))
}

/// A change is for one who leads and is heard by a majority: what nobody else hears of is not decided, but may
/// be later, when the one who asked has gone.
fn leads(node: &Node) -> Result<(), WireError> {
    if node.leads_within(node.config.election_timeout_max) { Ok(()) } else { Err(not_active(node)) }
}

/// Waits for the change before this one; the right to make the next, while this one still leads.
async fn alone(node: &Node) -> Result<MutexGuard<'_, ()>, WireError> {
    let one = tokio::time::timeout(QUORUM_CHANGE, node.changing.lock()).await.map_err(|_| {
        let text = format!("another change of the quorum has been under way for {QUORUM_CHANGE:?}");
        WireError::new(ErrorCode::NotReady, text).hint(LOOK)
    })?;
    leads(node)?;
    Ok(one)
}

/// What a change of the voters gives; it goes on if it takes too long.
async fn in_time<T>(change: impl Future<Output = T>) -> Result<T, WireError> {
    tokio::time::timeout(QUORUM_CHANGE, change).await.map_err(|_| {
        let text =
            format!("no majority has confirmed the change within {QUORUM_CHANGE:?}; it may happen yet");
        WireError::new(ErrorCode::OutcomeUnknown, text).hint(
            "see to it that the coordinators can be reached, and look with `yak coordinator peers list`",
        )
    })
}

/// A joint configuration first, then the new one alone; the others are sent nothing more.
async fn set_voters(node: &Node, voters: BTreeSet<u64>) -> Result<(), WireError> {
    let raft = node.raft.clone();
    // Of its own: the second step is taken even if the first one took too long for who asked.
    let changing =
        async move { raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), false).await };
    let changed = in_time(tokio::spawn(changing)).await?;
    match changed.map_err(|error| failed(node, &error))? {
        Ok(_) => Ok(()),
        Err(error) if node.leads() => Err(failed(node, &error)),
        Err(_) => {
            let text = "another coordinator was elected while the change was made; it may be made or not";
            Err(WireError::new(ErrorCode::OutcomeUnknown, text).hint(LOOK))
        }
    }
}

/// Sends the log to a new one until it has caught up.
async fn join(node: &Node, members: &Membership, id: u64, member: Member) -> Result<(), WireError> {
    let address = member.address.clone();
    let known = members.get_node(&id) == Some(&member);
    let joining = async {
        if known {
            // It was added before and did not get to vote: only the wait is left.
            return node.raft.add_learner(id, member, true).await;
        }
        let others = members
            .learner_ids()
            .filter(|other| members.get_node(other).is_some_and(|other| other.address == address));
        let stale: BTreeSet<u64> = others.collect();
        if !stale.is_empty() {
            node.raft.change_membership(ChangeMembers::RemoveNodes(stale), false).await?;
        }
        node.raft.add_learner(id, member, true).await
    };
    match tokio::time::timeout(QUORUM_CATCH_UP, joining).await {
        Ok(joined) => joined.map(drop).map_err(|error| failed(node, &error)),
        Err(_) => {
            // What is not in the quorum is not sent the log for ever.
            let drop_it = ChangeMembers::RemoveNodes(BTreeSet::from([id]));
            let _ = in_time(node.raft.change_membership(drop_it, false)).await;
            let why = node.links.to(&address).heard().trouble.unwrap_or_else(|| "it is slow".to_owned());
            let text = format!(
                "{address} has not caught up within {QUORUM_CATCH_UP:?} ({why}); the quorum is unchanged"
            );
            Err(WireError::new(ErrorCode::Timeout, text)
                .hint("see to it that it can be reached, and ask again"))
        }
    }
}

/// Who is at the address, if it may join.
async fn look_at(
    node: &Node,
    members: &Membership,
    address: &str,
    replaces: bool,
) -> Result<(u64, Member), WireError> {
    if address == node.config.address {
        return Ok((node.id, node.member()));
    }
    let answer = bootstrap::ask(node, address).await.map_err(|error| {
        WireError::new(ErrorCode::NotReady, format!("{address} cannot be added: {error}"))
            .hint("start the new coordinator with an empty data dir first, then ask again")
    })?;
    let id = answer.coordinator.id.0;
    let member = Member { name: answer.coordinator.name, address: address.to_owned() };
    let own = node.machine.cluster_id();
    let is_known = members.nodes().any(|(known, _)| *known == id);
    // One that was removed earlier may come back; one that voted in an unknown cluster may not.
    if !is_known && answer.cluster_id != own && (answer.cluster_id.is_some() || answer.member) {
        let text = format!("{address} belongs to another quorum already");
        return Err(
            WireError::new(ErrorCode::WrongCluster, text).hint("a coordinator joins with an empty data dir")
        );
    }
    let same_address = members.nodes().find(|(known, other)| **known != id && other.address == address);
    if let Some((old, _)) = same_address.filter(|(old, _)| members.voter_ids().any(|voter| voter == **old))
        && !replaces
    {
        let text = format!("{address} was coordinator {old} and is now {id}: its data dir was emptied");
        return Err(WireError::new(ErrorCode::NotApplied, text).hint(format!(
            "replace the old one by the new one: yak coordinator peers replace {old} {address}"
        )));
    }
    Ok((id, member))
}

/// The voter with that address, name or number, if there is one. The one to add is not meant.
fn find(members: &Membership, what: &str, added: Option<u64>) -> Result<Option<u64>, WireError> {
    let voters: BTreeSet<u64> = members.voter_ids().collect();
    let found = members.nodes().filter(|(id, member)| {
        voters.contains(id)
            && Some(**id) != added
            && (member.address == what || member.name == what || id.to_string() == what)
    });
    match found.map(|(id, _)| *id).collect::<Vec<_>>()[..] {
        [] => Ok(None),
        [id] => Ok(Some(id)),
        _ => Err(WireError::new(ErrorCode::BadRequest, format!("{what:?} names more than one coordinator"))
            .hint("name it by its number")),
    }
}

/// A change that is for nobody: more likely a slip than done already.
fn nobody(members: &Membership, what: &str) -> WireError {
    let voters: BTreeSet<u64> = members.voter_ids().collect();
    let known = members.nodes().filter(|(id, _)| voters.contains(id));
    let known: Vec<String> =
        known.map(|(id, member)| format!("{} ({}, {id})", member.address, member.name)).collect();
    let text = format!("no coordinator of the quorum is {what:?}: there are {}", known.join(", "));
    WireError::new(ErrorCode::BadRequest, text).hint("name it by its address, name or number")
}

/// Those that remain must be able to decide without the one that goes.
fn refuse_a_loss(
    node: &Node,
    members: &Membership,
    after: &BTreeSet<u64>,
    added: Option<u64>,
) -> Result<(), WireError> {
    let recent = node.config.election_timeout_max * 5;
    let alive = |id: &&u64| {
        **id == node.id
            || Some(**id) == added
            || members.get_node(id).is_some_and(|member| answered_within(node, &member.address, recent))
    };
    let heard: BTreeSet<u64> = after.iter().filter(alive).copied().collect();
    let wanted = Membership::new(vec![after.clone()], BTreeMap::new());
    if is_majority(&wanted, &heard) {
        return Ok(());
    }
    let text = format!(
        "{} of the {} coordinators that would remain are heard: the quorum would be lost",
        heard.len(),
        after.len()
    );
    Err(WireError::new(ErrorCode::NotApplied, text).hint("bring the silent ones back first, or give `force`"))
}

fn answered_within(node: &Node, address: &str, limit: Duration) -> bool {
    let heard = node.links.to(address).heard();
    heard.trouble.is_none() && heard.at.is_some_and(|at| at.elapsed() < limit)
}

fn reply(node: &Node, members: &Membership, changed: bool) -> ChangePeersReply {
    let ids: BTreeSet<u64> = members.voter_ids().collect();
    let voters = members.nodes().filter(|(id, _)| ids.contains(id));
    let voters: Vec<_> = voters.map(|(id, member)| convert::info(*id, member)).collect();
    let silent = |voter: &&CoordinatorInfo| {
        voter.id.0 != node.id && node.links.to(&voter.address).heard().trouble.is_some()
    };
    let silent = voters.iter().filter(silent).map(|voter| voter.id).collect();
    ChangePeersReply { changed, active: CoordinatorId(node.id), silent, voters }
}

fn not_active(node: &Node) -> WireError {
    crate::answers::not_active(&node.standing.borrow())
}

fn failed(node: &Node, error: &impl std::fmt::Display) -> WireError {
    if !node.leads() {
        return not_active(node);
    }
    WireError::new(ErrorCode::NotApplied, format!("the quorum is not changed: {error}"))
}
