//! The answers to what other coordinators and operators ask of this one, active or not.

use super::node::Node;
use super::types::{Entry, SnapshotMeta, StoredMembership};
use super::{convert, peers};
use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest};
use std::sync::{Arc, Weak};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{ClusterId, CoordinatorId};
use yak_protocol::message::{
    ChangePeers, CoordinatorHello, CoordinatorHelloReply, Message, RaftAppend, RaftAppendReply, RaftSnapshot,
    RaftSnapshotReply, RaftVote, RaftVoteReply,
};
use yak_protocol::net::{Incoming, Replier};

/// Answers the kinds of messages that make a quorum. Clones answer for the same coordinator; they do not keep
/// it running.
#[derive(Clone)]
pub struct QuorumService(pub(crate) Weak<Node>);

impl QuorumService {
    /// Whether messages of this kind are answered here.
    #[must_use]
    pub fn answers(kind: &str) -> bool {
        [RaftVote::KIND, RaftAppend::KIND, RaftSnapshot::KIND, CoordinatorHello::KIND, ChangePeers::KIND]
            .contains(&kind)
    }

    /// Answers a request of one of these kinds, beside everything else.
    pub fn handle(&self, request: Incoming, reply: Replier) {
        let Some(node) = self.0.upgrade().filter(|node| !node.over.is_cancelled()) else {
            return reply.refuse(&crate::front::shutting_down());
        };
        tokio::spawn(async move {
            let over = node.over.clone();
            let answering = async {
                match &*request.kind {
                    RaftVote::KIND => answer::<RaftVote>(reply, vote(&node, &request).await),
                    RaftAppend::KIND => answer::<RaftAppend>(reply, append(&node, &request).await),
                    RaftSnapshot::KIND => answer::<RaftSnapshot>(reply, snapshot(&node, &request).await),
                    CoordinatorHello::KIND => answer::<CoordinatorHello>(reply, hello(&node, &request)),
                    ChangePeers::KIND => answer::<ChangePeers>(reply, change(&node, &request).await),
                    kind => reply.refuse(&WireError::new(
                        ErrorCode::UnknownKind,
                        format!("no quorum answers `{kind}`"),
                    )),
                }
            };
            tokio::select! {
                () = answering => {}
                () = over.cancelled() => {}
            }
        });
    }
}

fn answer<M: Message>(reply: Replier, outcome: Result<M::Reply, WireError>) {
    match outcome {
        Ok(body) => reply.reply::<M>(Ok(&body), Vec::new()),
        Err(error) => reply.refuse(&error),
    }
}

/// Refuses what is meant for another coordinator, or comes from another cluster.
fn check(node: &Node, to: CoordinatorId, cluster_id: ClusterId) -> Result<(), WireError> {
    let config = &node.config;
    if to.0 != node.id {
        let text = format!(
            "coordinator {to} is asked for, at {} is coordinator {} ({})",
            config.address, node.id, config.name
        );
        return Err(WireError::new(ErrorCode::WrongProcess, text).hint(format!(
            "if its data dir was emptied, replace it by itself: yak coordinator peers replace {0} {0}",
            config.address
        )));
    }
    match node.machine.cluster_id() {
        Some(own) if cluster_id != ClusterId::default() && cluster_id != own => {
            let text = format!("coordinator {} belongs to cluster {own}, not to {cluster_id}", config.name);
            Err(WireError::new(ErrorCode::WrongCluster, text)
                .hint("check --peers: every coordinator of a quorum has the same list"))
        }
        _ => Ok(()),
    }
}

fn stopped<E: std::fmt::Display>(error: E) -> WireError {
    WireError::new(ErrorCode::ShuttingDown, format!("the quorum's log has stopped here: {error}"))
}

async fn vote(node: &Node, request: &Incoming) -> Result<RaftVoteReply, WireError> {
    let asked: RaftVote = request.parse()?;
    check(node, asked.to, asked.cluster_id)?;
    let last_log_id = asked.last.as_ref().map(convert::log_id);
    if asked.pre {
        return Ok(would_vote(node, &asked));
    }
    if node.lease.silence() < node.config.election_timeout_min {
        // The leader's lease, by this process' own clock: openraft's does not outlive a restart.
        return Ok(RaftVoteReply { granted: false, ..would_vote(node, &asked) });
    }
    let asked = VoteRequest { vote: convert::vote(&asked.ballot), last_log_id };
    let answer = node.raft.vote(asked).await.map_err(stopped)?;
    if answer.vote_granted {
        node.lease.voted();
    }
    Ok(RaftVoteReply {
        granted: answer.vote_granted,
        ballot: convert::ballot(&answer.vote),
        last: answer.last_log_id.as_ref().map(convert::position),
    })
}

/// Whether a vote would be given: nobody leads as far as is known here, and the log is long enough.
fn would_vote(node: &Node, asked: &RaftVote) -> RaftVoteReply {
    let quiet = node.lease.silence() >= node.config.election_timeout_min;
    let leads = node.leads_within(node.config.election_timeout_min);
    let last = node.store.last();
    let long_enough = asked.last.as_ref().map(convert::log_id) >= last;
    RaftVoteReply {
        granted: quiet && !leads && long_enough,
        ballot: convert::ballot(&node.store.vote().unwrap_or_default()),
        last: last.as_ref().map(convert::position),
    }
}

async fn append(node: &Node, request: &Incoming) -> Result<RaftAppendReply, WireError> {
    let asked: RaftAppend = request.parse()?;
    check(node, asked.to, asked.cluster_id)?;
    let append = AppendEntriesRequest {
        vote: convert::vote(&asked.ballot),
        prev_log_id: asked.previous.as_ref().map(convert::log_id),
        leader_commit: asked.committed.as_ref().map(convert::log_id),
        entries: entries(&asked, request)?,
    };
    // Before it waits for the disk: the sign of life is this.
    if node.store.vote().is_none_or(|known| known <= append.vote) {
        node.lease.heard();
    }
    Ok(match node.raft.append_entries(append).await.map_err(stopped)? {
        AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_) => {
            RaftAppendReply::default()
        }
        AppendEntriesResponse::Conflict => RaftAppendReply { conflict: true, higher: None },
        AppendEntriesResponse::HigherVote(vote) => {
            RaftAppendReply { conflict: false, higher: Some(convert::ballot(&vote)) }
        }
    })
}

fn entries(asked: &RaftAppend, request: &Incoming) -> Result<Vec<Entry>, WireError> {
    let bad = |what: String| WireError::new(ErrorCode::BadRequest, format!("raft_append: {what}"));
    let mut bin = request.bin.clone();
    let mut entries = Vec::with_capacity(asked.entries.len());
    for entry in &asked.entries {
        let index = entry.position.index;
        let bytes = entry.bytes as usize;
        if bytes > bin.len() {
            return Err(bad(format!("`bin` ends within entry {index}")));
        }
        let decision = bin.split_to(bytes);
        let proposal = match bytes {
            0 => None,
            _ => Some(
                rmp_serde::from_slice(&decision)
                    .map_err(|error| bad(format!("entry {index} is not understood: {error}")))?,
            ),
        };
        entries.push(convert::entry(&entry.position, entry.peers.as_ref(), proposal));
    }
    Ok(entries)
}

async fn snapshot(node: &Node, request: &Incoming) -> Result<RaftSnapshotReply, WireError> {
    let asked: RaftSnapshot = request.parse()?;
    check(node, asked.to, asked.cluster_id)?;
    let peers_since = asked.peers_since.as_ref().map(convert::log_id);
    let piece = InstallSnapshotRequest {
        vote: convert::vote(&asked.ballot),
        meta: SnapshotMeta {
            last_log_id: asked.last.as_ref().map(convert::log_id),
            last_membership: StoredMembership::new(peers_since, convert::membership(&asked.peers)),
            snapshot_id: asked.snapshot,
        },
        offset: asked.from,
        data: request.bin.to_vec(),
        done: asked.done,
    };
    if node.store.vote().is_none_or(|known| known <= piece.vote) {
        node.lease.heard();
    }
    let ballot = || convert::ballot(&node.store.vote().unwrap_or_default());
    match node.raft.install_snapshot(piece).await {
        Ok(answer) => Ok(RaftSnapshotReply { ballot: convert::ballot(&answer.vote), restart: false }),
        Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(_))) => {
            Ok(RaftSnapshotReply { ballot: ballot(), restart: true })
        }
        Err(error) => Err(stopped(error)),
    }
}

fn hello(node: &Node, request: &Incoming) -> Result<CoordinatorHelloReply, WireError> {
    let asked: CoordinatorHello = request.parse()?;
    tracing::debug!(coordinator = %asked.coordinator_id, "another coordinator introduced itself");
    Ok(CoordinatorHelloReply {
        coordinator: node.info(),
        cluster_id: node.machine.cluster_id(),
        member: super::bootstrap::is_member(node),
        peers: node.config.peers(),
    })
}

async fn change(
    node: &Arc<Node>,
    request: &Incoming,
) -> Result<yak_protocol::message::ChangePeersReply, WireError> {
    peers::change(node, &request.parse()?).await
}
