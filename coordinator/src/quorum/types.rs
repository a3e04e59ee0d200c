//! What openraft is told about the entries, the coordinators and the snapshots of this log.

use serde::{Deserialize, Serialize};
use std::io::Cursor;
use yak_core::cluster::Record;
use yak_protocol::ids::{ClusterId, CoordinatorEpoch};

openraft::declare_raft_types!(
    /// The types of the quorum's log.
    pub TypeConfig:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = Member,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type StoredMembership = openraft::StoredMembership<u64, Member>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Member>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type Metrics = openraft::RaftMetrics<u64, Member>;

/// A coordinator of the quorum, beside its number.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Member {
    /// What it calls itself.
    pub name: String,
    /// Where everybody reaches it.
    pub address: String,
}

/// What an entry of the log asks for. Every coordinator carries it out, in the same order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Proposal {
    /// A coordinator begins a term. Has an effect only if the epoch is higher than the current one.
    Begin {
        /// The term's number.
        epoch: CoordinatorEpoch,
        /// Who begins it.
        by: u64,
        /// The cluster that this is the first term of, if there is none yet.
        new_cluster: ClusterId,
    },
    /// What was decided in a term. Has an effect only in that term.
    Decisions {
        /// The term.
        epoch: CoordinatorEpoch,
        /// The decisions, in order.
        decisions: Vec<Vec<Record>>,
    },
    /// The journal of a single coordinator. Has an effect only if there is nothing yet.
    CarryOver {
        /// All of it.
        records: Vec<Record>,
    },
}

/// What became of an entry.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// It is carried out.
    Done,
    /// The term has begun; for the coordinator that asked for it.
    Begun(Box<Begun>),
    /// It came from a term that is over: it has had no effect.
    Fenced(CoordinatorEpoch),
}

/// Where a term begins.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Begun {
    /// Everything before it, and its own record.
    pub records: Vec<Record>,
    /// Whether it is the first one of a new cluster.
    pub created: bool,
}
