use super::message;
use crate::ids::{ProducerEpoch, ProducerId};
use serde::{Deserialize, Serialize};

/// A producer opens a session that lives with its connection, and gets an id for idempotence.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RegisterProducer {
    /// What it calls itself, for `CLIENTS` and logs.
    #[serde(default)]
    pub client: String,
}
message!(RegisterProducer, "register_producer", Client, RegisterProducerReply);

/// The producer's session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RegisterProducerReply {
    /// Its id, unique for ever.
    pub producer_id: ProducerId,
    /// Its epoch, 0 for a new id.
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
