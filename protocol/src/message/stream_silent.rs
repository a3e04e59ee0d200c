use super::message;
use crate::ids::{BrokerEpoch, BrokerId};
use serde::{Deserialize, Serialize};

/// A follower reports that a leader's replication stream has been silent (rule R10).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StreamSilent {
    /// Who reports.
    pub broker_id: BrokerId,
    /// Its session.
    pub broker_epoch: BrokerEpoch,
    /// Whose stream is silent.
    pub leader: BrokerId,
    /// The session of that leader, as the reporter knows it.
    pub leader_broker_epoch: BrokerEpoch,
    /// For how long, in milliseconds.
    pub silent_ms: u64,
}
message!(StreamSilent, "stream_silent", Control, StreamSilentReply);

/// The report was taken; the coordinator probes the leader before it does anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StreamSilentReply {}
