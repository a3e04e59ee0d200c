//! Rule R17: a damaged range is fetched again from a replica whose log has the same history there,
//! verified, and put in its place. Until then reads of the range fail loudly.

use crate::broker::Broker;
use crate::config::REPAIR_RETRY;
use crate::partition::Command;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use yak_core::partition::Event;
use yak_protocol::batch;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset, TopicPartition};
use yak_protocol::message::ReadRange;
use yak_protocol::net::RequestError;
use yak_storage::Log;

/// What is to be repaired, and from whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    pub(crate) id: TopicPartition,
    pub(crate) leader: BrokerId,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
}

/// The repairs that are under way in one partition. Another order for the same range takes the place
/// of the earlier one: its leader has changed.
#[derive(Default)]
pub(crate) struct Repairs {
    running: BTreeMap<(Offset, Offset), (Order, DropGuard)>,
}

impl Repairs {
    pub(crate) fn start(
        &mut self,
        broker: &Arc<Broker>,
        order: Order,
        log: Log,
        commands: mpsc::WeakUnboundedSender<Command>,
    ) {
        let range = (order.from, order.to);
        if self.running.get(&range).is_some_and(|(running, _)| *running == order) {
            return;
        }
        let stop = CancellationToken::new();
        self.running.insert(range, (order, stop.clone().drop_guard()));
        let work = run(broker.clone(), order, log, commands);
        broker.tasks.spawn("repair", async move {
            let _ = stop.run_until_cancelled_owned(work).await;
        });
    }

    /// The range needs no repair any more.
    pub(crate) fn done(&mut self, from: Offset, to: Offset) {
        self.running.remove(&(from, to));
    }
}

/// Tries until the range is whole.
async fn run(broker: Arc<Broker>, order: Order, log: Log, commands: mpsc::WeakUnboundedSender<Command>) {
    let name = broker.cluster.name_of(order.id);
    let (from, to) = (order.from, order.to);
    loop {
        match attempt(&broker, order, &log).await {
            Ok(bytes) => {
                tracing::info!(
                    partition = name,
                    from = from.0,
                    to = to.0,
                    bytes,
                    from_broker = order.leader.0,
                    "repaired a damaged range"
                );
                broker.counters.repairs.add(1);
                let text = format!("{name}: {from} to {to} fetched again from broker {}", order.leader);
                broker.observer.events.note("repair", text);
                if let Some(commands) = commands.upgrade() {
                    let _ = commands.send(Command::Event(Event::Repaired { from, to }));
                }
                return;
            }
            Err(error) => {
                tracing::warn!(
                    partition = name,
                    from = from.0,
                    to = to.0,
                    from_broker = order.leader.0,
                    error,
                    "a damaged range is not repaired yet"
                );
            }
        }
        tokio::time::sleep(REPAIR_RETRY).await;
    }
}

/// Repairs what is damaged in the ordered range, one piece as the log has it after the other: it may know more
/// pieces than the order, and some may have been cut since. Returns how many bytes that took.
async fn attempt(broker: &Arc<Broker>, order: Order, log: &Log) -> Result<usize, String> {
    let mut bytes = 0;
    let left = || log.damaged().into_iter().find(|(from, to)| *from < order.to && order.from < *to);
    while let Some((from, to)) = left() {
        bytes += replace(broker, Order { from, to, ..order }, log).await?;
    }
    Ok(bytes)
}

/// Fetches one whole piece, checks it, and puts it in place; returns how many bytes it has.
async fn replace(broker: &Arc<Broker>, order: Order, log: &Log) -> Result<usize, String> {
    let mine = log.epochs();
    let mut next = order.from;
    let mut whole = BytesMut::new();
    while next < order.to {
        let (batches, after) = fetch(broker, order, next, &mine).await?;
        if after <= next {
            return Err(format!("broker {} sent nothing at offset {next}", order.leader));
        }
        whole.extend_from_slice(&batches);
        next = after;
    }
    let (log, bytes) = (log.clone(), whole.freeze());
    let length = bytes.len();
    let put = broker.tasks.blocking("repair", move || log.repair(order.from, order.to, &bytes)).await;
    match put {
        Some(Ok(())) => Ok(length),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the disk work was cut short".to_owned()),
    }
}

async fn fetch(
    broker: &Arc<Broker>,
    order: Order,
    from: Offset,
    mine: &[EpochStart],
) -> Result<(Bytes, Offset), String> {
    let session = broker.session().ok_or("this broker is not registered yet")?;
    let connection = broker.peers.to(broker, order.leader).await.map_err(|error| error.to_string())?;
    let request = ReadRange {
        id: order.id,
        broker_id: session.broker_id,
        broker_epoch: session.broker_epoch,
        leader_epoch: order.leader_epoch,
        from,
        to: order.to,
    };
    let answer =
        connection.request(&request, Vec::new()).await.map_err(|error: RequestError| error.to_string())?;
    same_history(mine, &answer.body.epochs, from, order.to).map_err(|error| error.to_string())?;
    let mut at = from;
    for found in batch::batches(&answer.bin) {
        let header = found.and_then(|(_, batch)| batch::verify(batch)).map_err(|error| error.to_string())?;
        if header.base_offset != at {
            return Err(format!("the copy continues at offset {} instead of {at}", header.base_offset));
        }
        at = header.next_offset();
    }
    if at != answer.body.next || at > order.to {
        return Err(format!("the copy ends at offset {at}, announced was {}", answer.body.next));
    }
    Ok((answer.bin, at))
}

/// Whether two epoch histories say the same about every offset of `[from, to)`: same epoch and offset
/// means same bytes (invariant I8), so only then does the copy belong here.
pub(crate) fn same_history(
    mine: &[EpochStart],
    theirs: &[EpochStart],
    from: Offset,
    to: Offset,
) -> Result<(), WireError> {
    let covering = |history: &[EpochStart]| -> Vec<(LeaderEpoch, Offset)> {
        let ends = history.iter().skip(1).map(|next| next.start).chain([Offset(u64::MAX)]);
        let spans = history
            .iter()
            .zip(ends)
            .filter(|(span, end)| span.start < to && *end > from && span.start < *end);
        spans.map(|(span, _)| (span.epoch, span.start.max(from))).collect()
    };
    let (mine, theirs) = (covering(mine), covering(theirs));
    if mine == theirs {
        return Ok(());
    }
    Err(WireError::new(
        ErrorCode::Damaged,
        format!(
            "the other replica's log has another history at offsets {from} to {to}: {theirs:?}, not {mine:?}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(starts: &[(u32, u64)]) -> Vec<EpochStart> {
        starts
            .iter()
            .map(|(epoch, start)| EpochStart { epoch: LeaderEpoch(*epoch), start: Offset(*start) })
            .collect()
    }

    #[test]
    fn histories_are_compared_over_the_damaged_range_only() {
        let mine = history(&[(1, 0), (3, 10), (4, 20)]);
        let theirs = history(&[(1, 0), (3, 10), (5, 20)]);
        assert!(same_history(&mine, &theirs, Offset(5), Offset(20)).is_ok());
        assert!(same_history(&mine, &theirs, Offset(5), Offset(21)).is_err());
        let shifted = history(&[(1, 0), (3, 12), (4, 20)]);
        assert!(same_history(&mine, &shifted, Offset(5), Offset(20)).is_err());
        assert!(same_history(&mine, &shifted, Offset(13), Offset(20)).is_ok());
    }
}
