//! What happens to the cluster: everything that the coordinator's shell may tell the machine.

use yak_protocol::ids::{BrokerEpoch, BrokerId};
use yak_protocol::message::{
    AlterTopic, CancelMoves, CreateTopic, DecommissionBroker, DeleteTopic, Drain, Elect, ElectPreferred,
    Heartbeat, ListMoves, MovePartitions, ProducerIds, ProposeIsr, RegisterBroker, RegisterProducer,
    ReplaceBroker, StreamSilent,
};

/// Names a connection of the coordinator; chosen by the shell, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// Names a request that waits for its answer; chosen by the shell, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// How a broker's connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Loss {
    /// End of file or reset: the peer's process is gone (its lease ends at once).
    PeerClosed,
    /// Anything else: the lease decides.
    Unknown,
}

/// A request that the machine answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Opens or resumes a broker's session; the connection becomes its control connection.
    RegisterBroker(RegisterBroker),
    /// Renews a lease.
    Heartbeat(Heartbeat),
    /// Changes an ISR.
    ProposeIsr(ProposeIsr),
    /// Reports a silent leader.
    StreamSilent(StreamSilent),
    /// Wants a block of producer ids.
    ProducerIds(ProducerIds),
    /// Wants the id of a named producer.
    RegisterProducer(RegisterProducer),
    /// Makes a topic.
    CreateTopic(CreateTopic),
    /// Deletes a topic.
    DeleteTopic(DeleteTopic),
    /// Changes a topic.
    AlterTopic(AlterTopic),
    /// Wants another leader.
    Elect(Elect),
    /// Wants a broker to lead nothing, or no longer so.
    Drain(Drain),
    /// Wants partitions on other brokers.
    MovePartitions(MovePartitions),
    /// Wants them back.
    CancelMoves(CancelMoves),
    /// Wants to know how moves stand.
    ListMoves(ListMoves),
    /// Wants one broker in the place of a dead one.
    ReplaceBroker(ReplaceBroker),
    /// Wants a broker gone.
    DecommissionBroker(DecommissionBroker),
    /// Wants preferred leaders to lead.
    ElectPreferred(ElectPreferred),
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "events are taken one at a time, never kept in bulk")]
pub enum Event {
    /// A request arrived.
    Request {
        /// On which connection.
        connection: ConnectionId,
        /// Names it in the reply.
        id: RequestId,
        /// What it asks.
        request: Request,
        /// Random bits that the machine may use for new ids (of topics and producers).
        entropy: u128,
    },
    /// A connection ended.
    Disconnected {
        /// Which.
        connection: ConnectionId,
        /// How.
        loss: Loss,
    },
    /// A broker answered a probe on its control connection.
    ProbeAnswered {
        /// Which broker.
        broker: BrokerId,
    },
    /// Nothing listens where a broker of [`super::Cluster::awaited`] was reached: its process is gone.
    Refused {
        /// Which broker.
        broker: BrokerId,
        /// The session that was looked for.
        broker_epoch: BrokerEpoch,
    },
    /// Time passed; due at [`super::Cluster::next_deadline`]. A tick that comes late (paused process)
    /// extends every lease by the lateness; the shell feeds what its sockets hold first.
    Tick,
}
