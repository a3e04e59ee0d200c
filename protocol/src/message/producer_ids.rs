use super::message;
use crate::ids::{BrokerEpoch, BrokerId};
use serde::{Deserialize, Serialize};

/// A broker asks for another block of producer ids to hand out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProducerIds {
    /// Who asks.
    pub broker_id: BrokerId,
    /// Its session.
    pub broker_epoch: BrokerEpoch,
}
message!(ProducerIds, "producer_ids", Control, ProducerIdsReply);

/// A block that nobody else will ever get.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProducerIdsReply {
    /// The first id.
    pub from: i64,
    /// How many.
    pub count: u32,
}
