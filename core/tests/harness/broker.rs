//! A broker's shell, control side: its session with the coordinator, metadata, leases and timers.

use super::disk::{Disk, Report};
use super::net::{ConnId, Place};
use super::replica::Hosted;
use super::world::World;
use std::collections::{BTreeMap, VecDeque};
use yak_core::cluster::Loss;
use yak_core::partition::{Event, Now, StreamClass, StreamId};
use yak_protocol::ids::{
    BrokerEpoch, BrokerId, CoordinatorEpoch, DataDirId, Incarnation, LeaderEpoch, MetadataVersion, Offset,
    PartitionEpoch, SessionId, TopicId, TopicPartition,
};
use yak_protocol::message::{BrokerInfo, IsrProposal, PartitionInfo, ReplicaReport, TopicInfo};

/// A broker: a disk, and a process while it runs.
#[derive(Clone, Debug)]
pub struct Broker {
    pub id: BrokerId,
    pub disk: Disk,
    pub process: Option<Process>,
    pub frozen: bool,
    /// How far its clock is ahead of true time; only grows.
    pub skew: u64,
    /// When the next stage of its disk is done.
    pub disk_due: u64,
    /// Scripts: the disk does not write, or does not sync.
    pub hold_write: bool,
    pub hold_sync: bool,
    /// Disks as they were in earlier lives, for restoring an old backup.
    pub backups: Vec<Disk>,
    /// The disk lost something since the broker last registered.
    pub tainted: bool,
    /// How many processes it has had, and how many tickets they gave out.
    pub starts: u128,
    pub tickets: u64,
    /// What the disk has yet to tell the replicas, each with the moment from which it can be heard.
    pub reports: VecDeque<(u64, TopicPartition, Report)>,
}

/// Work beside the machines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Job {
    Push {
        id: TopicPartition,
        stream: StreamId,
        follower: BrokerId,
        session: SessionId,
        from: Offset,
        high_watermark: Offset,
        log_start: Offset,
    },
    Rebuild {
        id: TopicPartition,
        end: Offset,
    },
    Repair {
        id: TopicPartition,
        leader: BrokerId,
        from: Offset,
        to: Offset,
    },
}

impl Job {
    pub fn partition(&self) -> TopicPartition {
        match self {
            Self::Push { id, .. } | Self::Rebuild { id, .. } | Self::Repair { id, .. } => *id,
        }
    }
}

/// What a request to the coordinator was about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Sent at that moment of the broker's clock.
    Register(Now),
    /// Sent at that moment of the broker's clock.
    Heartbeat(Now),
    Propose(Vec<IsrProposal>),
    Silent,
}

/// A stream that this broker dialled, to a leader.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OutStream {
    pub connection: Option<ConnId>,
    pub heard: Now,
    pub retry_at: Now,
}

/// A running broker.
#[derive(Clone, Debug)]
pub struct Process {
    pub incarnation: Incarnation,
    pub control: Option<ConnId>,
    pub dial_at: Now,
    /// The session that this process holds.
    pub broker_epoch: Option<BrokerEpoch>,
    /// Whether the session is registered on the connection at hand.
    pub registered: bool,
    pub fenced: bool,
    pub heartbeat_at: Now,
    pub lease_until: Now,
    pub care_at: Now,
    pub draining: bool,
    pub requests: BTreeMap<u64, Asked>,
    pub asked_info: bool,
    pub coordinator_epoch: CoordinatorEpoch,
    pub version: MetadataVersion,
    pub brokers: BTreeMap<BrokerId, BrokerInfo>,
    pub topics: BTreeMap<TopicId, TopicInfo>,
    pub partitions: BTreeMap<TopicPartition, PartitionInfo>,
    pub hosted: BTreeMap<TopicPartition, Hosted>,
    pub dialled: BTreeMap<(BrokerId, StreamClass), OutStream>,
    /// Streams that followers dialled, with the moment they were last heard.
    pub accepted: BTreeMap<ConnId, (BrokerId, Now)>,
    pub damage_news: Vec<ReplicaReport>,
    /// How many replicas this process has made.
    pub replicas_made: u64,
    /// Partitions that have moved away in its time, with the epochs by which they did.
    pub moved_away: BTreeMap<TopicPartition, (LeaderEpoch, PartitionEpoch)>,
}

impl Broker {
    pub fn new(id: BrokerId) -> Self {
        Self {
            id,
            disk: Disk::new(DataDirId(u128::from(id.0) << 32)),
            process: None,
            frozen: false,
            skew: 0,
            disk_due: 0,
            hold_write: false,
            hold_sync: false,
            backups: Vec::new(),
            tainted: false,
            starts: 0,
            tickets: 0,
            reports: VecDeque::new(),
        }
    }

    pub fn runs(&self) -> bool {
        self.process.is_some() && !self.frozen
    }

    /// When its next timer is due, in true time.
    pub fn next_timer(&self) -> Option<u64> {
        let process = self.process.as_ref().filter(|_| !self.frozen)?;
        let replicas = process.hosted.values().filter_map(|h| h.replica.next_deadline());
        let due = replicas.chain([process.care_at]).min()?;
        Some(due.0.saturating_sub(self.skew))
    }
}

impl World {
    pub fn broker(&mut self, id: BrokerId) -> &mut Broker {
        self.brokers.get_mut(&id).expect("a broker of this world")
    }

    pub fn process(&mut self, id: BrokerId) -> Option<&mut Process> {
        self.broker(id).process.as_mut()
    }

    pub fn incarnation(&self, id: BrokerId) -> Option<Incarnation> {
        self.brokers[&id].process.as_ref().map(|p| p.incarnation)
    }

    /// The session that a running broker holds.
    pub fn broker_epoch(&self, id: BrokerId) -> Option<BrokerEpoch> {
        self.brokers[&id].process.as_ref().and_then(|p| p.broker_epoch)
    }

    /// Starts a broker's process on its disk.
    pub fn start_broker(&mut self, id: BrokerId) {
        let now = self.clock(Place::Broker(id));
        self.trace(|| format!("{id:?} starts"));
        let broker = self.broker(id);
        assert!(broker.process.is_none(), "two processes on one disk");
        broker.starts += 1;
        let incarnation = Incarnation(u128::from(id.0) << 64 | broker.starts);
        let process = Process {
            incarnation,
            control: None,
            dial_at: now,
            broker_epoch: None,
            registered: false,
            fenced: true,
            heartbeat_at: now,
            lease_until: Now(0),
            care_at: now,
            draining: false,
            requests: BTreeMap::new(),
            asked_info: false,
            coordinator_epoch: broker.disk.identity.coordinator_epoch,
            version: MetadataVersion::ZERO,
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            partitions: BTreeMap::new(),
            hosted: BTreeMap::new(),
            dialled: BTreeMap::new(),
            accepted: BTreeMap::new(),
            damage_news: Vec::new(),
            replicas_made: 0,
            moved_away: BTreeMap::new(),
        };
        let held: Vec<TopicPartition> = broker.disk.partitions().collect();
        broker.process = Some(process);
        for partition in held {
            self.host(id, partition);
        }
        self.care(id);
    }

    /// The process dies; of what was written and not synced the first `keep` operations survive.
    pub fn crash_broker(&mut self, id: BrokerId, keep: usize, same_boot: bool) {
        let broker = self.broker(id);
        if broker.process.take().is_none() {
            return;
        }
        broker.frozen = false;
        broker.disk.crash(keep);
        broker.reports.clear();
        // What was lost counts until a session is granted that knows of it.
        broker.disk.identity.same_boot &= same_boot;
        self.trace(|| format!("{id:?} dies, keeps {keep}"));
        let (rng, now, delay) = (&mut self.rng, self.now + self.linger_ms, self.setup.delay_ms);
        let ready = || now + if delay == 0 { 0 } else { rng.u64(0..=delay) };
        self.net.drop_place(Place::Broker(id), ready, Loss::PeerClosed);
        self.jobs.retain(|_, pending| pending.broker != id);
    }

    pub fn broker_timer(&mut self, id: BrokerId) {
        let now = self.clock(Place::Broker(id));
        let Some(process) = self.process(id) else { return };
        let due: Vec<TopicPartition> = process
            .hosted
            .iter()
            .filter(|(_, h)| h.replica.next_deadline().is_some_and(|at| at <= now))
            .map(|(p, _)| *p)
            .collect();
        for partition in due {
            self.step_replica(id, partition, Event::Tick, Vec::new());
        }
        if self.process(id).is_some_and(|p| p.care_at <= now) {
            self.care(id);
        }
    }
}
