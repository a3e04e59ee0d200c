use super::{TopicInfo, message};
use serde::{Deserialize, Serialize};

/// Changes a topic: its settings, and how many partitions it has. Brokers forward it to the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AlterTopic {
    /// Its name.
    pub topic: String,
    /// Which settings are to have which values.
    #[serde(default)]
    pub set: Vec<SettingChange>,
    /// How many partitions it is to have; at least as many as now.
    #[serde(default)]
    pub partitions: Option<u32>,
    /// Whether to say only what would change.
    #[serde(default)]
    pub dry_run: bool,
}
message!(AlterTopic, "alter_topic", Client, AlterTopicReply);

/// A setting and its new value; without a value it gets its default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SettingChange(pub String, pub Option<String>);

/// The topic as it is now, or would be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AlterTopicReply {
    /// The topic.
    pub topic: TopicInfo,
    /// What has changed: names of settings, and `partitions`.
    #[serde(default)]
    pub changed: Vec<String>,
}
