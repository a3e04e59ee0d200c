use super::{Ballot, LogPosition, Peers, message};
use crate::ids::{ClusterId, CoordinatorId};
use serde::{Deserialize, Serialize};

/// The leading coordinator sends entries of the log, or only a sign of life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftAppend {
    /// The sender's cluster; all zeros = it does not know yet.
    #[serde(default)]
    pub cluster_id: ClusterId,
    /// Who is meant; another coordinator at this address refuses.
    pub to: CoordinatorId,
    /// Who leads, in which term.
    pub ballot: Ballot,
    /// The entry before the first one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<LogPosition>,
    /// The last entry that a majority has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<LogPosition>,
    /// The entries, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<RaftEntry>,
}
message!(RaftAppend, "raft_append", Control, RaftAppendReply);

/// One entry. It is a decision of the coordinator, whose bytes are in `bin`; or other voters; or neither: the
/// first entry of a term.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftEntry {
    /// Its place.
    pub position: LogPosition,
    /// Who belongs to the quorum from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Peers>,
    /// How many bytes of `bin` are its decision.
    #[serde(default)]
    pub bytes: u32,
}

/// What became of it. Neither key = the entries are in the log, on disk.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RaftAppendReply {
    /// Whether the entry before the first one is not in the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
    /// A higher ballot than the sender's: it leads no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub higher: Option<Ballot>,
}
