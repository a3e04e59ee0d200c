use super::message;
use crate::ids::{BrokerId, PartitionIndex};
use serde::{Deserialize, Serialize};

/// Asks why something is not as it should be: one partition, a topic, a broker, or the whole cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Why {
    /// A topic's name.
    #[serde(default)]
    pub topic: Option<String>,
    /// One partition of it; absent = all.
    #[serde(default)]
    pub partition: Option<PartitionIndex>,
    /// A broker, if no topic is named.
    #[serde(default)]
    pub broker: Option<BrokerId>,
    /// Whether the asked process asks those who know more: the partition's leader or the broker, and the
    /// coordinator. At most one hop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(Why, "why", Client, WhyReply);

/// What is wrong and what to do about it, or that nothing is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WhyReply {
    /// Everything in one paragraph.
    pub text: String,
    /// Each thing that is wrong, the worst first; none = all is well.
    #[serde(default)]
    pub causes: Vec<Cause>,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cause {
    /// Which of the known ones, for programs: `no_leader`.
    pub cause: String,
    /// With what: `orders/2`, `broker 3`, `coordinator`.
    pub subject: String,
    /// What is wrong, in a sentence.
    pub text: String,
    /// What to do about it, in a sentence; empty = wait.
    #[serde(default)]
    pub next: String,
}
