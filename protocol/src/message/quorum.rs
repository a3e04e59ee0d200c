use crate::ids::CoordinatorId;
use serde::{Deserialize, Serialize};

/// A term of the quorum's Raft log and who stands for it. Ordered by term, then by number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Ballot {
    /// The term.
    pub term: u64,
    /// Who stands for it.
    pub id: CoordinatorId,
    /// Whether that coordinator has been elected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elected: bool,
}

/// An entry's place in the quorum's Raft log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct LogPosition {
    /// The term in which it was written.
    pub term: u64,
    /// Who wrote it.
    pub id: CoordinatorId,
    /// Its index, from 0.
    pub index: u64,
}

/// A coordinator of the quorum.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct CoordinatorInfo {
    /// Its number.
    pub id: CoordinatorId,
    /// What it calls itself.
    #[serde(default)]
    pub name: String,
    /// Where everybody reaches it, `host:port`.
    pub address: String,
}

/// Who belongs to the quorum.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Peers {
    /// Who votes: a majority of each set is needed. There are two sets while the quorum changes.
    pub voters: Vec<Vec<CoordinatorId>>,
    /// Everybody; those who do not vote are only sent the log.
    pub all: Vec<CoordinatorInfo>,
}
