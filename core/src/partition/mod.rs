//! One replica of one partition: leader, follower or neither.
//!
//! [`Replica::step`] takes one event and says what is to be done, in the order in which it must happen.
//! docs/REPLICATION.md has the rules (R1 to R18) by which it decides.
//!
//! What a replica has whatever its role is `local::Local`; the roles are `leader::Leader` and
//! `follower::Follower`, and `adopt.rs` moves between them.

mod adopt;
mod commit;
mod damage;
mod disk;
mod effect;
mod epochs;
mod event;
mod fold;
mod follower;
mod ids;
mod isr;
mod leader;
mod local;
mod parked;
mod pending;
mod producers;
mod progress;
mod publish;
mod queue;
mod why;

pub use crate::time::Now;
pub use effect::*;
pub use event::*;
pub use ids::{BatchIds, Ids};
pub use producers::*;
pub use why::Explained;

use crate::rules::Rules;
use follower::{Follower, Pushed};
use leader::Leader;
use local::{Local, Record};
use publish::Publish;
use std::collections::BTreeMap;
use std::time::Duration;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, LeaderEpoch, SessionId, TopicPartition};
use yak_protocol::message::{Open, OpenAnswer, Opened};

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
    /// No session that this process has opened for the partition so far is above this one: an earlier replica
    /// of it may have been removed (rule R18), and what that one said may still be on its way.
    pub sessions_after: SessionId,
    /// Which rules are in force; `Rules::all()` outside tests.
    pub rules: Rules,
}

/// What the replica does; moving on consumes the role at hand.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Role {
    Leader(Box<Leader>),
    Follower(Follower),
    /// Neither, for that reason.
    Resting(&'static str),
}

/// One replica of one partition: a pure machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Replica {
    local: Local,
    role: Role,
    /// What readers were told last.
    view: View,
    /// The follower table of an earlier epoch, where rule R5 is off.
    #[cfg(feature = "rule-switches")]
    old_table: BTreeMap<BrokerId, progress::Progress>,
}

impl Replica {
    /// A replica as its log was recovered. It does nothing until the coordinator's record arrives.
    #[must_use]
    pub fn recover(config: ReplicaConfig, log: RecoveredLog) -> Self {
        Self {
            local: Local::recovered(config, &log),
            role: Role::Resting("waiting for the coordinator's word"),
            view: View::default(),
            #[cfg(feature = "rule-switches")]
            old_table: BTreeMap::new(),
        }
    }

    /// Takes one event and appends what is to be done, in order.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        self.take(now, event, effects);
        self.settle(now, effects);
        self.assert_invariants();
    }

    fn take(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let Self { local, role, .. } = self;
        match event {
            Event::Metadata { info, broker_epoch, unfenced, durability, dedupe_window_ms } => {
                let unfenced = unfenced.into_iter().collect();
                let record = Record { info, broker_epoch, unfenced, durability, dedupe_window_ms };
                self.on_record(record, now, effects);
            }
            Event::Publish { ticket, head, acks, deadline, lease_held } => {
                let publish = Publish { ticket, head, acks, deadline, lease_held };
                self.on_publish(&publish, now, effects);
            }
            Event::Written(seq) => {
                local.log.on_written(seq);
                local.fold.written(local.log.written_end());
            }
            Event::Synced(seq) => {
                local.log.on_synced(seq);
                local.fold.written(local.log.written_end());
                if let Role::Leader(leader) = role {
                    leader.on_synced(seq, local, now, effects);
                }
            }
            Event::WriteFailed { seq, error } => self.on_write_failed(seq, &error, now, effects),
            Event::ProducersRebuilt { producers, ids, end } => local.fold.rebuilt(producers, ids, end),
            Event::DamageFound { from, to } => {
                local.damage.add(from.max(local.log.start()), to.min(local.log.end()));
                if let Role::Follower(follower) = role {
                    follower.on_damage();
                }
            }
            Event::Repaired { from, to } => local.damage.remove(from, to),
            Event::Opened { stream, follower, open } => self.on_open(stream, follower, open, now, effects),
            Event::Tick => {}
            Event::ShuttingDown => {
                local.stopping = true;
                if let Role::Leader(leader) = role {
                    leader.abandon("the broker is shutting down", effects);
                }
            }
            event => self.take_in_role(now, event, effects),
        }
    }

    /// Events that only one role knows what to do with.
    fn take_in_role(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let Self { local, role, .. } = self;
        match (role, event) {
            (role, Event::Closed { stream, session }) => {
                local.parked.closed(stream, session);
                if let Role::Leader(leader) = role {
                    leader.on_closed(stream, session);
                }
            }
            (Role::Leader(_), Event::Trim { to }) => local.drop_below(to, effects),
            (Role::Leader(leader), Event::Acked { stream, follower, ack }) => {
                leader.on_ack(stream, follower, &ack, local);
            }
            (Role::Leader(leader), Event::Pushed { stream, follower, session, next, bytes }) => {
                leader.on_pushed(stream, follower, session, (next, bytes), local, now);
            }
            (Role::Leader(leader), Event::Proposal { partition_epoch, outcome: Err(_) }) => {
                leader.on_refused(partition_epoch, local, now);
            }
            (Role::Follower(follower), Event::StreamUp { leader }) => follower.on_stream_up(leader),
            (Role::Follower(follower), Event::StreamDown { leader }) => {
                follower.on_stream_down(leader, local, now);
            }
            (Role::Follower(follower), Event::OpenAnswered { session, answer }) => {
                follower.on_answer(session, answer, local, now, effects);
            }
            (Role::Follower(follower), Event::Push { session, from, high_watermark, log_start, batches }) => {
                let push = Pushed { session, from, high_watermark, log_start, batches };
                follower.on_push(&push, local, now, effects);
            }
            // Late news of a role that this replica has given up, or an applied proposal: the record tells.
            _ => {}
        }
    }

    fn on_publish(&mut self, publish: &Publish, now: Now, effects: &mut Vec<Effect>) {
        let local = &mut self.local;
        let (code, message) = if local.stopping {
            (ErrorCode::ShuttingDown, "the broker is shutting down".to_owned())
        } else {
            match &mut self.role {
                Role::Leader(leader) => return leader.on_publish(publish, local, now, effects),
                Role::Follower(follower) => {
                    (ErrorCode::NotLeader, format!("broker {} leads the partition", follower.leader))
                }
                Role::Resting(reason) => refusal_at_rest(local, reason),
            }
        };
        publish.refuse(WireError::new(code, message), effects);
    }

    fn on_write_failed(&mut self, seq: OpSeq, error: &WireError, now: Now, effects: &mut Vec<Effect>) {
        let Self { local, role, .. } = self;
        let Some(rollback) = local.log.on_failed(seq) else { return };
        local.fold.rolled_back(rollback);
        match role {
            Role::Leader(leader) => leader.on_write_failed(seq, error, rollback.lowest, now, effects),
            Role::Follower(follower) => follower.on_write_failed(now, effects),
            Role::Resting(_) => {}
        }
        let (end, high_watermark) = (local.log.end(), local.high_watermark);
        if end < high_watermark {
            let reason = format!("the disk refused records below {high_watermark}, which is committed");
            local.halt(reason, effects);
        }
    }

    /// A follower opens here.
    fn on_open(
        &mut self,
        stream: StreamId,
        follower: BrokerId,
        open: Open,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let local = &mut self.local;
        local.parked.forget_before(follower, &open);
        if let Role::Leader(leader) = &mut self.role
            && (open.leader_epoch <= leader.epoch || !local.config.rules.r3_leader_epoch_fence())
        {
            return leader.on_open(stream, follower, open, local, now, effects);
        }
        let epoch = local.record_epoch();
        let named = local.record.as_ref().is_some_and(|record| record.info.leader == Some(local.me()));
        let answer = if open.leader_epoch > epoch || (open.leader_epoch == epoch && named) {
            local.parked.park(stream, follower, open, now + local.config.open_park_max);
            return;
        } else if open.leader_epoch < epoch {
            OpenAnswer::Fenced { leader_epoch: epoch }
        } else {
            OpenAnswer::NotLeader
        };
        effects.push(Effect::Opened(stream, Opened { id: open.id, session: open.session, answer }));
    }

    /// What follows from the state after every event.
    fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.local.halted.is_some() {
            self.rest("the replica has stopped itself", effects);
        }
        let Self { local, role, .. } = self;
        if local.record.is_some() {
            effects.extend(local.damage.take_report().map(|damaged| Effect::ReportDamage { damaged }));
            // A log that is being set aside has nothing to say.
            let written_end = Some(local.log.written_end()).filter(|end| *end >= local.log.start());
            let rebuild = written_end.and_then(|end| local.fold.ask(end));
            let dedupe_window_ms = local.fold.window_ms();
            effects.extend(rebuild.map(|end| Effect::RebuildProducers { end, dedupe_window_ms }));
        }
        match role {
            Role::Leader(leader) => leader.decide(local, now, effects),
            Role::Follower(follower) => follower.decide(local, now, effects),
            Role::Resting(_) => {}
        }
        for parked in local.parked.take_expired(now) {
            let (id, session) = (parked.open.id, parked.open.session);
            let answer = OpenAnswer::UnknownEpoch;
            effects.push(Effect::Opened(parked.stream, Opened { id, session, answer }));
        }
        self.local.fold.log_starts_at(self.local.log.start());
        // Readers first: a push reads up to the log end that they were told.
        self.show(effects);
        let Self { local, role, .. } = self;
        match role {
            Role::Leader(leader) => {
                leader.answer(local, now, effects);
                leader.push(local, effects);
            }
            Role::Follower(follower) => follower.speak(local, now, effects),
            Role::Resting(_) => {}
        }
        if std::mem::take(&mut local.removal_due) {
            effects.push(Effect::Remove);
        }
    }

    fn show(&mut self, effects: &mut Vec<Effect>) {
        let view = self.view();
        if view != self.view {
            let same_term = view.leader_epoch == self.view.leader_epoch;
            assert!(
                !same_term || view.high_watermark >= self.view.high_watermark,
                "a high watermark goes back"
            );
            self.view = view;
            effects.push(Effect::View(Box::new(self.view.clone())));
        }
    }

    /// When the next `Tick` is due; `None` = only events can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        let role = match &self.role {
            Role::Leader(leader) => leader.deadline(&self.local),
            Role::Follower(follower) => follower.deadline(),
            Role::Resting(_) => None,
        };
        role.into_iter().chain(self.local.parked.next_deadline()).min()
    }

    /// What is known of producers and message ids up to the view's `log_end`; `None` while it is read back. For
    /// snapshots and for checking invariant I12.
    #[must_use]
    pub fn producers(&self) -> Option<(&Producers, &Ids)> {
        self.local.fold.known()
    }

    /// What readers may see.
    #[must_use]
    pub fn view(&self) -> View {
        let local = &self.local;
        let info = local.record.as_ref().map(|record| &record.info);
        let leader = match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) | Role::Resting(_) => None,
        };
        View {
            leads: leader.is_some(),
            leader: info.and_then(|info| info.leader),
            leader_epoch: local.record_epoch(),
            promised: local.log.durable_promise().map_or(LeaderEpoch::ZERO, |(epoch, _)| epoch),
            partition_epoch: info.map(|info| info.partition_epoch).unwrap_or_default(),
            high_watermark: local.high_watermark,
            high_watermark_known: leader.is_some_and(|leader| leader.high_watermark_known(local)),
            log_start: local.log.start(),
            log_end: local.log.written_end().max(local.log.start()),
            synced_end: local.log.synced_end().max(local.log.start()),
            last_epoch: local.log.epochs().of_last_record(local.log.synced_end()),
            isr: info.map(|info| info.isr.clone()).unwrap_or_default(),
            min_isr: info.map(|info| info.min_isr).unwrap_or_default(),
            followers: leader.map_or_else(Vec::new, |leader| {
                leader.table.iter().map(|(id, progress)| (*id, progress.acked)).collect()
            }),
            trouble: self.trouble(),
            halted: local.halted.is_some(),
        }
    }

    fn trouble(&self) -> Option<String> {
        let local = &self.local;
        if let Some(reason) = local.halted.as_ref().or(local.refused.as_ref()) {
            return Some(reason.clone());
        }
        let role = match &self.role {
            Role::Leader(leader) => leader.trouble(local),
            Role::Follower(follower) => follower.trouble(),
            Role::Resting(reason) => Some((*reason).to_owned()),
        };
        role.or_else(|| {
            let (from, to) = local.damage.ranges().first()?;
            Some(format!("the log is damaged from {from} to {to}"))
        })
    }

    fn assert_invariants(&self) {
        self.local.assert_invariants();
        if let Role::Leader(leader) = &self.role {
            leader.assert_invariants(&self.local);
        }
    }

    #[cfg(feature = "rule-switches")]
    fn remember_table(&mut self, leader: Leader) {
        if !self.local.config.rules.r5_seen_this_epoch() {
            self.old_table = leader.table;
            self.old_table.values_mut().for_each(progress::Progress::close);
        }
    }

    #[cfg(feature = "rule-switches")]
    fn remembered_table(&mut self) -> BTreeMap<BrokerId, progress::Progress> {
        std::mem::take(&mut self.old_table)
    }

    #[cfg(not(feature = "rule-switches"))]
    fn remember_table(&mut self, leader: Leader) {
        drop(leader);
    }

    #[cfg(not(feature = "rule-switches"))]
    fn remembered_table(&mut self) -> BTreeMap<BrokerId, progress::Progress> {
        BTreeMap::new()
    }
}

/// Why a replica without a role takes no publish.
fn refusal_at_rest(local: &Local, reason: &str) -> (ErrorCode, String) {
    let record = local.record.as_ref();
    if local.recovering {
        (ErrorCode::Recovering, reason.to_owned())
    } else if local.halted.is_some() || record.is_none() {
        (ErrorCode::NotReady, reason.to_owned())
    } else {
        match record.and_then(|record| record.info.leader) {
            Some(leader) if leader != local.me() => {
                (ErrorCode::NotLeader, format!("broker {leader} leads the partition"))
            }
            Some(_) => (ErrorCode::NotReady, reason.to_owned()),
            None => (ErrorCode::NoLeader, reason.to_owned()),
        }
    }
}

#[cfg(test)]
mod fuzz_tests;
