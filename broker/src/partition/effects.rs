//! Carries out what the machine wants done, in the order in which it wants it.

use super::Command;
use super::disk::log_op;
use super::task::{Carried, Task};
use crate::broker::Broker;
use crate::config::{DAMAGE_PATIENCE, REPAIR_RETRY};
use crate::coordinator_link::ReplicaTrouble;
use crate::producers::{self, Damage, Snapshots};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use yak_core::partition::{DiskOp, Effect, Event, StreamClass, Ticket, View};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, Offset};
use yak_protocol::message::{Acked, Open};
use yak_protocol::text::Value;
use yak_storage::Log;

impl Task {
    pub(super) fn carry_out(&mut self, effect: Effect, carried: &mut Carried) {
        match effect {
            Effect::Disk(seq, op) => {
                if let Some(memory) = carried.memory.take() {
                    self.unwritten.push_back((seq, memory));
                }
                // A leader pushes what is written. A follower acknowledges what is synced, and needs to hear of
                // that only, unless its topic asks for less.
                let appends = matches!(op, DiskOp::Append { .. });
                if appends {
                    self.broker.counters.published_records.add(carried.records.into());
                    self.broker.counters.published_bytes.add(carried.batches.len() as u64);
                }
                if self.kept_when_written || appends {
                    self.awaited.note(seq);
                }
                match op {
                    DiskOp::Append { .. } | DiskOp::AppendPushed { .. } => {
                        self.snapshots.appended(carried.batches.len());
                    }
                    DiskOp::Truncate { .. } => self.cut = Some(seq),
                    DiskOp::MoveLogStart { .. } => self.trims.moved(seq),
                    _ => {}
                }
                self.log.submit(seq.0, log_op(op, &carried.batches));
            }
            Effect::View(view) => self.show(*view),
            Effect::Answer { ticket, outcome } => self.answer(ticket, outcome),
            Effect::RebuildProducers { end, dedupe_window_ms } => {
                self.rebuild_producers(end, dedupe_window_ms)
            }
            Effect::Repair { leader, from, to } => self.repair(leader, from, to),
            Effect::ReportDamage { damaged } => {
                if damaged {
                    self.broker.observer.events.note("damage", format!("{}: a part of the log", self.name()));
                }
                self.report_trouble(damaged);
            }
            Effect::Opened(stream, opened) => self.broker.leader_streams.opened(stream, opened),
            Effect::Push { stream, follower, session, from, high_watermark, log_start } => {
                self.push(stream, follower, session, from, high_watermark, log_start);
            }
            Effect::Propose(proposal) => self.broker.link.propose(proposal),
            Effect::Open { leader, class, open } => self.open(leader, class, open),
            Effect::Ack { leader, ack } => {
                if let Some(class) = self.class_at(leader) {
                    self.broker.follower_streams.ack(leader, class, ack);
                }
            }
            Effect::Close { leader, session } => {
                if let Some(class) = self.class_at(leader) {
                    self.broker.follower_streams.close(leader, class, self.id, session);
                }
            }
            Effect::Remove => {
                let text = format!("{} has moved away; its copy here is deleted", self.name());
                self.broker.observer.events.note("move", text);
                let info = self.broker.cluster.partition(self.id);
                let epochs = info.map(|info| (info.leader_epoch, info.partition_epoch));
                self.broker.link.remove(self.id, epochs.unwrap_or_default());
            }
            Effect::Halt { reason } => {
                tracing::error!(partition = %self.name(), reason, "the replica has stopped itself; an operator must look");
                self.broker
                    .observer
                    .events
                    .note("halt", format!("{} has stopped itself: {reason}", self.name()));
                self.halted = true;
                self.report_trouble(!self.log.damaged().is_empty());
            }
        }
    }

    fn report_trouble(&self, damaged: bool) {
        self.broker.link.report_trouble(self.id, ReplicaTrouble { damaged, halted: self.halted });
    }

    fn show(&mut self, view: View) {
        if self.stream.is_some_and(|(leader, _)| view.leader != Some(leader)) {
            self.leave_stream();
        }
        let before = self.view.borrow().clone();
        if before.high_watermark != view.high_watermark {
            self.log.set_high_watermark_hint(view.high_watermark);
        }
        if (before.leads, before.leader_epoch) != (view.leads, view.leader_epoch) {
            tracing::info!(
                partition = %self.name(), leads = view.leads, leader = ?view.leader,
                leader_epoch = view.leader_epoch.0, log_end = view.log_end.0, "the leader changed"
            );
        }
        self.note_changes(&before, &view);
        if before.trouble != view.trouble
            && let Some(trouble) = &view.trouble
        {
            tracing::debug!(partition = %self.name(), trouble, "trouble");
        }
        self.view.send_replace(Arc::new(view));
    }

    /// What people want to be told of.
    fn note_changes(&self, before: &View, view: &View) {
        let events = &self.broker.observer.events;
        let epoch = view.leader_epoch;
        if before.leader_epoch != epoch {
            self.broker.counters.elections.add(1);
        }
        if view.leads && (!before.leads || before.leader_epoch != epoch) {
            let (end, isr) = (view.log_end, Value::from(view.isr.clone()));
            let text = format!("leads {} in epoch {epoch}, log end {end}, ISR {isr}", self.name());
            events.note("leader", text);
        } else if before.leads && !view.leads {
            let now = match view.leader {
                Some(leader) => format!("broker {leader} does in epoch {epoch}"),
                None => "nobody does".to_owned(),
            };
            events.note("leader", format!("leads {} no longer: {now}", self.name()));
        }
        if view.leads && before.leads && before.isr != view.isr {
            self.broker.counters.isr_changes.add(1);
            let (old, new) = (Value::from(before.isr.clone()), Value::from(view.isr.clone()));
            events.note("isr", format!("{}: {old} became {new}", self.name()));
        }
    }

    fn answer(&mut self, ticket: Ticket, outcome: Result<Acked, WireError>) {
        let Some(answer) = self.waiting.remove(&ticket) else { return };
        answer.send(outcome.map_err(|error| self.with_leader(error)));
    }

    /// A refusal for want of leadership says who leads; the machine knows numbers only.
    fn with_leader(&self, error: WireError) -> WireError {
        if error.code == ErrorCode::NotLeader && error.leader.is_none() {
            return self.broker.not_leader(self.id);
        }
        error
    }

    fn rebuild_producers(&mut self, end: Offset, dedupe_window_ms: u64) {
        let stop = CancellationToken::new();
        self.rebuilding = Some(stop.clone().drop_guard());
        let work = rebuild_producers(Rebuild {
            snapshots: self.snapshots.clone(),
            broker: self.broker.clone(),
            name: self.name(),
            log: self.log.clone(),
            view: self.view.subscribe(),
            commands: self.commands.clone(),
            end,
            dedupe_window_ms,
        });
        self.broker.tasks.spawn("rebuild producers", async move {
            let _ = stop.run_until_cancelled_owned(work).await;
        });
    }

    fn repair(&mut self, leader: BrokerId, from: Offset, to: Offset) {
        let order = crate::repair::Order {
            id: self.id,
            leader,
            leader_epoch: self.view.borrow().leader_epoch,
            from,
            to,
        };
        self.repairs.start(&self.broker, order, self.log.clone(), self.commands.clone());
    }

    fn open(&mut self, leader: BrokerId, class: StreamClass, open: Open) {
        if self.stream != Some((leader, class)) {
            self.leave_stream();
            self.stream = Some((leader, class));
        }
        self.broker.follower_streams.open(&self.broker, leader, class, self.commands.clone(), open);
    }

    fn class_at(&self, leader: BrokerId) -> Option<StreamClass> {
        self.stream.filter(|(at, _)| *at == leader).map(|(_, class)| class)
    }

    pub(super) fn leave_stream(&mut self) {
        if let Some((leader, class)) = self.stream.take() {
            self.broker.follower_streams.leave(leader, class, self.id);
        }
    }
}

struct Rebuild {
    broker: Arc<Broker>,
    name: String,
    log: Log,
    view: watch::Receiver<Arc<View>>,
    commands: mpsc::WeakUnboundedSender<Command>,
    snapshots: Snapshots,
    end: Offset,
    dedupe_window_ms: u64,
}

/// Folds the log until it succeeds. A damaged range is usually repaired within moments; a replica that
/// leads in spite of it is the only one left, and goes on without the range.
async fn rebuild_producers(rebuild: Rebuild) {
    let Rebuild { broker, name, log, view, commands, snapshots, end, dedupe_window_ms } = rebuild;
    let began = Instant::now();
    loop {
        let alone = view.borrow().leads && began.elapsed() >= DAMAGE_PATIENCE;
        let damage = if alone { Damage::Skip } else { Damage::Fail };
        let log = log.clone();
        let built = move || producers::rebuild(&log, end, dedupe_window_ms, damage);
        match broker.tasks.blocking("rebuild producers", built).await {
            Some(Ok(folded)) => {
                tracing::debug!(partition = name, batches = folded.batches, "read back the producers");
                snapshots.folded(&folded);
                let producers::Folded { producers, ids, .. } = folded;
                if let Some(commands) = commands.upgrade() {
                    let _ = commands.send(Command::Event(Event::ProducersRebuilt { producers, ids, end }));
                }
                return;
            }
            Some(Err(error)) => {
                tracing::warn!(partition = name, %error, "the producers cannot be read from the log yet");
            }
            None => return,
        }
        tokio::time::sleep(REPAIR_RETRY).await;
    }
}
