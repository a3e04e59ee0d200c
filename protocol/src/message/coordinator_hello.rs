use super::{CoordinatorInfo, message};
use crate::ids::{ClusterId, CoordinatorId};
use serde::{Deserialize, Serialize};

/// A coordinator introduces itself to another, and asks who that one is. So peers that know nothing yet agree
/// on a new cluster, and a new one is looked at before it is let in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CoordinatorHello {
    /// Its number.
    pub coordinator_id: CoordinatorId,
    /// Its cluster; absent = it belongs to none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<ClusterId>,
    /// The addresses that it was told are the quorum's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}
message!(CoordinatorHello, "coordinator_hello", Control, CoordinatorHelloReply);

/// Who is there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CoordinatorHelloReply {
    /// Itself.
    pub coordinator: CoordinatorInfo,
    /// Its cluster; absent = it belongs to none yet, or does not know which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<ClusterId>,
    /// Whether it belongs to a quorum.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub member: bool,
    /// The addresses that it was told are the quorum's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}
