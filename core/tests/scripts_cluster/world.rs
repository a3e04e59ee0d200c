//! One cluster machine, its journal, and brokers that are no more than what their data dirs remember.

#[path = "takeover.rs"]
mod takeover;

use crate::command::{Command, number};
use crate::show::{self, Names};
use std::collections::BTreeMap;
use std::time::Duration;
use yak_core::cluster::{
    Cluster, ClusterConfig, ConnectionId, Effect, Event, Loss, Now, Record, Reply, Request, RequestId, State,
};
use yak_core::rules::{Rule, Rules};
use yak_protocol::ids::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorEpoch, DataDirId, Incarnation, LeaderEpoch, MetadataVersion,
    Offset, PartitionEpoch, PartitionIndex, TopicPartition,
};
use yak_protocol::message::{
    CreateTopic, DeleteTopic, Drain, Durability, Elect, Heartbeat, IsrProposal, PartitionInfo, ProposeIsr,
    RegisterBroker, ReplicaReport, StreamSilent, TopicConfig,
};

const CLUSTER: ClusterId = ClusterId(1);

/// What a broker's process and data dir remember.
#[derive(Clone)]
struct Broker {
    /// What scripts call it.
    address: String,
    name: String,
    rack: String,
    process: u128,
    data_dir: u128,
    id: Option<BrokerId>,
    stored_epoch: BrokerEpoch,
    session: Option<BrokerEpoch>,
    connection: ConnectionId,
}

impl Broker {
    /// How it registers.
    fn registration(&self) -> RegisterBroker {
        RegisterBroker {
            name: self.name.clone(),
            incarnation: Incarnation(self.process),
            data_dir: DataDirId(self.data_dir),
            cluster_id: self.id.map(|_| CLUSTER),
            broker_id: self.id,
            stored_broker_epoch: self.stored_epoch,
            resume: self.session,
            coordinator_epoch: CoordinatorEpoch::ZERO,
            clean_shutdown: false,
            same_boot: true,
            advertise: format!("{}:9701", self.address),
            rack: self.rack.clone(),
            replicas: Vec::new(),
        }
    }
}

pub struct World {
    config: ClusterConfig,
    cluster: Cluster,
    journal: Vec<Record>,
    now: Now,
    brokers: BTreeMap<String, Broker>,
    names: Names,
    next_connection: u64,
    next_request: u64,
    next_process: u128,
    entropy: u128,
}

fn config(rules: Rules) -> ClusterConfig {
    ClusterConfig {
        heartbeat: Duration::from_millis(500),
        lease: Duration::from_millis(3000),
        probe: Duration::from_millis(200),
        partitions: 1,
        replicas: 3,
        preferred_in_sync: Duration::from_secs(60),
        rules,
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(Rules::all())
    }

    fn with(rules: Rules) -> Self {
        let config = config(rules);
        let mut journal = Cluster::format(CLUSTER);
        let mut effects = Vec::new();
        let cluster = Cluster::recover(Now(0), config.clone(), journal.clone(), &mut effects);
        keep(&mut journal, &effects);
        Self {
            config,
            cluster,
            journal,
            now: Now(0),
            brokers: BTreeMap::new(),
            names: Names::new(),
            next_connection: 0,
            next_request: 0,
            next_process: 0,
            entropy: 0,
        }
    }

    /// Runs one command; the lines say what the machine did.
    pub fn run(&mut self, line: &str) -> Result<Vec<String>, String> {
        let command = Command::parse(line)?;
        match command.verb {
            "start" => {
                let rules = match command.text("without") {
                    Some(name) => Rules::without(
                        *Rule::ALL.iter().find(|rule| rule.name() == name).ok_or("there is no such rule")?,
                    ),
                    None => Rules::all(),
                };
                *self = Self::with(rules);
                Ok(Vec::new())
            }
            "recover" => Ok(self.recover()),
            "rollback" => self.rollback(&command),
            "join" => {
                let mut lines = Vec::new();
                for name in command.words.clone() {
                    self.register(name, &command)?;
                    lines.extend(self.heartbeat(name, &command)?.last().cloned());
                }
                Ok(lines)
            }
            "register" => self.register(command.word(0)?, &command),
            "restart" | "wipe" => self.new_process(command.word(0)?, command.verb == "wipe"),
            "heartbeat" => self.heartbeat(command.word(0)?, &command),
            "disconnect" => {
                let connection = self.broker(command.word(0)?)?.connection;
                let loss = if command.has("unknown") { Loss::Unknown } else { Loss::PeerClosed };
                Ok(self.step(Event::Disconnected { connection, loss }))
            }
            "create" => self.create(&command),
            "delete" => {
                let topic = command.word(0)?.to_owned();
                Ok(self.request(ConnectionId(0), Request::DeleteTopic(DeleteTopic { topic })))
            }
            "elect" => self.elect(&command),
            "drain" | "undrain" => {
                let broker_id = BrokerId(number(command.word(0)?)?);
                let drain =
                    Drain { broker_id, draining: command.verb == "drain", dry_run: command.has("dry_run") };
                Ok(self.request(ConnectionId(0), Request::Drain(drain)))
            }
            "alter" | "move" | "cancel" | "moves" | "replace" | "decommission" | "preferred" | "producer" => {
                let request = crate::verbs::request(&command)?;
                Ok(self.request(ConnectionId(0), request))
            }
            "propose" => self.propose(&command),
            "silent" => self.silent(&command),
            "answer" => {
                let broker = self.broker(command.word(0)?)?.id.ok_or("it has no number")?;
                Ok(self.step(Event::ProbeAnswered { broker }))
            }
            "gone" => {
                let broker = self.broker(command.word(0)?)?;
                let (id, epoch) = (broker.id.ok_or("it has no number")?, broker.stored_epoch);
                let broker_epoch = command.number("epoch")?.map_or(epoch, BrokerEpoch);
                Ok(self.step(Event::Refused { broker: id, broker_epoch }))
            }
            "rebuild" => self.rebuild(&command),
            "advance" => self.advance(&command),
            "pause" => {
                self.now = self.now + Duration::from_millis(number(command.word(0)?)?);
                Ok(Vec::new())
            }
            "tick" => Ok(self.step(Event::Tick)),
            "show" => Ok(self.show(&command)),
            verb => Err(format!("there is no command {verb}")),
        }
    }

    fn broker(&mut self, name: &str) -> Result<&mut Broker, String> {
        self.brokers.get_mut(name).ok_or_else(|| format!("there is no broker {name}"))
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        let mut effects = Vec::new();
        self.cluster.step(self.now, event, &mut effects);
        keep(&mut self.journal, &effects);
        for topic in self.cluster.state().topics() {
            self.names.insert(topic.id, topic.name.clone());
        }
        show::effects(&effects, &self.names)
    }

    fn request(&mut self, connection: ConnectionId, request: Request) -> Vec<String> {
        self.next_request += 1;
        self.entropy += 1;
        let id = RequestId(self.next_request);
        self.step(Event::Request { connection, id, request, entropy: self.entropy << 96 })
    }

    fn new_process(&mut self, name: &str, wiped: bool) -> Result<Vec<String>, String> {
        self.next_process += 1;
        let process = self.next_process;
        let broker = self.broker(name)?;
        broker.process = process;
        broker.session = None;
        if wiped {
            broker.data_dir += 1000;
            broker.id = None;
            broker.stored_epoch = BrokerEpoch::ZERO;
        }
        Ok(Vec::new())
    }

    fn register(&mut self, name: &str, command: &Command<'_>) -> Result<Vec<String>, String> {
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        let fresh = u128::from(self.next_connection);
        self.next_process = self.next_process.max(fresh) + 1;
        let process = self.next_process;
        let broker = self.brokers.entry(name.to_owned()).or_insert_with(|| Broker {
            address: name.to_owned(),
            name: name.to_owned(),
            rack: String::new(),
            process,
            data_dir: fresh,
            id: None,
            stored_epoch: BrokerEpoch::ZERO,
            session: None,
            connection,
        });
        if let Some(rack) = command.text("rack") {
            broker.rack = rack.to_owned();
        }
        if let Some(name) = command.text("name") {
            broker.name = name.to_owned();
        }
        let broker = broker.clone();
        let known = broker.registration();
        let request = RegisterBroker {
            cluster_id: match command.number("cluster")? {
                Some(id) => Some(ClusterId(id)),
                None => known.cluster_id,
            },
            stored_broker_epoch: command.number("stored")?.map_or(broker.stored_epoch, BrokerEpoch),
            coordinator_epoch: command
                .number("coordinator_epoch")?
                .map_or_else(Default::default, CoordinatorEpoch),
            clean_shutdown: command.has("clean"),
            same_boot: !command.has("rebooted"),
            replicas: self.reports(command)?,
            ..known
        };
        self.next_request += 1;
        self.entropy += 1;
        let id = RequestId(self.next_request);
        let request = Request::RegisterBroker(request);
        let mut effects = Vec::new();
        let event = Event::Request { connection, id, request, entropy: self.entropy };
        self.cluster.step(self.now, event, &mut effects);
        keep(&mut self.journal, &effects);
        for effect in &effects {
            if let Effect::Reply(_, Ok(Reply::RegisterBroker(reply))) = effect {
                let broker = self.broker(name)?;
                broker.id = Some(reply.broker_id);
                broker.stored_epoch = reply.broker_epoch;
                broker.session = Some(reply.broker_epoch);
                broker.connection = connection;
            }
        }
        Ok(show::effects(&effects, &self.names))
    }

    /// `report=orders/0:LEADER_EPOCH:PARTITION_EPOCH:LOG_END[/HIGH_WATERMARK][:lastEPOCH][:damaged|:halted]`;
    /// without it
    /// everything is committed.
    fn reports(&self, command: &Command<'_>) -> Result<Vec<ReplicaReport>, String> {
        let report = |text: &str| {
            let parts: Vec<&str> = text.split(':').collect();
            let part = |index: usize| parts.get(index).copied().ok_or(format!("{text:?} is too short"));
            let (end, high_watermark) = part(3)?.split_once('/').unwrap_or((part(3)?, part(3)?));
            Ok(ReplicaReport {
                id: self.partition_id(part(0)?)?,
                leader_epoch: LeaderEpoch(number(part(1)?)?),
                partition_epoch: PartitionEpoch(number(part(2)?)?),
                last_epoch: LeaderEpoch(match parts.iter().find_map(|part| part.strip_prefix("last")) {
                    Some(epoch) => number(epoch)?,
                    None => number(part(1)?)?,
                }),
                log_end: Offset(number(end)?),
                high_watermark: Offset(number(high_watermark)?),
                damaged: parts.contains(&"damaged"),
                halted: parts.contains(&"halted"),
            })
        };
        command.all("report").into_iter().map(report).collect()
    }

    fn partition_id(&self, text: &str) -> Result<TopicPartition, String> {
        let (name, index) = text.split_once('/').ok_or_else(|| format!("{text:?} is not topic/partition"))?;
        let found = self.names.iter().find(|(_, known)| *known == name);
        let (topic, _) = found.ok_or_else(|| format!("there is no topic {name}"))?;
        Ok(TopicPartition { topic: *topic, partition: PartitionIndex(number(index)?) })
    }

    fn heartbeat(&mut self, name: &str, command: &Command<'_>) -> Result<Vec<String>, String> {
        let replicas = self.reports(command)?;
        let newest = self.cluster.state().version();
        let broker = self.broker(name)?.clone();
        let heartbeat = Heartbeat {
            broker_id: broker.id.ok_or("it has no number")?,
            broker_epoch: command.number("epoch")?.map_or(broker.stored_epoch, BrokerEpoch),
            metadata_version: command.number("version")?.map_or(newest, MetadataVersion),
            draining: command.has("draining"),
            replicas,
        };
        Ok(self.request(broker.connection, Request::Heartbeat(heartbeat)))
    }

    fn create(&mut self, command: &Command<'_>) -> Result<Vec<String>, String> {
        let durability = match command.text("durability") {
            Some("replicated") => Durability::Replicated,
            _ => Durability::Fsync,
        };
        let create = CreateTopic {
            topic: command.word(0)?.to_owned(),
            partitions: command.number("partitions")?,
            replicas: command.number("replicas")?,
            min_isr: command.number("min_isr")?,
            config: TopicConfig { durability, ..TopicConfig::default() },
            if_not_exists: command.has("if_not_exists"),
            auto: false,
        };
        // Partitions are shown by name, so the name must be known before the effects are.
        self.names.insert(yak_protocol::ids::TopicId((self.entropy + 1) << 96), create.topic.clone());
        Ok(self.request(ConnectionId(0), Request::CreateTopic(create)))
    }

    /// `elect orders/0 [to=2]`
    fn elect(&mut self, command: &Command<'_>) -> Result<Vec<String>, String> {
        let (topic, partition) = command.word(0)?.split_once('/').ok_or("topic/partition is missing")?;
        let elect = Elect {
            topic: topic.to_owned(),
            partition: PartitionIndex(number(partition)?),
            to: command.number("to")?.map(BrokerId),
            unclean: command.has("unclean"),
            confirm: command.text("confirm").map(ToOwned::to_owned),
            dry_run: command.has("dry_run"),
        };
        Ok(self.request(ConnectionId(0), Request::Elect(elect)))
    }

    /// `propose LEADER orders/0 isr=1,2 [e=N] [pe=N] [seen=BROKER:EPOCH]`; epochs are current by default.
    fn propose(&mut self, command: &Command<'_>) -> Result<Vec<String>, String> {
        let id = self.partition_id(command.word(1)?)?;
        let info = self.cluster.state().partition(id).cloned();
        let (e, pe) = info.map_or_else(Default::default, |info| (info.leader_epoch, info.partition_epoch));
        let mut isr = Vec::new();
        for member in command.text("isr").ok_or("isr=1,2 is missing")?.split(',') {
            let member = BrokerId(number(member)?);
            let known = self.cluster.state().broker(member).map(|broker| broker.info.broker_epoch);
            isr.push((member, known.unwrap_or_default()));
        }
        for seen in command.all("seen") {
            let (member, epoch) = seen.split_once(':').ok_or("seen=BROKER:EPOCH")?;
            let (member, epoch) = (BrokerId(number(member)?), BrokerEpoch(number(epoch)?));
            isr.iter_mut().filter(|(id, _)| *id == member).for_each(|entry| entry.1 = epoch);
        }
        let broker = self.broker(command.word(0)?)?.clone();
        let proposal = IsrProposal {
            id,
            leader_epoch: command.number("e")?.map_or(e, LeaderEpoch),
            partition_epoch: command.number("pe")?.map_or(pe, PartitionEpoch),
            isr,
        };
        let request = ProposeIsr {
            broker_id: broker.id.ok_or("it has no number")?,
            broker_epoch: command.number("epoch")?.map_or(broker.stored_epoch, BrokerEpoch),
            changes: vec![proposal],
        };
        Ok(self.request(broker.connection, Request::ProposeIsr(request)))
    }

    fn silent(&mut self, command: &Command<'_>) -> Result<Vec<String>, String> {
        let reporter = self.broker(command.word(0)?)?.clone();
        let leader = self.broker(command.word(1)?)?.clone();
        let report = StreamSilent {
            broker_id: reporter.id.ok_or("it has no number")?,
            broker_epoch: reporter.stored_epoch,
            leader: leader.id.ok_or("it has no number")?,
            leader_broker_epoch: leader.stored_epoch,
            silent_ms: 1000,
        };
        Ok(self.request(reporter.connection, Request::StreamSilent(report)))
    }

    /// Time passes in heartbeats of the brokers named by `alive=one,two`; ticks come when they are due.
    fn advance(&mut self, command: &Command<'_>) -> Result<Vec<String>, String> {
        let until = self.now + Duration::from_millis(number(command.word(0)?)?);
        let alive: Vec<&str> =
            command.text("alive").map(|names| names.split(',').collect()).unwrap_or_default();
        let mut beat = self.now + self.config.heartbeat;
        let mut lines = Vec::new();
        loop {
            let due = self.cluster.next_deadline().filter(|due| *due <= until);
            let beats = (!alive.is_empty() && beat <= until).then_some(beat);
            let Some(next) = due.into_iter().chain(beats).min() else { break };
            self.now = self.now.max(next);
            if Some(next) == beats {
                for name in &alive {
                    // Its answer is always the same; what else it brings about is shown.
                    let heard = self.heartbeat(name, &Command::parse("heartbeat")?)?;
                    lines.extend(heard.into_iter().filter(|line| !line.starts_with("answer")));
                }
                beat = beat + self.config.heartbeat;
            } else {
                lines.extend(self.step(Event::Tick));
            }
        }
        self.now = until;
        Ok(lines)
    }

    fn show(&self, command: &Command<'_>) -> Vec<String> {
        if command.has("links") {
            let links = self.cluster.broken_links();
            return links.map(|(from, to, _)| format!("broker {from} does not hear broker {to}")).collect();
        }
        let wanted = |info: &&PartitionInfo| {
            let name = self.names.get(&info.id.topic).map(String::as_str).unwrap_or_default();
            command.words.is_empty() || command.has(name)
        };
        self.cluster
            .state()
            .partitions()
            .filter(wanted)
            .map(|info| show::partition(info, &self.names))
            .collect()
    }
}

fn keep(journal: &mut Vec<Record>, effects: &[Effect]) {
    for effect in effects {
        if let Effect::Journal(records) = effect {
            journal.extend(records.iter().cloned());
        }
    }
}

/// A state as its snapshot, without the term, which every start counts.
fn everything_but_term(state: &State) -> Vec<Record> {
    let mut records = state.snapshot();
    records.retain(|record| !matches!(record, Record::CoordinatorEpoch { .. }));
    records
}
