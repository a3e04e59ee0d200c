//! Brings the faults of a plan about, and puts everything right again.

use super::plan::{Fault, Plan};
use crate::harness::disk::Space;
use crate::harness::net::Purpose;
use crate::harness::{Place, World};
use yak_core::cluster::Loss;
use yak_core::partition::{Event, StreamClass};
use yak_protocol::ids::{BrokerId, Offset, TopicPartition};
use yak_protocol::message::Durability;

/// What is to be undone, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Undo {
    StartBroker(BrokerId),
    ThawBroker(BrokerId),
    ThawCoordinator,
    StartCoordinator,
    ThawDeposed,
    EndDeposed,
    HealNetwork,
    Release(Place, Place, Option<Purpose>),
    FreeDisk(BrokerId),
    /// A draining broker stops, cleanly if it is spared by then.
    Stop(BrokerId),
}

/// The adversary.
#[derive(Debug)]
pub struct Nemesis {
    plan: Plan,
    next_at: u64,
    undo: Vec<(u64, Undo)>,
    /// A broker whose disk lost something, until everything is whole again: no second one meanwhile,
    /// for no protocol keeps what all copies have lost.
    lost: Option<BrokerId>,
    /// No disk loses anything any more.
    pub spares_disks: bool,
}

impl Nemesis {
    pub fn new(plan: &Plan, now: u64) -> Self {
        Self {
            plan: plan.clone(),
            next_at: now + plan.pause_ms,
            undo: Vec::new(),
            lost: None,
            spares_disks: false,
        }
    }

    /// When something is to be done next.
    pub fn next_at(&self) -> u64 {
        self.undo.iter().map(|(at, _)| *at).chain([self.next_at]).min().unwrap_or(u64::MAX)
    }

    pub fn act(&mut self, world: &mut World) {
        let now = world.now;
        let due: Vec<Undo> = self.undo.iter().filter(|(at, _)| *at <= now).map(|(_, u)| *u).collect();
        self.undo.retain(|(at, _)| *at > now);
        for undo in due {
            self.put_right(world, undo);
        }
        if self.next_at <= now {
            self.next_at = now + world.rng.u64(1..=self.plan.pause_ms * 2);
            if self.lost.is_some() && world.is_whole() && !world.is_rotten() {
                self.lost = None;
                world.truth.copies_lost = 0;
            }
            let fault = self.plan.faults[world.rng.usize(0..self.plan.faults.len())];
            self.strike(world, fault);
        }
    }

    fn later(&mut self, world: &mut World, max_ms: u64, undo: Undo) {
        let at = world.now + 1 + world.rng.u64(0..max_ms);
        self.undo.push((at, undo));
    }

    fn put_right(&mut self, world: &mut World, undo: Undo) {
        match undo {
            Undo::StartBroker(id) => {
                if world.brokers[&id].process.is_none() {
                    world.start_broker(id);
                    world.coverage.hit("a broker restarts");
                }
            }
            Undo::ThawBroker(id) => world.broker(id).frozen = false,
            Undo::ThawCoordinator => world.coordinator.frozen = false,
            Undo::StartCoordinator => {
                if world.coordinator.cluster.is_none() {
                    world.start_coordinator();
                }
            }
            Undo::ThawDeposed => {
                if let Some(deposed) = &mut world.deposed {
                    deposed.frozen = false;
                }
            }
            Undo::EndDeposed => world.end_deposed(),
            Undo::HealNetwork => world.net.heal(),
            Undo::Release(from, to, purpose) => world.net.release(from, to, purpose),
            Undo::FreeDisk(id) => world.broker(id).disk.space = Space::Free,
            Undo::Stop(id) => self.stop(world, id),
        }
    }

    fn stop(&mut self, world: &mut World, id: BrokerId) {
        let Some(process) = world.process(id) else { return };
        let hosted: Vec<TopicPartition> = process.hosted.keys().copied().collect();
        for partition in hosted {
            world.step_replica(id, partition, Event::ShuttingDown, Vec::new());
        }
        // A clean stop drains the write-ahead log first.
        while world.brokers[&id].disk.can_sync() || world.brokers[&id].disk.can_write() {
            if world.brokers[&id].disk.can_sync() {
                world.disk_sync(id);
            } else {
                world.disk_write(id);
            }
        }
        world.broker(id).disk.checkpoint();
        world.crash_broker(id, 0, true);
        let registered = world.brokers[&id].disk.identity.same_boot;
        world.broker(id).disk.identity.clean_shutdown = registered;
        world.coverage.hit("a broker stops cleanly");
        self.later(world, 1_500, Undo::StartBroker(id));
    }

    fn running(world: &World) -> Vec<BrokerId> {
        world.brokers.values().filter(|b| b.process.is_some()).map(|b| b.id).collect()
    }

    fn victim(world: &mut World) -> Option<BrokerId> {
        let mut running = Self::running(world);
        // Mostly the leader of something: its end is what hurts.
        let leaders: Vec<BrokerId> =
            world.partitions.iter().filter_map(|p| world.record(*p).and_then(|r| r.leader)).collect();
        if !leaders.is_empty() && world.rng.bool() {
            let leader = leaders[world.rng.usize(0..leaders.len())];
            running.retain(|b| *b == leader);
        }
        (!running.is_empty()).then(|| running[world.rng.usize(0..running.len())])
    }

    fn strike(&mut self, world: &mut World, fault: Fault) {
        world.trace(|| format!("=== {fault:?}"));
        let Some(victim) = Self::victim(world) else { return };
        match fault {
            Fault::Kill => self.kill(world, victim, false),
            Fault::PowerOff => self.kill(world, victim, true),
            Fault::Blackout => {
                if self.plan.setup.durability == Durability::Fsync {
                    for id in Self::running(world) {
                        self.kill(world, id, true);
                    }
                    world.coverage.hit("all brokers lose power");
                }
            }
            Fault::FreezeBroker => {
                world.broker(victim).frozen = true;
                world.coverage.hit("a broker is frozen");
                self.later(world, 6_000, Undo::ThawBroker(victim));
            }
            Fault::FreezeCoordinator => {
                world.coordinator.frozen = true;
                world.coverage.hit("the coordinator is frozen");
                self.later(world, 9_000, Undo::ThawCoordinator);
            }
            Fault::KillCoordinator => self.kill_coordinator(world),
            Fault::TakeOver => self.take_over(world),
            Fault::Move => Self::move_about(world),
            Fault::Trim => Self::trim(world),
            Fault::MinIsr => self.change_min_isr(world),
            Fault::Cut => self.cut(world, victim),
            Fault::Isolate => {
                world.isolate(victim);
                self.later(world, 5_000, Undo::HealNetwork);
            }
            Fault::Sever => Self::sever(world),
            Fault::Stall => self.stall(world, victim),
            Fault::DiskFull => {
                let space = [Space::AppendsFail, Space::AllFail][world.rng.usize(0..2)];
                world.broker(victim).disk.space = space;
                self.later(world, 3_000, Undo::FreeDisk(victim));
            }
            Fault::DiskSlow => {
                let until = world.now + world.rng.u64(100..5_000);
                world.broker(victim).disk_due = until;
            }
            Fault::ClockJump => {
                let jump = world.rng.u64(100..8_000);
                if world.rng.u32(0..4) == 0 {
                    world.coordinator.skew += jump;
                } else {
                    world.broker(victim).skew += jump;
                }
            }
            Fault::Rolling => {
                if let Some(process) = world.process(victim) {
                    process.draining = true;
                    self.undo.push((world.now + 700, Undo::Stop(victim)));
                }
            }
            Fault::Retention => {
                self.kill(world, victim, false);
                for id in world.partitions.clone() {
                    let oldest = world.oldest_unanswered(id);
                    world.broker(victim).disk.tamper(id, |log| log.move_start(log.hint.min(oldest)));
                }
            }
            Fault::BitFlip | Fault::Wipe | Fault::RestoreBackup => self.lose(world, victim, fault),
        }
    }

    fn kill(&mut self, world: &mut World, id: BrokerId, power: bool) {
        let lossy = self.plan.setup.durability == Durability::Replicated;
        if power && lossy {
            // Counts as a lost disk: as many as `min_isr` of them lose acknowledged records.
            if !self.may_lose(world) {
                return;
            }
            self.lost = Some(id);
            world.truth.copies_lost = 1;
            world.truth.disks_lost = true;
        }
        let unsynced = world.brokers[&id].disk.unsynced();
        let keep = if power { world.rng.usize(0..=unsynced) } else { unsynced };
        world.crash_broker(id, keep, !power);
        if power && lossy {
            world.broker(id).tainted = true;
        }
        world.coverage.hit(if power { "a broker loses power" } else { "a broker is killed" });
        self.later(world, 4_000, Undo::StartBroker(id));
    }

    /// Some brokers hear of the new coordinator at once, others only when the old one is gone. That one may be
    /// frozen, and go on where it was when it is thawed.
    fn take_over(&mut self, world: &mut World) {
        if world.coordinator.cluster.is_none() {
            return;
        }
        world.coordinator.frozen = world.rng.bool();
        let frozen = world.coordinator.frozen;
        world.take_over();
        if frozen {
            self.later(world, 4_000, Undo::ThawDeposed);
        }
        self.later(world, 5_000, Undo::EndDeposed);
        for id in Self::running(world) {
            if world.rng.bool() && world.is_behind(id) {
                let now = world.now;
                world.net.sever_between(Place::Broker(id), Place::Deposed, Loss::PeerClosed, now);
            }
        }
    }

    fn move_about(world: &mut World) {
        if !world.coordinator.runs() {
            return;
        }
        let id = world.partitions[world.rng.usize(0..world.partitions.len())];
        let Some(record) = world.record(id).cloned() else { return };
        if record.moving.is_some() && world.rng.bool() {
            world.cancel_move(id);
            return;
        }
        let mut to: Vec<BrokerId> = world.brokers.keys().copied().collect();
        world.rng.shuffle(&mut to);
        to.truncate(record.target().len());
        if world.move_to(id, &to) {
            world.coverage.hit("a move is asked for");
        }
    }

    /// A leader drops committed batches, while its followers take what they can get.
    fn trim(world: &mut World) {
        let id = world.partitions[world.rng.usize(0..world.partitions.len())];
        let Some(leader) = world.record(id).and_then(|record| record.leader) else { return };
        let Some(view) = world.view(leader, id).filter(|view| view.leads).cloned() else { return };
        if world.brokers[&leader].frozen {
            return;
        }
        let most = view.high_watermark.0.min(world.oldest_unanswered(id));
        let Some(log) = world.brokers[&leader].disk.live(id) else { return };
        let ends: Vec<u64> = log.batches().map(|batch| batch.end()).filter(|end| *end <= most).collect();
        if ends.is_empty() {
            return;
        }
        let to = ends[world.rng.usize(0..ends.len())];
        world.step_replica(leader, id, Event::Trim { to: Offset(to) }, Vec::new());
        world.coverage.hit("a leader drops old records");
    }

    /// Never below what the plan counts on when it takes disks away.
    fn change_min_isr(&mut self, world: &mut World) {
        if !world.coordinator.runs() {
            return;
        }
        let min_isr = world.rng.u32(self.plan.least_copies()..=self.plan.setup.replicas);
        if world.set_min_isr(min_isr) {
            world.coverage.hit("min_isr is changed");
        }
    }

    fn kill_coordinator(&mut self, world: &mut World) {
        if world.coordinator.cluster.is_none() {
            return;
        }
        world.coverage.hit("the coordinator is killed");
        if world.rng.bool() {
            world.coordinator.crash_in = Some(world.rng.u32(0..6));
            self.undo.push((world.now + 4_000, Undo::StartCoordinator));
        } else {
            world.crash_coordinator();
        }
        self.later(world, 5_000, Undo::StartCoordinator);
    }

    fn cut(&mut self, world: &mut World, victim: BrokerId) {
        let mut others: Vec<Place> =
            world.brokers.keys().filter(|b| **b != victim).map(|b| Place::Broker(*b)).collect();
        others.push(Place::Coordinator);
        others.extend((0..world.producers.len()).map(Place::Client));
        let other = others[world.rng.usize(0..others.len())];
        let victim = Place::Broker(victim);
        match world.rng.u32(0..3) {
            0 => world.net.cut(victim, other),
            1 => world.net.cut(other, victim),
            _ => world.cut_both(victim, other),
        }
        world.coverage.hit("a way is cut");
        self.later(world, 6_000, Undo::HealNetwork);
    }

    fn stall(&mut self, world: &mut World, victim: BrokerId) {
        let others = world.brokers.keys().filter(|b| **b != victim).map(|b| Place::Broker(*b));
        let mut others: Vec<Place> = others.collect();
        others.extend([Place::Coordinator; 2]);
        let (victim, other) = (Place::Broker(victim), others[world.rng.usize(0..others.len())]);
        let (from, to) = if world.rng.bool() { (victim, other) } else { (other, victim) };
        let streams = [StreamClass::InSync, StreamClass::CatchUp].map(Purpose::Stream);
        let purposes = if other == Place::Coordinator { vec![Purpose::Control] } else { streams.to_vec() };
        let until = world.now + world.rng.u64(50..6_000);
        for purpose in purposes {
            world.net.hold(from, to, Some(purpose));
            self.undo.push((until, Undo::Release(from, to, Some(purpose))));
        }
        world.coverage.hit("what somebody says is late");
    }

    fn sever(world: &mut World) {
        let all: Vec<_> = world.net.connections().map(|(id, _)| id).collect();
        if all.is_empty() {
            return;
        }
        for _ in 0..world.rng.usize(1..4) {
            let id = all[world.rng.usize(0..all.len())];
            let keep = [world.rng.usize(0..4), world.rng.usize(0..4)];
            let now = world.now;
            let ready = [now + world.rng.u64(0..2_000), now + world.rng.u64(0..50)];
            world.net.sever(id, keep, ready, Loss::Unknown);
        }
        world.coverage.hit("connections break");
    }

    /// Whether one more disk may lose something.
    fn may_lose(&self, world: &World) -> bool {
        !self.spares_disks && self.lost.is_none() && self.plan.least_copies() >= 2 && world.is_whole()
    }

    fn lose(&mut self, world: &mut World, victim: BrokerId, fault: Fault) {
        if !self.may_lose(world) {
            return;
        }
        if fault == Fault::BitFlip && world.rng.bool() {
            self.rot(world, victim);
            return;
        }
        let unsynced = world.brokers[&victim].disk.unsynced();
        world.crash_broker(victim, unsynced, true);
        match fault {
            Fault::Wipe => {
                world.wipe(victim);
                world.coverage.hit("a disk is wiped");
            }
            Fault::RestoreBackup => {
                if world.restore_backup(victim) {
                    world.coverage.hit("an old backup is restored");
                }
            }
            _ => {
                let at = world.rng.usize(0..1000);
                let mut flipped = false;
                for id in world.partitions.clone() {
                    let Some(log) = world.brokers[&victim].disk.durable(id) else { continue };
                    let count = log.batches().count();
                    let Some(batch) = log.batches().nth(at % count.max(1)) else { continue };
                    let range = (batch.base.max(log.start()), batch.end());
                    world.broker(victim).disk.tamper(id, |log| log.damaged.push(range));
                    flipped = true;
                }
                if flipped {
                    world.broker(victim).tainted = true;
                    world.truth.disks_lost = true;
                    world.coverage.hit("a bit flips");
                }
            }
        }
        self.lost = Some(victim);
        world.truth.copies_lost = 1;
        self.later(world, 4_000, Undo::StartBroker(victim));
    }

    /// A bit flips under a running broker, and nobody knows until it is read.
    fn rot(&mut self, world: &mut World, victim: BrokerId) {
        let at = world.rng.usize(0..1000);
        for id in world.partitions.clone() {
            let Some(log) = world.brokers[&victim].disk.durable(id) else { continue };
            let count = log.batches().count();
            let Some(batch) = log.batches().nth(at % count.max(1)) else { continue };
            let range = (batch.base.max(log.start()), batch.end());
            world.broker(victim).disk.tamper(id, |log| log.latent.push(range));
            world.truth.disks_lost = true;
            world.truth.copies_lost = 1;
            self.lost = Some(victim);
            world.coverage.hit("a bit flips unnoticed");
        }
    }

    /// Everything is put right: from here on the cluster must recover.
    pub fn heal(&mut self, world: &mut World) {
        self.undo.clear();
        world.coordinator.frozen = false;
        world.coordinator.crash_in = None;
        world.net.heal();
        world.net.release_all();
        world.end_deposed();
        if world.coordinator.cluster.is_none() {
            world.start_coordinator();
        }
        for id in world.brokers.keys().copied().collect::<Vec<_>>() {
            let broker = world.broker(id);
            broker.frozen = false;
            broker.disk.space = Space::Free;
            if let Some(process) = &mut broker.process {
                process.draining = false;
            } else {
                world.start_broker(id);
            }
        }
    }
}
