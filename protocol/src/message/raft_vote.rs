use super::{Ballot, LogPosition, message};
use crate::ids::{ClusterId, CoordinatorId};
use serde::{Deserialize, Serialize};

/// A coordinator asks another for its vote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftVote {
    /// The sender's cluster; all zeros = it does not know yet.
    #[serde(default)]
    pub cluster_id: ClusterId,
    /// Who is asked; another coordinator at this address refuses.
    pub to: CoordinatorId,
    /// Who stands, in which term.
    pub ballot: Ballot,
    /// The end of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LogPosition>,
    /// Whether this only asks what the answer would be: nothing is changed or kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pre: bool,
}
message!(RaftVote, "raft_vote", Control, RaftVoteReply);

/// What it says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RaftVoteReply {
    /// Whether the vote is given, and kept on disk; or would be.
    pub granted: bool,
    /// The highest ballot that the asked one knows.
    pub ballot: Ballot,
    /// The end of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LogPosition>,
}
