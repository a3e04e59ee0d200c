//! The log of the groups' partition, and those who lead it or believe that they do.

use yak_core::group::{Clock, Effect, Event, GroupSet, Key, Topics, Value};
use yak_core::time::Now;
use yak_protocol::ids::Offset;

/// The log: everything below `committed` stays for ever.
#[derive(Default)]
pub struct Log {
    pub entries: Vec<(Key, Option<Value>)>,
    pub committed: usize,
}

impl Log {
    /// A new leader has everything that is committed, and some of the rest.
    pub fn cut(&mut self, rng: &mut fastrand::Rng) {
        let end = rng.usize(self.committed..=self.entries.len());
        self.entries.truncate(end);
        self.committed = end;
    }

    /// The committed offsets of a partition, in order.
    pub fn commits(&self) -> Vec<(u32, Offset)> {
        let of = |(key, value): &(Key, Option<Value>)| match (key, value) {
            (Key::Offset { partition, .. }, Some(Value::Offset(record))) => {
                Some((partition.0, record.offset))
            }
            _ => None,
        };
        self.entries[..self.committed].iter().filter_map(of).collect()
    }
}

/// One who leads, or did.
pub struct Coordinator {
    pub set: GroupSet,
    /// Until when it may believe that it leads.
    pub lease_until: u64,
    /// Does not run until then.
    pub frozen_until: u64,
}

impl Coordinator {
    pub fn load(now: u64, grace: std::time::Duration, log: &Log, topics: Topics) -> (Self, Vec<Effect>) {
        let mut effects = Vec::new();
        let set = GroupSet::load(clock(now), grace, log.entries.iter().cloned(), topics, &mut effects);
        (Self { set, lease_until: u64::MAX, frozen_until: 0 }, effects)
    }

    pub fn step(&mut self, now: u64, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.set.step(clock(now), event, &mut effects);
        effects
    }
}

pub fn clock(now: u64) -> Clock {
    Clock { now: Now(now), wall_ms: 1_700_000_000_000 + i64::try_from(now).expect("small") }
}
