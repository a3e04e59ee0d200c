//! Leader side: reads what a follower is to get and hands it to the follower's stream.

use super::Command;
use super::task::Task;
use crate::broker::Broker;
use crate::config::PUSH_BYTES;
use crate::streams::LeaderStream;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use yak_core::partition::{Event, StreamId, View};
use yak_protocol::batch;
use yak_protocol::ids::{BrokerId, LeaderEpoch, Offset, SessionId};
use yak_protocol::message::Push;
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
        if from >= below {
            to.push(push, Vec::new());
            self.followups.push_back(Event::Pushed { stream, follower, session, next: from, bytes: 0 });
            return;
        }
        // What was just written is still in memory; only a follower that is behind costs a read.
        if to.has_room()
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
        };
        self.broker.tasks.spawn("push from files", push_from_files(order));
    }
}

async fn push_from_files(order: Order) {
    let Order { broker, stream, follower, push, log, below, view, leader_epoch, commands } = order;
    if !stream.room().await {
        return;
    }
    // Bounds the share of all catching-up followers together.
    let Ok(_permit) = broker.catch_up_reads.acquire().await else { return };
    let from = push.from;
    let read = broker.tasks.blocking("read for a follower", move || log.read(from, PUSH_BYTES, below)).await;
    // A leader that was deposed while this waited may have cut its log since: what was read can be another
    // leader's, and does not continue the follower's log.
    let leads = {
        let view = view.borrow();
        view.leads && view.leader_epoch == leader_epoch
    };
    if !leads {
        return;
    }
    let send = |event| {
        if let Some(commands) = commands.upgrade() {
            let _ = commands.send(Command::Event(event));
        }
    };
    let pushed =
        |next, bytes| Event::Pushed { stream: stream.id, follower, session: push.session, next, bytes };
    match read {
        Some(Ok(batches)) if !batches.is_empty() => {
            let next = end_of(&batches).unwrap_or(from);
            let bytes = stream.push(push, batches);
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
