//! Who is alive: leases, connections, heartbeats, and time that comes late.

use super::{Cluster, ConnectionId, Effect, Loss, Note, Now, Record, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerEpoch, BrokerId, MetadataVersion, TopicPartition};
use yak_protocol::message::{BrokerInfo, Heartbeat, HeartbeatReply, ReplicaReport};

/// How many heartbeats in a row may report old metadata before the broker gets a full copy.
const BEHIND_MAX: u8 = 3;

/// A broker's control connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Link {
    /// It has not been seen since this coordinator started.
    Awaited,
    /// It stands.
    Connected(ConnectionId),
    /// It broke, and the process may still live.
    Lost,
}

/// A probe on its way (rule R10).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct ProbeUnderway {
    /// When the silence counts as an answer.
    pub deadline: Now,
    /// Who reported.
    pub reporters: BTreeSet<BrokerId>,
}

/// What is known of a broker's process now; nothing of it is durable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Session {
    pub link: Link,
    /// When its absence counts; `None` = it has run out.
    pub lease: Option<Now>,
    pub probe: Option<ProbeUnderway>,
    /// The metadata that it must confirm: what stood when it was last answered, registered or fenced.
    pub told: MetadataVersion,
    /// How many heartbeats in a row reported older metadata than that.
    pub behind: u8,
    /// Whether its last heartbeat said that it wants to stop.
    pub draining: bool,
}

/// What is known of a broker's process now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Its control connection.
    pub link: Link,
    /// When its absence counts; `None` = it has run out.
    pub until: Option<Now>,
    /// Whether it is being asked whether it is alive.
    pub probing: bool,
}

/// The volatile side of the cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Liveness {
    pub sessions: BTreeMap<BrokerId, Session>,
    pub connections: BTreeMap<ConnectionId, BrokerId>,
    /// When time was last seen to pass.
    last_tick: Now,
    /// Until when a closed connection is not yet proof of a death: this process was itself away.
    settling_until: Now,
    /// What replicas last said of themselves in heartbeats.
    pub reports: BTreeMap<(BrokerId, TopicPartition), ReplicaReport>,
    /// Since when a preferred leader that does not lead could.
    pub could_go_back: BTreeMap<TopicPartition, Now>,
    /// When leaderships last went back.
    pub gave_back: Option<Now>,
    /// Links on which a follower reported silence while the leader answered its probe: (follower, leader).
    pub broken_links: BTreeMap<(BrokerId, BrokerId), Now>,
}

impl Liveness {
    /// After start or takeover every unfenced broker has one full lease before its absence counts.
    pub(super) fn start(now: Now, lease: Duration, unfenced: impl Iterator<Item = BrokerId>) -> Self {
        let session = Session {
            link: Link::Awaited,
            lease: Some(now + lease),
            probe: None,
            told: MetadataVersion::ZERO,
            behind: 0,
            draining: false,
        };
        Self {
            sessions: unfenced.map(|id| (id, session.clone())).collect(),
            last_tick: now,
            ..Self::default()
        }
    }

    /// Whether the process that holds the broker's session may be alive.
    pub(super) fn alive(&self, id: BrokerId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.lease.is_some())
    }

    pub(super) fn connected(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.keys().copied()
    }

    fn watches(&self) -> bool {
        self.sessions.values().any(|session| session.lease.is_some() || session.probe.is_some())
    }

    /// The next moment at which something may be due; time is looked at once a heartbeat, so that a
    /// pause of this process shows.
    pub(super) fn next_deadline(&self, heartbeat: Duration) -> Option<Now> {
        let due = self.sessions.values().flat_map(|session| {
            session.lease.into_iter().chain(session.probe.as_ref().map(|probe| probe.deadline))
        });
        due.chain(self.watches().then(|| self.last_tick + heartbeat)).min()
    }

    /// Extends every lease and probe by the time in which this process did not run; says by how much.
    pub(super) fn catch_up(&mut self, now: Now, heartbeat: Duration) -> Option<Duration> {
        if !self.watches() {
            self.last_tick = now;
            return None;
        }
        let gap = now.since(self.last_tick);
        if gap <= heartbeat * 2 {
            return None;
        }
        for session in self.sessions.values_mut() {
            session.lease = session.lease.map(|lease| lease + gap);
            if let Some(probe) = &mut session.probe {
                probe.deadline = probe.deadline + gap;
            }
        }
        self.last_tick = now;
        self.settling_until = now + heartbeat;
        Some(gap)
    }
}

impl Cluster {
    /// The lease of a broker; `None` = it has none, and its connection is gone.
    #[must_use]
    pub fn lease(&self, id: BrokerId) -> Option<Lease> {
        let session = self.liveness.sessions.get(&id)?;
        Some(Lease { link: session.link, until: session.lease, probing: session.probe.is_some() })
    }

    /// The broker whose session that is, or why it is not one.
    pub(super) fn check_session(&self, id: BrokerId, epoch: BrokerEpoch) -> Result<(), WireError> {
        let broker = self.state.broker(id).ok_or_else(|| {
            WireError::new(ErrorCode::StaleBrokerEpoch, format!("broker {id} is not registered here"))
                .hint("register again")
        })?;
        if broker.info.broker_epoch != epoch {
            let newest = broker.info.broker_epoch;
            return Err(WireError::new(
                ErrorCode::StaleBrokerEpoch,
                format!("broker {id} speaks in broker epoch {epoch}, its current one is {newest}"),
            )
            .hint("another process registered this broker since; register again"));
        }
        Ok(())
    }

    pub(super) fn heartbeat(
        &mut self,
        now: Now,
        connection: ConnectionId,
        heartbeat: Heartbeat,
        step: &mut Step,
    ) -> Result<HeartbeatReply, WireError> {
        let id = heartbeat.broker_id;
        self.check_session(id, heartbeat.broker_epoch)?;
        let lease = now + self.config.lease;
        let current = self.liveness.connections.get(&connection) == Some(&id);
        let Some(session) = self.liveness.sessions.get_mut(&id).filter(|_| current) else {
            return Err(WireError::new(
                ErrorCode::StaleBrokerEpoch,
                format!("this connection does not hold the session of broker {id}"),
            )
            .hint("register on this connection, naming the session to resume"));
        };
        session.lease = Some(lease);
        let up_to_date = heartbeat.metadata_version >= session.told;
        session.told = self.state.version();
        session.draining = heartbeat.draining;
        session.behind = if up_to_date { 0 } else { session.behind.saturating_add(1) };
        if session.behind >= BEHIND_MAX {
            session.behind = 0;
            step.last.push(Effect::Push(connection, self.state.leader_info()));
        }
        self.hear_of_newer_records(id, &heartbeat.replicas, step);
        let known = heartbeat.replicas.iter().filter(|report| self.state.partition(report.id).is_some());
        let known: Vec<_> = known.map(|report| ((id, report.id), *report)).collect();
        self.liveness.reports.extend(known);
        self.hear_of_troubles(id, &heartbeat.replicas, step);
        if up_to_date && !self.state.unfenced(id) {
            self.unfence(id, heartbeat.broker_epoch, step);
        }
        self.settle_made_again(step);
        let requested = self.state.broker(id).is_some_and(|broker| broker.drain_requested);
        let draining = heartbeat.draining || requested;
        if draining != self.state.draining(id) {
            let what = if draining { "drains, because it is to stop" } else { "no longer drains" };
            step.because(format!("broker {id} {what}"));
            self.drain(Record::Drain { id, draining, requested }, step);
        }
        Ok(HeartbeatReply {
            coordinator_epoch: self.state.coordinator_epoch(),
            lease_ms: millis(self.config.lease),
            fenced: !self.state.unfenced(id),
            metadata_version: self.state.version(),
            drained: heartbeat.draining && self.spared(id),
        })
    }

    /// The broker has confirmed its epoch and the newest metadata: it may lead and be in sync again.
    fn unfence(&mut self, id: BrokerId, epoch: BrokerEpoch, step: &mut Step) {
        step.notes.push(Note::Unfenced { broker: id });
        self.drop_lost(id, step);
        step.because(format!("broker {id} is unfenced"));
        self.record(step, Record::Fence { id, fenced: false, confirmed: Some(epoch) });
        // R10: a leaderless partition takes an unfenced candidate at once.
        let unclean = !self.config.rules.r10_clean_election();
        self.revise(
            step,
            |info| info.isr.contains(&id) || info.elr.contains(&id) || (unclean && info.leader.is_none()),
            |_, _| {},
        );
        self.fill_replicas(step);
    }

    /// A draining broker's leaderships go to other in-sync replicas at once; one that no longer drains takes
    /// those of others that do.
    pub(super) fn drain(&mut self, record: Record, step: &mut Step) {
        let Record::Drain { id, draining, .. } = record else { return };
        step.note("drain", step.why.clone());
        self.record(step, record);
        self.revise(step, |info| info.isr.contains(&id), |_, _| {});
        if !draining {
            self.fill_replicas(step);
        }
    }

    /// Whether nothing depends on the broker: it leads nothing, and every ISR is large enough without it.
    fn spared(&self, id: BrokerId) -> bool {
        self.dependence(id) == (0, 0)
    }

    /// A control connection ended.
    pub(super) fn disconnected(&mut self, now: Now, connection: ConnectionId, loss: Loss, step: &mut Step) {
        let Some(id) = self.liveness.connections.remove(&connection) else { return };
        let settling = now < self.liveness.settling_until;
        let Some(session) = self.liveness.sessions.get_mut(&id) else { return };
        session.link = Link::Lost;
        match loss {
            // What is heard right after a pause of our own may be old: the broker may have given up on a
            // connection that nobody served, and be about to resume on another. The lease decides.
            Loss::PeerClosed if settling => {}
            Loss::PeerClosed => self.session_over(id, "its process closed the connection", step),
            Loss::Unknown => {}
        }
    }

    /// The brokers that have not been seen since this term began, with the session that each is to resume. One
    /// at whose address nothing listens any more need not be waited for: [`super::Event::Refused`].
    pub fn awaited(&self) -> impl Iterator<Item = &BrokerInfo> {
        let sessions = self.liveness.sessions.iter().filter(|(_, session)| session.link == Link::Awaited);
        sessions.filter_map(|(id, _)| self.state.broker(*id).map(|broker| &broker.info))
    }

    /// A process that is gone resumes nothing. (One that lives behind a network that refuses for it is fenced in
    /// vain, and comes back with its next heartbeat.)
    pub(super) fn refused(&mut self, id: BrokerId, epoch: BrokerEpoch, step: &mut Step) {
        let awaited = self.liveness.sessions.get(&id).is_some_and(|session| session.link == Link::Awaited);
        if awaited && self.check_session(id, epoch).is_ok() {
            self.session_over(id, "nothing listens at its address any more", step);
        }
    }

    /// Time passed.
    pub(super) fn tick(&mut self, now: Now, step: &mut Step) {
        self.liveness.last_tick = now;
        let over: Vec<(BrokerId, bool)> = self
            .liveness
            .sessions
            .iter()
            .filter_map(|(id, session)| {
                let silent = session.probe.as_ref().is_some_and(|probe| probe.deadline <= now);
                (silent || session.lease.is_some_and(|lease| lease <= now)).then_some((*id, silent))
            })
            .collect();
        for (id, silent) in over {
            let why = if silent { "it did not answer a probe" } else { "its lease has run out" };
            self.session_over(id, why, step);
        }
        self.give_back(now, step);
        let old = self.config.lease * 10;
        self.liveness.broken_links.retain(|_, since| now.since(*since) < old);
    }

    /// The broker counts as absent. Its session stays where the connection stands: the process may have
    /// been frozen, and resumes with its next heartbeat.
    fn session_over(&mut self, id: BrokerId, why: &str, step: &mut Step) {
        if let Some(session) = self.liveness.sessions.get_mut(&id) {
            session.lease = None;
            session.probe = None;
            if !matches!(session.link, Link::Connected(_)) {
                self.liveness.sessions.remove(&id);
            }
        }
        if self.state.unfenced(id) {
            self.fence(id, why, step);
        }
    }
}

/// A duration as it travels.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
