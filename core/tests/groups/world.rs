//! Everything together: the queue of what happens, the faults, and the checks.

use crate::coordinator::{Coordinator, Log};
use crate::member::{Member, TOPIC};
use crate::net::{Happening, Queue};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use yak_core::group::{Effect, Event, Reply, Request, Ticket, Topics};
use yak_protocol::error::WireError;
use yak_protocol::ids::{Generation, TopicId};
use yak_protocol::message::{Leave, TopicConfig, TopicInfo};

const PARTITIONS: u32 = 7;
const LEASE_MS: u64 = 3000;
const MEMBERS_MAX: usize = 5;
/// How long a member waits for an answer.
const ANSWER_MS: u64 = 2500;

pub struct World {
    rng: fastrand::Rng,
    now: u64,
    queue: Queue,
    log: Log,
    coordinators: BTreeMap<u64, Coordinator>,
    epoch: u64,
    members: Vec<Member>,
    names: u64,
    questions: u64,
    /// Who asked what: by ticket.
    tickets: BTreeMap<u64, (usize, u64)>,
    /// Who handed a record out in which generation.
    out: BTreeMap<(u32, u64), BTreeMap<Generation, String>>,
    /// The first record of each partition that nobody has handed out yet, as far as all before it were.
    seen: BTreeMap<u32, u64>,
    committed: BTreeMap<u32, u64>,
    checked: usize,
    faults: bool,
    /// How often members commit, of 256: a coordinator that was replaced is silent once it has to write.
    commit_rate: u8,
}

fn topics() -> Topics {
    let info = TopicInfo {
        id: TopicId(1),
        name: TOPIC.to_owned(),
        partitions: PARTITIONS,
        wanted_replicas: 1,
        min_isr: 1,
        config: TopicConfig::default(),
        key_slots: Default::default(),
    };
    Topics::new([&info], BTreeSet::new())
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = Self {
            commit_rate: if rng.bool() { 100 } else { 1 },
            rng,
            now: 0,
            queue: Queue::default(),
            log: Log::default(),
            coordinators: BTreeMap::new(),
            epoch: 0,
            members: Vec::new(),
            names: 0,
            questions: 0,
            tickets: BTreeMap::new(),
            out: BTreeMap::new(),
            seen: BTreeMap::new(),
            committed: BTreeMap::new(),
            checked: 0,
            faults: true,
        };
        world.fail_over();
        (0..3).for_each(|_| world.member_joins(None));
        world.queue.push(1000, Happening::Fault);
        world
    }

    pub fn run_until(&mut self, end: u64) {
        while self.now < end {
            let (at, happening) = self.queue.pop().expect("there is always a tick");
            self.now = at;
            self.happens(happening);
            self.check();
        }
    }

    /// From now on all goes well.
    pub fn faults_end(&mut self) {
        self.faults = false;
        for member in &mut self.members {
            member.frozen_until = member.frozen_until.min(self.now);
        }
        for coordinator in self.coordinators.values_mut() {
            coordinator.frozen_until = coordinator.frozen_until.min(self.now);
        }
        self.member_joins(None);
    }

    /// Every partition comes to be read, and what is handed out is committed.
    pub fn settle(&mut self) {
        let end = self.now + 60_000;
        loop {
            self.run_until(self.now + 500);
            let readers: usize =
                self.members.iter().map(|member| member.may_hand_out(self.now).count()).sum();
            if readers == PARTITIONS as usize {
                return;
            }
            assert!(self.now < end, "only {readers} of {PARTITIONS} partitions are somebody's");
        }
    }

    pub fn handed_out(&self) -> usize {
        self.out.len()
    }

    fn later(&mut self, least: u64, most: u64) -> u64 {
        self.now + self.rng.u64(least..=most)
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { coordinator, member, question, request } => {
                self.arrives(coordinator, member, question, request);
            }
            Happening::Answered { member, question, outcome } => self.answered(member, question, outcome),
            Happening::Commits { coordinator, seq, index } => {
                if coordinator == self.epoch && index < self.log.entries.len() {
                    self.log.committed = self.log.committed.max(index + 1);
                    let at = self.later(0, 40);
                    self.queue.push(at, Happening::Hears { coordinator, seq });
                }
            }
            Happening::Hears { coordinator, seq } => self.step(coordinator, Event::Committed(seq)),
            Happening::Ticks { coordinator } => {
                self.step(coordinator, Event::Tick);
                let zombie = coordinator != self.epoch;
                let gone = zombie
                    && self.coordinators.get(&coordinator).is_none_or(|c| c.lease_until + 20_000 < self.now);
                if gone {
                    self.coordinators.remove(&coordinator);
                } else {
                    let at = self.later(50, 150);
                    self.queue.push(at, Happening::Ticks { coordinator });
                }
            }
            Happening::Beats { member, turn } => self.beats(member, turn),
            Happening::GivesUp { member, question } => self.gives_up(member, question),
            Happening::Works { member } => self.works(member),
            Happening::Fault => self.fault(),
        }
    }

    fn step(&mut self, coordinator: u64, event: Event) {
        let now = self.now;
        let Some(found) = self.coordinators.get_mut(&coordinator) else { return };
        if found.frozen_until > now {
            // It takes what waits when it runs again.
            let at = found.frozen_until;
            match event {
                Event::Committed(seq) => self.queue.push(at, Happening::Hears { coordinator, seq }),
                Event::Tick => {}
                _ => unreachable!("requests wait before they get here"),
            }
            return;
        }
        let effects = found.step(now, event);
        self.carry_out(coordinator, effects);
    }

    fn carry_out(&mut self, coordinator: u64, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist { seq, key, value } => {
                    if coordinator == self.epoch {
                        self.log.entries.push((key, value));
                        let index = self.log.entries.len() - 1;
                        let at = self.later(1, 60);
                        self.queue.push(at, Happening::Commits { coordinator, seq, index });
                    }
                }
                Effect::Answer { ticket, outcome } => {
                    let Some((member, question)) = self.tickets.remove(&ticket.0) else { continue };
                    self.send(Happening::Answered { member, question, outcome });
                }
            }
        }
    }

    /// Over the network, which loses and delays.
    fn send(&mut self, happening: Happening) {
        let (lost, slow) =
            if self.faults { (self.rng.u8(..) < 12, self.rng.u8(..) < 12) } else { (false, false) };
        if !lost {
            let at = if slow { self.later(500, 9000) } else { self.later(1, 30) };
            self.queue.push(at, happening);
        }
    }

    fn ask(&mut self, member: usize, request: &Request) -> u64 {
        self.questions += 1;
        let question = self.questions;
        let coordinator = self.members[member].coordinator;
        let copies = if self.faults && self.rng.u8(..) < 10 { 2 } else { 1 };
        for _ in 0..copies {
            self.send(Happening::Arrives { coordinator, member, question, request: request.clone() });
        }
        question
    }

    fn arrives(&mut self, coordinator: u64, member: usize, question: u64, request: Request) {
        let Some(found) = self.coordinators.get_mut(&coordinator) else { return };
        if found.frozen_until > self.now {
            let at = found.frozen_until;
            return self.queue.push(at, Happening::Arrives { coordinator, member, question, request });
        }
        self.questions += 1;
        let ticket = Ticket(self.questions);
        self.tickets.insert(ticket.0, (member, question));
        if let Request::Heartbeat(beat) = &request
            && beat.instance.is_some()
            && beat.generation.0 == 0
        {
            // Whoever had this place may not know it yet.
            for other in &mut self.members {
                other.replaced |= other.instance == beat.instance && other.name != beat.member;
            }
        }
        let vouched = self.now < found.lease_until;
        let event = Event::Request { ticket, request, vouched, host: "127.0.0.1".to_owned() };
        self.step(coordinator, event);
    }

    fn beats(&mut self, index: usize, turn: u64) {
        let member = &mut self.members[index];
        if !member.alive || member.beats_turn != turn {
            return;
        }
        if member.frozen_until > self.now {
            let at = member.frozen_until;
            return self.queue.push(at, Happening::Beats { member: index, turn });
        }
        if member.waits_for.is_some() {
            return;
        }
        let request = member.heartbeat();
        let question = self.ask(index, &request);
        self.members[index].waits_for = Some((question, self.now));
        self.queue.push(self.now + ANSWER_MS, Happening::GivesUp { member: index, question });
    }

    fn beat_after(&mut self, index: usize, ms: u64) {
        let member = &mut self.members[index];
        member.beats_turn += 1;
        let turn = member.beats_turn;
        self.queue.push(self.now + ms, Happening::Beats { member: index, turn });
    }

    fn gives_up(&mut self, index: usize, question: u64) {
        let member = &mut self.members[index];
        if member.frozen_until > self.now {
            let at = member.frozen_until;
            return self.queue.push(at, Happening::GivesUp { member: index, question });
        }
        if member.alive && member.waits_for.is_some_and(|(asked, _)| asked == question) {
            member.waits_for = None;
            // The other coordinators are asked by chance; the newest is found sooner or later.
            member.coordinator = self.epoch;
            self.beat_after(index, 50);
        }
    }

    fn answered(&mut self, index: usize, question: u64, outcome: Result<Reply, WireError>) {
        let member = &mut self.members[index];
        if member.frozen_until > self.now {
            let at = member.frozen_until;
            return self.queue.push(at, Happening::Answered { member: index, question, outcome });
        }
        if let Some(partition) = member.fetches.remove(&question) {
            return member.fetched(partition, outcome);
        }
        let Some((_, sent)) = member.waits_for.filter(|(asked, _)| *asked == question && member.alive) else {
            return;
        };
        member.waits_for = None;
        if outcome.is_err() && self.rng.bool() {
            member.coordinator = self.epoch;
        }
        self.names += 1;
        let name = format!("m{}", self.names);
        if let Some(ms) = member.beaten(sent, outcome, name) {
            self.beat_after(index, ms);
        }
    }

    /// A member hands out, commits, gives up.
    fn works(&mut self, index: usize) {
        let at = self.later(20, 300);
        let member = &self.members[index];
        if !member.alive {
            return;
        }
        self.queue.push(at.max(member.frozen_until), Happening::Works { member: index });
        if member.frozen_until > self.now {
            return;
        }
        let may: BTreeSet<u32> = member.may_hand_out(self.now).collect();
        for partition in 0..PARTITIONS {
            if may.contains(&partition) {
                self.reads(index, partition);
            } else if !self.members[index].assigned.contains(&partition) {
                self.gives_up_partition(index, partition);
            }
        }
    }

    fn reads(&mut self, index: usize, partition: u32) {
        let member = &mut self.members[index];
        match member.positions.get(&partition).copied() {
            Some(Some(position)) => {
                let count = self.rng.u64(0..4);
                let (name, generation) = (member.name.clone(), member.generation);
                member.positions.insert(partition, Some(position + count));
                for offset in position..position + count {
                    let by = self.out.entry((partition, offset)).or_default();
                    let other = by.insert(generation, name.clone()).filter(|other| *other != name);
                    assert!(other.is_none(), "{partition}@{offset} in {generation:?}: {other:?} and {name}");
                }
                if self.rng.u8(..) < self.commit_rate {
                    let request = self.members[index].commit(partition, position + count);
                    self.ask(index, &request);
                }
            }
            // Asked again if nothing was heard for a while.
            Some(None) if self.rng.u8(..) > 40 => {}
            _ => {
                member.positions.insert(partition, None);
                let request = member.fetch(partition);
                let question = self.ask(index, &request);
                self.members[index].fetches.insert(question, partition);
            }
        }
    }

    fn gives_up_partition(&mut self, index: usize, partition: u32) {
        let member = &mut self.members[index];
        let position = member.positions.remove(&partition).flatten();
        member.fetches.retain(|_, fetched| *fetched != partition);
        if !member.held.contains(&partition) {
            return;
        }
        // Some take longer than they are given.
        if self.faults && self.rng.u8(..) < 20 {
            member.positions.insert(partition, position);
            return;
        }
        member.held.remove(&partition);
        if let Some(position) = position {
            let request = member.commit(partition, position);
            self.ask(index, &request);
        }
        self.beat_after(index, 0);
    }

    fn member_joins(&mut self, instance: Option<String>) {
        self.names += 1;
        let member = Member::new(format!("m{}", self.names), instance, self.epoch);
        self.members.push(member);
        let index = self.members.len() - 1;
        self.beat_after(index, 1);
        self.queue.push(self.now + 10, Happening::Works { member: index });
    }

    fn fail_over(&mut self) {
        let old = self.epoch;
        if old > 0 {
            self.log.cut(&mut self.rng);
            let until = self.later(0, LEASE_MS);
            if let Some(before) = self.coordinators.get_mut(&old) {
                before.lease_until = before.lease_until.min(until);
            }
        }
        self.epoch += 1;
        let grace = Duration::from_millis(LEASE_MS);
        let (coordinator, effects) = Coordinator::load(self.now, grace, &self.log, topics());
        self.coordinators.insert(self.epoch, coordinator);
        self.carry_out(self.epoch, effects);
        self.queue.push(self.now + 50, Happening::Ticks { coordinator: self.epoch });
    }

    fn fault(&mut self) {
        if !self.faults {
            return;
        }
        let alive: Vec<usize> = (0..self.members.len()).filter(|index| self.members[*index].alive).collect();
        let one = self.rng.choice(&alive).copied();
        match (self.rng.u8(0..11), one) {
            (0..=1, _) => self.fail_over(),
            (2, _) => {
                let until = self.later(100, 12_000);
                let lease = self.now;
                let epoch = self.epoch;
                if let Some(leader) = self.coordinators.get_mut(&epoch) {
                    leader.frozen_until = until;
                    if self.rng.bool() {
                        // Its lease runs out, and nobody takes over: it goes on with writes alone.
                        leader.lease_until = lease;
                    }
                }
            }
            (3..=4, _) if alive.len() < MEMBERS_MAX => self.member_joins(None),
            (5, _) if alive.len() < MEMBERS_MAX => self.member_joins(Some("place".to_owned())),
            (6..=7, Some(index)) => self.members[index].frozen_until = self.later(100, 14_000),
            (8, Some(index)) => self.members[index].alive = false,
            (9, Some(index)) => {
                let leave = if self.rng.bool() { Leave::ForGood } else { Leave::ForAWhile };
                let request = self.members[index].leave(leave);
                self.ask(index, &request);
            }
            (10, Some(index)) => {
                // It goes on asking one that may have been replaced.
                let known: Vec<u64> = self.coordinators.keys().copied().collect();
                let whom = *self.rng.choice(&known).expect("there is one");
                self.members[index].coordinator = whom;
            }
            _ => {}
        }
        let at = self.later(200, 4000);
        self.queue.push(at, Happening::Fault);
    }

    fn check(&mut self) {
        let mut readers: BTreeMap<u32, &str> = BTreeMap::new();
        for member in self.members.iter().filter(|member| !member.replaced) {
            for partition in member.may_hand_out(self.now) {
                if let Some(other) = readers.insert(partition, &member.name) {
                    panic!("at {}: {partition} is in the hands of {other} and {}", self.now, member.name);
                }
            }
        }
        if self.log.committed == self.checked {
            return;
        }
        self.checked = self.log.committed;
        let mut before: BTreeMap<u32, u64> = BTreeMap::new();
        for (partition, offset) in self.log.commits() {
            let last = before.insert(partition, offset.0).unwrap_or(0);
            assert!(last <= offset.0, "the commit of {partition} went back from {last} to {offset}");
        }
        for (partition, committed) in &before {
            let known = self.committed.insert(*partition, *committed).unwrap_or(0);
            assert!(known <= *committed, "a commit of {partition} was forgotten: {known}, now {committed}");
            let seen = self.seen.entry(*partition).or_default();
            while self.out.contains_key(&(*partition, *seen)) {
                *seen += 1;
            }
            assert!(committed <= seen, "{partition}: committed {committed}, but {seen} was never handed out");
        }
    }
}
