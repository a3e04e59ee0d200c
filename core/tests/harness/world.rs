//! The world: a coordinator, brokers, clients and the network between them, on one clock. It offers what
//! can happen next ([`World::items`]) and does one of them ([`World::perform`]); who chooses is the random
//! simulation, the exhaustive search or a script.

use super::broker::{Broker, Job};
use super::clients::{Consumer, Producer};
use super::coordinator::{Coordinator, Deposed};
use super::coverage::Coverage;
use super::net::{Direction, Message, Net, Place};
use super::truth::Truth;
use std::collections::BTreeMap;
use std::time::Duration;
use yak_core::partition::Now;
use yak_core::rules::Rules;
use yak_protocol::ids::{BrokerId, Incarnation, PartitionIndex, TopicId, TopicPartition};
use yak_protocol::message::Durability;

/// How a world is made.
#[derive(Clone, Debug)]
pub struct Setup {
    pub brokers: u32,
    pub partitions: u32,
    pub replicas: u32,
    pub min_isr: Option<u32>,
    pub durability: Durability,
    /// For how long ids are remembered.
    pub dedupe_window_ms: u64,
    pub rules: Rules,
    pub seed: u64,
    /// The longest usual delay of a message and of a disk stage; 0 = everything is ready at once, and
    /// happens in the order in which it was made ready.
    pub delay_ms: u64,
    /// How long a preferred leader is in sync before it leads again.
    pub give_back: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            brokers: 3,
            partitions: 1,
            replicas: 3,
            min_isr: None,
            durability: Durability::Fsync,
            dedupe_window_ms: 600_000,
            rules: Rules::all(),
            seed: 1,
            delay_ms: 0,
            give_back: Duration::from_secs(86_400),
        }
    }
}

/// Something that can happen next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Item {
    Deliver(Direction),
    Write(BrokerId),
    Sync(BrokerId),
    /// A replica hears from the disk.
    Report(BrokerId),
    /// The job with this number.
    Job(u64),
    Timer(Place),
}

/// Work that a broker's shell does beside its machines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    pub due: u64,
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    pub job: Job,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct World {
    pub setup: Setup,
    /// True time in milliseconds; no process sees it, each has its own clock.
    pub now: u64,
    pub rng: fastrand::Rng,
    pub net: Net,
    pub coordinator: Coordinator,
    pub deposed: Option<Deposed>,
    pub brokers: BTreeMap<BrokerId, Broker>,
    pub jobs: BTreeMap<u64, Pending>,
    pub producers: Vec<Producer>,
    pub consumers: Vec<Consumer>,
    pub truth: Truth,
    pub coverage: Coverage,
    pub partitions: Vec<TopicPartition>,
    /// How long it takes until somebody hears that a process has died, in scripts.
    pub linger_ms: u64,
    /// Whether [`World::trace`] prints.
    pub tracing: bool,
    next: u64,
}

impl World {
    /// A coordinator and brokers that have never met, all running.
    pub fn new(setup: Setup) -> Self {
        let rng = fastrand::Rng::with_seed(setup.seed);
        let mut world = Self {
            now: 1_000_000,
            rng,
            net: Net::default(),
            coordinator: Coordinator::new(setup.rules, setup.give_back),
            deposed: None,
            brokers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            producers: Vec::new(),
            consumers: Vec::new(),
            truth: Truth::default(),
            coverage: Coverage::default(),
            partitions: Vec::new(),
            linger_ms: 0,
            tracing: std::env::var("YAK_SIM_TRACE").is_ok(),
            next: 0,
            setup,
        };
        world.start_coordinator();
        for number in 1..=world.setup.brokers {
            let id = BrokerId(number);
            world.brokers.insert(id, Broker::new(id));
            world.start_broker(id);
            // One after the other, so that their numbers are the ones that the harness calls them by.
            world.settle_until("a broker registers", |w| w.broker_epoch(id).is_some());
        }
        world.settle_until("all brokers are unfenced", |w| w.unfenced().len() == w.setup.brokers as usize);
        let topic = world.create_topic("orders");
        world.partitions = (0..world.setup.partitions)
            .map(|p| TopicPartition { topic, partition: PartitionIndex(p) })
            .collect();
        world.settle_until("every replica is in sync", World::is_whole);
        world
    }

    /// A number that was not given before.
    pub fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The moment from which something that takes the usual while can happen.
    pub fn later(&mut self) -> u64 {
        let usual = self.setup.delay_ms;
        if usual == 0 {
            return self.now;
        }
        let delay = match self.rng.u32(0..100) {
            0 => self.rng.u64(0..usual * 40),
            1..8 => self.rng.u64(0..usual * 6),
            _ => self.rng.u64(0..=usual),
        };
        self.now + delay
    }

    /// Prints a line when `YAK_SIM_TRACE` is set.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        if self.tracing {
            println!("{:>9} {}", self.now, line());
        }
    }

    pub fn job(&mut self, broker: BrokerId, job: Job) {
        let Some(incarnation) = self.incarnation(broker) else { return };
        let (due, number) = (self.later(), self.fresh());
        self.jobs.insert(number, Pending { due, broker, incarnation, job });
    }

    pub fn send(&mut self, connection: super::net::ConnId, at: Place, message: Message) {
        let ready = self.later();
        self.net.send(connection, at, ready, message);
    }

    fn runs(&self, place: Place) -> bool {
        match place {
            Place::Coordinator => self.coordinator.runs(),
            Place::Deposed => self.deposed.as_ref().is_some_and(|deposed| !deposed.frozen),
            Place::Broker(id) => self.brokers[&id].runs(),
            Place::Client(_) => true,
        }
    }

    /// What can happen and from which moment on, timers last. Frozen processes do nothing.
    pub fn items(&self, items: &mut Vec<(u64, Item)>) {
        items.clear();
        for (due, direction) in self.net.deliverable() {
            if self.net.ends(direction).is_some_and(|(_, to)| self.runs(to)) {
                items.push((due, Item::Deliver(direction)));
            }
        }
        for (number, pending) in &self.jobs {
            if self.brokers[&pending.broker].runs() {
                items.push((pending.due, Item::Job(*number)));
            }
        }
        for (id, broker) in &self.brokers {
            if broker.runs() && broker.disk.can_write() && !broker.hold_write {
                items.push((broker.disk_due, Item::Write(*id)));
            }
            if let Some((due, ..)) = broker.reports.front().filter(|_| broker.runs()) {
                items.push((*due, Item::Report(*id)));
            }
            if broker.runs() && broker.disk.can_sync() && !broker.hold_sync {
                items.push((broker.disk_due, Item::Sync(*id)));
            }
        }
        let places = self.brokers.keys().map(|id| Place::Broker(*id));
        let clients = (0..self.producers.len()).map(Place::Client);
        for place in places.chain([Place::Coordinator, Place::Deposed]).chain(clients) {
            if let Some(due) = self.next_timer(place) {
                items.push((due, Item::Timer(place)));
            }
        }
    }

    fn next_timer(&self, place: Place) -> Option<u64> {
        match place {
            Place::Coordinator => self.coordinator.next_timer(),
            Place::Deposed => self.deposed_timer(),
            Place::Broker(id) => self.brokers[&id].next_timer(),
            Place::Client(number) => self.producers[number].next_timer(),
        }
    }

    /// Does one thing, and checks every invariant after it.
    pub fn perform(&mut self, item: Item) {
        match item {
            Item::Deliver(direction) => self.deliver(direction),
            Item::Write(id) => self.disk_write(id),
            Item::Sync(id) => self.disk_sync(id),
            Item::Report(id) => self.disk_reports_arrive(id),
            Item::Job(number) => {
                let Some(pending) = self.jobs.remove(&number) else { return };
                if self.incarnation(pending.broker) == Some(pending.incarnation) {
                    self.run_job(pending.broker, pending.job);
                }
            }
            Item::Timer(at @ (Place::Coordinator | Place::Deposed)) => self.coordinator_timer(at),
            Item::Timer(Place::Broker(id)) => self.broker_timer(id),
            Item::Timer(Place::Client(number)) => self.producer_timer(number),
        }
        self.check();
    }

    fn deliver(&mut self, direction: Direction) {
        let Some((from, to)) = self.net.ends(direction) else { return };
        let Some(message) = self.net.take(direction) else { return };
        self.trace(|| format!("{from:?} -> {to:?} {message:?}"));
        match to {
            Place::Coordinator | Place::Deposed => self.coordinator_receives(to, direction.0, message),
            Place::Broker(id) => self.broker_receives(id, direction.0, from, message),
            Place::Client(number) => self.producer_receives(number, direction.0, message),
        }
    }

    /// Does everything that is ready now, in an order that depends on nothing but the state, timers only
    /// where they are due.
    pub fn settle(&mut self) {
        let mut items = Vec::new();
        for _ in 0..100_000 {
            self.items(&mut items);
            let Some((_, item)) = items.iter().find(|(due, _)| *due <= self.now) else { return };
            self.perform(*item);
        }
        panic!("the world does not come to rest: {items:?}");
    }

    /// Lets time pass, with everything that becomes due on the way.
    pub fn advance(&mut self, ms: u64) {
        let until = self.now + ms;
        let mut items = Vec::new();
        loop {
            self.settle();
            self.items(&mut items);
            let next = items.iter().map(|(due, _)| *due).filter(|due| *due > self.now).min();
            match next {
                Some(due) if due <= until => self.now = due,
                _ => break,
            }
        }
        self.now = until;
        self.settle();
    }

    /// Lets time pass until the world is as wanted.
    ///
    /// # Panics
    /// When it does not become so within a minute.
    pub fn settle_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..6000 {
            self.settle();
            if done(self) {
                return;
            }
            self.advance(10);
        }
        panic!("in a minute it did not come to pass that {what}\n{}", self.describe());
    }

    /// A process's clock.
    pub fn clock(&self, place: Place) -> Now {
        let skew = match place {
            Place::Coordinator | Place::Deposed => self.coordinator.skew,
            Place::Broker(id) => self.brokers[&id].skew,
            Place::Client(_) => 0,
        };
        Now(self.now + skew)
    }

    /// The id of the topic's partition.
    pub fn partition(&self, index: usize) -> TopicPartition {
        self.partitions[index]
    }

    pub fn topic(&self) -> TopicId {
        self.partitions[0].topic
    }
}
