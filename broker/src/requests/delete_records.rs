//! `delete_records`: drops the committed records of a partition up to an offset or a time.

use super::forward;
use super::reading::leading;
use crate::broker::Broker;
use crate::partition::{Command, PartitionHandle};
use std::sync::Arc;
use tokio::sync::oneshot;
use yak_core::partition::{Event, View};
use yak_protocol::batch;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, Offset};
use yak_protocol::message::{DeleteRecords, DeleteRecordsReply};
use yak_protocol::names;
use yak_protocol::net::{Incoming, Replier};
use yak_storage::{Log, ReadError};

/// Answers once what is left is on disk.
pub(crate) fn delete_records(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    let asked: DeleteRecords = match request.parse() {
        Ok(asked) => asked,
        Err(error) => return reply.refuse(&error),
    };
    let broker_of_task = broker.clone();
    broker.tasks.spawn("delete records", async move {
        let broker = broker_of_task;
        let outcome = match led_elsewhere(&broker, &asked) {
            Some(leader) => forward::ask(&broker, leader, &DeleteRecords { forward: false, ..asked }).await,
            None => delete(&broker, &asked).await,
        };
        reply.reply::<DeleteRecords>(outcome.as_ref().map_err(Clone::clone), Vec::new());
    });
}

/// Who leads, if that is another broker and the request may be passed on.
fn led_elsewhere(broker: &Broker, asked: &DeleteRecords) -> Option<BrokerId> {
    let resolved = broker.cluster.resolve(&asked.topic, asked.partition).ok()?;
    let leader = broker.cluster.leader(resolved.id)?.leader;
    (asked.forward && Some(leader) != broker.id()).then_some(leader)
}

async fn delete(broker: &Arc<Broker>, asked: &DeleteRecords) -> Result<DeleteRecordsReply, WireError> {
    names::check_not_internal(&asked.topic)?;
    let resolved = broker.cluster.resolve(&asked.topic, asked.partition)?;
    let (partition, view) = leading(broker, resolved.id)?;
    if !broker.link.lease_held() {
        let what = format!("{}: this broker's lease has run out, another one may lead by now", name(asked));
        return Err(
            WireError::new(ErrorCode::LeaseOver, what).hint("send it again once the coordinator is back")
        );
    }
    let to = place(broker, &partition, &view, asked).await?;
    let reply = |log_start| DeleteRecordsReply {
        was: view.log_start,
        log_start,
        high_watermark: view.high_watermark,
        leader_epoch: view.leader_epoch,
    };
    if asked.dry_run || to <= view.log_start {
        return Ok(reply(to.max(view.log_start)));
    }
    let (answer, heard) = oneshot::channel();
    partition.send(Command::Trim { to, answer: Some(answer) });
    match heard.await {
        Ok(outcome) => {
            let log_start = outcome?;
            let text = format!("{}: records below {log_start} were deleted on request", name(asked));
            broker.observer.events.note("trim", text);
            Ok(reply(log_start))
        }
        Err(_) => Err(WireError::new(ErrorCode::ShuttingDown, "this broker stops; it may have been done")
            .hint("send it again: what is gone is not deleted twice")),
    }
}

/// Where the log is to begin: at the batch that holds the first record to keep. Logs are compared, copied and cut
/// in whole batches.
async fn place(
    broker: &Broker,
    partition: &PartitionHandle,
    view: &View,
    asked: &DeleteRecords,
) -> Result<Offset, WireError> {
    let committed = view.high_watermark;
    let (before, before_ms) = match (asked.before, asked.before_ms) {
        (Some(before), None) if before > committed => {
            let what = format!("{}: only what is committed can be deleted, up to {committed}", name(asked));
            return Err(
                WireError::new(ErrorCode::OffsetOutOfRange, what).hint("ask again with a lower offset")
            );
        }
        (Some(before), None) => (before, None),
        (None, Some(ms)) => (committed, Some(ms)),
        _ => {
            let what = "it takes either `before`, an offset, or `before_ms`, a time";
            return Err(WireError::bad_request(what));
        }
    };
    let log = partition.log.clone();
    let found =
        broker.tasks.blocking("look up an offset", move || batch_at(&log, before, before_ms, committed));
    match found.await {
        Some(Ok(to)) => Ok(to),
        Some(Err(error)) => {
            if let ReadError::Damaged { from, to } = error {
                partition.event(Event::DamageFound { from, to });
            }
            Err(WireError::new(ErrorCode::Damaged, format!("{}: {error}", name(asked))))
        }
        None => Err(WireError::new(ErrorCode::ShuttingDown, "this broker stops; nothing was deleted")),
    }
}

/// The base of the batch that holds the offset, or the first record of that time. Blocks.
fn batch_at(
    log: &Log,
    before: Offset,
    before_ms: Option<i64>,
    committed: Offset,
) -> Result<Offset, ReadError> {
    let at = match before_ms {
        Some(ms) => log.offset_at(ms, committed)?.unwrap_or(committed),
        None => before,
    };
    let start = log.bounds().0;
    if at >= committed || at <= start {
        return Ok(at.clamp(start, committed));
    }
    let batches = log.read(at, 1, committed)?;
    let first = batches.first().and_then(|bytes| batch::batches(bytes).next()?.ok());
    Ok(first.map_or(start, |(header, _)| header.base_offset.max(start)))
}

fn name(asked: &DeleteRecords) -> String {
    format!("{}/{}", asked.topic, asked.partition)
}
