//! From the machine's disk operations to the log's, and from the log's reports back to events.

use super::Command;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use yak_core::partition::{DiskOp, Event, OpSeq, Rewrite};
use yak_protocol::batch;
use yak_protocol::error::WireError;
use yak_storage::{LogOp, Observer};

/// Called by the write-ahead log's thread, once per round: hands the reports to the partition's task.
pub(super) struct Reports {
    commands: mpsc::WeakUnboundedSender<Command>,
    awaited: Awaited,
    /// The last operation that was reported as written, or passed over.
    written: AtomicU64,
}

/// The newest operation for which it matters when it is written. For the others the task is not woken before
/// they are synced, a moment later.
#[derive(Clone, Default)]
pub(super) struct Awaited(Arc<AtomicU64>);

impl Awaited {
    /// To be called before the operation is submitted.
    pub(super) fn note(&self, seq: OpSeq) {
        self.0.store(seq.0, Ordering::Release);
    }
}

impl Reports {
    pub(super) fn new(commands: mpsc::WeakUnboundedSender<Command>, awaited: Awaited) -> Self {
        Self { commands, awaited, written: AtomicU64::new(0) }
    }

    fn event(&self, event: Event) {
        // A partition that has stopped has nobody left to tell.
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::Event(event));
        }
    }
}

impl Observer for Reports {
    fn written(&self, seq: u64) {
        let before = self.written.swap(seq, Ordering::Relaxed);
        if self.awaited.0.load(Ordering::Acquire) > before {
            self.event(Event::Written(OpSeq(seq)));
        }
    }

    fn synced(&self, seq: u64) {
        self.event(Event::Synced(OpSeq(seq)));
    }

    fn failed(&self, seq: u64, error: WireError) {
        self.event(Event::WriteFailed { seq: OpSeq(seq), error });
    }
}

/// The log operation for a machine's operation. `batches` are the bytes of the event that caused it.
pub(super) fn log_op(op: DiskOp, batches: &Bytes) -> LogOp {
    match op {
        DiskOp::Append { base, leader_epoch, rewrite } => {
            let batches = rewrite.map_or_else(|| batches.clone(), |rewrite| rewritten(batches, &rewrite));
            LogOp::Append { base, leader_epoch: Some(leader_epoch), batches }
        }
        DiskOp::AppendPushed { base } => LogOp::Append { base, leader_epoch: None, batches: batches.clone() },
        DiskOp::Truncate { to } => LogOp::Truncate { to },
        DiskOp::Reset { start, epochs } => LogOp::Reset { start, epochs },
        DiskOp::MoveLogStart { to } => LogOp::MoveLogStart { to },
        DiskOp::Promise { leader_epoch, leader } => LogOp::Promise { epoch: leader_epoch, leader },
        DiskOp::StartEpoch(start) => LogOp::StartEpoch(start),
    }
}

/// The batch as the machine wants it. It was opened when it came, so it can be opened now; if it could not, the
/// log refuses what is not there, and the machine takes the append back.
fn rewritten(batch: &Bytes, rewrite: &Rewrite) -> Bytes {
    batch::with_append_time(batch, rewrite.time_ms, &rewrite.dropped).unwrap_or_else(|error| {
        tracing::error!(%error, "a batch with ids cannot be written as it should be");
        Bytes::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_is_woken_for_what_is_written_only_if_that_matters() {
        let (commands, mut received) = mpsc::unbounded_channel();
        let awaited = Awaited::default();
        let reports = Reports::new(commands.downgrade(), awaited.clone());
        let mut told = move || match received.try_recv() {
            Ok(Command::Event(event)) => Some(event),
            _ => None,
        };
        reports.written(2);
        assert_eq!(told(), None, "nobody waits for it");
        reports.synced(2);
        assert_eq!(told(), Some(Event::Synced(OpSeq(2))));
        awaited.note(OpSeq(4));
        reports.written(3);
        reports.written(5);
        assert_eq!(told(), Some(Event::Written(OpSeq(3))), "early, which harms nobody");
        assert_eq!(told(), Some(Event::Written(OpSeq(5))));
        reports.written(6);
        assert_eq!(told(), None, "the awaited one is past");
    }
}
