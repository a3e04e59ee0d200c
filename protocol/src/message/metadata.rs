use super::{BrokerInfo, PartitionInfo, TopicInfo, message};
use crate::ids::{ClusterId, MetadataVersion};
use serde::{Deserialize, Serialize};

/// Asks any process where things are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// Names of topics; absent = all of them.
    #[serde(default)]
    pub topics: Option<Vec<String>>,
}
message!(Metadata, "metadata", Client, MetadataReply);

/// The cluster as the asked process knows it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MetadataReply {
    /// The cluster.
    #[serde(default)]
    pub cluster_id: Option<ClusterId>,
    /// How new this is.
    pub version: MetadataVersion,
    /// Where the active coordinator is, `host:port`. From a broker that has lost it: where coordinators may be,
    /// with commas.
    #[serde(default)]
    pub coordinator: String,
    /// Why the asked broker cannot reach the coordinator now, if it cannot.
    #[serde(default)]
    pub coordinator_lost: Option<String>,
    /// Every broker.
    pub brokers: Vec<BrokerInfo>,
    /// The topics that exist among those asked for.
    pub topics: Vec<TopicInfo>,
    /// Their partitions.
    pub partitions: Vec<PartitionInfo>,
    /// Asked-for names that do not exist, each with the nearest existing name, if any is near.
    #[serde(default)]
    pub unknown: Vec<UnknownTopic>,
}

impl MetadataReply {
    /// The addresses of [`Self::coordinator`].
    pub fn coordinators(&self) -> impl Iterator<Item = &str> {
        self.coordinator.split(',').filter(|address| !address.is_empty())
    }
}

/// A topic that was asked for and does not exist.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnknownTopic {
    /// The name.
    pub topic: String,
    /// The nearest existing one.
    #[serde(default)]
    pub nearest: Option<String>,
}
