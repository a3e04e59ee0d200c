//! Reads committed records of one partition that this broker leads.

use crate::broker::Broker;
use crate::partition::PartitionHandle;
use bytes::Bytes;
use std::sync::Arc;
use yak_core::partition::{Event, View};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{Offset, TopicPartition};
use yak_storage::ReadError;

/// The partition, if this broker leads it and may serve it.
pub(super) fn leading(
    broker: &Broker,
    id: TopicPartition,
) -> Result<(Arc<PartitionHandle>, Arc<View>), WireError> {
    broker.link.may_serve()?;
    let not_leader = || broker.not_leader(id);
    let partition = broker.partition(id).ok_or_else(not_leader)?;
    let view = partition.view();
    if view.leads { Ok((partition, view)) } else { Err(not_leader()) }
}

/// Committed batches from `from` on; none when nothing is committed there yet. The first one is
/// returned even if it is larger than `bytes_max`.
pub(crate) async fn read(
    broker: &Broker,
    partition: &PartitionHandle,
    view: &View,
    from: Offset,
    bytes_max: usize,
) -> Result<Vec<Bytes>, WireError> {
    check_bounds(broker, partition.id, view, from)?;
    let below = view.high_watermark;
    if from >= below {
        return Ok(Vec::new());
    }
    if let Some(batches) = partition.log.read_recent(from, bytes_max, below) {
        return Ok(batches);
    }
    let Ok(_permit) = broker.consumer_reads.acquire().await else {
        return Err(WireError::new(ErrorCode::ShuttingDown, "this broker stops"));
    };
    let log = partition.log.clone();
    let read = broker.tasks.blocking("read for a consumer", move || log.read(from, bytes_max, below)).await;
    match read {
        Some(Ok(batches)) => Ok(batches),
        Some(Err(error)) => Err(read_error(broker, partition, view, error)),
        None => Err(WireError::new(ErrorCode::ShuttingDown, "this broker stops")),
    }
}

/// Between the high watermark and the log's end there is nothing to see yet; that is no error. Beyond
/// the end it is one, but only when the watermark is known (a new leader's may still move, rule R13) and
/// the lease runs.
fn check_bounds(broker: &Broker, id: TopicPartition, view: &View, from: Offset) -> Result<(), WireError> {
    // Whoever may have been replaced without knowing does not know where the log ends by now.
    let knows_the_end = view.high_watermark_known && broker.link.lease_held();
    if from < view.log_start || (from > view.log_end && knows_the_end) {
        return Err(out_of_range(broker, id, view, from));
    }
    if from > view.log_end && view.high_watermark_known {
        let name = broker.cluster.name_of(id);
        let what = format!(
            "offset {from} of {name} is beyond the log's end {} here, and this broker's lease has run out: \
             another one may lead by now",
            view.log_end
        );
        return Err(WireError::new(ErrorCode::LeaseOver, what).hint("send it again in a moment"));
    }
    if from > view.log_end {
        let what = format!(
            "offset {from} of {} is beyond the log's end {}, and the leader of epoch {} does not know yet what is committed",
            broker.cluster.name_of(id),
            view.log_end,
            view.leader_epoch
        );
        return Err(WireError::new(ErrorCode::HwUnknown, what).hint("send it again in a moment"));
    }
    Ok(())
}

fn out_of_range(broker: &Broker, id: TopicPartition, view: &View, from: Offset) -> WireError {
    let what = format!(
        "offset {from} is outside {}, which holds {} to {}",
        broker.cluster.name_of(id),
        view.log_start,
        view.high_watermark
    );
    WireError::new(ErrorCode::OffsetOutOfRange, what).hint(format!("start at {} or later", view.log_start))
}

fn read_error(broker: &Broker, partition: &PartitionHandle, view: &View, error: ReadError) -> WireError {
    let name = broker.cluster.name_of(partition.id);
    match error {
        ReadError::OutOfRange { from, .. } => out_of_range(broker, partition.id, view, from),
        ReadError::Damaged { from, to } => {
            partition.event(Event::DamageFound { from, to });
            WireError::new(
                ErrorCode::Damaged,
                format!("offsets {from} to {to} of {name} are damaged on this replica"),
            )
            .hint("they are fetched again from another replica; send it again in a moment")
        }
        other => WireError::new(ErrorCode::Damaged, format!("{name}: {other}")),
    }
}
