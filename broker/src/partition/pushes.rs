//! Leader side: reads what a follower is to get and hands it to the follower's stream.

use super::Command;
use super::task::Task;
use crate::broker::Broker;
use crate::config::PUSH_BYTES;
use crate::streams::LeaderStream;
use crate::throttle::Room as _;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use yak_core::partition::{Event, StreamId, View};
use yak_protocol::batch;
use yak_protocol::ids::{BrokerId, LeaderEpoch, Offset, SessionId};
use yak_protocol::message::{PartitionInfo, Push};
use yak_storage::{Log, ReadError};

/// How long a push that could not be read waits before it is reported, so that nothing spins.
const PUSH_RETRY: Duration = Duration::from_millis(50);

/// A push that has to be read from files.
struct Order {
    broker: Arc<Broker>,
    stream: Arc<LeaderStream>,
    follower: BrokerId,
    push: Push,
    log: Log,
    below: Offset,
    view: watch::Receiver<Arc<View>>,
    leader_epoch: LeaderEpoch,
    commands: mpsc::WeakUnboundedSender<Command>,
    /// Whether the partition moves to the follower, and not faster than somebody has said.
    throttled: bool,
}

/// The replicas that a partition moves to and that are not in sync yet, if they get only so many bytes a second.
pub(super) fn throttled(info: &PartitionInfo) -> Option<(Vec<BrokerId>, u64)> {
    let rate = info.moving.as_ref()?.bytes_per_second?;
    Some((info.adding().filter(|id| !info.isr.contains(id)).collect(), rate))
}

impl Task {
    pub(super) fn push(
        &mut self,
        stream: StreamId,
        follower: BrokerId,
        session: SessionId,
        from: Offset,
        high_watermark: Offset,
        log_start: Offset,
    ) {
        let Some(to) = self.broker.leader_streams.get(stream) else {
            self.followups.push_back(Event::Closed { stream, session: None });
            return;
        };
        let push = Push { id: self.id, session, from, high_watermark, log_start, bytes: 0 };
        let below = self.view.borrow().log_end;
        // A follower that the log start has passed learns it by that (rule R4): there is nothing left to send.
        if from >= below || from < log_start {
            to.push(push, Vec::new());
            self.followups.push_back(Event::Pushed { stream, follower, session, next: from, bytes: 0 });
            return;
        }
        // What was just written is still in memory; only a follower that is behind costs a read.
        let throttled = self.throttled.as_ref().is_some_and(|(slow, _)| slow.contains(&follower));
        if !throttled
            && to.has_room()
            && let Some(batches) = self.log.read_recent(from, PUSH_BYTES, below)
            && let Some(next) = end_of(&batches)
        {
            let bytes = to.push(push, batches);
            self.followups.push_back(Event::Pushed { stream, follower, session, next, bytes });
            return;
        }
        let order = Order {
            broker: self.broker.clone(),
            stream: to,
            follower,
            push,
            log: self.log.clone(),
            below,
            view: self.view.subscribe(),
            leader_epoch: self.view.borrow().leader_epoch,
            commands: self.commands.clone(),
            throttled,
        };
        self.broker.tasks.spawn("push from files", push_from_files(order));
    }
}

impl Order {
    /// Whether this broker still leads: its log may have been cut since, and what was read can be another
    /// leader's, which does not continue the follower's log.
    fn leads(&self) -> bool {
        let view = self.view.borrow();
        view.leads && view.leader_epoch == self.leader_epoch
    }

    /// How many bytes a second the follower gets; `None` = it is not throttled, or no longer.
    fn rate(&self) -> Option<u64> {
        if !self.throttled || !self.leads() {
            return None;
        }
        let (slow, rate) = throttled(&self.broker.cluster.partition(self.push.id)?)?;
        slow.contains(&self.follower).then_some(rate)
    }
}

async fn push_from_files(order: Order) {
    // The permit bounds the share of all catching-up followers together.
    let (stream, reads) = (order.stream.as_ref(), &order.broker.catch_up_reads);
    let Some((permit, turn)) = order.broker.throttle.wait(stream, reads, || order.rate()).await else {
        return;
    };
    let (log, from, below) = (order.log.clone(), order.push.from, order.below);
    let read =
        order.broker.tasks.blocking("read for a follower", move || log.read(from, PUSH_BYTES, below)).await;
    drop(permit);
    if let (Some(turn), Some(Ok(batches))) = (turn, &read) {
        turn.sent(batches.iter().map(|batch| batch.len() as u64).sum());
    }
    if !order.leads() {
        return;
    }
    let Order { stream, follower, push, commands, .. } = &order;
    let send = |event| {
        if let Some(commands) = commands.upgrade() {
            let _ = commands.send(Command::Event(event));
        }
    };
    let pushed = |next, bytes| Event::Pushed {
        stream: stream.id,
        follower: *follower,
        session: push.session,
        next,
        bytes,
    };
    match read {
        Some(Ok(batches)) if !batches.is_empty() => {
            let next = end_of(&batches).unwrap_or(from);
            let bytes = stream.push(*push, batches);
            send(pushed(next, bytes));
        }
        Some(Err(ReadError::Damaged { from: damaged, to, .. })) => {
            send(Event::DamageFound { from: damaged, to });
            tokio::time::sleep(PUSH_RETRY).await;
            send(pushed(from, 0));
        }
        Some(other) => {
            if let Err(error) = other {
                tracing::warn!(partition = %push.id, %error, "a read for a follower failed");
            }
            tokio::time::sleep(PUSH_RETRY).await;
            send(pushed(from, 0));
        }
        None => {}
    }
}

/// The offset after the last batch.
fn end_of(batches: &[Bytes]) -> Option<Offset> {
    let last = batches.last()?;
    batch::batches(last).last()?.ok().map(|(header, _)| header.next_offset())
}
