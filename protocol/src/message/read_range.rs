use super::message;
use crate::ids::{BrokerEpoch, BrokerId, EpochStart, LeaderEpoch, Offset, TopicPartition};
use serde::{Deserialize, Serialize};

/// A replica asks another for the bytes of a damaged range (rule R17).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadRange {
    /// Which partition. Its key is not `id`: that is the request's own, where both stand side by side.
    #[serde(rename = "partition")]
    pub id: TopicPartition,
    /// Who asks.
    pub broker_id: BrokerId,
    /// Its session with the coordinator.
    pub broker_epoch: BrokerEpoch,
    /// The leader epoch in which it acts.
    pub leader_epoch: LeaderEpoch,
    /// The first offset of the range.
    pub from: Offset,
    /// Its exclusive end.
    pub to: Offset,
}
message!(ReadRange, "read_range", Replica, ReadRangeReply);

/// The batches that cover the range (or its beginning, if it is long) are the frame's `bin`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReadRangeReply {
    /// The offset after the last batch in here.
    pub next: Offset,
    /// The epoch history of the asked replica: it must agree with the asker's over the range.
    pub epochs: Vec<EpochStart>,
}
