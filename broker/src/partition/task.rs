//! The loop where a partition's commands, its disk, its streams and its clock meet.

use super::disk::Awaited;
use super::pushes::throttled;
use super::trims::Trims;
use super::{Command, Publish, TrimAnswer};
use crate::broker::Broker;
use crate::clock;
use crate::config::{
    COMMANDS_AT_ONCE, PRODUCERS_SNAPSHOT_BYTES, PRODUCERS_SNAPSHOT_BYTES_STOP, PUBLISHES_PENDING_MAX,
};
use crate::producers::{Snapshot, Snapshots};
use crate::repair::Repairs;
use crate::requests::PublishAnswer;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::DropGuard;
use yak_core::partition::{Effect, Event, Now, OpSeq, Replica, StreamClass, Ticket, View};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, Offset, TopicPartition};
use yak_protocol::message::{Acks, Durability};
use yak_storage::Log;

/// A partition's task: the machine and everything that it needs to carry out effects.
pub(super) struct Task {
    pub(super) id: TopicPartition,
    pub(super) broker: Arc<Broker>,
    pub(super) replica: Replica,
    pub(super) log: Log,
    pub(super) view: watch::Sender<Arc<View>>,
    /// To itself, for what runs beside it (reads, repairs). Weak, so that the task ends when told.
    pub(super) commands: mpsc::WeakUnboundedSender<Command>,
    /// Publishes that wait for their answer.
    pub(super) waiting: BTreeMap<Ticket, PublishAnswer>,
    pub(super) last_ticket: u64,
    /// Memory of batches that have not been written yet, in the order of their operations.
    pub(super) unwritten: VecDeque<(OpSeq, OwnedSemaphorePermit)>,
    pub(super) awaited: Awaited,
    /// Whether the topic's durability counts what is written (rule R2).
    pub(super) kept_when_written: bool,
    /// Events that effects caused, to be taken before anything else.
    pub(super) followups: VecDeque<Event>,
    /// The leader's stream that this partition is on, as follower.
    pub(super) stream: Option<(BrokerId, StreamClass)>,
    /// The replicas that it moves to, and how many bytes a second they get until they are in sync.
    pub(super) throttled: Option<(Vec<BrokerId>, u64)>,
    pub(super) repairs: Repairs,
    pub(super) snapshots: Snapshots,
    /// The last truncation that is not synced yet: it may find damage.
    pub(super) cut: Option<OpSeq>,
    /// Moves of the log start on their way to the disk.
    pub(super) trims: Trims,
    /// Ends the fold of the producers that is under way.
    pub(super) rebuilding: Option<DropGuard>,
    /// Whether the replica has stopped itself.
    pub(super) halted: bool,
    pub(super) effects: Vec<Effect>,
}

/// What comes with the event at hand.
#[derive(Default)]
pub(super) struct Carried {
    pub(super) batches: Bytes,
    pub(super) memory: Option<OwnedSemaphorePermit>,
    /// How many records a publish carries.
    pub(super) records: u32,
}

impl Task {
    /// Runs until told to stop, or until nobody can tell it anything any more.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut taken = Vec::with_capacity(COMMANDS_AT_ONCE);
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        let mut armed: Option<Now> = None;
        loop {
            self.arm(timer.as_mut(), &mut armed);
            tokio::select! {
                biased;
                count = commands.recv_many(&mut taken, COMMANDS_AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                    let now = clock::now();
                    for command in taken.drain(..) {
                        if let Command::Stop(done) = command {
                            self.stop(now).await;
                            drop(self);
                            let _ = done.send(());
                            return;
                        }
                        self.take(now, command);
                    }
                }
                () = &mut timer, if armed.is_some() => {
                    armed = None;
                    self.step(clock::now(), Event::Tick, Carried::default());
                }
            }
        }
    }

    /// Arms the timer only when the deadline came nearer: a publish that is answered moves it away,
    /// and then an early tick is cheaper than setting the timer for every publish.
    fn arm(&self, timer: std::pin::Pin<&mut Sleep>, armed: &mut Option<Now>) {
        let Some(deadline) = self.replica.next_deadline() else { return };
        if armed.is_none_or(|armed| deadline < armed) {
            timer.reset(Instant::now() + clock::until(deadline));
            *armed = Some(deadline);
        }
    }

    fn take(&mut self, now: Now, command: Command) {
        match command {
            Command::Publish(publish) => self.publish(now, publish),
            Command::Event(event) => {
                self.note(&event);
                let moved = self.settle_trims(&event);
                self.step(now, event, Carried::default());
                // What has gone from the log can be read back no more.
                let after_bytes = if moved { 0 } else { PRODUCERS_SNAPSHOT_BYTES };
                if let Some(save) = self.snapshot_due(after_bytes) {
                    self.broker.tasks.spawn("save producers", save);
                }
            }
            Command::Push(event, batches) => self.step(now, event, Carried { batches, ..Carried::default() }),
            Command::Trim { to, answer } => self.trim(now, to, answer),
            Command::Explain(told) => {
                // Whoever wanted to know may have gone.
                let _ = told.send(self.replica.explain(now));
            }
            Command::Stop(_) => unreachable!("the loop takes it"),
        }
    }

    fn publish(&mut self, now: Now, publish: Publish) {
        let Publish { batch, head, acks, deadline, lease_held, only_in, answer, memory } = publish;
        if only_in.is_some_and(|epoch| epoch != self.view.borrow().leader_epoch) {
            if let Some(answer) = answer {
                answer.send(Err(self.broker.not_leader(self.id)));
            }
            return;
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        if self.waiting.len() >= PUBLISHES_PENDING_MAX {
            if let Some(answer) = answer {
                answer.send(Err(WireError::new(
                    ErrorCode::Overloaded,
                    format!("{PUBLISHES_PENDING_MAX} publishes wait in this partition; nothing was written"),
                )));
            }
            return;
        }
        if let Some(answer) = answer
            && acks != Acks::None
        {
            self.waiting.insert(ticket, answer);
        }
        let carried = Carried { batches: batch, memory: Some(memory), records: head.count };
        let event = Event::Publish { ticket, head, acks, deadline, lease_held };
        self.step(now, event, carried);
    }

    fn trim(&mut self, now: Now, to: Offset, answer: Option<TrimAnswer>) {
        if !self.view.borrow().leads {
            if let Some(answer) = answer {
                let _ = answer.send(Err(self.broker.not_leader(self.id)));
            }
            return;
        }
        self.step(now, Event::Trim { to }, Carried::default());
        if let Some(answer) = answer {
            let log_start = self.view.borrow().log_start;
            self.trims.wait(answer, log_start);
        }
    }

    /// Answers those who wait for a new log start; whether the last one that was asked for is on disk now.
    fn settle_trims(&mut self, event: &Event) -> bool {
        match event {
            Event::Synced(seq) => {
                let log_start = self.view.borrow().log_start;
                self.trims.synced(*seq, log_start)
            }
            Event::WriteFailed { seq, error } => {
                self.trims.failed(*seq, error);
                false
            }
            _ => false,
        }
    }

    /// What an event means to the shell itself: the memory of what has been written, or has failed, is given
    /// back.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Metadata { durability, info, .. } => {
                self.kept_when_written = *durability == Durability::Replicated;
                self.throttled = throttled(info);
            }
            Event::Written(seq) => {
                while self.unwritten.front().is_some_and(|(unwritten, _)| unwritten <= seq) {
                    self.unwritten.pop_front();
                }
            }
            Event::WriteFailed { .. } => {
                self.unwritten.clear();
                self.broker.look_at_disk();
                // What is submitted from here on takes the failure into account.
                self.log.resume();
            }
            Event::Synced(seq) if self.cut.is_some_and(|cut| cut <= *seq) => {
                self.cut = None;
                let found = self.log.damaged().into_iter();
                self.followups.extend(found.map(|(from, to)| Event::DamageFound { from, to }));
            }
            Event::Repaired { from, to } => self.repairs.done(*from, *to),
            _ => {}
        }
    }

    /// One event, and all that follows from it here.
    pub(super) fn step(&mut self, now: Now, event: Event, mut carried: Carried) {
        let mut effects = std::mem::take(&mut self.effects);
        self.replica.step(now, event, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(effect, &mut carried);
        }
        while let Some(event) = self.followups.pop_front() {
            self.replica.step(now, event, &mut effects);
            for effect in effects.drain(..) {
                self.carry_out(effect, &mut Carried::default());
            }
        }
        self.effects = effects;
    }

    /// Saves a snapshot of the producers if so many bytes were appended since the last one.
    fn snapshot_due(&mut self, after_bytes: usize) -> Option<impl Future<Output = ()> + Send + use<>> {
        if !self.snapshots.due(after_bytes) {
            return None;
        }
        let (producers, ids) = self.replica.producers()?;
        let snapshot = Snapshot::of(producers, ids);
        self.snapshots.taken();
        let (log, end, tasks) = (self.log.clone(), self.replica.view().log_end, self.broker.tasks.clone());
        // Nothing that is folded waits for a cut: one that comes later makes the snapshot void.
        let generation = log.generation();
        Some(async move {
            let save = move || crate::producers::save(&log, end, &snapshot, generation);
            tasks.blocking("save producers", save).await;
        })
    }

    async fn stop(&mut self, now: Now) {
        self.step(now, Event::ShuttingDown, Carried::default());
        self.leave_stream();
        if let Some(save) = self.snapshot_due(PRODUCERS_SNAPSHOT_BYTES_STOP) {
            save.await;
        }
    }

    pub(super) fn name(&self) -> String {
        self.broker.cluster.name_of(self.id)
    }
}
