use super::{LeaderInfo, RegisterBroker, message};
use serde::{Deserialize, Serialize};

/// Asks a broker for all that it knows of the cluster: coordinators that have lost their journal begin again from
/// that (rule R15).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Recollect {}
message!(Recollect, "recollect", Control, RecollectReply);

/// What one broker knows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecollectReply {
    /// How it would register now; `resume` names the session that it holds.
    pub broker: RegisterBroker,
    /// Its copy of the metadata, all of it. Version 0 = it has heard nothing since it was started.
    pub leader_info: LeaderInfo,
    /// Where a coordinator is with which it has a session now; absent = it has lost it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<String>,
}
