//! The cluster: who is alive, who leads, where replicas live.
//!
//! [`Cluster::step`] decides; durable state changes only by applying [`Record`]s, which the shell makes
//! durable before anything that follows from them is sent. Replaying the records is the recovery.

mod alter;
mod checks;
mod decommission;
mod effect;
mod election;
mod event;
mod isr;
mod liveness;
mod moves;
mod named_producers;
mod note;
mod placement;
mod preferred;
mod probe;
mod producer_ids;
mod rebuild;
mod record;
mod recovered;
mod registration;
mod requested;
mod state;
mod topics;
mod unclean;

pub use crate::time::Now;
pub use decommission::Decommission;
pub use effect::*;
pub use event::*;
pub use liveness::{Lease, Link};
pub use note::*;
pub use rebuild::{RebuildError, Rebuilt, rebuild};
pub use record::*;
pub use state::{Broker, State};

use crate::rules::Rules;
use liveness::Liveness;
use note::list;
use std::time::Duration;
use yak_protocol::ids::{BrokerId, ClusterId};
use yak_protocol::message::LeaderInfo;

/// What the machine is told once.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
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
    /// How long a preferred leader is in sync before leadership goes back to it.
    pub preferred_in_sync: Duration,
    /// Which rules are in force; `Rules::all()` outside tests.
    pub rules: Rules,
}

/// The cluster: a pure machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cluster {
    config: ClusterConfig,
    state: State,
    liveness: Liveness,
    /// Whether this term has given out producer ids.
    gave_producer_ids: bool,
    /// Names that have got an epoch in this term.
    named_producers: std::collections::BTreeSet<String>,
}

/// What one step does, gathered while it decides.
#[derive(Default)]
struct Step {
    /// Applied already; to be made durable as one.
    records: Vec<Record>,
    notes: Vec<Note>,
    /// Why partitions change in what follows.
    why: String,
    /// What goes out after the records are durable and pushed.
    last: Vec<Effect>,
    /// A move ended, so there may be room for replicas that are still missing.
    moved: bool,
    /// The connection whose reply holds everything, so that it gets no push of the change.
    full_copy_to: Option<ConnectionId>,
}

impl Step {
    fn note(&mut self, kind: &'static str, text: String) {
        self.notes.push(Note::Other { kind, text });
    }

    /// What follows has this cause.
    fn because(&mut self, why: impl Into<String>) {
        self.why = why.into();
    }
}

impl Cluster {
    /// The records that start a journal that has none.
    #[must_use]
    pub fn format(cluster_id: ClusterId) -> Vec<Record> {
        vec![Record::Cluster { cluster_id }]
    }

    /// Replays a journal and starts a new term; `effects` gets the journal entry that says so.
    ///
    /// # Panics
    /// When the journal breaks an invariant.
    #[must_use]
    pub fn recover(
        now: Now,
        config: ClusterConfig,
        mut journal: Vec<Record>,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let term = Self::next_term(&journal);
        journal.push(term.clone());
        effects.push(Effect::Journal(vec![term]));
        Self::resume(now, config, &journal)
    }

    /// The record that begins the term after a journal.
    ///
    /// # Panics
    /// When the journal breaks an invariant.
    #[must_use]
    pub fn next_term(journal: &[Record]) -> Record {
        Record::CoordinatorEpoch { epoch: State::replay(journal).coordinator_epoch().next() }
    }

    /// Replays a journal whose last record began the term that this machine decides in.
    ///
    /// # Panics
    /// When the journal breaks an invariant.
    #[must_use]
    pub fn resume(now: Now, config: ClusterConfig, journal: &[Record]) -> Self {
        let state = State::replay(journal);
        let unfenced = state.brokers().filter(|broker| !broker.info.fenced).map(|broker| broker.info.id);
        let liveness = Liveness::start(now, config.lease, unfenced);
        let named_producers = std::collections::BTreeSet::new();
        Self { config, state, liveness, gave_producer_ids: false, named_producers }
    }

    /// Takes one event and appends what is to be done, in order.
    pub fn step(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        let mut step = Step::default();
        if let Some(gap) = self.liveness.catch_up(now, self.config.heartbeat) {
            let text =
                format!("this process was away for {} ms; leases are extended by that", gap.as_millis());
            step.note("pause", text);
        }
        match event {
            Event::Request { connection, id, request, entropy } => {
                let outcome = self.request(now, connection, request, entropy, &mut step);
                step.last.push(Effect::Reply(id, outcome));
            }
            Event::Disconnected { connection, loss } => self.disconnected(now, connection, loss, &mut step),
            Event::ProbeAnswered { broker } => self.probe_answered(now, broker, &mut step),
            Event::Refused { broker, broker_epoch } => self.refused(broker, broker_epoch, &mut step),
            Event::Tick => self.tick(now, &mut step),
        }
        if !step.records.is_empty() {
            if step.moved {
                self.fill_replicas(&mut step);
            }
            self.advance_decommissions(&mut step);
        }
        self.finish(step, effects);
    }

    fn request(
        &mut self,
        now: Now,
        connection: ConnectionId,
        request: Request,
        entropy: u128,
        step: &mut Step,
    ) -> Result<Reply, yak_protocol::error::WireError> {
        Ok(match request {
            Request::RegisterBroker(request) => Reply::RegisterBroker(Box::new(
                self.register_broker(now, connection, &request, entropy, step)?,
            )),
            Request::Heartbeat(request) => Reply::Heartbeat(self.heartbeat(now, connection, request, step)?),
            Request::ProposeIsr(request) => Reply::ProposeIsr(self.propose_isr(&request, step)?),
            Request::StreamSilent(request) => Reply::StreamSilent(self.stream_silent(now, &request, step)?),
            Request::ProducerIds(request) => Reply::ProducerIds(self.producer_ids(&request, entropy, step)?),
            Request::RegisterProducer(request) => {
                Reply::RegisterProducer(self.name_producer(request, entropy, step)?)
            }
            Request::CreateTopic(request) => Reply::CreateTopic(self.create_topic(&request, entropy, step)?),
            Request::DeleteTopic(request) => Reply::DeleteTopic(self.delete_topic(&request, step)?),
            Request::AlterTopic(request) => Reply::AlterTopic(self.alter_topic(&request, step)?),
            Request::Elect(request) => Reply::Elect(self.elect_by_request(&request, step)?),
            Request::Drain(request) => Reply::Drain(self.drain_by_request(request, step)?),
            Request::MovePartitions(request) => Reply::Moves(self.move_partitions(&request, step)?),
            Request::CancelMoves(request) => Reply::Moves(self.cancel_moves(&request, step)?),
            Request::ListMoves(request) => Reply::Moves(self.list_moves(&request)?),
            Request::DecommissionBroker(request) => {
                Reply::Decommission(self.decommission_broker(request, step)?)
            }
            Request::ElectPreferred(request) => Reply::ElectPreferred(self.elect_preferred(&request, step)?),
            Request::ReplaceBroker(request) => Reply::Moves(self.replace_broker(request, step)?),
        })
    }

    /// Durable before sent: the records, then their push to every connected broker, then answers.
    fn finish(&mut self, step: Step, effects: &mut Vec<Effect>) {
        effects.extend(step.notes.into_iter().map(Effect::Note));
        if !step.records.is_empty() {
            self.check(&step.records);
            let changes = self.state.changes(&step.records);
            let versioned = step.records.iter().any(|record| matches!(record, Record::Version { .. }));
            effects.push(Effect::Journal(step.records));
            let connected =
                self.liveness.connected().filter(|id| versioned && Some(*id) != step.full_copy_to);
            effects.extend(connected.map(|id| Effect::Push(id, changes.clone())));
        }
        effects.extend(step.last);
    }

    /// Applies a record and adds it to the step. The first one that brokers hear of opens a new version.
    fn record(&mut self, step: &mut Step, record: Record) {
        let heard = !matches!(
            record,
            Record::ProducerIds { .. } | Record::NamedProducer { .. } | Record::Damage { .. }
        );
        if heard && !step.records.iter().any(|record| matches!(record, Record::Version { .. })) {
            let version = Record::Version { version: self.state.version().next() };
            self.state.apply(&version);
            step.records.push(version);
        }
        if let Record::Partition(new) = &record
            && let Some(old) = self.state.partition(new.id)
            && self.config.rules.r18_add_before_remove()
        {
            checks::check_removal(old, new);
        }
        self.state.apply(&record);
        if let Record::Partition(info) = &record {
            self.note_preferred(info.id);
        }
        step.records.push(record);
    }

    /// What must hold between partitions and brokers after a step, for the partitions that it touched.
    fn check(&self, records: &[Record]) {
        if !self.config.rules.r10_eligible_replicas() {
            return; // the switched-off rule keeps a fenced last member in the ISR
        }
        for record in records {
            let Record::Partition(info) = record else { continue };
            let Some(info) = self.state.partition(info.id).filter(|info| !info.recovering) else { continue };
            assert!(
                info.isr.iter().all(|id| self.state.unfenced(*id)),
                "{info:?}: a fenced broker is in sync"
            );
            assert!(!self.hands_over(info), "{info:?}: a draining broker leads though another one could");
        }
    }

    /// When the next `Tick` is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        self.liveness.next_deadline(self.config.heartbeat)
    }

    /// The durable state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Everything, as a broker or client sees it.
    #[must_use]
    pub fn leader_info(&self) -> LeaderInfo {
        self.state.leader_info()
    }

    /// The state as the shortest journal that leads to it: a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Record> {
        self.state.snapshot()
    }

    /// Links on which a follower does not hear its leader though both are alive: (follower, leader) and
    /// when that was found, for `WHY`.
    pub fn broken_links(&self) -> impl Iterator<Item = (BrokerId, BrokerId, Now)> {
        self.liveness.broken_links.iter().map(|((follower, leader), since)| (*follower, *leader, *since))
    }
}
