use super::message;
use crate::ids::{ProducerEpoch, ProducerId};
use serde::{Deserialize, Serialize};

/// A producer opens a session that lives with its connection, and gets an id for idempotence.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RegisterProducer {
    /// What it calls itself, for `CLIENTS` and logs.
    #[serde(default)]
    pub client: String,
    /// A name that outlives the process: whoever registers with it gets the same id with the next epoch, and from
    /// then on partitions in which it has written refuse the one before (`PRODUCER_FENCED`). The coordinator is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Id and epoch that this producer got for the name before, if it wants another epoch: refused with
    /// `PRODUCER_FENCED` if somebody else has registered with the name since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<(ProducerId, ProducerEpoch)>,
}
message!(RegisterProducer, "register_producer", Client, RegisterProducerReply);

/// The producer's session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegisterProducerReply {
    /// Its id, unique for ever; with a name always the same one, as long as its epochs last.
    pub producer_id: ProducerId,
    /// Its epoch, 0 for a new id; with a name higher each time.
    pub producer_epoch: ProducerEpoch,
}

/// A consumer opens a session that lives with its connection.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RegisterConsumer {
    /// What it calls itself.
    #[serde(default)]
    pub client: String,
}
message!(RegisterConsumer, "register_consumer", Client, RegisterConsumerReply);

/// The consumer's session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegisterConsumerReply {
    /// Its number within this process, for logs.
    pub consumer: u64,
}
