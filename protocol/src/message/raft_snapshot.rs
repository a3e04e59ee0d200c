use super::{Ballot, LogPosition, Peers, message};
use crate::ids::{ClusterId, CoordinatorId};
use serde::{Deserialize, Serialize};

/// The leading coordinator sends a piece of a snapshot, in `bin`, to one that lacks entries which are no
/// longer in the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftSnapshot {
    /// The sender's cluster; all zeros = it does not know yet.
    #[serde(default)]
    pub cluster_id: ClusterId,
    /// Who is meant; another coordinator at this address refuses.
    pub to: CoordinatorId,
    /// Who leads, in which term.
    pub ballot: Ballot,
    /// Names the snapshot: pieces of two are not mixed up.
    pub snapshot: String,
    /// The last entry that it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LogPosition>,
    /// Who belongs to the quorum.
    pub peers: Peers,
    /// The entry that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers_since: Option<LogPosition>,
    /// Where in the snapshot the piece begins, in bytes.
    pub from: u64,
    /// Whether it is the last one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub done: bool,
}
message!(RaftSnapshot, "raft_snapshot", Control, RaftSnapshotReply);

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftSnapshotReply {
    /// The receiver's ballot; a higher one than the sender's = it leads no more.
    pub ballot: Ballot,
    /// Whether earlier pieces are missing, so that the sender has to begin again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
}
