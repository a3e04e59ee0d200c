use super::message;
use crate::error::WireError;
use crate::ids::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicPartition};
use serde::{Deserialize, Serialize};

/// A leader proposes other in-sync replicas for partitions that it leads (rules R7, R8, R9).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProposeIsr {
    /// The leader.
    pub broker_id: BrokerId,
    /// Its session.
    pub broker_epoch: BrokerEpoch,
    /// What it proposes.
    pub changes: Vec<IsrProposal>,
}
message!(ProposeIsr, "propose_isr", Control, ProposeIsrReply);

/// One partition's proposal.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct IsrProposal {
    /// Which partition.
    pub id: TopicPartition,
    /// The term in which the sender leads.
    pub leader_epoch: LeaderEpoch,
    /// The record that the proposal changes.
    pub partition_epoch: PartitionEpoch,
    /// The whole new ISR, ascending; each with the broker epoch in which the leader saw it.
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
}

/// One outcome for each proposal, in order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProposeIsrReply {
    /// `None` = the record has moved on from the one that the proposal names (by this proposal or by
    /// another change), and the newer record that decides is or will be pushed; an error = definitely
    /// not applied.
    pub outcomes: Vec<Option<WireError>>,
}
