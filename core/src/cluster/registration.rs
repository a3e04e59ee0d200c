//! A broker opens or resumes its session (rules R4, R11, R12, R15, R17).

use super::liveness::{Link, Session, millis};
use super::{Cluster, ConnectionId, Effect, Note, Now, Record, Step};
use std::collections::{BTreeMap, BTreeSet};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, DataDirId, Offset, TopicPartition};
use yak_protocol::message::{Durability, PartitionInfo, RegisterBroker, RegisterBrokerReply, ReplicaReport};

/// The longest name, address or rack, in bytes.
const TEXT_BYTES_MAX: usize = 255;

impl Cluster {
    pub(super) fn register_broker(
        &mut self,
        now: Now,
        connection: ConnectionId,
        request: &RegisterBroker,
        entropy: u128,
        step: &mut Step,
    ) -> Result<RegisterBrokerReply, WireError> {
        self.hear_of_a_later_term(request, step);
        self.check_registration(request)?;
        // First of all, and whatever becomes of the registration: a broker that is fenced by it, or whose lease
        // runs out because it is refused, makes newer records, which would hide that this journal is an old one.
        if let (Some(_), Some(known_as)) = (request.cluster_id, request.broker_id) {
            self.hear_of_newer_records(known_as, &request.replicas, step);
        }
        let id = self.identify(request)?;
        if self.liveness.connections.get(&connection).is_some_and(|holder| *holder != id) {
            return Err(WireError::new(
                ErrorCode::BadRequest,
                "this connection holds another broker's session",
            ));
        }
        let resumed = self.state.broker(id).is_some_and(|broker| {
            broker.incarnation == request.incarnation
                && broker.data_dir == request.data_dir
                && request.resume == Some(broker.info.broker_epoch)
        });
        let newest = self.state.broker(id).map(|broker| broker.info.broker_epoch);
        if !resumed && request.resume < newest && request.resume.is_some() {
            // It may have been on its way for long, and its process may be gone.
            let text =
                format!("broker {id} has registered since, in broker epoch {}", newest.unwrap_or_default());
            return Err(WireError::new(ErrorCode::StaleBrokerEpoch, text).hint("register without a session"));
        }
        if !resumed {
            self.new_session(id, request, step);
        }
        if !resumed {
            self.forget_troubles(id, &request.replicas, step);
        }
        self.hear_of_troubles(id, &request.replicas, step);
        let (producer_ids_from, producer_ids_count) = self.producer_id_block(entropy, step);
        self.bind(now, connection, id, step);
        let broker_epoch = self.state.broker(id).map(|broker| broker.info.broker_epoch).unwrap_or_default();
        let what = if resumed { "resumes" } else { "registers in" };
        let (name, address) = (&request.name, &request.advertise);
        step.note("session", format!("broker {id} ({name} at {address}) {what} broker epoch {broker_epoch}"));
        step.full_copy_to = Some(connection);
        Ok(RegisterBrokerReply {
            cluster_id: self.state.cluster_id(),
            broker_id: id,
            broker_epoch,
            coordinator_epoch: self.state.coordinator_epoch(),
            resumed,
            heartbeat_ms: millis(self.config.heartbeat),
            lease_ms: millis(self.config.lease),
            producer_ids_from,
            producer_ids_count,
            // The shell knows.
            step_down: false,
            coordinators: Vec::new(),
            leader_info: self.state.leader_info(),
        })
    }

    /// What is refused whoever asks.
    fn check_registration(&self, request: &RegisterBroker) -> Result<(), WireError> {
        let own = self.state.cluster_id();
        if let Some(other) = request.cluster_id.filter(|id| *id != own) {
            return Err(WireError::new(
                ErrorCode::WrongCluster,
                format!("broker {:?} belongs to cluster {other}, this is cluster {own}", request.name),
            )
            .hint("point the broker at its own coordinator, or give it an empty data dir"));
        }
        // R15: somebody has heard of a later term than this one, so this journal is an old copy.
        let term = self.state.coordinator_epoch();
        if self.config.rules.r15_ratchet() && request.coordinator_epoch > term {
            return Err(WireError::new(
                ErrorCode::Recovering,
                format!(
                    "broker {:?} has seen coordinator epoch {}, this coordinator is in {term}",
                    request.name, request.coordinator_epoch
                ),
            )
            .hint("another coordinator is active, or this one runs on an old copy of its journal"));
        }
        for (what, text, required) in [
            ("name", &request.name, true),
            ("advertise", &request.advertise, true),
            ("rack", &request.rack, false),
        ] {
            if (required && text.is_empty())
                || text.len() > TEXT_BYTES_MAX
                || text.chars().any(char::is_control)
            {
                return Err(WireError::new(
                    ErrorCode::BadRequest,
                    format!("`{what}` must be printable and at most {TEXT_BYTES_MAX} bytes, not {text:?}"),
                ));
            }
        }
        Ok(())
    }

    /// Which broker this is: its data dir says so, else its name.
    fn identify(&self, request: &RegisterBroker) -> Result<BrokerId, WireError> {
        self.check_not_gone(request.data_dir)?;
        let by_dir = self.state.brokers().find(|broker| broker.data_dir == request.data_dir);
        let by_name = self.state.brokers().find(|broker| broker.info.name == request.name);
        let duplicate = |other: &super::Broker, why: &str| {
            WireError::new(
                ErrorCode::DuplicateBroker,
                format!(
                    "the name {:?} belongs to broker {} at {}, {why}",
                    request.name, other.info.id, other.info.address
                ),
            )
            .hint("give this broker another name, or stop the other one first")
        };
        match (by_dir, by_name) {
            (Some(known), None) => Ok(known.info.id),
            (Some(known), Some(named)) if known.info.id == named.info.id => Ok(known.info.id),
            (Some(_), Some(named)) => Err(duplicate(named, "which has another data dir")),
            (None, Some(named)) if request.broker_id.is_some_and(|id| id != named.info.id) => {
                Err(duplicate(named, "which has another data dir"))
            }
            // Of a rebuilt journal's brokers that were not asked the disk is not known, and nobody was seen.
            (None, Some(named))
                if self.liveness.alive(named.info.id) && named.data_dir != DataDirId::default() =>
            {
                Err(duplicate(named, "which is alive with another data dir"))
            }
            (None, Some(named)) => Ok(named.info.id),
            (None, None) => self.number_for(request),
        }
    }

    /// The number of a broker of which neither the name nor the data dir is known.
    fn number_for(&self, request: &RegisterBroker) -> Result<BrokerId, WireError> {
        let last = self.state.brokers().last().map_or(BrokerId::ZERO, |broker| broker.info.id);
        let last = self.state.gone().max().map_or(last, |gone| last.max(gone));
        match request.broker_id {
            Some(id) if self.state.is_gone(id) => Err(super::decommission::gone(id)),
            // The data dir was given this number by a journal that knew more than this one.
            Some(id) if request.cluster_id.is_some() && self.state.broker(id).is_none() => Ok(id),
            Some(id) if request.cluster_id.is_some() => Err(WireError::new(
                ErrorCode::Recovering,
                format!("the data dir says that it is broker {id}, which has another data dir here"),
            )
            .hint("the coordinator may run on an old copy of its journal")),
            _ => Ok(last.next()),
        }
    }

    /// R11: the old session is fenced first, in the same journal entry; the new one starts fenced.
    ///
    /// What it has lost (R12) counts from its first heartbeat on. Until then it is fenced, so nothing is
    /// decided by it; and this request may have been on its way for so long that its process is gone and
    /// another one of the same broker is alive, which has everything.
    fn new_session(&mut self, id: BrokerId, request: &RegisterBroker, step: &mut Step) {
        let known = self.state.broker(id).cloned();
        let was_unfenced = known.as_ref().is_some_and(|broker| !broker.info.fenced);
        let lost = known.as_ref().map(|known| self.lost(known, request)).unwrap_or_default();
        // Whatever another process said of its replicas is not this one's word.
        self.liveness.reports.retain(|(of, _), _| *of != id);
        // Never below what the data dir remembers, even if this journal has forgotten it (R15).
        let remembered = request.resume.unwrap_or_default().max(request.stored_broker_epoch);
        self.record(
            step,
            Record::Broker {
                id,
                name: request.name.clone(),
                address: request.advertise.clone(),
                rack: request.rack.clone(),
                broker_epoch: self.state.last_broker_epoch().max(remembered).next(),
                incarnation: request.incarnation,
                data_dir: request.data_dir,
                replicas: request.replicas.clone(),
                lost,
            },
        );
        if self.config.rules.r11_restart_fences() {
            step.because(format!("broker {id} has restarted"));
            if was_unfenced {
                step.notes.push(Note::Fenced { broker: id, why: "it has restarted".to_owned() });
            }
            self.revise(
                step,
                |info| info.isr.contains(&id) || info.leader == Some(id),
                |cluster, info| cluster.depart(info, id),
            );
        } else if was_unfenced {
            self.record(step, Record::Fence { id, fenced: false, confirmed: None });
            self.drop_lost(id, step);
        }
    }

    /// R12: the replicas with which the broker may have come back with less than it had.
    fn lost(&self, known: &super::Broker, request: &RegisterBroker) -> Vec<TopicPartition> {
        let rules = &self.config.rules;
        // A grant that the data dir remembers was this disk's: what was lost by then is still lost.
        let descends =
            request.data_dir == known.data_dir && request.stored_broker_epoch >= known.info.broker_epoch;
        let still_lost = |id: TopicPartition| descends && known.lost.contains(&id);
        let (mut everything, mut behind) = (false, BTreeSet::new());
        if let Some((data_dir, epoch)) = known.confirmed.filter(|_| rules.r12_regression_check()) {
            everything = data_dir != request.data_dir || request.stored_broker_epoch < epoch;
            let held: BTreeMap<TopicPartition, Offset> =
                request.replicas.iter().map(|report| (report.id, report.log_end)).collect();
            let less =
                |before: &&ReplicaReport| held.get(&before.id).is_none_or(|end| *end < before.high_watermark);
            behind = known.baseline.iter().filter(less).map(|before| before.id).collect();
        }
        // A topic that is acknowledged before it is synced loses its tail when the machine goes down.
        let rebooted = rules.r12_lossy_stop() && !request.clean_shutdown && !request.same_boot;
        let lossy = |info: &PartitionInfo| {
            let topic = self.state.topic(info.id.topic);
            rebooted && topic.is_some_and(|topic| topic.config.durability == Durability::Replicated)
        };
        let partitions = self.state.partitions().filter(|info| info.replicas.contains(&known.info.id));
        partitions
            .filter(|info| everything || behind.contains(&info.id) || lossy(info) || still_lost(info.id))
            .map(|info| info.id)
            .collect()
    }

    /// R12: what the broker has lost makes it a new replica of those partitions.
    pub(super) fn drop_lost(&mut self, id: BrokerId, step: &mut Step) {
        let lost = self.state.broker(id).map(|broker| broker.lost.clone()).unwrap_or_default();
        step.because(format!("broker {id} came back with less than it had"));
        self.disbelieve(id, &lost, step);
        self.revise(
            step,
            |info| lost.contains(&info.id) && (info.isr.contains(&id) || info.elr.contains(&id)),
            |_, info| drop_member(info, id),
        );
    }

    /// R15: what a broker's replicas have seen, at registration and in heartbeats.
    pub(super) fn hear_of_newer_records(&mut self, id: BrokerId, reports: &[ReplicaReport], step: &mut Step) {
        for report in reports {
            let Some(info) = self.state.partition(report.id) else { continue };
            let newer =
                report.leader_epoch > info.leader_epoch || report.partition_epoch > info.partition_epoch;
            // Whoever says so: on an old journal a partition that has moved is somewhere else (rule R18).
            if newer {
                self.recovering(report.id, id, step);
            }
        }
    }

    /// Which of a broker's replicas are damaged (R17) or have stopped themselves (R4), at registration and
    /// in heartbeats.
    pub(super) fn hear_of_troubles(&mut self, id: BrokerId, reports: &[ReplicaReport], step: &mut Step) {
        for report in reports {
            let held = self.state.partition(report.id).is_some_and(|info| info.replicas.contains(&id));
            if held {
                self.hear_of_trouble(id, report.id, report.damaged, report.halted, step);
            }
        }
    }

    /// What is not in the data dir any more is neither damaged nor stopped: a new replica takes its place.
    fn forget_troubles(&mut self, id: BrokerId, reports: &[ReplicaReport], step: &mut Step) {
        for gone in self.state.troubled(id) {
            if reports.iter().all(|report| report.id != gone) {
                self.hear_of_trouble(id, gone, false, false, step);
            }
        }
    }

    fn hear_of_trouble(
        &mut self,
        broker: BrokerId,
        id: TopicPartition,
        damaged: bool,
        halted: bool,
        step: &mut Step,
    ) {
        if self.state.damaged(broker, id) != damaged {
            let what = if damaged { "is damaged" } else { "is whole again" };
            self.trouble(broker, id, ("damage", what), Record::Damage { broker, id, damaged }, step);
        }
        if self.state.halted(broker, id) != halted {
            let what = if halted { "has stopped itself" } else { "was started again" };
            self.trouble(broker, id, ("halt", what), Record::Halt { broker, id, halted }, step);
        }
    }

    fn trouble(
        &mut self,
        broker: BrokerId,
        id: TopicPartition,
        (kind, what): (&'static str, &str),
        record: Record,
        step: &mut Step,
    ) {
        let text = format!("the replica on broker {broker} {what}");
        step.note(kind, format!("{}: {text}", self.state.title(id)));
        step.because(text);
        self.record(step, record);
        self.revise_one(step, id, |_, _| {});
    }

    /// R15: a broker has seen a newer record than this journal holds. Deciding from less than it knows could
    /// undo what was acknowledged, so the partition waits for a rebuild.
    pub(super) fn recovering(&mut self, id: TopicPartition, witness: BrokerId, step: &mut Step) {
        let Some(old) = self.state.partition(id) else { return };
        let (title, leader_epoch, partition_epoch) =
            (self.state.title(id), old.leader_epoch, old.partition_epoch);
        let text = format!(
            "{title}: broker {witness} has seen a newer record than {leader_epoch:?} {partition_epoch:?}; this \
             journal is an old copy"
        );
        self.suspend(id, text, step);
    }

    /// R15: a broker has heard of a later term than this one. Either another coordinator is active, and the
    /// journal refuses what follows here; or this journal is an old copy, and whatever were decided by it would
    /// only make its records look newer than they are.
    fn hear_of_a_later_term(&mut self, request: &RegisterBroker, step: &mut Step) {
        let (later, term) = (request.coordinator_epoch, self.state.coordinator_epoch());
        if request.cluster_id != Some(self.state.cluster_id()) || later <= term {
            return;
        }
        let ids: Vec<TopicPartition> = self.state.partitions().map(|info| info.id).collect();
        for id in ids {
            let name = &request.name;
            let title = self.state.title(id);
            let text = format!(
                "{title}: broker {name:?} has seen coordinator epoch {later}, later than {term}; this journal is \
                 an old copy"
            );
            self.suspend(id, text, step);
        }
    }

    /// R15: nothing is decided about the partition any more.
    fn suspend(&mut self, id: TopicPartition, text: String, step: &mut Step) {
        let Some(old) = self.state.partition(id).filter(|info| !info.recovering) else { return };
        if !self.config.rules.r15_ratchet() {
            return;
        }
        let mut info = old.clone();
        info.recovering = true;
        info.partition_epoch = old.partition_epoch.next();
        step.note("recovering", text);
        self.record(step, Record::Partition(info));
    }

    /// The connection becomes the broker's control connection, in place of any earlier one.
    fn bind(&mut self, now: Now, connection: ConnectionId, id: BrokerId, step: &mut Step) {
        let lease = Some(now + self.config.lease);
        let told = self.state.version();
        let link = Link::Connected(connection);
        let session = Session { link, lease, probe: None, told, behind: 0, draining: false };
        let earlier = self.liveness.sessions.insert(id, session);
        self.liveness.connections.insert(connection, id);
        if let Some(Link::Connected(old)) = earlier.map(|session| session.link)
            && old != connection
        {
            self.liveness.connections.remove(&old);
            let why = format!("broker {id} has registered on another connection");
            step.last.push(Effect::Close(old, WireError::new(ErrorCode::StaleBrokerEpoch, why)));
        }
    }
}

fn drop_member(info: &mut PartitionInfo, id: BrokerId) {
    info.isr.retain(|member| *member != id);
    info.elr.retain(|member| *member != id);
    if info.leader == Some(id) {
        info.leader = None;
    }
}
