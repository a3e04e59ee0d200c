//! The coordinator's shell: a journal, connections, and the cluster machine between them.

use super::net::{ConnId, Message, Place};
use super::world::World;
use std::collections::BTreeMap;
use std::time::Duration;
use yak_core::cluster::{
    Cluster, ClusterConfig, ConnectionId, Effect, Event, Loss, Record, Reply, Request, RequestId,
};
use yak_core::rules::Rules;
use yak_protocol::defaults;
use yak_protocol::error::WireError;
use yak_protocol::ids::{BrokerEpoch, BrokerId, ClusterId, TopicId, TopicPartition};
use yak_protocol::message::{
    AlterTopic, CancelMoves, CreateTopic, Move, MovePartitions, PartitionInfo, PartitionName, SettingChange,
    TopicConfig,
};

/// A coordinator that lives on beside the one that took over from it. What it writes to the journal is refused,
/// and then it knows.
#[derive(Clone, Debug)]
pub struct Deposed {
    pub cluster: Cluster,
    pub frozen: bool,
    requests: BTreeMap<RequestId, (ConnId, u64)>,
}

/// What the journal says, read by the checkers without asking the machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ledger {
    pub partitions: BTreeMap<TopicPartition, PartitionInfo>,
    /// Sessions, and whether they are fenced.
    pub brokers: BTreeMap<BrokerId, (BrokerEpoch, bool)>,
}

impl Ledger {
    fn apply(&mut self, record: &Record) {
        match record {
            Record::Partition(info) => {
                self.partitions.insert(info.id, info.clone());
            }
            Record::Broker { id, broker_epoch, .. } => {
                self.brokers.insert(*id, (*broker_epoch, true));
            }
            Record::Fence { id, fenced, .. } => {
                if let Some((_, is_fenced)) = self.brokers.get_mut(id) {
                    *is_fenced = *fenced;
                }
            }
            Record::TopicDeleted { id } => self.partitions.retain(|of, _| of.topic != *id),
            _ => {}
        }
    }
}

/// The coordinator.
#[derive(Clone, Debug)]
pub struct Coordinator {
    /// What is durable: the journal, record by record.
    pub journal: Vec<Record>,
    pub ledger: Ledger,
    pub cluster: Option<Cluster>,
    pub frozen: bool,
    /// How far its clock is ahead of true time.
    pub skew: u64,
    /// Where the answer of a request goes.
    requests: BTreeMap<RequestId, (ConnId, u64)>,
    /// Answers to requests of the harness itself.
    answers: BTreeMap<RequestId, Result<Reply, WireError>>,
    /// Crash before carrying out the effect that this many others precede.
    pub crash_in: Option<u32>,
    /// How often it was started; what its random bits come from.
    starts: u64,
    /// Where the entries of the journal end.
    pub entries: Vec<usize>,
    config: ClusterConfig,
}

impl Coordinator {
    pub fn new(rules: Rules, give_back: Duration) -> Self {
        let config = ClusterConfig {
            heartbeat: defaults::HEARTBEAT,
            lease: defaults::LEASE,
            probe: defaults::PROBE,
            partitions: 1,
            replicas: 3,
            preferred_in_sync: give_back,
            rules,
        };
        Self {
            journal: Cluster::format(ClusterId(77)),
            ledger: Ledger::default(),
            cluster: None,
            frozen: false,
            skew: 0,
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            crash_in: None,
            starts: 0,
            entries: Vec::new(),
            config,
        }
    }

    pub fn runs(&self) -> bool {
        self.cluster.is_some() && !self.frozen
    }

    /// Other ones after each start.
    fn random_bits(&self) -> u128 {
        u128::from(fastrand::Rng::with_seed(self.starts).u64(..))
    }

    /// When its next timer is due, in true time.
    pub fn next_timer(&self) -> Option<u64> {
        let due = self.cluster.as_ref().filter(|_| !self.frozen)?.next_deadline()?;
        Some(due.0.saturating_sub(self.skew))
    }
}

impl World {
    /// Another coordinator goes on from the journal, in the next term. The one before lives on: what it has said
    /// is still on its way, and it says more, until the journal refuses it.
    pub fn take_over(&mut self) {
        self.end_deposed();
        let Some(cluster) = self.coordinator.cluster.take() else { return };
        self.trace(|| "another coordinator takes over".to_owned());
        self.coverage.hit("another coordinator takes over");
        let requests = std::mem::take(&mut self.coordinator.requests);
        self.net.rename(Place::Coordinator, Place::Deposed);
        self.deposed = Some(Deposed { cluster, frozen: self.coordinator.frozen, requests });
        self.coordinator.frozen = false;
        self.coordinator.crash_in = None;
        self.start_coordinator();
        self.knock();
    }

    /// The new one looks whether the brokers that it waits for still listen.
    fn knock(&mut self) {
        let Some(cluster) = &self.coordinator.cluster else { return };
        let awaited: Vec<_> = cluster.awaited().map(|broker| (broker.id, broker.broker_epoch)).collect();
        for (broker, broker_epoch) in awaited {
            if self.brokers[&broker].process.is_none() && self.rng.bool() {
                self.coverage.hit("a broker is gone when another coordinator takes over");
                self.step_cluster(Place::Coordinator, Event::Refused { broker, broker_epoch });
            }
        }
    }

    /// The deposed coordinator's process ends.
    pub fn end_deposed(&mut self) {
        if self.deposed.take().is_some() {
            self.trace(|| "the deposed coordinator ends".to_owned());
            let (rng, now, delay) = (&mut self.rng, self.now, self.setup.delay_ms);
            let ready = || now + if delay == 0 { 0 } else { rng.u64(0..=delay) };
            self.net.drop_place(Place::Deposed, ready, Loss::PeerClosed);
        }
    }

    /// When the deposed coordinator's next timer is due, in true time.
    pub fn deposed_timer(&self) -> Option<u64> {
        let due = self.deposed.as_ref().filter(|deposed| !deposed.frozen)?.cluster.next_deadline()?;
        Some(due.0.saturating_sub(self.coordinator.skew))
    }
}

impl World {
    /// Starts the coordinator on its journal.
    pub fn start_coordinator(&mut self) {
        assert!(self.coordinator.cluster.is_none(), "two coordinators");
        let now = self.clock(Place::Coordinator);
        self.coordinator.starts += 1;
        let mut effects = Vec::new();
        let journal = self.coordinator.journal.clone();
        let cluster = Cluster::recover(now, self.coordinator.config.clone(), journal, &mut effects);
        self.coordinator.cluster = Some(cluster);
        self.trace(|| "coordinator starts".to_owned());
        self.carry_out_cluster(Place::Coordinator, effects);
    }

    /// The coordinator's process dies; the journal stays.
    pub fn crash_coordinator(&mut self) {
        if self.coordinator.cluster.take().is_none() {
            return;
        }
        self.trace(|| "coordinator dies".to_owned());
        self.coordinator.requests.clear();
        self.coordinator.crash_in = None;
        self.coordinator.frozen = false;
        let (rng, now, delay) = (&mut self.rng, self.now, self.setup.delay_ms);
        let ready = || now + if delay == 0 { 0 } else { rng.u64(0..=delay) };
        self.net.drop_place(Place::Coordinator, ready, Loss::PeerClosed);
    }

    pub fn coordinator_timer(&mut self, at: Place) {
        self.step_cluster(at, Event::Tick);
    }

    fn step_cluster(&mut self, at: Place, event: Event) {
        let now = self.clock(at);
        let cluster = match at {
            Place::Deposed => self.deposed.as_mut().map(|deposed| &mut deposed.cluster),
            _ => self.coordinator.cluster.as_mut(),
        };
        let Some(cluster) = cluster else { return };
        let mut effects = Vec::new();
        cluster.step(now, event, &mut effects);
        self.carry_out_cluster(at, effects);
    }

    fn carry_out_cluster(&mut self, at: Place, effects: Vec<Effect>) {
        for effect in effects {
            if at == Place::Deposed && matches!(effect, Effect::Journal(_)) {
                self.coverage.hit("the journal refuses a deposed coordinator");
                self.end_deposed();
                return;
            }
            if let Some(left) = self.coordinator.crash_in.as_mut().filter(|_| at == Place::Coordinator) {
                if *left == 0 {
                    self.coverage.hit("coordinator dies between two effects");
                    self.crash_coordinator();
                    return;
                }
                *left -= 1;
            }
            self.observe_producer_ids(&effect);
            match effect {
                Effect::Journal(records) => {
                    for record in &records {
                        self.trace(|| format!("journal {record:?}"));
                        self.observe_record(record);
                        self.coordinator.ledger.apply(record);
                    }
                    self.coordinator.journal.extend(records);
                    self.coordinator.entries.push(self.coordinator.journal.len());
                }
                Effect::Reply(id, outcome) => match self.requests(at).and_then(|r| r.remove(&id)) {
                    Some((connection, request)) => {
                        if at == Place::Deposed {
                            self.coverage.hit("a deposed coordinator answers");
                        }
                        self.send(connection, at, Message::Reply(request, Box::new(outcome)));
                    }
                    None => {
                        self.coordinator.answers.insert(id, outcome);
                    }
                },
                Effect::Push(connection, info) => {
                    self.send(ConnId(connection.0), at, Message::Info(Box::new(info)));
                }
                Effect::Probe(connection, broker) => {
                    self.coverage.hit("a silent leader is probed");
                    self.trace(|| format!("probe {broker:?}"));
                    self.send(ConnId(connection.0), at, Message::Probe);
                }
                Effect::Close(connection, error) => {
                    self.trace(|| format!("coordinator closes {connection:?}: {error}"));
                    let ready = self.later();
                    self.net.close(ConnId(connection.0), at, ready, Loss::PeerClosed);
                }
                Effect::Note(text) => self.trace(|| format!("note: {text}")),
            }
        }
    }

    fn requests(&mut self, at: Place) -> Option<&mut BTreeMap<RequestId, (ConnId, u64)>> {
        match at {
            Place::Deposed => self.deposed.as_mut().map(|deposed| &mut deposed.requests),
            _ => Some(&mut self.coordinator.requests),
        }
    }

    pub fn coordinator_receives(&mut self, at: Place, connection: ConnId, message: Message) {
        let on = ConnectionId(connection.0);
        match message {
            Message::Request(request, body) => {
                let id = RequestId(self.fresh());
                if let Some(requests) = self.requests(at) {
                    requests.insert(id, (connection, request));
                }
                let entropy = u128::from(id.0) << 64 | self.coordinator.random_bits();
                self.step_cluster(at, Event::Request { connection: on, id, request: *body, entropy });
            }
            Message::AskInfo => {
                let cluster = match at {
                    Place::Deposed => self.deposed.as_ref().map(|deposed| &deposed.cluster),
                    _ => self.coordinator.cluster.as_ref(),
                };
                if let Some(info) = cluster.map(Cluster::leader_info) {
                    self.send(connection, at, Message::Info(Box::new(info)));
                }
            }
            Message::ProbeAnswer(broker) => self.step_cluster(at, Event::ProbeAnswered { broker }),
            Message::End(loss) => self.step_cluster(at, Event::Disconnected { connection: on, loss }),
            other => panic!("not for a coordinator: {other:?}"),
        }
    }

    /// A request of the harness, answered at once.
    ///
    /// # Panics
    /// When the coordinator is down or the request is refused.
    pub fn ask_cluster(&mut self, request: Request) -> Reply {
        let id = RequestId(self.fresh());
        let entropy = u128::from(id.0) << 64 | self.coordinator.random_bits();
        let connection = ConnectionId(u64::MAX);
        self.step_cluster(Place::Coordinator, Event::Request { connection, id, request, entropy });
        let answer = self.coordinator.answers.remove(&id).expect("answered at once");
        answer.expect("not refused")
    }

    /// Somebody asks for something; refused or not. `None` if the coordinator does not get to answer.
    pub fn try_cluster(&mut self, request: Request) -> Option<Result<Reply, WireError>> {
        let id = RequestId(self.fresh());
        let entropy = u128::from(id.0) << 64 | self.coordinator.random_bits();
        let connection = ConnectionId(u64::MAX);
        self.step_cluster(Place::Coordinator, Event::Request { connection, id, request, entropy });
        self.coordinator.answers.remove(&id)
    }

    fn name(&self, id: TopicPartition) -> PartitionName {
        PartitionName { topic: "orders".to_owned(), partition: id.partition }
    }

    /// Asks for a move; whether it was begun.
    pub fn move_to(&mut self, id: TopicPartition, to: &[BrokerId]) -> bool {
        let PartitionName { topic, partition } = self.name(id);
        let moves = vec![Move { topic, partition, replicas: to.to_vec() }];
        let request = MovePartitions { moves, ..MovePartitions::default() };
        matches!(self.try_cluster(Request::MovePartitions(request)), Some(Ok(_)))
    }

    /// Asks for the partition's move to go back.
    pub fn cancel_move(&mut self, id: TopicPartition) {
        let request = CancelMoves { partitions: vec![self.name(id)], dry_run: false };
        self.try_cluster(Request::CancelMoves(request));
    }

    /// The topic's `min_isr`, as the coordinator has it.
    pub fn topic_min_isr(&self) -> u32 {
        let cluster = self.coordinator.cluster.as_ref();
        cluster.and_then(|cluster| cluster.state().topics().next()).map_or(2, |topic| topic.min_isr)
    }

    /// Asks for another `min_isr`; whether it became another one.
    pub fn set_min_isr(&mut self, min_isr: u32) -> bool {
        let set = vec![SettingChange("min_isr".to_owned(), Some(min_isr.to_string()))];
        let request = AlterTopic { topic: "orders".to_owned(), set, ..AlterTopic::default() };
        let answer = self.try_cluster(Request::AlterTopic(request));
        matches!(answer, Some(Ok(Reply::AlterTopic(reply))) if !reply.changed.is_empty())
    }

    pub fn create_topic(&mut self, name: &str) -> TopicId {
        let request = CreateTopic {
            topic: name.to_owned(),
            partitions: Some(self.setup.partitions),
            replicas: Some(self.setup.replicas),
            min_isr: self.setup.min_isr,
            config: TopicConfig { durability: self.setup.durability, ..TopicConfig::default() },
            ..CreateTopic::default()
        };
        match self.ask_cluster(Request::CreateTopic(request)) {
            Reply::CreateTopic(reply) => reply.topic.id,
            other => panic!("not an answer to create_topic: {other:?}"),
        }
    }

    /// The coordinator's record of a partition, as the journal has it.
    pub fn record(&self, id: TopicPartition) -> Option<&PartitionInfo> {
        self.coordinator.ledger.partitions.get(&id)
    }

    /// The brokers that are not fenced, by the journal.
    pub fn unfenced(&self) -> Vec<BrokerId> {
        self.brokers.keys().copied().filter(|id| !self.is_fenced(*id)).collect()
    }

    pub fn is_fenced(&self, broker: BrokerId) -> bool {
        self.coordinator.ledger.brokers.get(&broker).is_none_or(|(_, fenced)| *fenced)
    }

    /// The session that the coordinator last granted to a broker.
    pub fn granted(&self, broker: BrokerId) -> Option<BrokerEpoch> {
        self.coordinator.ledger.brokers.get(&broker).map(|(epoch, _)| *epoch)
    }

    /// Runs the coordinator on an older state of its journal.
    pub fn restart_coordinator_on(&mut self, journal: Vec<Record>) {
        self.crash_coordinator();
        self.coordinator.ledger = Ledger::default();
        journal.iter().for_each(|record| self.coordinator.ledger.apply(record));
        self.coordinator.entries.retain(|end| *end <= journal.len());
        self.coordinator.journal = journal;
        self.forget_removals();
        self.start_coordinator();
    }
}

/// How long a broker waits before it tries again to reach somebody.
pub const RECONNECT: Duration = Duration::from_millis(150);
