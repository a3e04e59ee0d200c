//! What a replica wants done. The shell carries effects out in the order in which they come, and
//! feeds the outcomes back as events. Durable before sent: an effect that lets another process know
//! something is emitted only after the event that says it is on disk.

use super::event::{OpSeq, StreamId, Ticket};
use yak_protocol::error::WireError;
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset, PartitionEpoch, SessionId};
use yak_protocol::message::{Ack, Acked, IsrProposal, Open, Opened};

/// A change of the replica's log. All of them go through the write-ahead log in this order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DiskOp {
    /// Append the batch of the [`super::Event::Publish`] at hand, with these two fields patched in.
    Append {
        /// The offset of its first record: the log's end.
        base: Offset,
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// What else changes in a batch with ids.
        rewrite: Option<Rewrite>,
    },
    /// Append the batches of the [`super::Event::Push`] at hand as they are.
    AppendPushed {
        /// The offset of the first record: the log's end.
        base: Offset,
    },
    /// Cut everything from `to` on, the epoch history too.
    Truncate {
        /// The new end.
        to: Offset,
    },
    /// Set the log aside and begin an empty one.
    Reset {
        /// The new start and end.
        start: Offset,
        /// The epoch history of what lies before it.
        epochs: Vec<EpochStart>,
    },
    /// Drop everything below `to`; committed only.
    MoveLogStart {
        /// The new start.
        to: Offset,
    },
    /// Remember for ever that this replica acts in `leader_epoch` under `leader` (rule R14).
    Promise {
        /// The epoch.
        leader_epoch: LeaderEpoch,
        /// Who leads in it.
        leader: BrokerId,
    },
    /// This replica leads from here on in a new epoch (rule R13).
    StartEpoch(EpochStart),
}

/// What becomes of a batch with ids before it is appended. It takes as many offsets and sequence numbers as before.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Rewrite {
    /// The time of the append, which all its records get.
    pub time_ms: i64,
    /// Records that the log has already, by their places in the batch, ascending: they are left out.
    pub dropped: Vec<u32>,
}

/// What readers may see of the replica; emitted whenever it changes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct View {
    /// Whether this replica leads and may serve reads and publishes.
    pub leads: bool,
    /// The current leader, as far as known.
    pub leader: Option<BrokerId>,
    /// The current term.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the promise that is on disk (rule R14); zero without one.
    pub promised: LeaderEpoch,
    /// The record's epoch.
    pub partition_epoch: PartitionEpoch,
    /// Everything below is committed. Never goes back while `leader_epoch` stays.
    pub high_watermark: Offset,
    /// Whether `high_watermark` has reached the start of the leader's epoch (rule R13).
    pub high_watermark_known: bool,
    /// The first offset that is still there.
    pub log_start: Offset,
    /// The end of what can be read from the log.
    pub log_end: Offset,
    /// The end of what is on disk.
    pub synced_end: Offset,
    /// The leader epoch of the last record on disk; zero without one.
    pub last_epoch: LeaderEpoch,
    /// The in-sync replicas as the coordinator has them.
    pub isr: Vec<BrokerId>,
    /// The least ISR for `acks=all`.
    pub min_isr: u32,
    /// On a leader: every follower with its acknowledged end (`None` = not seen in this epoch).
    pub followers: Vec<(BrokerId, Option<Offset>)>,
    /// Why the replica does not do what its role wants, in words, for `WHY` and `describe`.
    pub trouble: Option<String>,
    /// Whether the replica has stopped itself.
    pub halted: bool,
}

/// Which of the two streams to a leader a partition uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StreamClass {
    /// Partitions that are within one window of the leader's end.
    InSync,
    /// Partitions that catch up; a bounded share of the bandwidth.
    CatchUp,
}

/// Something to do.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Effect {
    /// Change the log. Answered by `Written`, `Synced` or `WriteFailed`; `Written` may be left out of what is
    /// not a [`DiskOp::Append`] on a topic that counts what is synced.
    Disk(OpSeq, DiskOp),
    /// Publish the new view to readers; wakes consumers that wait for the high watermark.
    View(Box<View>),
    /// Answer a publish.
    Answer {
        /// Which.
        ticket: Ticket,
        /// What it is answered. A definite error means that the record will never appear.
        outcome: Result<Acked, WireError>,
    },
    /// Fold the log (from a snapshot and its batch heads) into producer state up to `end`, then feed
    /// `ProducersRebuilt`. Until then the leader refuses idempotent publishes, and those with ids, with a retry.
    RebuildProducers {
        /// Up to where.
        end: Offset,
        /// For how long message ids are remembered.
        dedupe_window_ms: u64,
    },
    /// Fetch this damaged range from the leader, verify it, put it in place, feed `Repaired`.
    Repair {
        /// Who has it.
        leader: BrokerId,
        /// First damaged offset.
        from: Offset,
        /// Exclusive end.
        to: Offset,
    },
    /// Tell the coordinator about damage found or repaired (rule R17).
    ReportDamage {
        /// Whether any is left.
        damaged: bool,
    },

    // As leader.
    /// Send the answer to an open on that stream.
    Opened(StreamId, Opened),
    /// Read batches from `from` (up to the window and the view's `log_end`) and send them with this
    /// watermark; then feed `Pushed`. At most one is outstanding for each session. `from` equal to the
    /// log's end = send the watermark alone.
    Push {
        /// On which stream.
        stream: StreamId,
        /// To whom.
        follower: BrokerId,
        /// In which session.
        session: SessionId,
        /// From where.
        from: Offset,
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// Propose another ISR to the coordinator; sent again by the machine until answered.
    Propose(IsrProposal),

    // As follower.
    /// Send an open to that leader, on the stream of that class; the stream is connected as needed.
    Open {
        /// To whom.
        leader: BrokerId,
        /// On which of its streams.
        class: StreamClass,
        /// What to say.
        open: Open,
    },
    /// Send an acknowledgement to that leader, in the open session.
    Ack {
        /// To whom.
        leader: BrokerId,
        /// What to say.
        ack: Ack,
    },
    /// End the session at that leader; anything that still arrives in it is ignored.
    Close {
        /// To whom.
        leader: BrokerId,
        /// Which session.
        session: SessionId,
    },

    /// The partition has moved away: stop this replica for good and delete its data (rule R18). Another one
    /// may be made of the partition once that is done.
    Remove,

    /// The log is at odds with what the rules allow (a truncation below the own committed end, say):
    /// the replica has stopped itself; an operator must look (rule R4).
    Halt {
        /// What was found.
        reason: String,
    },
}
