//! What must be true, whatever happens: the invariants of docs/REPLICATION.md, checked after every step by
//! somebody who sees all disks and all views at once.

use super::broker::Broker;
use super::ids::{self, CommittedIds};
use super::log::{Batch, Change, Log};
use super::net::PublishRequest;
use super::world::World;
use std::collections::{BTreeMap, BTreeSet};
use yak_core::cluster::{Effect, Record, Reply};
use yak_core::partition::View;
use yak_protocol::error::{Action, WireError};
use yak_protocol::ids::{BrokerEpoch, BrokerId, CoordinatorEpoch, Incarnation, LeaderEpoch, TopicPartition};
use yak_protocol::message::{Acked, Acks, Durability, PartitionInfo};

/// A broken promise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Violation {
    /// `I1` to `I12`, or the name of an anomaly.
    pub invariant: &'static str,
    pub text: String,
}

/// What has been promised so far.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub violations: Vec<Violation>,
    /// Everything that was ever below a leader's high watermark.
    committed: BTreeMap<TopicPartition, Log>,
    /// Producer ids that were given out, as ranges: from where to where.
    producer_ids: BTreeMap<i64, i64>,
    /// Who led in an epoch.
    leaders: BTreeMap<(TopicPartition, LeaderEpoch), (BrokerId, Incarnation)>,
    /// What was written at an offset in an epoch.
    written: BTreeMap<(TopicPartition, u32, u64), Batch>,
    /// How far a broker's log has been looked at: end and digest.
    seen: BTreeMap<(BrokerId, TopicPartition), (u64, u64)>,
    /// Where a producer's batch is committed.
    sequences: BTreeMap<(TopicPartition, i64, i16, i32), u64>,
    pub(super) ids: CommittedIds,
    /// Values that were definitely refused.
    refused: BTreeSet<u64>,
    /// Values that were acknowledged by all, with partition and offset.
    acked: BTreeMap<u64, (TopicPartition, Option<u64>)>,
    sessions: BTreeMap<BrokerId, BrokerEpoch>,
    coordinator_epochs: BTreeMap<BrokerId, CoordinatorEpoch>,
    promises: BTreeMap<(BrokerId, TopicPartition), (LeaderEpoch, BrokerId)>,
    /// Disks have lost data in this run, so fewer members than `min_isr` may be left.
    pub disks_lost: bool,
    /// Copies of acknowledged records that a lost disk may have taken with it.
    pub copies_lost: usize,
    /// What was in copies that were deleted because their partition had moved away (R18). A leader may count them
    /// among those that have a record until it hears of the move's end; for `min_isr` they do not count.
    moved_away: BTreeMap<(BrokerId, TopicPartition), Vec<Log>>,
    /// What a script does not look at: the coordinator has lost its journal, say.
    pub ignored: BTreeSet<&'static str>,
    /// Halts are expected: a script brings the replica to it.
    pub halts: Vec<String>,
}

impl Truth {
    pub fn violate(&mut self, invariant: &'static str, text: String) {
        if !self.ignored.contains(invariant) && self.violations.len() < 20 {
            self.violations.push(Violation { invariant, text });
        }
    }

    pub fn committed(&self, id: TopicPartition) -> Option<&Log> {
        self.committed.get(&id)
    }

    pub fn committed_end(&self, id: TopicPartition) -> u64 {
        self.committed.get(&id).map_or(0, Log::end)
    }

    /// The digest of the committed log up to an offset.
    pub fn digest_at(&self, id: TopicPartition, offset: u64) -> u64 {
        self.committed.get(&id).and_then(|log| log.digest_at(offset)).unwrap_or(0)
    }

    pub fn acked(&self) -> usize {
        self.acked.len()
    }

    pub fn is_acked(&self, value: u64) -> bool {
        self.acked.contains_key(&value)
    }

    /// A producer was told, or concluded, that a value was not and will not be written.
    pub fn definitely_refused(&mut self, id: TopicPartition, value: u64) {
        self.refused.insert(value);
        let there = self.committed.get(&id).is_some_and(|log| log.batches().any(|b| b.value == value));
        if there {
            self.violate("G1a", format!("{id:?}: value {value} was refused, and is committed"));
        }
    }

    /// A log was read anew after a restart.
    pub fn recovered(&mut self, broker: BrokerId, id: TopicPartition) {
        self.seen.remove(&(broker, id));
    }

    /// A disk was replaced: what its broker had promised is forgotten with it.
    pub fn forget_disk(&mut self, broker: BrokerId) {
        self.disks_lost = true;
        self.promises.retain(|(of, _), _| *of != broker);
        self.coordinator_epochs.remove(&broker);
        self.seen.retain(|(of, _), _| *of != broker);
    }

    fn commit(&mut self, id: TopicPartition, batch: &Batch) {
        if self.refused.contains(&batch.value) {
            self.violate("G1a", format!("{id:?}: {batch:?} was refused, and is committed"));
        }
        if let Some(s) = batch.sequence {
            let key = (id, s.producer.0, s.epoch.0, s.base);
            if let Some(other) = self.sequences.insert(key, batch.base) {
                self.violate("I11", format!("{id:?}: {s:?} is committed at {other} and at {}", batch.base));
            }
        }
        let fits = self
            .committed
            .entry(id)
            .or_default()
            .apply(&Change::Append { base: batch.base, batches: vec![batch.clone()] });
        assert!(fits, "the committed log has no gaps");
    }
}

impl World {
    /// A leader or follower shows a new view.
    pub fn observe_view(&mut self, broker: BrokerId, id: TopicPartition, view: &View) {
        let Some(old) = self.view(broker, id).cloned() else { return };
        let Some(incarnation) = self.incarnation(broker) else { return };
        let who = format!("{broker:?} {id:?}");
        self.truth.ids.log_starts_at(id, view.log_start.0);
        if view.leader_epoch < old.leader_epoch || view.partition_epoch < old.partition_epoch {
            self.truth.violate("I9", format!("{who}: epochs go back: {old:?} -> {view:?}"));
        }
        if view.leads {
            let known = *self.truth.leaders.entry((id, view.leader_epoch)).or_insert((broker, incarnation));
            if known != (broker, incarnation) {
                let text = format!("{id:?} {:?}: led by {known:?} and by {broker:?}", view.leader_epoch);
                self.truth.violate("I7", text);
            }
            if old.leads && old.leader_epoch == view.leader_epoch && view.high_watermark < old.high_watermark
            {
                self.truth.violate("I3", format!("{who}: the watermark goes back: {old:?} -> {view:?}"));
            }
        }
        if view.leads != old.leads || view.high_watermark != old.high_watermark {
            self.observe_watermark(broker, id, view);
        }
    }

    /// Everything below a leader's watermark is committed; a follower's watermark claims the same.
    fn observe_watermark(&mut self, broker: BrokerId, id: TopicPartition, view: &View) {
        let mark = view.high_watermark.0;
        let Some(log) = self.brokers[&broker].disk.live(id).cloned() else { return };
        let end = self.truth.committed_end(id);
        let who = format!("{broker:?} {id:?}");
        let digest = self.truth.committed(id).and_then(|c| c.digest_at(mark.min(end)));
        match digest.or_else(|| (end == 0).then_some(0)) {
            None => self.truth.violate("I3", format!("{who}: watermark {mark} inside a committed batch")),
            Some(digest) if mark.min(end) <= log.end() && !log.agrees(mark.min(end), digest) => {
                let text = format!("{who}: below {} is not what was committed\n{log:?}", mark.min(end));
                self.truth.violate(if view.leads { "I2" } else { "I3" }, text);
                return;
            }
            Some(_) => {}
        }
        if !view.leads {
            if mark > end {
                self.truth.violate(
                    "I3",
                    format!("{who}: a follower's watermark {mark} is above what is committed, {end}"),
                );
            }
            return;
        }
        if mark > log.end() {
            self.truth.violate("I3", format!("{who}: watermark {mark} above the written end {}", log.end()));
        }
        for batch in log.batches().filter(|b| b.base >= end && b.end() <= mark) {
            if self.truth.committed_end(id) != batch.base {
                let text = format!("{who}: {batch:?} does not continue the committed log");
                self.truth.violate("I2", text);
                return;
            }
            self.truth.commit(id, batch);
            self.truth.commit_ids(id, batch, self.setup.dedupe_window_ms);
        }
    }

    /// A round was written: same epoch and offset, same bytes.
    pub fn observe_written(&mut self, broker: BrokerId, id: TopicPartition) {
        let Some(log) = self.brokers[&broker].disk.live(id).cloned() else { return };
        let from = match self.truth.seen.get(&(broker, id)) {
            Some((end, digest)) if log.digest_at(*end) == Some(*digest) => *end,
            _ => 0,
        };
        for batch in log.batches().filter(|b| b.base >= from) {
            let key = (id, batch.epoch, batch.base);
            let known = self.truth.written.entry(key).or_insert_with(|| batch.clone());
            if known != batch {
                let text = format!("{broker:?} {id:?}: {batch:?} where elsewhere is {known:?}");
                self.truth.violate("I8", text);
            }
        }
        if let Some(digest) = log.digest_at(log.end()) {
            self.truth.seen.insert((broker, id), (log.end(), digest));
        }
    }

    /// A publish is answered.
    pub fn observe_answer(
        &mut self,
        id: TopicPartition,
        request: &PublishRequest,
        outcome: &Result<Acked, WireError>,
    ) {
        let value = request.batch.value;
        match outcome {
            Err(error) => {
                if error.code.action() != Action::Unknown && !request.can_be_sent_again() {
                    self.truth.definitely_refused(id, value);
                }
            }
            Ok(acked) if request.acks == Acks::All => {
                let offset = acked.offset.map(|o| o.0);
                let has = |log: &Log| match offset {
                    _ if request.batch.ids.is_some() => ids::has_all(log, &request.batch, acked),
                    // Retention may have dropped it since; only what is committed goes.
                    Some(offset) if offset < log.start() => true,
                    Some(offset) => {
                        log.batch_at(offset).is_some_and(|b| b.value == value && b.base == offset)
                    }
                    None => log.batches().any(|b| b.value == value),
                };
                if !self.truth.committed(id).is_some_and(has) {
                    self.truth.violate(
                        "I10",
                        format!("{id:?}: {request:?} acknowledged at {offset:?}, which is not committed"),
                    );
                }
                let kept = |b: &&Broker| self.kept(b, id).is_some_and(has);
                let left =
                    |b: &&Broker| self.truth.moved_away.get(&(b.id, id)).is_some_and(|l| l.iter().any(has));
                let copies = self.brokers.values().filter(kept).count() + self.truth.copies_lost;
                let left = self.brokers.values().filter(|b| !kept(b) && left(b)).count();
                // An old journal may lack a lower `min_isr` that the leader was told of.
                let told = self.brokers.keys().filter_map(|b| self.view(*b, id));
                let told = told.filter(|v| v.leads && v.leader_epoch == acked.leader_epoch);
                let record = self.record(id).map_or(1, |r| r.min_isr as usize);
                let least = told.map(|v| v.min_isr as usize).fold(record, usize::min);
                if copies < least || copies + left < acked.replicas as usize {
                    let text = format!(
                        "{id:?}: {request:?} acknowledged as {acked:?} with {copies} copies, least {least}"
                    );
                    self.truth.violate("I10", text);
                }
                self.truth.acked.insert(value, (id, offset));
            }
            Ok(_) => {}
        }
    }

    /// A copy is about to be deleted because its partition has moved away (R18).
    pub fn observe_removal(&mut self, broker: BrokerId, id: TopicPartition) {
        // It may be to hold it again by now, from nothing; but nobody may count on what it deletes.
        let counts = |record: &PartitionInfo| record.isr.contains(&broker) || record.elr.contains(&broker);
        if self.record(id).is_none_or(counts) {
            self.truth.violate("I13", format!("{broker:?} deletes its copy of {id:?}, which counts"));
        }
        if let Some(log) = self.kept(&self.brokers[&broker], id).cloned() {
            self.truth.moved_away.entry((broker, id)).or_default().push(log);
        }
        // What it promised goes with the copy that it promised for.
        self.truth.promises.remove(&(broker, id));
        self.truth.seen.remove(&(broker, id));
    }

    /// On an old journal who deleted a copy may count again: like one whose disk was lost, it is heard first.
    pub fn forget_removals(&mut self) {
        for broker in self.truth.moved_away.keys().map(|(broker, _)| *broker).collect::<Vec<_>>() {
            self.broker(broker).tainted = true;
        }
    }

    /// Producer ids go out.
    pub fn observe_producer_ids(&mut self, effect: &Effect) {
        let Effect::Reply(_, Ok(Reply::RegisterBroker(reply))) = effect else { return };
        let (from, to) =
            (reply.producer_ids_from, reply.producer_ids_from + i64::from(reply.producer_ids_count));
        let before = self.truth.producer_ids.range(..to).next_back().map(|(_, end)| *end);
        if before.is_some_and(|end| end > from) {
            self.truth.violate("I11", format!("producer ids from {from} to {to} are given out again"));
        }
        self.truth.producer_ids.insert(from, to);
    }

    pub fn observe_session(&mut self, broker: BrokerId, epoch: BrokerEpoch, resumed: bool) {
        let old = self.truth.sessions.insert(broker, epoch).unwrap_or_default();
        if epoch < old || (epoch == old && !resumed) {
            self.truth.violate("I9", format!("{broker:?}: broker epoch {old:?} -> {epoch:?}"));
        }
    }

    pub fn observe_halt(&mut self, broker: BrokerId, id: TopicPartition, reason: &str) {
        self.coverage.hit("a replica halts");
        self.truth.halts.push(format!("{broker:?} {id:?}: {reason}"));
    }

    /// The coordinator journals a record.
    pub fn observe_record(&mut self, record: &Record) {
        if let Record::Fence { id, fenced: false, .. } = record {
            // From here on what is said of its replicas is true of what it has now.
            self.broker(*id).tainted = false;
        }
        let Record::Partition(new) = record else { return };
        let old = self.record(new.id).cloned();
        if new.isr.iter().any(|b| new.elr.contains(b)) {
            self.truth.violate("I6", format!("ISR and ELR overlap: {new:?}"));
        }
        if !new.recovering && new.isr.len() >= new.min_isr as usize && !new.elr.is_empty() {
            self.truth.violate("I6", format!("an ELR beside a full ISR: {new:?}"));
        }
        let Some(old) = old else { return };
        self.observe_succession(&old, new);
    }

    fn observe_succession(&mut self, old: &PartitionInfo, new: &PartitionInfo) {
        let members = |info: &PartitionInfo| info.isr.len() + info.elr.len();
        if members(new) < members(old) && members(new) < new.min_isr as usize && !self.truth.disks_lost {
            self.truth.violate("I6", format!("fewer than min_isr candidates are left: {old:?} -> {new:?}"));
        }
        if new.leader_epoch < old.leader_epoch || new.partition_epoch <= old.partition_epoch {
            self.truth.violate("I9", format!("the journal goes back: {old:?} -> {new:?}"));
        }
        if new.leader != old.leader && new.leader.is_some() {
            self.coverage.hit("a leader is elected");
            if new.leader.is_some_and(|l| old.elr.contains(&l) && !old.isr.contains(&l)) {
                self.coverage.hit("a leader is elected from the ELR");
            }
        }
        let gone = |id: &BrokerId| !new.replicas.contains(id);
        if old.isr.iter().chain(&old.elr).any(gone) && new.isr.len() < new.min_isr as usize {
            self.truth.violate("I13", format!("replicas go that are missed: {old:?} -> {new:?}"));
        }
        if let (Some(moving), None) = (&old.moving, &new.moving) {
            let back = new.replicas == moving.from;
            self.coverage.hit(if back { "a move is cancelled" } else { "a move is completed" });
            if old.leader.as_ref().is_some_and(gone) {
                self.coverage.hit("a leader moves away");
            }
        }
        if new.leader.is_none() && old.leader.is_some() {
            self.coverage.hit("a partition is left without a leader");
        }
        if old.isr.iter().any(|b| !new.isr.contains(b)) {
            self.coverage.hit("an ISR shrinks");
        }
        if new.isr.iter().any(|b| !old.isr.contains(b)) {
            self.coverage.hit("an ISR grows");
        }
        if new.recovering && !old.recovering {
            self.coverage.hit("a partition waits for its coordinator to be rebuilt");
        }
    }

    /// What of a broker's log counts as kept, by the topic's durability.
    fn kept<'a>(&self, broker: &'a Broker, id: TopicPartition) -> Option<&'a Log> {
        match self.setup.durability {
            Durability::Fsync => broker.disk.durable(id),
            Durability::Replicated => broker.disk.live(id),
        }
    }

    /// The invariants between all processes, after a step.
    pub fn check(&mut self) {
        for id in self.partitions.clone() {
            let end = self.truth.committed_end(id);
            let digest = self.truth.digest_at(id, end);
            if let Some(record) = self.record(id).cloned() {
                self.check_candidates(id, &record, end, digest);
            }
            let whole = |log: &Log| log.agrees(end, digest);
            let kept =
                |b: &Broker| self.kept(b, id).is_some_and(whole) || b.disk.orphan(id).is_some_and(whole);
            let kept = self.brokers.values().any(kept);
            if end > 0 && !kept {
                self.truth.violate("I5", format!("{id:?}: no disk has everything below {end}"));
            }
        }
        self.check_ratchets();
    }

    /// I1 and I4: who leads or may lead has everything that was ever committed.
    fn check_candidates(&mut self, id: TopicPartition, record: &PartitionInfo, end: u64, digest: u64) {
        if record.recovering {
            return; // nobody may lead by this record
        }
        for member in record.isr.iter().chain(&record.elr) {
            let broker = &self.brokers[member];
            if broker.tainted {
                continue;
            }
            let log = self.kept(broker, id);
            if end > 0 && !log.is_some_and(|l| l.agrees(end, digest)) {
                let text = format!(
                    "{id:?}: {member:?} may lead without what is committed below {end}: {record:?}\n{log:?}"
                );
                self.truth.violate("I4", text);
            }
        }
        let Some(leader) = record.leader else { return };
        let Some(view) = self.view(leader, id).filter(|v| v.leads && v.leader_epoch == record.leader_epoch)
        else {
            return;
        };
        let newest = (id, LeaderEpoch(0))..=(id, LeaderEpoch(u32::MAX));
        if self.truth.leaders.range(newest).next_back().is_some_and(|((_, e), _)| *e > view.leader_epoch) {
            return; // the coordinator has forgotten the newest one
        }
        let log = self.brokers[&leader].disk.live(id);
        if !log.is_some_and(|l| l.agrees(end, digest)) {
            let text =
                format!("{leader:?} leads {id:?} without what is committed below {end}: {view:?}\n{log:?}");
            self.truth.violate("I1", text);
        }
    }

    /// I9: what a disk has seen never goes back.
    fn check_ratchets(&mut self) {
        let mut broken = Vec::new();
        for (id, broker) in &self.brokers {
            let epoch = broker.disk.identity.coordinator_epoch;
            let known = self.truth.coordinator_epochs.entry(*id).or_default();
            if epoch < *known {
                let text = format!("{id:?}: coordinator epoch {known:?} -> {epoch:?}");
                broken.push(text);
            }
            *known = epoch;
            for partition in &self.partitions {
                let Some(promise) = broker.disk.durable(*partition).and_then(|l| l.promise()) else {
                    continue;
                };
                let known = self.truth.promises.entry((*id, *partition)).or_insert(promise);
                if promise.0 < known.0 || (promise.0 == known.0 && promise.1 != known.1) {
                    let text = format!("{id:?} {partition:?}: promise {known:?} -> {promise:?}");
                    broken.push(text);
                }
                *known = promise;
            }
        }
        broken.into_iter().for_each(|text| self.truth.violate("I9", text));
    }
}
