//! One partition's replica at this broker: a task that owns the machine, and the handle to it.

mod disk;
mod effects;
mod pushes;
mod start;
mod task;
mod trims;

pub(crate) use start::start;
pub(crate) use trims::TrimAnswer;

use crate::requests::PublishAnswer;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use yak_core::partition::{BatchHead, Event, Explained, Now, View};
use yak_protocol::ids::{LeaderEpoch, Offset, PartitionEpoch, TopicPartition};
use yak_protocol::message::{Acks, ReplicaReport};
use yak_storage::Log;

/// What a partition's task is told. Taken in the order in which it was sent.
pub(crate) enum Command {
    /// Append a batch.
    Publish(Publish),
    /// Something happened; no bytes come with it.
    Event(Event),
    /// The leader pushed ([`Event::Push`]); these are its batches, concatenated.
    Push(Event, Bytes),
    /// Drop what lies below, as far as it is committed and this replica leads.
    Trim {
        to: Offset,
        /// Told once it is on disk; `None` = nobody wants to know.
        answer: Option<TrimAnswer>,
    },
    /// Say what there is to say about the replica.
    Explain(oneshot::Sender<Explained>),
    /// Answer what waits and end; the sender learns when it is done.
    Stop(oneshot::Sender<()>),
}

/// A batch whose checksum and form have been checked.
pub(crate) struct Publish {
    pub(crate) batch: Bytes,
    pub(crate) head: BatchHead,
    pub(crate) acks: Acks,
    pub(crate) deadline: Now,
    pub(crate) lease_held: bool,
    /// Append it in this leader epoch or not at all; `None` = in any.
    pub(crate) only_in: Option<LeaderEpoch>,
    /// Where the answer goes; `None` = nobody wants one.
    pub(crate) answer: Option<PublishAnswer>,
    /// Its share of the memory that publishes may take until they are written.
    pub(crate) memory: OwnedSemaphorePermit,
}

/// Reaches a partition's task, and reads past it.
pub(crate) struct PartitionHandle {
    pub(crate) id: TopicPartition,
    /// Readers go to the log directly, below what the view allows.
    pub(crate) log: Log,
    commands: mpsc::UnboundedSender<Command>,
    view: watch::Receiver<Arc<View>>,
}

impl PartitionHandle {
    /// Hands a command to the task. Lost without a word when the partition has stopped: then its
    /// waiters have been answered, and nobody is left to tell.
    pub(crate) fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Tells the task that something happened.
    pub(crate) fn event(&self, event: Event) {
        self.send(Command::Event(event));
    }

    /// What readers may see now.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// For waiting until the view changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// What the coordinator is told of this replica.
    pub(crate) fn report(&self) -> ReplicaReport {
        let view = self.view();
        ReplicaReport {
            id: self.id,
            // A replica that was just started, or refuses what it was told, has no record; what it has promised
            // shows an old journal all the same (rule R15).
            leader_epoch: view.leader_epoch.max(view.promised),
            partition_epoch: view.partition_epoch.max(PartitionEpoch::ZERO),
            last_epoch: view.last_epoch,
            log_end: view.synced_end,
            high_watermark: view.high_watermark.min(view.synced_end),
            damaged: !self.log.damaged().is_empty(),
            halted: view.halted,
        }
    }
}
