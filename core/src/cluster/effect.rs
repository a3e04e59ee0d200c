//! What the cluster machine wants done, in this order. `Journal` comes before every effect that lets
//! another process know of it: the shell syncs the records before it goes on.

use super::event::{ConnectionId, RequestId};
use super::note::Note;
use super::record::Record;
use yak_protocol::error::WireError;
use yak_protocol::ids::BrokerId;
use yak_protocol::message::{
    AlterTopicReply, CreateTopicReply, DecommissionReply, DeleteTopicReply, DrainReply, ElectPreferredReply,
    ElectReply, HeartbeatReply, LeaderInfo, MovesReply, ProducerIdsReply, ProposeIsrReply,
    RegisterBrokerReply, RegisterProducerReply, StreamSilentReply,
};

/// The answer to a [`super::Request`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To `RegisterBroker`.
    RegisterBroker(Box<RegisterBrokerReply>),
    /// To `Heartbeat`.
    Heartbeat(HeartbeatReply),
    /// To `ProposeIsr`.
    ProposeIsr(ProposeIsrReply),
    /// To `StreamSilent`.
    StreamSilent(StreamSilentReply),
    /// To `ProducerIds`.
    ProducerIds(ProducerIdsReply),
    /// To `RegisterProducer`.
    RegisterProducer(RegisterProducerReply),
    /// To `CreateTopic`.
    CreateTopic(CreateTopicReply),
    /// To `DeleteTopic`.
    DeleteTopic(DeleteTopicReply),
    /// To `AlterTopic`.
    AlterTopic(AlterTopicReply),
    /// To `Elect`.
    Elect(ElectReply),
    /// To `Drain`.
    Drain(DrainReply),
    /// To `MovePartitions`, `CancelMoves`, `ListMoves` and `ReplaceBroker`.
    Moves(MovesReply),
    /// To `DecommissionBroker`.
    Decommission(DecommissionReply),
    /// To `ElectPreferred`.
    ElectPreferred(ElectPreferredReply),
}

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append these records to the journal, as one, and sync it. The machine has applied them.
    Journal(Vec<Record>),
    /// Answer a request.
    Reply(RequestId, Result<Reply, WireError>),
    /// Push a change to a broker on its control connection.
    Push(ConnectionId, LeaderInfo),
    /// Ask a broker, on its control connection, whether it is alive.
    Probe(ConnectionId, BrokerId),
    /// Close a connection whose session another one took over.
    Close(ConnectionId, WireError),
    /// Tell the log, and whoever asks later, what happened and why.
    Note(Note),
}
