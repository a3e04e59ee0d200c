//! A broker's shell, towards the coordinator: its session, heartbeats, proposals and metadata.

use super::broker::Asked;
use super::coordinator::RECONNECT;
use super::net::{ConnId, Message, Place, Purpose};
use super::world::World;
use std::time::Duration;
use yak_core::cluster::{Loss, Reply, Request};
use yak_core::partition::{Event, Now};
use yak_protocol::defaults;
use yak_protocol::error::{Action, WireError};
use yak_protocol::ids::{BrokerId, LeaderEpoch, MetadataVersion, TopicPartition};
use yak_protocol::message::{
    Durability, Heartbeat, IsrProposal, LeaderInfo, ProposeIsr, RecollectReply, RegisterBroker,
    RegisterBrokerReply, ReplicaReport, StreamSilent,
};

/// How often a broker's shell looks after its streams and its session.
const CARE: Duration = Duration::from_millis(100);

impl World {
    /// The shell's own timers: dial the coordinator, send heartbeats, look after streams.
    pub fn care(&mut self, id: BrokerId) {
        let now = self.clock(Place::Broker(id));
        let Some(process) = self.process(id) else { return };
        process.care_at = now + CARE;
        // A session that got no answer for a whole lease is given up with its connection.
        let mut waiting = process.requests.values().filter_map(|a| match a {
            Asked::Heartbeat(sent) | Asked::Register(sent) => Some(*sent),
            _ => None,
        });
        let stuck = waiting.any(|sent| now.since(sent) > defaults::LEASE);
        if let Some(control) = process.control.filter(|_| stuck) {
            self.leave_control(id, control);
        }
        let Some(process) = self.process(id) else { return };
        if process.control.is_none() && process.dial_at <= now {
            self.dial_coordinator(id);
        }
        let Some(process) = self.process(id) else { return };
        if process.registered && process.heartbeat_at <= now {
            self.heartbeat(id);
        }
        self.care_for_streams(id);
    }

    fn leave_control(&mut self, id: BrokerId, control: ConnId) {
        let ready = self.later();
        self.net.close(control, Place::Broker(id), ready, Loss::PeerClosed);
        self.control_lost(id);
    }

    fn control_lost(&mut self, id: BrokerId) {
        let now = self.clock(Place::Broker(id));
        let Some(process) = self.process(id) else { return };
        process.control = None;
        process.registered = false;
        process.asked_info = false;
        process.requests.clear();
        process.dial_at = now + RECONNECT;
    }

    fn dial_coordinator(&mut self, id: BrokerId) {
        let now = self.clock(Place::Broker(id));
        let up = self.coordinator.cluster.is_some();
        let place = Place::Broker(id);
        let dialled = if up { self.net.connect(place, Place::Coordinator, Purpose::Control) } else { None };
        let Some(process) = self.process(id) else { return };
        let Some(control) = dialled else {
            process.dial_at = now + RECONNECT;
            return;
        };
        process.control = Some(control);
        // The register request counts as a heartbeat for giving up on a silent coordinator.
        process.heartbeat_at = now;
        let Some(request) = self.registration(id) else { return };
        self.ask(id, Request::RegisterBroker(request), Asked::Register(now));
    }

    /// How a broker that runs registers.
    fn registration(&self, id: BrokerId) -> Option<RegisterBroker> {
        let broker = &self.brokers[&id];
        let process = broker.process.as_ref()?;
        let identity = broker.disk.identity.clone();
        Some(RegisterBroker {
            name: format!("broker-{}", id.0),
            incarnation: process.incarnation,
            data_dir: identity.data_dir,
            cluster_id: identity.cluster_id,
            broker_id: identity.broker_id,
            stored_broker_epoch: identity.broker_epoch,
            resume: process.broker_epoch,
            coordinator_epoch: identity.coordinator_epoch,
            clean_shutdown: identity.clean_shutdown,
            same_boot: identity.same_boot,
            advertise: format!("broker-{}:9700", id.0),
            rack: String::new(),
            replicas: self.replica_reports(id),
        })
    }

    /// What a broker that runs knows of the cluster.
    pub fn recollect(&self, id: BrokerId) -> Option<RecollectReply> {
        let process = self.brokers[&id].process.as_ref()?;
        let leader_info = LeaderInfo {
            version: process.version,
            full: true,
            brokers: process.brokers.values().cloned().collect(),
            topics: process.topics.values().cloned().collect(),
            partitions: process.partitions.values().cloned().collect(),
            ..LeaderInfo::default()
        };
        Some(RecollectReply { broker: self.registration(id)?, leader_info, coordinator: None })
    }

    fn replica_reports(&self, id: BrokerId) -> Vec<ReplicaReport> {
        let broker = &self.brokers[&id];
        let Some(process) = &broker.process else { return Vec::new() };
        let moved = process.moved_away.iter().filter(|(p, _)| !process.hosted.contains_key(p));
        let moved = moved.map(|(p, (leader_epoch, partition_epoch))| {
            ReplicaReport::moved_away(*p, *leader_epoch, *partition_epoch)
        });
        let hosted = process.hosted.iter().map(|(p, hosted)| hosted.report(*p, &broker.disk));
        hosted.chain(moved).collect()
    }

    /// Sends a request to the coordinator, if there is a connection.
    pub fn ask(&mut self, id: BrokerId, request: Request, asked: Asked) {
        let number = self.fresh();
        let Some(process) = self.process(id) else { return };
        let Some(control) = process.control else { return };
        process.requests.insert(number, asked);
        self.send(control, Place::Broker(id), Message::Request(number, Box::new(request)));
    }

    fn heartbeat(&mut self, id: BrokerId) {
        let now = self.clock(Place::Broker(id));
        let Some(process) = self.process(id) else { return };
        let Some(broker_epoch) = process.broker_epoch else { return };
        process.heartbeat_at = now + defaults::HEARTBEAT;
        let news = std::mem::take(&mut process.damage_news);
        let (version, draining) = (process.version, process.draining);
        let request = Heartbeat {
            broker_id: id,
            broker_epoch,
            metadata_version: version,
            draining,
            replicas: news.into_iter().chain(self.leaderless(id)).collect(),
        };
        self.ask(id, Request::Heartbeat(request), Asked::Heartbeat(now));
    }

    /// How far the replicas go that nobody leads.
    fn leaderless(&self, id: BrokerId) -> Vec<ReplicaReport> {
        let broker = &self.brokers[&id];
        let Some(process) = &broker.process else { return Vec::new() };
        let leaderless = process.hosted.iter().filter(|(_, hosted)| {
            hosted.view.leader.is_none() && hosted.view.leader_epoch > LeaderEpoch::ZERO
        });
        leaderless.map(|(partition, hosted)| hosted.report(*partition, &broker.disk)).collect()
    }

    pub fn report_silence(&mut self, id: BrokerId, leader: BrokerId, silent: Duration) {
        let Some(process) = self.process(id).filter(|p| p.registered) else { return };
        let (Some(broker_epoch), Some(info)) = (process.broker_epoch, process.brokers.get(&leader)) else {
            return;
        };
        let request = StreamSilent {
            broker_id: id,
            broker_epoch,
            leader,
            leader_broker_epoch: info.broker_epoch,
            silent_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX),
        };
        self.ask(id, Request::StreamSilent(request), Asked::Silent);
    }

    pub fn propose(&mut self, id: BrokerId, proposal: IsrProposal) {
        let Some(process) = self.process(id).filter(|p| p.registered) else { return };
        let Some(broker_epoch) = process.broker_epoch else { return };
        let changes = vec![proposal];
        let request = ProposeIsr { broker_id: id, broker_epoch, changes: changes.clone() };
        self.ask(id, Request::ProposeIsr(request), Asked::Propose(changes));
    }

    /// A message arrived at a broker.
    pub fn broker_receives(&mut self, id: BrokerId, on: ConnId, from: Place, message: Message) {
        let Some(process) = self.process(id) else { return };
        let control = process.control == Some(on);
        match message {
            Message::Reply(request, outcome) if control => {
                let Some(asked) = process.requests.remove(&request) else { return };
                self.answered(id, asked, *outcome);
            }
            Message::Info(info) if control => self.learn(id, *info),
            Message::Probe if control => self.send(on, Place::Broker(id), Message::ProbeAnswer(id)),
            Message::End(_) if control => self.control_lost(id),
            Message::Reply(..) | Message::Info(_) | Message::Probe => {}
            other => self.stream_receives(id, on, from, other),
        }
    }

    fn answered(&mut self, id: BrokerId, asked: Asked, outcome: Result<Reply, WireError>) {
        let now = self.clock(Place::Broker(id));
        match (asked, outcome) {
            (Asked::Register(_), Ok(Reply::RegisterBroker(reply))) => self.session_granted(id, *reply),
            (Asked::Heartbeat(sent), Ok(Reply::Heartbeat(reply))) => {
                let stale = reply.coordinator_epoch < self.broker(id).disk.identity.coordinator_epoch;
                let Some(process) = self.process(id) else { return };
                if stale {
                    return;
                }
                process.lease_until = sent + Duration::from_millis(reply.lease_ms);
                process.fenced = reply.fenced;
                if reply.metadata_version > process.version && !process.asked_info {
                    process.asked_info = true;
                    let Some(control) = process.control else { return };
                    self.send(control, Place::Broker(id), Message::AskInfo);
                }
            }
            (Asked::Propose(changes), Ok(Reply::ProposeIsr(reply))) => {
                for (change, refused) in changes.into_iter().zip(reply.outcomes) {
                    let outcome = refused.map_or(Ok(()), Err);
                    let event = Event::Proposal { partition_epoch: change.partition_epoch, outcome };
                    self.step_replica(id, change.id, event, Vec::new());
                }
            }
            (Asked::Silent, _) => {}
            (asked, Err(error)) => {
                self.trace(|| format!("{id:?}: {asked:?} refused: {error}"));
                if error.code.action() == Action::Retry {
                    let Some(process) = self.process(id) else { return };
                    process.heartbeat_at = process.heartbeat_at.max(now + RECONNECT);
                    if matches!(asked, Asked::Register(_)) {
                        let control = process.control;
                        control.into_iter().for_each(|c| self.leave_control(id, c));
                    }
                } else {
                    self.session_refused(id, asked);
                }
            }
            (asked, Ok(reply)) => panic!("{reply:?} does not answer {asked:?}"),
        }
    }

    /// The session is over: the process asks for another, or ends and its supervisor starts it again.
    fn session_refused(&mut self, id: BrokerId, asked: Asked) {
        if matches!(asked, Asked::Propose(_)) {
            return;
        }
        self.coverage.hit("a session is refused");
        let goes_on = self.rng.bool();
        let Some(process) = self.process(id) else { return };
        if goes_on {
            process.broker_epoch = None;
            let control = process.control;
            control.into_iter().for_each(|c| self.leave_control(id, c));
            return;
        }
        let keep = self.broker(id).disk.unsynced();
        self.crash_broker(id, keep, true);
        self.start_broker(id);
    }

    fn session_granted(&mut self, id: BrokerId, reply: RegisterBrokerReply) {
        let now = self.clock(Place::Broker(id));
        let ratchet = self.setup.rules.r15_ratchet();
        assert_eq!(reply.broker_id, id, "the harness calls brokers by their numbers");
        let broker = self.broker(id);
        if ratchet && reply.coordinator_epoch < broker.disk.identity.coordinator_epoch {
            let control = self.process(id).and_then(|p| p.control);
            control.into_iter().for_each(|c| self.leave_control(id, c));
            return;
        }
        broker.disk.identity.cluster_id = Some(reply.cluster_id);
        broker.disk.identity.broker_id = Some(reply.broker_id);
        broker.disk.identity.broker_epoch = reply.broker_epoch;
        broker.disk.identity.clean_shutdown = false;
        broker.disk.identity.same_boot = true;
        let Some(process) = broker.process.as_mut() else { return };
        if reply.resumed {
            assert_eq!(process.broker_epoch, Some(reply.broker_epoch), "resumed another session");
        }
        process.broker_epoch = Some(reply.broker_epoch);
        process.registered = true;
        process.heartbeat_at = now;
        process.version = MetadataVersion::ZERO;
        if reply.resumed {
            self.coverage.hit("a session is resumed");
        }
        self.observe_session(id, reply.broker_epoch, reply.resumed);
        self.learn(id, reply.leader_info);
        self.heartbeat(id);
    }

    /// Metadata arrived: merge it, and tell the replicas.
    pub fn learn(&mut self, id: BrokerId, info: LeaderInfo) {
        let ratchet = self.setup.rules.r15_ratchet();
        let broker = self.broker(id);
        if ratchet && info.coordinator_epoch < broker.disk.identity.coordinator_epoch {
            self.coverage.hit("a broker refuses an older coordinator");
            return;
        }
        // Durable before it is acted on (rule R15).
        broker.disk.identity.coordinator_epoch = info.coordinator_epoch;
        let Some(process) = broker.process.as_mut() else { return };
        if !info.full && info.version != process.version.next() {
            if info.version > process.version && !process.asked_info {
                process.asked_info = true;
                let Some(control) = process.control else { return };
                self.send(control, Place::Broker(id), Message::AskInfo);
            }
            return;
        }
        if info.full {
            if info.version < process.version && info.coordinator_epoch == process.coordinator_epoch {
                return;
            }
            process.asked_info = false;
            process.brokers.clear();
            process.topics.clear();
            process.partitions.clear();
        }
        process.coordinator_epoch = info.coordinator_epoch;
        process.version = info.version;
        process.brokers.extend(info.brokers.into_iter().map(|b| (b.id, b)));
        process.brokers.retain(|broker, _| !info.gone.contains(broker));
        process.topics.extend(info.topics.into_iter().map(|t| (t.id, t)));
        process.partitions.extend(info.partitions.into_iter().map(|p| (p.id, p)));
        if info.version > MetadataVersion::ZERO && process.registered {
            process.heartbeat_at = if process.fenced { Now(0) } else { process.heartbeat_at };
        }
        if info.full {
            self.set_unknown_aside(id);
        }
        let Some(process) = self.process(id) else { return };
        let mine: Vec<TopicPartition> = process
            .partitions
            .values()
            .filter(|p| p.replicas.contains(&id) || process.hosted.contains_key(&p.id))
            .map(|p| p.id)
            .collect();
        for partition in mine {
            self.inform(id, partition);
        }
    }

    /// R16: what the coordinator does not know was not deleted by request.
    fn set_unknown_aside(&mut self, id: BrokerId) {
        let keep = self.setup.rules.r16_orphans_kept();
        let broker = self.broker(id);
        let Some(process) = &mut broker.process else { return };
        let unknown: Vec<TopicPartition> =
            process.hosted.keys().copied().filter(|p| !process.topics.contains_key(&p.topic)).collect();
        for partition in unknown {
            process.hosted.remove(&partition);
            broker.disk.remove(partition, keep);
        }
    }

    /// Tells one replica what the broker knows of its partition.
    fn inform(&mut self, id: BrokerId, partition: TopicPartition) {
        self.host(id, partition);
        let Some(process) = self.process(id) else { return };
        let Some(broker_epoch) = process.broker_epoch else { return };
        let info = process.partitions[&partition].clone();
        let unfenced =
            process.brokers.values().filter(|b| !b.fenced).map(|b| (b.id, b.broker_epoch)).collect();
        let durability =
            process.topics.get(&partition.topic).map_or(Durability::Fsync, |t| t.config.durability);
        let dedupe_window_ms = self.setup.dedupe_window_ms;
        self.step_replica(
            id,
            partition,
            Event::Metadata { info, broker_epoch, unfenced, durability, dedupe_window_ms },
            Vec::new(),
        );
    }
}

impl World {
    /// The control connection breaks at the coordinator's side; the broker lives and learns of it too.
    pub fn lose_session(&mut self, id: BrokerId, loss: Loss) {
        let Some(control) = self.process(id).and_then(|p| p.control) else { return };
        let now = self.now;
        self.net.close(control, Place::Broker(id), now, loss);
        self.control_lost(id);
        self.stay_away(id);
        self.settle();
    }

    /// A broker without a control connection does not dial until [`Self::rejoin`].
    pub fn stay_away(&mut self, id: BrokerId) {
        if let Some(process) = self.process(id) {
            process.dial_at = Now(u64::MAX);
        }
    }

    /// Whether the broker talks to a coordinator in whose place another one has come.
    pub fn is_behind(&self, id: BrokerId) -> bool {
        let control = self.brokers[&id].process.as_ref().and_then(|p| p.control);
        control.is_some_and(|control| self.net.peer(control, Place::Broker(id)) == Some(Place::Deposed))
    }

    /// The broker hears of the newer coordinator, and turns to it.
    pub fn turn(&mut self, id: BrokerId) {
        let control = self.process(id).and_then(|p| p.control);
        if let Some(control) = control.filter(|_| self.is_behind(id)) {
            self.leave_control(id, control);
        }
        self.rejoin(id);
    }

    /// The broker dials the coordinator again, without waiting.
    pub fn rejoin(&mut self, id: BrokerId) {
        if self.process(id).is_some_and(|p| p.control.is_none()) {
            self.dial_coordinator(id);
        }
        self.settle();
    }

    /// Time passes at once for everybody, without leases running out: heartbeats are taken to have gone on.
    pub fn pass(&mut self, time: Duration) {
        self.advance(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }
}
