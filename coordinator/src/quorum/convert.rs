//! Between openraft's types and those of the wire and the disk, which must not change with a library.

use super::types::{Entry, LogId, Member, Membership, Proposal, Vote};
use openraft::{CommittedLeaderId, EntryPayload};
use yak_protocol::ids::CoordinatorId;
use yak_protocol::message::{Ballot, CoordinatorInfo, LogPosition, Peers};

pub(crate) fn ballot(vote: &Vote) -> Ballot {
    Ballot { term: vote.leader_id.term, id: CoordinatorId(vote.leader_id.node_id), elected: vote.committed }
}

pub(crate) fn vote(ballot: &Ballot) -> Vote {
    match ballot.elected {
        true => Vote::new_committed(ballot.term, ballot.id.0),
        false => Vote::new(ballot.term, ballot.id.0),
    }
}

pub(crate) fn position(log_id: &LogId) -> LogPosition {
    LogPosition {
        term: log_id.leader_id.term,
        id: CoordinatorId(log_id.leader_id.node_id),
        index: log_id.index,
    }
}

pub(crate) fn log_id(position: &LogPosition) -> LogId {
    LogId::new(CommittedLeaderId::new(position.term, position.id.0), position.index)
}

pub(crate) fn info(id: u64, member: &Member) -> CoordinatorInfo {
    CoordinatorInfo { id: CoordinatorId(id), name: member.name.clone(), address: member.address.clone() }
}

pub(crate) fn peers(membership: &Membership) -> Peers {
    let sets = membership.get_joint_config().iter();
    Peers {
        voters: sets.map(|set| set.iter().map(|id| CoordinatorId(*id)).collect()).collect(),
        all: membership.nodes().map(|(id, member)| info(*id, member)).collect(),
    }
}

pub(crate) fn membership(peers: &Peers) -> Membership {
    let sets = peers.voters.iter().map(|set| set.iter().map(|id| id.0).collect()).collect();
    let member = |info: &CoordinatorInfo| Member { name: info.name.clone(), address: info.address.clone() };
    let all = peers.all.iter().map(|info| (info.id.0, member(info)));
    Membership::new(sets, all.collect::<std::collections::BTreeMap<_, _>>())
}

pub(crate) fn entry(position: &LogPosition, peers: Option<&Peers>, proposal: Option<Proposal>) -> Entry {
    let payload = match (peers, proposal) {
        (Some(peers), _) => EntryPayload::Membership(membership(peers)),
        (None, Some(proposal)) => EntryPayload::Normal(proposal),
        (None, None) => EntryPayload::Blank,
    };
    Entry { log_id: log_id(position), payload }
}
