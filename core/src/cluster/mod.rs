//! The cluster: who is alive, who leads, where replicas live. `decide(event) -> records`, and state
//! changes only by applying records.

mod effect;
mod event;
mod record;

pub use crate::time::Now;
pub use effect::*;
pub use event::*;
pub use record::*;

use crate::rules::Rules;
use std::time::Duration;
use yak_protocol::ids::ClusterId;
use yak_protocol::message::LeaderInfo;

/// What the machine is told once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterConfig {
    /// How often brokers are told to renew.
    pub heartbeat: Duration,
    /// How long a broker lives without one.
    pub lease: Duration,
    /// How long a probe may take.
    pub probe: Duration,
    /// Partitions of a topic made without a number.
    pub partitions: u32,
    /// Replicas of a topic made without a number.
    pub replicas: u32,
    /// Which rules are in force; `Rules::all()` outside tests.
    pub rules: Rules,
}

/// The cluster: a pure machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    config: ClusterConfig,
}

impl Cluster {
    /// The records that start a journal that has none.
    #[must_use]
    pub fn format(cluster_id: ClusterId) -> Vec<Record> {
        vec![Record::Cluster { cluster_id }]
    }

    /// Replays a journal and starts a new term; `effects` gets the journal entry that says so.
    #[must_use]
    pub fn recover(now: Now, config: ClusterConfig, journal: Vec<Record>, effects: &mut Vec<Effect>) -> Self {
        let _ = (now, journal, effects);
        Self { config }
    }

    /// Takes one event and appends what is to be done, in order.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let _ = (now, event, effects, &self.config);
    }

    /// When the next `Tick` is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        None
    }

    /// Everything, as a broker or client sees it.
    #[must_use]
    pub fn leader_info(&self) -> LeaderInfo {
        LeaderInfo::default()
    }

    /// The state as the shortest journal that leads to it: a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        Vec::new()
    }
}
