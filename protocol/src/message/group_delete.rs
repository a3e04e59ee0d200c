use super::message;
use serde::{Deserialize, Serialize};

/// Forgets a group that has no members, and how far it has read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupDelete {
    /// The group's name.
    pub group: String,
    /// Whether a broker that is not the group's coordinator passes it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(GroupDelete, "group_delete", Client, GroupDeleteReply);

/// The group is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupDeleteReply {
    /// How many committed offsets it had.
    pub offsets: u64,
}
