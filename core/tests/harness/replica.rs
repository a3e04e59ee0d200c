//! A broker's shell, data side: it carries out what the replicas want, and feeds back what came of it.

use super::broker::Job;
use super::disk::{Disk, Report};
use super::ids;
use super::log::{Batch, Change, Log, Op};
use super::net::{ConnId, Message, Place, PublishRequest};
use super::world::World;
use std::collections::BTreeMap;
use std::time::Duration;
use yak_core::partition::{
    BatchHead, DiskOp, Effect, Event, Producers, Replica, ReplicaConfig, Stamped, StreamClass, Ticket, View,
};
use yak_protocol::defaults;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, Offset, PartitionEpoch, SessionId, TopicPartition};
use yak_protocol::message::{Durability, OpenAnswer, ReplicaReport};

/// Batches that one push carries at most.
const PUSH_BATCHES: usize = 3;
/// How many bytes a simulated record has.
const RECORD_BYTES: u64 = 100;

/// Where a publish came from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Asker {
    /// `None` for a script's own publish.
    pub connection: Option<ConnId>,
    pub request: PublishRequest,
}

/// A replica on a broker.
#[derive(Clone, Debug)]
pub struct Hosted {
    pub replica: Replica,
    pub view: View,
    pub tickets: BTreeMap<Ticket, Asker>,
    pub halted: Option<String>,
    /// On which stream the session runs.
    pub class: StreamClass,
}

impl Hosted {
    pub fn report(&self, id: TopicPartition, disk: &Disk) -> ReplicaReport {
        let log = disk.durable(id);
        let promised = log.and_then(|l| l.promise()).map_or_else(Default::default, |(epoch, _)| epoch);
        ReplicaReport {
            id,
            leader_epoch: self.view.leader_epoch.max(promised),
            partition_epoch: self.view.partition_epoch,
            last_epoch: self.view.last_epoch,
            log_end: Offset(log.map_or(0, |l| l.end())),
            high_watermark: self.view.high_watermark.min(Offset(log.map_or(0, |l| l.end()))),
            damaged: log.is_some_and(|l| !l.damaged.is_empty()),
            halted: self.halted.is_some(),
        }
    }
}

pub fn head(batch: &Batch) -> BatchHead {
    BatchHead {
        count: batch.count,
        leader_epoch: yak_protocol::ids::LeaderEpoch(batch.epoch),
        sequence: batch.sequence,
        ids: batch.ids.clone(),
    }
}

/// What a log says of its producers, up to an end.
fn fold(log: &Log, end: u64) -> Producers {
    let mut producers = log.dropped.clone();
    for batch in log.batches().filter(|b| b.end() <= end) {
        if let Some(sequence) = batch.sequence {
            producers.fold(&Stamped { base: Offset(batch.base), count: batch.count, sequence });
        }
    }
    producers
}

impl World {
    /// Makes the machine of a partition, if there is none.
    pub fn host(&mut self, id: BrokerId, partition: TopicPartition) {
        let rules = self.setup.rules;
        let broker = self.broker(id);
        let Some(process) = &mut broker.process else { return };
        if process.hosted.contains_key(&partition) {
            return;
        }
        process.replicas_made += 1;
        let config = ReplicaConfig {
            id: partition,
            broker: id,
            replica_lag_max: defaults::REPLICA_LAG_MAX,
            proposal_retry: defaults::PROPOSAL_RETRY,
            open_park_max: defaults::OPEN_PARK_MAX,
            window_bytes: 8 * RECORD_BYTES,
            sessions_after: SessionId(process.replicas_made << 32),
            rules,
        };
        let recovered = broker.disk.open(partition).recovered();
        let replica = Replica::recover(config, recovered);
        let view = replica.view();
        let hosted =
            Hosted { replica, view, tickets: BTreeMap::new(), halted: None, class: StreamClass::CatchUp };
        process.hosted.insert(partition, hosted);
        self.truth.recovered(id, partition);
    }

    /// Feeds a replica one event; `batches` are the bytes that the event speaks of.
    pub fn step_replica(
        &mut self,
        id: BrokerId,
        partition: TopicPartition,
        event: Event,
        batches: Vec<Batch>,
    ) {
        let now = self.clock(Place::Broker(id));
        let mut effects = Vec::new();
        let tracing = self.tracing;
        let Some(hosted) = self.process(id).and_then(|p| p.hosted.get_mut(&partition)) else { return };
        if tracing && event != Event::Tick {
            println!("          {id:?}/{} <- {event:?}", partition.partition);
        }
        hosted.replica.step(now, event, &mut effects);
        for effect in effects {
            self.trace(|| format!("  {id:?}/{} {effect:?}", partition.partition));
            self.carry_out(id, partition, effect, &batches);
        }
    }

    fn carry_out(&mut self, id: BrokerId, partition: TopicPartition, effect: Effect, batches: &[Batch]) {
        match effect {
            Effect::Disk(seq, op) => {
                if matches!(&op, DiskOp::Append { rewrite: Some(rewrite), .. } if !rewrite.dropped.is_empty())
                {
                    self.coverage.hit("a repeated id is not stored again");
                }
                self.disk_op(id, partition, Op { seq, change: self.change(partition, op, batches) })
            }
            Effect::View(view) => {
                self.broker(id).disk.set_hint(partition, view.high_watermark.0);
                self.observe_view(id, partition, &view);
                if let Some(hosted) = self.process(id).and_then(|p| p.hosted.get_mut(&partition)) {
                    hosted.view = *view;
                }
            }
            Effect::Answer { ticket, outcome } => {
                let hosted = self.process(id).and_then(|p| p.hosted.get_mut(&partition));
                let asker =
                    hosted.and_then(|h| h.tickets.remove(&ticket)).expect("a ticket is answered once");
                self.observe_answer(partition, &asker.request, &outcome);
                if let Some(connection) = asker.connection {
                    let answer = Message::Answer(asker.request.request, Box::new(outcome));
                    self.send(connection, Place::Broker(id), answer);
                }
            }
            Effect::RebuildProducers { end, .. } => self.job(id, Job::Rebuild { id: partition, end }),
            Effect::Repair { leader, from, to } => {
                self.job(id, Job::Repair { id: partition, leader, from, to })
            }
            Effect::ReportDamage { damaged } => self.report_damage(id, partition, damaged),
            Effect::Opened(stream, opened) => {
                if matches!(opened.answer, OpenAnswer::Diverging { .. }) {
                    self.coverage.hit("logs are found to diverge");
                }
                if matches!(opened.answer, OpenAnswer::RestartAt { .. }) {
                    self.coverage.hit("a follower restarts at the leader's log start");
                }
                self.send(ConnId(stream.0), Place::Broker(id), Message::Opened(opened));
            }
            Effect::Push { stream, follower, session, from, high_watermark, log_start } => self.job(
                id,
                Job::Push { id: partition, stream, follower, session, from, high_watermark, log_start },
            ),
            Effect::Propose(proposal) => self.propose(id, proposal),
            Effect::Open { leader, class, open } => {
                let Some(epoch) = self.broker_epoch(id) else { return };
                if let Some(hosted) = self.process(id).and_then(|p| p.hosted.get_mut(&partition)) {
                    hosted.class = class;
                }
                if let Some(stream) = self.stream_to(id, leader, class) {
                    self.send(stream, Place::Broker(id), Message::Open(epoch, open));
                }
            }
            Effect::Ack { leader, ack } => {
                let Some(epoch) = self.broker_epoch(id) else { return };
                if let Some(stream) = self.session_stream(id, leader, partition) {
                    self.send(stream, Place::Broker(id), Message::Ack(epoch, ack));
                }
            }
            Effect::Close { leader, session } => {
                if let Some(stream) = self.session_stream(id, leader, partition) {
                    self.send(stream, Place::Broker(id), Message::Close(partition, session));
                }
            }
            Effect::Remove => self.remove_replica(id, partition),
            Effect::Halt { reason } => {
                self.observe_halt(id, partition, &reason);
                if let Some(hosted) = self.process(id).and_then(|p| p.hosted.get_mut(&partition)) {
                    hosted.halted = Some(reason);
                }
                let damaged = !self.broker(id).disk.open(partition).damaged.is_empty();
                self.report_damage(id, partition, damaged);
            }
        }
    }

    /// R18: the partition has moved away; what was here is deleted, and so is what was under way for it.
    fn remove_replica(&mut self, id: BrokerId, partition: TopicPartition) {
        self.coverage.hit("a copy is deleted after a move");
        self.observe_removal(id, partition);
        let broker = self.broker(id);
        broker.disk.remove(partition, false);
        broker.reports.retain(|(_, of, _)| *of != partition);
        if let Some(process) = &mut broker.process {
            process.hosted.remove(&partition);
            let epochs =
                process.partitions.get(&partition).map(|info| (info.leader_epoch, info.partition_epoch));
            process.moved_away.insert(partition, epochs.unwrap_or_default());
            process.damage_news.retain(|report| report.id != partition);
        }
        self.jobs.retain(|_, pending| pending.broker != id || pending.job.partition() != partition);
    }

    fn change(&self, partition: TopicPartition, op: DiskOp, batches: &[Batch]) -> Change {
        match op {
            DiskOp::Append { base, leader_epoch, rewrite } => {
                let mut batches = batches.to_vec();
                assert_eq!(batches.len(), 1, "an append without the publish that it belongs to");
                batches[0].base = base.0;
                batches[0].epoch = leader_epoch.0;
                batches[0].ids = ids::rewritten(batches[0].ids.take(), rewrite.as_ref());
                Change::Append { base: base.0, batches }
            }
            DiskOp::AppendPushed { base } => Change::Append { base: base.0, batches: batches.to_vec() },
            DiskOp::Truncate { to } => Change::Truncate(to.0),
            DiskOp::Reset { start, epochs } => {
                Change::Reset { start: start.0, epochs, before: self.truth.digest_at(partition, start.0) }
            }
            DiskOp::MoveLogStart { to } => Change::MoveStart(to.0),
            DiskOp::Promise { leader_epoch, leader } => Change::Promise(leader_epoch, leader),
            DiskOp::StartEpoch(start) => Change::StartEpoch(start),
        }
    }

    fn disk_op(&mut self, id: BrokerId, partition: TopicPartition, op: Op) {
        match &op.change {
            Change::Truncate(to) => {
                let end = self.brokers[&id].disk.live(partition).map_or(0, |l| l.end());
                if *to < end {
                    self.coverage.hit("a log is truncated");
                }
            }
            Change::Reset { .. } => self.coverage.hit("a log is set aside"),
            _ => {}
        }
        let due = self.later();
        let broker = self.broker(id);
        if !broker.disk.can_sync() && !broker.disk.can_write() {
            broker.disk_due = due;
        }
        broker.disk.submit(partition, op);
    }

    /// The disk writes a round.
    pub fn disk_write(&mut self, id: BrokerId) {
        let mut due = self.later();
        if self.setup.durability == Durability::Replicated && self.setup.delay_ms > 0 {
            // Nobody waits for this sync, so it comes when it comes.
            due += self.rng.u64(0..500);
        }
        let broker = self.broker(id);
        broker.disk_due = due;
        let reports = broker.disk.write();
        self.disk_reports(id, reports);
    }

    /// The disk syncs the round that it wrote.
    pub fn disk_sync(&mut self, id: BrokerId) {
        let due = self.later();
        let broker = self.broker(id);
        broker.disk_due = due;
        let reports = broker.disk.sync();
        self.disk_reports(id, reports);
    }

    fn disk_reports(&mut self, id: BrokerId, reports: Vec<(TopicPartition, Report)>) {
        for (partition, report) in reports {
            if matches!(report, Report::Written(_)) {
                self.observe_written(id, partition);
            }
            let due = self.later();
            let reports = &mut self.broker(id).reports;
            let due = reports.back().map_or(due, |(last, ..)| due.max(*last));
            reports.push_back((due, partition, report));
        }
    }

    /// A replica hears from its disk.
    pub fn disk_reports_arrive(&mut self, id: BrokerId) {
        let Some((_, partition, report)) = self.broker(id).reports.pop_front() else { return };
        let event = match report {
            Report::Written(seq) => Event::Written(seq),
            Report::Synced(seq) => Event::Synced(seq),
            Report::Failed(seq) => {
                self.coverage.hit("a write fails for lack of space");
                self.broker(id).disk.resume(partition);
                let error = WireError::new(ErrorCode::StorageFull, "no space");
                Event::WriteFailed { seq, error }
            }
        };
        self.step_replica(id, partition, event, Vec::new());
    }

    fn report_damage(&mut self, id: BrokerId, partition: TopicPartition, damaged: bool) {
        let now = self.clock(Place::Broker(id));
        let broker = self.broker(id);
        let Some(process) = &mut broker.process else { return };
        let Some(hosted) = process.hosted.get(&partition) else { return };
        let report = ReplicaReport { damaged, ..hosted.report(partition, &broker.disk) };
        process.damage_news.push(report);
        process.heartbeat_at = now;
        process.care_at = now;
    }

    /// A publish reaches a broker.
    pub fn publish_arrives(&mut self, id: BrokerId, connection: Option<ConnId>, request: PublishRequest) {
        let now = self.clock(Place::Broker(id));
        self.broker(id).tickets += 1;
        let ticket = Ticket(self.brokers[&id].tickets);
        let (mut batch, partition) = (request.batch.clone(), request.id);
        if let Some(ids) = &mut batch.ids {
            ids.time_ms = i64::try_from(now.0).expect("milliseconds");
        }
        let Some(process) = self.process(id) else { return };
        let lease_held = process.registered && now < process.lease_until;
        let event = Event::Publish {
            ticket,
            head: head(&batch),
            acks: request.acks,
            deadline: now + Duration::from_millis(request.timeout_ms),
            lease_held,
        };
        if let Some(hosted) = process.hosted.get_mut(&partition) {
            hosted.tickets.insert(ticket, Asker { connection, request });
            self.step_replica(id, partition, event, vec![batch]);
        } else if let Some(connection) = connection {
            let refused = Err(WireError::new(ErrorCode::UnknownPartition, "no such replica here"));
            self.observe_answer(partition, &request, &refused);
            let answer = Message::Answer(request.request, Box::new(refused));
            self.send(connection, Place::Broker(id), answer);
        }
    }

    /// Does a piece of work that a replica asked for.
    pub fn run_job(&mut self, id: BrokerId, job: Job) {
        match job {
            Job::Push { id: partition, stream, follower, session, from, high_watermark, log_start } => {
                let log = self.brokers[&id].disk.live(partition);
                let end = self.view(id, partition).map_or(0, |v| v.log_end.0);
                let mut batches = log.map_or_else(Vec::new, |l| l.read(from.0, PUSH_BATCHES));
                batches.retain(|b| b.end() <= end);
                let batches =
                    if batches.first().is_some_and(|b| b.base == from.0) { batches } else { Vec::new() };
                if batches.is_empty() {
                    self.look_for_damage(id, partition, from.0);
                }
                let next = Offset(batches.last().map_or(from.0, Batch::end));
                let bytes = next.distance_from(from) * RECORD_BYTES;
                let push = Message::Push { id: partition, session, from, high_watermark, log_start, batches };
                self.send(ConnId(stream.0), Place::Broker(id), push);
                self.step_replica(
                    id,
                    partition,
                    Event::Pushed { stream, follower, session, next, bytes },
                    Vec::new(),
                );
            }
            Job::Rebuild { id: partition, end } => self.rebuild_producers(id, partition, end),
            Job::Repair { id: partition, leader, from, to } => {
                let reachable = self.brokers.get(&leader).is_some_and(|b| b.runs())
                    && !self.net.is_cut(Place::Broker(id), Place::Broker(leader))
                    && !self.net.is_cut(Place::Broker(leader), Place::Broker(id));
                let source = self.brokers.get(&leader).and_then(|b| b.disk.live(partition)).cloned();
                let repaired = reachable
                    && source.is_some_and(|log| self.broker(id).disk.repair(partition, from.0, to.0, &log));
                if repaired {
                    self.coverage.hit("damage is repaired");
                    self.step_replica(id, partition, Event::Repaired { from, to }, Vec::new());
                } else {
                    let due = self.now + 500;
                    self.job(id, Job::Repair { id: partition, leader, from, to });
                    self.jobs.values_mut().next_back().into_iter().for_each(|p| p.due = p.due.max(due));
                }
            }
        }
    }

    /// Folds the log as it is now, up to `end`.
    fn rebuild_producers(&mut self, id: BrokerId, partition: TopicPartition, end: Offset) {
        let Some(log) = self.brokers[&id].disk.live(partition) else { return };
        let (producers, ids) = (fold(log, end.0), ids::fold(log, end.0, 0, self.setup.dedupe_window_ms));
        self.step_replica(id, partition, Event::ProducersRebuilt { producers, ids, end }, Vec::new());
    }

    /// A read got nothing: if that is for damage which nobody knew of, the replica is told.
    pub fn look_for_damage(&mut self, id: BrokerId, partition: TopicPartition, at: u64) {
        let mut found = None;
        self.broker(id).disk.tamper(partition, |log| found = log.notice(at).or(found));
        if let Some((from, to)) = found {
            self.coverage.hit("a read finds damage");
            let event = Event::DamageFound { from: Offset(from), to: Offset(to) };
            self.step_replica(id, partition, event, Vec::new());
        }
    }

    /// What a replica knows of its producers and of ids is the fold of its log (I12).
    pub fn check_producers(&mut self) {
        let hosted =
            self.brokers.iter().filter_map(|(id, broker)| Some((*id, broker, broker.process.as_ref()?)));
        let mut broken = Vec::new();
        for (id, broker, process) in hosted {
            for (partition, hosted) in &process.hosted {
                let Some((known, known_ids)) = hosted.replica.producers() else { continue };
                let log = broker.disk.live(*partition).expect("hosted logs are open");
                let (start, end) = (hosted.view.log_start.0, hosted.view.log_end.0);
                if *known != fold(log, end) {
                    broken.push(format!("{id:?} {partition:?}: {known:?}\n{log:?}"));
                }
                let folded = ids::fold(log, end, start, self.setup.dedupe_window_ms);
                if !known_ids.iter().eq(folded.iter()) {
                    broken.push(format!("{id:?} {partition:?}: {known_ids:?}\n{folded:?}\n{log:?}"));
                }
            }
        }
        broken.into_iter().for_each(|text| self.truth.violate("I12", text));
    }

    /// What the broker's replica of a partition shows.
    pub fn view(&self, id: BrokerId, partition: TopicPartition) -> Option<&View> {
        self.brokers[&id].process.as_ref()?.hosted.get(&partition).map(|h| &h.view)
    }

    pub fn partition_epoch(&self, id: BrokerId, partition: TopicPartition) -> Option<PartitionEpoch> {
        self.view(id, partition).map(|v| v.partition_epoch)
    }
}
