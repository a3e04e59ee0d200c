use super::{CoordinatorInfo, message};
use serde::{Deserialize, Serialize};

/// Adds a coordinator to the quorum, removes one, or replaces one by another in one step. The active
/// coordinator does it while the cluster runs. Done already = nothing is changed.
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
}
message!(ChangePeers, "change_peers", Client, ChangePeersReply);

/// The quorum as it is now.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ChangePeersReply {
    /// Whether anything was changed.
    pub changed: bool,
    /// Who votes.
    pub voters: Vec<CoordinatorInfo>,
}
