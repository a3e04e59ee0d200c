//! One replica of one partition: leader, follower or neither.

mod effect;
mod event;
mod producers;

pub use crate::time::Now;
pub use effect::*;
pub use event::*;
pub use producers::*;

use crate::rules::Rules;
use std::time::Duration;
use yak_protocol::ids::{BrokerId, TopicPartition};

/// What a replica is told once.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReplicaConfig {
    /// Which partition.
    pub id: TopicPartition,
    /// Which broker this is.
    pub broker: BrokerId,
    /// How long an in-sync replica may be behind (rule R8).
    pub replica_lag_max: Duration,
    /// After how long an unanswered proposal is sent again.
    pub proposal_retry: Duration,
    /// How long an `open` with an unknown epoch is parked.
    pub open_park_max: Duration,
    /// How many unacknowledged bytes a follower may be sent.
    pub window_bytes: u64,
    /// Which rules are in force; `Rules::all()` outside tests.
    pub rules: Rules,
}

/// One replica of one partition: a pure machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Replica {
    config: ReplicaConfig,
}

impl Replica {
    /// A replica as its log was recovered. It does nothing until the coordinator's record arrives.
    #[must_use]
    pub fn recover(config: ReplicaConfig, log: RecoveredLog) -> Self {
        let _ = log;
        Self { config }
    }

    /// Takes one event and appends what is to be done, in order.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let _ = (now, event, effects, &self.config);
    }

    /// When the next `Tick` is due; `None` = only events can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        None
    }

    /// What readers may see.
    #[must_use]
    pub fn view(&self) -> View {
        View::default()
    }
}
