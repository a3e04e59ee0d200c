//! What openraft asks of the other coordinators, in the words of the protocol.

use super::convert;
use super::lease::Lease;
use super::links::{Link, Links, NoAnswer};
use super::machine::Machine;
use super::types::{Member, TypeConfig};
use crate::clock;
use bytes::Bytes;
use openraft::error::{
    InstallSnapshotError, RPCError, RaftError, RemoteError, SnapshotMismatch, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{EntryPayload, SnapshotSegmentId};
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::ids::{ClusterId, CoordinatorId};
use yak_protocol::message::{RaftAppend, RaftEntry, RaftSnapshot, RaftVote};

/// How long openraft leaves alone one that could not be reached.
const PAUSE: Duration = Duration::from_millis(100);

type Failed<E> = RPCError<u64, Member, RaftError<u64, E>>;

/// Makes a [`Peer`] of each of the others.
pub(crate) struct Network {
    pub(crate) links: Arc<Links>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) machine: Machine,
}

/// Another coordinator.
pub(crate) struct Peer {
    id: u64,
    link: Arc<Link>,
    lease: Arc<Lease>,
    machine: Machine,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, id: u64, member: &Member) -> Peer {
        let link = self.links.to(&member.address);
        Peer { id, link, lease: self.lease.clone(), machine: self.machine.clone() }
    }
}

impl Peer {
    fn cluster_id(&self) -> ClusterId {
        self.machine.cluster_id().unwrap_or_default()
    }
}

fn failed<E: std::error::Error>(error: &NoAnswer) -> Failed<E> {
    RPCError::Unreachable(Unreachable::new(error))
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failed<openraft::error::Infallible>> {
        let sent = clock::now();
        let mut bin = Vec::new();
        let mut entries = Vec::new();
        for entry in &request.entries {
            let (peers, decision) = match &entry.payload {
                EntryPayload::Blank => (None, Vec::new()),
                EntryPayload::Membership(membership) => (Some(convert::peers(membership)), Vec::new()),
                EntryPayload::Normal(proposal) => {
                    let decision = rmp_serde::to_vec_named(proposal);
                    (None, decision.map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?)
                }
            };
            let bytes = u32::try_from(decision.len()).unwrap_or(u32::MAX);
            entries.push(RaftEntry { position: convert::position(&entry.log_id), peers, bytes });
            bin.push(Bytes::from(decision));
        }
        let append = RaftAppend {
            cluster_id: self.cluster_id(),
            to: CoordinatorId(self.id),
            ballot: convert::ballot(&request.vote),
            previous: request.prev_log_id.as_ref().map(convert::position),
            committed: request.leader_commit.as_ref().map(convert::position),
            entries,
        };
        let answer = self.link.request(&append, bin, option.hard_ttl()).await;
        let answer = answer.map_err(|error| failed(&error))?.body;
        if let Some(higher) = &answer.higher {
            return Ok(AppendEntriesResponse::HigherVote(convert::vote(higher)));
        }
        self.lease.acknowledged(self.id, sent);
        Ok(match answer.conflict {
            true => AppendEntriesResponse::Conflict,
            false => AppendEntriesResponse::Success,
        })
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failed<InstallSnapshotError>> {
        let sent = clock::now();
        let name = request.meta.snapshot_id.clone();
        let piece = RaftSnapshot {
            cluster_id: self.cluster_id(),
            to: CoordinatorId(self.id),
            ballot: convert::ballot(&request.vote),
            snapshot: name.clone(),
            last: request.meta.last_log_id.as_ref().map(convert::position),
            peers: convert::peers(request.meta.last_membership.membership()),
            peers_since: request.meta.last_membership.log_id().as_ref().map(convert::position),
            from: request.offset,
            done: request.done,
        };
        let answer = self.link.request(&piece, vec![Bytes::from(request.data)], option.hard_ttl()).await;
        let answer = answer.map_err(|error| failed(&error))?.body;
        if answer.restart {
            let expect = SnapshotSegmentId { id: name.clone(), offset: 0 };
            let got = SnapshotSegmentId { id: name, offset: request.offset };
            let mismatch = InstallSnapshotError::SnapshotMismatch(SnapshotMismatch { expect, got });
            return Err(RemoteError::new(self.id, RaftError::APIError(mismatch)).into());
        }
        let vote = convert::vote(&answer.ballot);
        if vote <= request.vote {
            self.lease.acknowledged(self.id, sent);
        }
        Ok(InstallSnapshotResponse { vote })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, Failed<openraft::error::Infallible>> {
        let vote = RaftVote {
            cluster_id: self.cluster_id(),
            to: CoordinatorId(self.id),
            ballot: convert::ballot(&request.vote),
            last: request.last_log_id.as_ref().map(convert::position),
            pre: false,
        };
        let answer = self.link.request(&vote, Vec::new(), option.hard_ttl()).await;
        let answer = answer.map_err(|error| failed(&error))?.body;
        let last = answer.last.as_ref().map(convert::log_id);
        Ok(VoteResponse::new(convert::vote(&answer.ballot), last, answer.granted))
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(PAUSE))
    }
}
