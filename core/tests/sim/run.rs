//! One seed, from start to verdict.

use super::nemesis::Nemesis;
use super::plan::Plan;
use crate::harness::World;
use crate::harness::clients::{Consumer, Producer};
use crate::harness::coverage::Coverage;
use crate::harness::world::Item;
use std::panic::{AssertUnwindSafe, catch_unwind};
use yak_core::cluster::{RebuildError, rebuild};
use yak_core::rules::Rules;
use yak_protocol::message::Acks;

/// How long the cluster may take to recover once everything is put right, in simulated milliseconds.
const RECOVERY_MS: u64 = 60_000;
/// How long faults go on after the coordinator has started on an old journal, and how long quiet lasts then.
const CHAOS_AFTER_MS: u64 = 5_000;
/// A run that does more than this is stuck in a circle.
const STEPS_MAX: u64 = 2_000_000;

/// What came of a seed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    pub steps: u64,
    pub simulated_ms: u64,
    pub acked: usize,
    pub coverage: Coverage,
    /// What was wrong, if anything.
    pub failure: Option<String>,
}

/// Runs a seed. Never panics: a machine's own assertion is a failure like any other.
pub fn run(seed: u64, rules: Rules) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| Run::new(seed, rules).play())) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            let failure = Some(format!("panic: {}", text.unwrap_or_default()));
            Outcome { seed, failure, ..Outcome::default() }
        }
    }
}

struct Run {
    plan: Plan,
    world: World,
    nemesis: Nemesis,
    steps: u64,
    started: u64,
    /// How long the journal was once the cluster stood.
    founded: usize,
}

impl Run {
    fn new(seed: u64, rules: Rules) -> Self {
        let plan = Plan::of(seed, rules);
        let mut world = World::new(plan.setup.clone());
        let pace = plan.chaos_ms / u64::from(plan.batches);
        for number in 0..plan.producers {
            // The last ones are simpler: without numbers, or content with the leader alone.
            let acks = if number == 0 || world.rng.u32(0..4) > 0 { Acks::All } else { Acks::Leader };
            // What the leader alone has acknowledged may be lost, and then its numbers are missing for ever.
            let idempotent = acks == Acks::All && (number == 0 || world.rng.u32(0..3) > 0);
            world.producers.push(Producer::new(number, idempotent, acks, plan.batches, pace));
        }
        if plan.ids {
            world.producers[0].with_ids = true;
            let mut named = Producer::new(plan.producers, false, Acks::All, plan.batches, pace);
            named.with_ids = true;
            world.producers.push(named);
        }
        world.consumers.push(Consumer::default());
        let nemesis = Nemesis::new(&plan, world.now);
        let started = world.now;
        let founded = world.coordinator.journal.len();
        Self { plan, world, nemesis, steps: 0, started, founded }
    }

    fn play(mut self) -> Outcome {
        let end = self.world.now + self.plan.chaos_ms;
        let failure = self.chaos(end).or_else(|| {
            if self.plan.old_journal {
                self.second_history()
            } else if self.plan.lost_journal {
                self.rebuilt()
            } else {
                self.recovery().or_else(|| self.verdict())
            }
        });
        let failure = failure.map(|text| format!("{text}\nplan {:?}\n{}", self.plan, self.world.describe()));
        Outcome {
            seed: self.plan.setup.seed,
            steps: self.steps,
            simulated_ms: self.world.now - self.started,
            acked: self.world.truth.acked(),
            coverage: self.world.coverage,
            failure,
        }
    }

    fn chaos(&mut self, end: u64) -> Option<String> {
        let mut items = Vec::new();
        let mut backup_at = self.world.now + 200;
        while self.world.now < end {
            if self.nemesis.next_at() <= self.world.now {
                self.nemesis.act(&mut self.world);
            }
            if backup_at <= self.world.now {
                backup_at = self.world.now + 2_500;
                self.back_up();
                self.poll();
                self.world.check_producers();
            }
            let until = self.nemesis.next_at().min(backup_at).min(end);
            self.step(&mut items, until);
            if let Some(failure) = self.broken() {
                return Some(failure);
            }
        }
        None
    }

    /// Copies a disk whose broker has had a later session confirmed by the time it is put back.
    fn back_up(&mut self) {
        let ids: Vec<_> = self.world.brokers.keys().copied().collect();
        for id in ids {
            let stored = self.world.brokers[&id].disk.identity.broker_epoch;
            let broker = self.world.broker(id);
            if broker.process.is_none() && broker.backups.iter().all(|b| b.identity.broker_epoch < stored) {
                broker.backups.clear();
                self.world.back_up(id);
            }
        }
    }

    fn poll(&mut self) {
        let ids: Vec<_> = self.world.brokers.keys().copied().collect();
        for partition in self.world.partitions.clone() {
            for broker in &ids {
                self.world.poll(0, *broker, partition);
            }
        }
    }

    /// Does the next thing, or lets time pass until there is one, at most until `until`.
    fn step(&mut self, items: &mut Vec<(u64, Item)>, until: u64) {
        self.world.items(items);
        let due = items.iter().map(|(due, _)| *due).min().unwrap_or(u64::MAX);
        if due > until {
            self.world.now = self.world.now.max(until);
            return;
        }
        self.world.now = self.world.now.max(due);
        items.retain(|(at, _)| *at <= self.world.now);
        let (_, item) = items[self.world.rng.usize(0..items.len())];
        self.world.perform(item);
        self.steps += 1;
    }

    fn broken(&self) -> Option<String> {
        if let Some(violation) = self.world.truth.violations.first() {
            return Some(format!("{}: {}", violation.invariant, violation.text));
        }
        if let Some(halt) = self.world.truth.halts.first() {
            return Some(format!("halt: {halt}"));
        }
        (self.steps > STEPS_MAX).then(|| "too many steps".to_owned())
    }

    /// The coordinator forgets the end of its journal. What brokers know better waits for its rebuild (R15);
    /// nothing is lost, whatever happens from here on.
    ///
    /// Brokers that know better are heard before anybody's lease runs out: nobody can protect what is known
    /// only to those that are away.
    fn second_history(&mut self) -> Option<String> {
        self.world.trace(|| "=== an old journal".to_owned());
        self.nemesis.heal(&mut self.world);
        self.nemesis.spares_disks = true;
        let patience = self.world.now + RECOVERY_MS;
        while !self.world.is_informed() {
            if self.world.now >= patience {
                return Some("liveness: brokers do not hear of the newest metadata".to_owned());
            }
            if let Some(failure) = self.quiet(20) {
                return Some(failure);
            }
        }
        let before = self.world.coordinator.ledger.clone();
        let entries = &self.world.coordinator.entries;
        let first = entries.partition_point(|end| *end < self.founded);
        let cut = entries[self.world.rng.usize(first..entries.len())];
        let copy = self.world.coordinator.journal[..cut].to_vec();
        // The copy's records are not what they were, until the brokers have spoken.
        self.world.truth.ignored.extend(["I4", "I6"]);
        self.world.restart_coordinator_on(copy);
        self.world.coverage.hit("the coordinator starts on an old journal");
        if let Some(failure) = self.quiet(2_500) {
            return Some(failure);
        }
        for (id, known) in &before.partitions {
            let record = self.world.record(*id);
            let heard = self.world.brokers.values().any(|b| b.process.as_ref().is_some_and(|p| p.registered));
            let held = record.is_some_and(|r| r.recovering || r.partition_epoch >= known.partition_epoch);
            if heard && !held && self.world.setup.rules.r15_ratchet() {
                return Some(format!("R15: {known:?} is forgotten: {record:?}"));
            }
        }
        self.world.truth.ignored.clear();
        let end = self.world.now + CHAOS_AFTER_MS;
        let failure = self.chaos(end);
        self.nemesis.heal(&mut self.world);
        failure.or_else(|| self.quiet(CHAOS_AFTER_MS))
    }

    /// The journal is lost in the middle of everything, and made again from what the brokers know that run.
    /// Nothing is lost, and what can be decided is.
    fn rebuilt(&mut self) -> Option<String> {
        self.world.trace(|| "=== the journal is lost".to_owned());
        self.world.end_deposed();
        self.world.crash_coordinator();
        let pause = self.world.rng.u64(0..3_000);
        if let Some(failure) = self.quiet(pause) {
            return Some(failure);
        }
        let answering = self.world.brokers.values().filter(|broker| broker.runs()).map(|broker| broker.id);
        let told: Vec<_> = answering.filter_map(|id| self.world.recollect(id)).collect();
        let rebuilt = match rebuild(&told) {
            Ok(rebuilt) => rebuilt,
            Err(RebuildError::Nobody | RebuildError::NothingKnown | RebuildError::Stranger(_)) => {
                self.world.coverage.hit("nobody knows what was in the lost journal");
                self.world.start_coordinator();
                return self.recovery().or_else(|| self.verdict());
            }
            Err(error) => return Some(format!("the journal cannot be made again: {error}")),
        };
        self.world.coverage.hit("the journal is made again");
        if !rebuilt.recovering.is_empty() {
            self.world.coverage.hit("the journal is made again without a leader");
        }
        // Of those that were not asked the coordinator knows no disk.
        self.world.truth.disks_lost |= !rebuilt.missing.is_empty();
        self.world.restart_coordinator_on(rebuilt.records);
        let end = self.world.now + CHAOS_AFTER_MS;
        if let Some(failure) = self.chaos(end) {
            return Some(failure);
        }
        self.nemesis.heal(&mut self.world);
        if let Some(failure) = self.quiet(CHAOS_AFTER_MS) {
            return Some(failure);
        }
        let record = |id| self.world.record(id).is_some_and(|info| info.recovering);
        if self.world.partitions.iter().any(|id| record(*id)) {
            // Two logs of which neither is known to have everything: an operator decides.
            self.world.coverage.hit("a partition without its journal waits for an operator");
            return None;
        }
        self.recovery().or_else(|| self.verdict())
    }

    /// Lets time pass without faults.
    fn quiet(&mut self, ms: u64) -> Option<String> {
        let (end, mut items) = (self.world.now + ms, Vec::new());
        while self.world.now < end {
            self.step(&mut items, end);
            if let Some(failure) = self.broken() {
                return Some(failure);
            }
        }
        None
    }

    fn recovery(&mut self) -> Option<String> {
        self.world.trace(|| "=== heal".to_owned());
        self.nemesis.heal(&mut self.world);
        let end = self.world.now + RECOVERY_MS;
        let mut items = Vec::new();
        let mut look_at = self.world.now;
        while self.world.now < end {
            self.step(&mut items, look_at);
            if let Some(failure) = self.broken() {
                return Some(failure);
            }
            if look_at <= self.world.now {
                look_at = self.world.now + 100;
                if self.world.is_whole() && self.world.producers.iter().all(Producer::done) {
                    return None;
                }
            }
        }
        let producers = self.world.producers.iter().filter(|p| !p.done()).count();
        Some(format!("liveness: not whole in {RECOVERY_MS} ms after all faults; {producers} producers wait"))
    }

    /// Replicas are equal by now; consumers read everything.
    fn verdict(&mut self) -> Option<String> {
        self.world.check_producers();
        let deadline = self.world.now + RECOVERY_MS;
        let mut items = Vec::new();
        loop {
            self.poll();
            if let Some(failure) = self.broken() {
                return Some(failure);
            }
            let unread = self.world.partitions.iter().find_map(|partition| {
                let position = self.world.consumers[0].positions.get(partition).copied().unwrap_or(0);
                let end = self.world.truth.committed_end(*partition);
                (position != end)
                    .then(|| format!("{partition:?} read up to {position}, committed up to {end}"))
            });
            let unread = unread?;
            if self.world.now >= deadline {
                return Some(format!("unseen: {unread}"));
            }
            // A read may have come across damage, which is repaired first.
            let until = self.world.now + 100;
            while self.world.now < until {
                self.step(&mut items, until);
            }
        }
    }
}
