use super::{TopicConfig, TopicInfo, message};
use crate::ids::TopicId;
use serde::{Deserialize, Serialize};

/// Makes a topic. Brokers forward it to the coordinator.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CreateTopic {
    /// Its name: `^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`, not starting with `__`.
    pub topic: String,
    /// How many partitions; absent = the coordinator's default.
    #[serde(default)]
    pub partitions: Option<u32>,
    /// How many replicas; absent = the coordinator's default.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// The least ISR; absent = 2 from three wanted replicas on, else 1.
    #[serde(default)]
    pub min_isr: Option<u32>,
    /// Settings.
    #[serde(default)]
    pub config: TopicConfig,
    /// Whether an existing topic of that name is a success.
    #[serde(default)]
    pub if_not_exists: bool,
    /// Whether nobody asked for the topic by itself: it is made because something was published to it.
    /// A broker that was told not to (`--no-auto-create`) refuses with `AUTO_CREATE_OFF`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto: bool,
}
message!(CreateTopic, "create_topic", Client, CreateTopicReply);

/// The topic as it stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CreateTopicReply {
    /// The topic.
    pub topic: TopicInfo,
    /// Replicas that each partition has now; fewer than wanted are filled up as brokers appear.
    pub replicas: u32,
    /// Whether it was made by this request.
    pub created: bool,
}

/// Deletes a topic and its data.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DeleteTopic {
    /// Its name.
    pub topic: String,
}
message!(DeleteTopic, "delete_topic", Client, DeleteTopicReply);

/// The topic is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeleteTopicReply {
    /// The id that it had.
    pub topic_id: TopicId,
}
