//! How a rule is shown: the same script is played twice. With every rule in force nothing breaks, and once
//! all faults are over everything is whole again. Without the rule a promise breaks.

use crate::harness::truth::Violation;
use crate::harness::{Place, Setup, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use yak_core::cluster::Loss;
use yak_core::rules::{Rule, Rules};
use yak_protocol::ids::{BrokerId, TopicPartition};
use yak_protocol::message::{Acks, Durability};

pub const ONE: BrokerId = BrokerId(1);
pub const TWO: BrokerId = BrokerId(2);
pub const THREE: BrokerId = BrokerId(3);

/// A script: what happens, and `Err` with what is missing if it finds something missing itself.
pub type Script = fn(&mut World) -> Result<(), String>;

/// What came of playing a script.
#[derive(Debug)]
pub enum Played {
    Whole,
    Broken(Violation),
    /// An assertion of the machines themselves.
    Assertion(String),
    /// Nothing was lost, but something that was promised does not happen.
    Stuck(String),
}

impl Played {
    /// What exactly it was.
    pub fn text(&self) -> &str {
        match self {
            Self::Whole => "",
            Self::Broken(violation) => &violation.text,
            Self::Assertion(text) | Self::Stuck(text) => text,
        }
    }

    /// The name of what broke.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Whole => "nothing",
            Self::Broken(violation) => violation.invariant,
            Self::Assertion(_) => "assertion",
            Self::Stuck(_) => "liveness",
        }
    }
}

/// Three brokers, one partition that broker 1 leads, everything in sync.
pub fn setup(rules: Rules) -> Setup {
    Setup { rules, ..Setup::default() }
}

/// The same with acknowledgements before the sync.
pub fn replicated(rules: Rules) -> Setup {
    Setup { durability: Durability::Replicated, ..setup(rules) }
}

/// Plays a script to its end and then lets everything recover.
pub fn play(setup: Setup, script: Script) -> Played {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(setup);
        let found = script(&mut world);
        if let Some(violation) = world.truth.violations.first() {
            return Played::Broken(violation.clone());
        }
        let found = found.and_then(|()| world.mend());
        if let Some(violation) = world.truth.violations.first() {
            return Played::Broken(violation.clone());
        }
        if let Some(halt) = world.truth.halts.first() {
            return Played::Stuck(format!("halted: {halt}"));
        }
        found.map_or_else(Played::Stuck, |()| Played::Whole)
    }));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Played::Assertion(text.unwrap_or_default())
    })
}

/// The script breaks `promise` without the rule, and nothing with all rules.
pub fn shows(rule: Rule, setup: fn(Rules) -> Setup, promise: &str, script: Script) {
    let with = play(setup(Rules::all()), script);
    assert_eq!(with.name(), "nothing", "with every rule in force: {}", with.text());
    let without = play(setup(Rules::without(rule)), script);
    assert_eq!(without.name(), promise, "without {}: {}", rule.name(), without.text());
}

/// The only partition.
pub fn partition(w: &World) -> TopicPartition {
    w.partition(0)
}

/// The in-sync replicas, as the coordinator has them.
pub fn isr(w: &World) -> Vec<u32> {
    w.record(partition(w)).map(|r| r.isr.iter().map(|b| b.0).collect()).unwrap_or_default()
}

pub fn leader(w: &World) -> Option<BrokerId> {
    w.record(partition(w)).and_then(|r| r.leader)
}

/// A publish with `acks=all`.
pub fn publish(w: &mut World, to: BrokerId) -> u64 {
    let id = partition(w);
    w.publish(to, id, Acks::All)
}

/// A publish that only its leader has to keep.
pub fn publish_to_leader(w: &mut World, to: BrokerId) -> u64 {
    let id = partition(w);
    w.publish(to, id, Acks::Leader)
}

/// Lets a follower that gets nothing fall out of the ISR.
pub fn lag(w: &mut World) {
    w.advance(3_300);
}

/// The coordinator loses sight of a broker that lives on, and fences it. What the broker was saying is lost.
pub fn fence(w: &mut World, id: BrokerId) {
    let now = w.now;
    w.net.sever_between(Place::Broker(id), Place::Coordinator, Loss::PeerClosed, now);
    w.settle();
    w.stay_away(id);
}

/// What the coordinator says to a broker waits.
pub fn hold_news(w: &mut World, id: BrokerId) {
    w.net.hold(Place::Coordinator, Place::Broker(id), None);
}

/// What a broker says to the coordinator waits.
pub fn hold_requests(w: &mut World, id: BrokerId) {
    w.net.hold(Place::Broker(id), Place::Coordinator, None);
}

pub fn release_requests(w: &mut World, id: BrokerId) {
    w.net.release(Place::Broker(id), Place::Coordinator, None);
    w.settle();
}

/// The leader proposes broker 3, which is applied; neither the answer nor the record reaches the leader, and
/// then broker 3 is cut off from it.
pub fn joins_unheard(w: &mut World) {
    w.hold_streams(ONE, THREE);
    publish(w, ONE);
    lag(w);
    assert_eq!(isr(w), [1, 2]);
    hold_news(w, ONE);
    w.release_streams(ONE, THREE);
    w.settle();
    assert_eq!(isr(w), [1, 2, 3]);
    let now = w.now;
    w.net.sever_between(Place::Broker(ONE), Place::Broker(THREE), Loss::Unknown, now);
    w.settle();
    w.hold_streams(ONE, THREE);
    w.hold_streams(THREE, ONE);
}

/// On an old journal nobody can say when everything is whole again: with the rule nothing breaks, that is all.
pub fn on_an_old_journal(rule: Rule, promise: &str, script: fn(&mut World)) {
    on_an_old_journal_with(setup, rule, promise, script);
}

pub fn on_an_old_journal_with(setup: fn(Rules) -> Setup, rule: Rule, promise: &str, script: fn(&mut World)) {
    let mut with = World::new(setup(Rules::all()));
    script(&mut with);
    assert_eq!(with.truth.violations, [], "with every rule in force\n{}", with.describe());
    let mut without = World::new(setup(Rules::without(rule)));
    script(&mut without);
    let broken = without.truth.violations.first().map(|v| v.invariant);
    assert_eq!(broken, Some(promise), "without {}\n{}", rule.name(), without.describe());
}
