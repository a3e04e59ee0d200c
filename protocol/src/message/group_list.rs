use super::{GroupState, message};
use crate::ids::{BrokerId, Generation};
use serde::{Deserialize, Serialize};

/// Asks which groups there are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupList {
    /// Whether the asked broker asks the other coordinators of groups too; else it answers for its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(GroupList, "group_list", Client, GroupListReply);

/// The groups.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupListReply {
    /// By name.
    pub groups: Vec<GroupSummary>,
    /// Coordinators that could not be asked, and why: their groups are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// One group.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupSummary {
    /// Its name.
    pub group: String,
    /// How it is.
    pub state: GroupState,
    /// How many members it has.
    pub members: u32,
    /// Its generation.
    pub generation: Generation,
    /// The broker that coordinates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<BrokerId>,
}
