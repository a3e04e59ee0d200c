//! The words of the protocol: one request a file, request and reply side by side.
//!
//! A body is a MessagePack map with short string keys. Unknown keys are ignored, absent ones take
//! their defaults, so old and new versions can talk. `docs/PROTOCOL.md` shows each as an example.

mod alter_topic;
mod change_peers;
mod consume;
mod coordinator_hello;
mod decommission;
mod delete_records;
mod drain;
mod elect;
mod elect_preferred;
mod group_commit;
mod group_delete;
mod group_describe;
mod group_fetch;
mod group_heartbeat;
mod group_list;
mod heartbeat;
mod hello;
mod key_slots;
mod leader_info;
mod metadata;
mod moves;
mod offsets;
mod probe;
mod producer_ids;
mod propose_isr;
mod publish;
mod quorum;
mod raft_append;
mod raft_snapshot;
mod raft_vote;
mod read_range;
mod recollect;
mod register_broker;
mod register_client;
mod replicate;
mod shape;
mod stream_silent;
mod topic;
mod topic_config;
mod why;

pub use alter_topic::*;
pub use change_peers::*;
pub use consume::*;
pub use coordinator_hello::*;
pub use decommission::*;
pub use delete_records::*;
pub use drain::*;
pub use elect::*;
pub use elect_preferred::*;
pub use group_commit::*;
pub use group_delete::*;
pub use group_describe::*;
pub use group_fetch::*;
pub use group_heartbeat::*;
pub use group_list::*;
pub use heartbeat::*;
pub use hello::*;
pub use key_slots::*;
pub use leader_info::*;
pub use metadata::*;
pub use moves::*;
pub use offsets::*;
pub use probe::*;
pub use producer_ids::*;
pub use propose_isr::*;
pub use publish::*;
pub use quorum::*;
pub use raft_append::*;
pub use raft_snapshot::*;
pub use raft_vote::*;
pub use read_range::*;
pub use recollect::*;
pub use register_broker::*;
pub use register_client::*;
pub use replicate::*;
pub use shape::*;
pub use stream_silent::*;
pub use topic::*;
pub use topic_config::*;
pub use why::*;

use serde::{Serialize, de::DeserializeOwned};

/// What a listener lets its peers do. A listener has a set of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Producers, consumers and administrators.
    Client,
    /// Brokers that replicate from this one.
    Replica,
    /// Brokers that talk to the coordinator.
    Control,
}

/// A request kind: its name on the wire, who may send it, and what answers it.
pub trait Message: Serialize + DeserializeOwned + Send + 'static {
    /// The `kind` in the envelope.
    const KIND: &'static str;
    /// The role that a listener needs to take it.
    const ROLE: Role;
    /// The body of the answer.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

macro_rules! message {
    ($request:ty, $kind:literal, $role:ident, $reply:ty) => {
        impl crate::message::Message for $request {
            const KIND: &'static str = $kind;
            const ROLE: crate::message::Role = crate::message::Role::$role;
            type Reply = $reply;
        }
    };
}
pub(crate) use message;

/// Something that is done with the message type of a kind which is only known at run time.
pub trait WithMessage {
    /// What comes of it.
    type Output;
    /// Does it.
    fn with<M: Message>(self) -> Self::Output;
}

macro_rules! kinds {
    ($($message:ty),+ $(,)?) => {
        /// Every kind of request, with the role that a listener needs to take it.
        pub const KINDS: &[(&str, Role)] =
            &[$((<$message as Message>::KIND, <$message as Message>::ROLE)),+];

        /// Does `what` with the message type of this kind; `None` for an unknown kind.
        pub fn with_kind<W: WithMessage>(kind: &str, what: W) -> Option<W::Output> {
            match kind {
                $(<$message as Message>::KIND => Some(what.with::<$message>()),)+
                _ => None,
            }
        }
    };
}
kinds!(
    Hello,
    Publish,
    Consume,
    Metadata,
    Offsets,
    LeaderInfoRequest,
    CreateTopic,
    DeleteTopic,
    AlterTopic,
    DeleteRecords,
    RegisterProducer,
    RegisterConsumer,
    Replicate,
    ReadRange,
    Recollect,
    RegisterBroker,
    Heartbeat,
    ProposeIsr,
    StreamSilent,
    Probe,
    ProducerIds,
    Elect,
    Drain,
    Why,
    RaftVote,
    RaftAppend,
    RaftSnapshot,
    CoordinatorHello,
    ChangePeers,
    MovePartitions,
    CancelMoves,
    ListMoves,
    ReplaceBroker,
    DecommissionBroker,
    ElectPreferred,
    GroupHeartbeat,
    GroupCommit,
    GroupFetch,
    GroupDescribe,
    GroupList,
    GroupDelete,
);

/// The role that `kind` needs, without looking at its body; `None` for an unknown kind.
#[must_use]
pub fn role_of(kind: &str) -> Option<Role> {
    lookup(kind).map(|(_, role)| role)
}

/// The kind's own name and the role that it needs; `None` for an unknown kind.
#[must_use]
pub fn lookup(kind: &str) -> Option<(&'static str, Role)> {
    KINDS.iter().find(|(known, _)| *known == kind).copied()
}
