//! From the machine's disk operations to the log's, and from the log's reports back to events.

use super::Command;
use bytes::Bytes;
use tokio::sync::mpsc;
use yak_core::partition::{DiskOp, Event, OpSeq};
use yak_protocol::error::WireError;
use yak_storage::{LogOp, Observer};

/// Called by the write-ahead log's thread, once per round: hands the reports to the partition's task.
pub(super) struct Reports {
    pub(super) commands: mpsc::WeakUnboundedSender<Command>,
}

impl Reports {
    fn event(&self, event: Event) {
        // A partition that has stopped has nobody left to tell.
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::Event(event));
        }
    }
}

impl Observer for Reports {
    fn written(&self, seq: u64) {
        self.event(Event::Written(OpSeq(seq)));
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
        DiskOp::Append { base, leader_epoch } => {
            LogOp::Append { base, leader_epoch: Some(leader_epoch), batches: batches.clone() }
        }
        DiskOp::AppendPushed { base } => LogOp::Append { base, leader_epoch: None, batches: batches.clone() },
        DiskOp::Truncate { to } => LogOp::Truncate { to },
        DiskOp::Reset { start, epochs } => LogOp::Reset { start, epochs },
        DiskOp::MoveLogStart { to } => LogOp::MoveLogStart { to },
        DiskOp::Promise { leader_epoch, leader } => LogOp::Promise { epoch: leader_epoch, leader },
        DiskOp::StartEpoch(start) => LogOp::StartEpoch(start),
    }
}
