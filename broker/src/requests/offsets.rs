//! `offsets`: where a partition begins, is committed and ends, and where a time begins.

use super::forward;
use super::reading::leading;
use crate::broker::Broker;
use std::sync::Arc;
use yak_core::partition::Event;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::BrokerId;
use yak_protocol::message::{Offsets, OffsetsReply};
use yak_protocol::net::{Incoming, Replier};
use yak_storage::ReadError;

/// Answers at once, unless a time has to be looked up.
pub(crate) fn offsets(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    let offsets: Offsets = match request.parse() {
        Ok(offsets) => offsets,
        Err(error) => return reply.refuse(&error),
    };
    if let Some(leader) = led_elsewhere(broker, &offsets) {
        let (broker_of_task, asked) = (broker.clone(), Offsets { forward: false, ..offsets });
        broker.tasks.spawn("forwarded offsets", async move {
            let outcome = forward::ask(&broker_of_task, leader, &asked).await;
            reply.reply::<Offsets>(outcome.as_ref().map_err(Clone::clone), Vec::new());
        });
        return;
    }
    if offsets.at_ms.is_none() {
        let outcome = known(broker, &offsets).map(|(_, reply)| reply);
        return reply.reply::<Offsets>(outcome.as_ref().map_err(Clone::clone), Vec::new());
    }
    let broker_of_task = broker.clone();
    broker.tasks.spawn("look up a time", async move {
        let outcome = at_time(&broker_of_task, &offsets).await;
        reply.reply::<Offsets>(outcome.as_ref().map_err(Clone::clone), Vec::new());
    });
}

/// Who leads, if that is another broker and the request may be passed on.
fn led_elsewhere(broker: &Broker, offsets: &Offsets) -> Option<BrokerId> {
    let resolved = broker.cluster.resolve(&offsets.topic, offsets.partition).ok()?;
    let leader = broker.cluster.leader(resolved.id)?.leader;
    (offsets.forward && Some(leader) != broker.id()).then_some(leader)
}

/// The offsets as the leader knows them. Only a leader whose lease runs and whose watermark has reached
/// the start of its epoch can say what "latest" is (rule R13).
fn known(
    broker: &Arc<Broker>,
    offsets: &Offsets,
) -> Result<(Arc<crate::partition::PartitionHandle>, OffsetsReply), WireError> {
    let resolved = broker.cluster.resolve(&offsets.topic, offsets.partition)?;
    let (partition, view) = leading(broker, resolved.id)?;
    let name = || format!("{}/{}", offsets.topic, offsets.partition);
    if !broker.link.lease_held() && !offsets.stale_ok {
        return Err(WireError::new(
            ErrorCode::LeaseOver,
            format!(
                "{}: this broker's lease has run out, it cannot say what is latest: {}",
                name(),
                broker.link.unavailable().message
            ),
        )
        .hint("reading from an offset, or from the beginning, works meanwhile"));
    }
    if !view.high_watermark_known {
        return Err(WireError::new(
            ErrorCode::HwUnknown,
            format!(
                "{}: the leader of epoch {} does not know yet what is committed",
                name(),
                view.leader_epoch
            ),
        )
        .hint("send it again in a moment"));
    }
    let reply = OffsetsReply {
        log_start: view.log_start,
        high_watermark: view.high_watermark,
        log_end: view.log_end,
        at: None,
        leader_epoch: view.leader_epoch,
    };
    Ok((partition, reply))
}

async fn at_time(broker: &Arc<Broker>, offsets: &Offsets) -> Result<OffsetsReply, WireError> {
    let (partition, reply) = known(broker, offsets)?;
    let Some(at_ms) = offsets.at_ms else { return Ok(reply) };
    let (log, below) = (partition.log.clone(), reply.high_watermark);
    match broker.tasks.blocking("look up a time", move || log.offset_at(at_ms, below)).await {
        Some(Ok(at)) => Ok(OffsetsReply { at, ..reply }),
        Some(Err(error)) => {
            if let ReadError::Damaged { from, to } = error {
                partition.event(Event::DamageFound { from, to });
            }
            Err(WireError::new(
                ErrorCode::Damaged,
                format!("{}/{}: {error}", offsets.topic, offsets.partition),
            ))
        }
        None => Err(WireError::new(ErrorCode::ShuttingDown, "this broker stops")),
    }
}
