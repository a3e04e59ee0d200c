//! `read_range`: another replica asks for the bytes of a range that is damaged in its log (rule R17).

use crate::broker::Broker;
use crate::config::REPAIR_BYTES;
use bytes::Bytes;
use std::sync::Arc;
use yak_core::partition::Event;
use yak_protocol::batch;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::message::{ReadRange, ReadRangeReply};
use yak_protocol::net::{Incoming, Replier};
use yak_storage::ReadError;

/// Answers with whole batches from the beginning of the range, and with the epoch history by which
/// the asker judges whether they belong into its log.
pub(crate) fn read_range(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    let range: ReadRange = match request.parse() {
        Ok(range) => range,
        Err(error) => return reply.refuse(&error),
    };
    let broker_of_task = broker.clone();
    broker.tasks.spawn("read a range", async move {
        match read(&broker_of_task, range).await {
            Ok((body, bin)) => reply.reply::<ReadRange>(Ok(&body), bin),
            Err(error) => reply.refuse(&error),
        }
    });
}

async fn read(broker: &Arc<Broker>, range: ReadRange) -> Result<(ReadRangeReply, Vec<Bytes>), WireError> {
    let name = broker.cluster.name_of(range.id);
    let Some(partition) = broker.partition(range.id) else {
        return Err(WireError::new(
            ErrorCode::UnknownPartition,
            format!("this broker holds no replica of {name}"),
        ));
    };
    let view = partition.view();
    if range.leader_epoch != view.leader_epoch {
        let code =
            if range.leader_epoch < view.leader_epoch { ErrorCode::Fenced } else { ErrorCode::UnknownEpoch };
        let what = format!(
            "{name}: the request is of leader epoch {}, this replica acts in {}",
            range.leader_epoch, view.leader_epoch
        );
        return Err(WireError::new(code, what));
    }
    let below = range.to.min(view.synced_end);
    let log = partition.log.clone();
    let read = broker.tasks.blocking("read a range", move || log.read(range.from, REPAIR_BYTES, below)).await;
    let batches = match read {
        Some(Ok(batches)) => batches,
        Some(Err(error)) => {
            if let ReadError::Damaged { from, to } = error {
                partition.event(Event::DamageFound { from, to });
            }
            return Err(WireError::new(ErrorCode::Damaged, format!("{name}: {error}")));
        }
        None => return Err(WireError::new(ErrorCode::ShuttingDown, "this broker stops")),
    };
    let mut next = range.from;
    for header in batches.iter().flat_map(|bytes| batch::batches(bytes)) {
        let (header, _) = header.map_err(|error| WireError::new(ErrorCode::Damaged, error.to_string()))?;
        next = header.next_offset();
    }
    Ok((ReadRangeReply { next, epochs: partition.log.epochs() }, batches))
}
