//! What happens to a replica: everything that the shell may tell the machine.

use super::ids::{BatchIds, Ids};
use super::producers::{Producers, Sequence};
use yak_protocol::error::WireError;
use yak_protocol::ids::{BrokerEpoch, BrokerId, EpochStart, LeaderEpoch, Offset, PartitionEpoch, SessionId};
use yak_protocol::message::{Ack, Acks, Durability, Open, OpenAnswer, PartitionInfo};

/// Names a publish that waits for its answer; chosen by the shell, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Names one replication stream at its leader's side (a connection); chosen by the shell, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

/// Numbers the disk operations of one replica, from 1. The machine counts them as it emits them;
/// the disk reports them back in the same order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct OpSeq(pub u64);

/// What the machine needs to know of a batch; the bytes stay with the shell.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BatchHead {
    /// How many offsets it takes (last offset delta + 1); at least 1.
    pub count: u32,
    /// The leader epoch stamped into it (in pushes; meaningless in a publish).
    pub leader_epoch: LeaderEpoch,
    /// Its producer's stamp; `None` without idempotence.
    pub sequence: Option<Sequence>,
    /// The ids of its records; `None` without any, or if the topic takes no note of them. In pushes: of every batch
    /// that carries the time of its append.
    pub ids: Option<BatchIds>,
}

/// A batch of a push, with the offset that its header carries.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PushedBatch {
    /// Its base offset.
    pub base: Offset,
    /// The rest.
    pub head: BatchHead,
}

/// What the machine is made of at start: the outcome of the log's recovery.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct RecoveredLog {
    /// The first offset that is still there.
    pub log_start: Offset,
    /// The end; everything below is synced.
    pub log_end: Offset,
    /// The epoch history, ascending in both fields.
    pub epochs: Vec<EpochStart>,
    /// The promise (rule R14): the highest epoch that this replica acted in, and whom it followed.
    pub promise: Option<(LeaderEpoch, BrokerId)>,
    /// The last checkpointed high watermark: a lower bound of what is committed.
    pub high_watermark_hint: Offset,
    /// Ranges `[from, to)` that are damaged (rule R17), ascending, disjoint.
    pub damaged: Vec<(Offset, Offset)>,
}

/// Something that happened.
///
/// The shell keeps the order of what comes from one stream and from one disk. What travels on different
/// streams may overtake each other. A stream that loses anything is broken: [`Event::StreamDown`] at the
/// follower, [`Event::Closed`] at the leader.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// The coordinator's record of the partition, new or again. Older ones than known are ignored.
    Metadata {
        /// The record.
        info: PartitionInfo,
        /// This broker's session.
        broker_epoch: BrokerEpoch,
        /// The sessions of the replicas' brokers, as the same metadata has them; fenced ones are left out.
        unfenced: Vec<(BrokerId, BrokerEpoch)>,
        /// The topic's durability.
        durability: Durability,
        /// For how long the topic remembers message ids; 0 = it takes no note of them.
        dedupe_window_ms: u64,
    },
    /// A client wants a batch appended. The shell has checked the batch itself.
    ///
    /// The machine answers at once ([`super::Effect::Answer`]) or appends at once
    /// ([`super::DiskOp::Append`], which refers to this event's bytes) and answers later.
    Publish {
        /// Names it in the answer.
        ticket: Ticket,
        /// The batch.
        head: BatchHead,
        /// How much must have happened before the answer.
        acks: Acks,
        /// When to answer "unknown" if nothing else can be said by then.
        deadline: super::Now,
        /// Whether the broker's lease is running; without it `acks` below all are refused.
        lease_held: bool,
    },
    /// The log is to begin here: retention has decided so, or somebody asked for it. Only a leader takes it, and
    /// only as far as its log is committed ([`super::DiskOp::MoveLogStart`]); its followers follow.
    Trim {
        /// The first offset that stays.
        to: Offset,
    },
    /// Everything up to this operation has been written to the log as a whole (not yet synced).
    /// From here on it can be read, pushed to followers and folded into producer state.
    Written(OpSeq),
    /// Everything up to this operation is on disk.
    Synced(OpSeq),
    /// This operation and all after it were not written, and nothing of them is there; the next
    /// operation takes the place of this one, with a new number.
    WriteFailed {
        /// The first operation that failed.
        seq: OpSeq,
        /// Why: [`yak_protocol::error::ErrorCode::StorageFull`] and its kind.
        error: WireError,
    },
    /// The producer state that [`super::Effect::RebuildProducers`] asked for.
    ProducersRebuilt {
        /// State at `end`.
        producers: Producers,
        /// The ids that are remembered there, for the window that was asked for.
        ids: Ids,
        /// The log end up to which it was folded.
        end: Offset,
    },
    /// Damage was found at run time below the synced end.
    DamageFound {
        /// First damaged offset.
        from: Offset,
        /// Exclusive end of the damage.
        to: Offset,
    },
    /// A damaged range was replaced by verified bytes.
    Repaired {
        /// First offset of the range.
        from: Offset,
        /// Its exclusive end.
        to: Offset,
    },

    // As leader.
    /// A follower opens this partition on a stream.
    Opened {
        /// On which stream.
        stream: StreamId,
        /// Who.
        follower: BrokerId,
        /// What it says.
        open: Open,
    },
    /// A follower reports what it has synced.
    Acked {
        /// On which stream.
        stream: StreamId,
        /// Who.
        follower: BrokerId,
        /// What it says.
        ack: Ack,
    },
    /// The push that [`super::Effect::Push`] asked for is on its way.
    Pushed {
        /// On which stream.
        stream: StreamId,
        /// To whom.
        follower: BrokerId,
        /// In which session.
        session: SessionId,
        /// The offset after the last batch that was sent; equal to `from` if nothing could be sent.
        next: Offset,
        /// How many bytes.
        bytes: u64,
    },
    /// A follower ended the session, or its stream broke (`session` absent).
    Closed {
        /// Which stream.
        stream: StreamId,
        /// Which session; `None` = all that lived on the stream.
        session: Option<SessionId>,
    },
    /// The coordinator's word on an ISR proposal. No event is sent while the outcome is unknown. A copy of a
    /// proposal must not be delivered twice by the shell: the machine itself sends again, and takes a refusal
    /// for definite only if it has not (rule R8).
    Proposal {
        /// The partition epoch that the proposal named.
        partition_epoch: PartitionEpoch,
        /// `Ok` = applied (metadata follows); `Err` = definitely not applied.
        outcome: Result<(), WireError>,
    },

    // As follower.
    /// A stream to the current leader stands (again), for the class that [`super::Effect::Open`] asks for.
    /// The replica opens on it at once; without this event it tries again by itself after a pause.
    StreamUp {
        /// The leader's number.
        leader: BrokerId,
    },
    /// The stream to that leader broke; every session on it is over.
    StreamDown {
        /// The leader's number.
        leader: BrokerId,
    },
    /// The leader's answer to an open.
    OpenAnswered {
        /// Which opening.
        session: SessionId,
        /// What it found.
        answer: OpenAnswer,
    },
    /// The leader pushed batches, or only its high watermark. Appended as one operation
    /// ([`super::DiskOp::AppendPushed`], which refers to this event's bytes), or refused by reopening.
    Push {
        /// In which session.
        session: SessionId,
        /// Where the batches start.
        from: Offset,
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
        /// The batches; the shell has verified their checksums.
        batches: Vec<PushedBatch>,
    },

    /// Time passed; due at [`super::Replica::next_deadline`].
    Tick,
    /// The process stops: answer what waits, take nothing new.
    ShuttingDown,
}
