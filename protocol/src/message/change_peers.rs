use super::{CoordinatorInfo, message};
use crate::ids::CoordinatorId;
use serde::{Deserialize, Serialize};

/// Adds a coordinator to the quorum, removes one, or replaces one by another in one step. The active
/// coordinator does it while the cluster runs. Done already = nothing is changed. Neither = who is in it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ChangePeers {
    /// The address of the new one, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<String>,
    /// The address, the name or the number of the one to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove: Option<String>,
    /// Whether to do it even if too few of those that remain are heard now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Whether to change nothing, and answer what would be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}
message!(ChangePeers, "change_peers", Client, ChangePeersReply);

/// The quorum as it is now, or would be.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ChangePeersReply {
    /// Whether anything was changed, or would be.
    pub changed: bool,
    /// Who votes.
    pub voters: Vec<CoordinatorInfo>,
    /// The one that answers.
    #[serde(default)]
    pub active: CoordinatorId,
    /// Those of the voters that the active one does not hear now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<CoordinatorId>,
}
