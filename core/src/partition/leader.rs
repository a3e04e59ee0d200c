//! The leader's role: the follower table, commits, pushes, proposals. Publishes are in `publish.rs`.

use super::Now;
use super::commit::{self, Standing};
use super::effect::{DiskOp, Effect};
use super::event::{OpSeq, StreamId};
use super::isr::Proposals;
use super::local::{Local, Record};
use super::pending::Pending;
use super::progress::Progress;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use yak_protocol::error::WireError;
use yak_protocol::ids::{BrokerEpoch, BrokerId, EpochStart, LeaderEpoch, Offset, PartitionEpoch, SessionId};
use yak_protocol::message::{Ack, IsrProposal, Open, OpenAnswer, Opened};

/// How long until the start of the epoch is written again after the disk refused it.
const START_RETRY: Duration = Duration::from_secs(1);

/// For how many retries a follower waits whose proposal was refused and that was the only one in it.
const REFUSED_TURNS: u32 = 4;

/// How far the start of the epoch is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Start {
    /// The disk refused it; tried again at that time.
    Failed(Now),
    /// On its way to the disk.
    Syncing(OpSeq),
    /// On disk: opens are answered, followers count, commits happen (rules R13, R14).
    Synced,
}

/// A replica that leads in one leader epoch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Leader {
    pub(super) epoch: LeaderEpoch,
    /// Where the epoch starts in the log.
    epoch_start: Offset,
    start: Start,
    /// Every other replica (rule R5: made anew with the epoch).
    pub(super) table: BTreeMap<BrokerId, Progress>,
    proposals: Proposals,
    /// Publishes with `acks=all`: they wait for the high watermark.
    pub(super) uncommitted: Pending,
    /// Publishes with `acks=1`: they wait for the own disk.
    pub(super) undurable: Pending,
}

impl Leader {
    /// Begins to lead in `epoch` (rule R13). `table` is empty unless rule R5 is off.
    pub(super) fn begin(
        local: &mut Local,
        epoch: LeaderEpoch,
        table: BTreeMap<BrokerId, Progress>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let mut leader = Self {
            epoch,
            epoch_start: local.log.end(),
            start: Start::Failed(now),
            table,
            proposals: Proposals::default(),
            uncommitted: Pending::default(),
            undurable: Pending::default(),
        };
        leader.start_epoch(local, now, effects);
        leader.adopt_replicas(local, now);
        leader
    }

    fn start_epoch(&mut self, local: &mut Local, now: Now, effects: &mut Vec<Effect>) {
        if !matches!(self.start, Start::Failed(at) if at <= now) {
            return;
        }
        local.promise(self.epoch, local.me(), effects);
        self.epoch_start = local.log.end();
        let entry = EpochStart { epoch: self.epoch, start: self.epoch_start };
        self.start = Start::Syncing(local.log.change(DiskOp::StartEpoch(entry), effects));
    }

    /// Whether the disk takes what is appended, as far as is known.
    pub(super) fn takes_appends(&self) -> bool {
        !matches!(self.start, Start::Failed(_))
    }

    pub(super) fn started(&self) -> bool {
        self.start == Start::Synced
    }

    /// Whether the high watermark has reached what earlier leaders may have committed (rule R13).
    pub(super) fn high_watermark_known(&self, local: &Local) -> bool {
        self.takes_appends() && local.high_watermark >= self.epoch_start
    }

    fn adopt_replicas(&mut self, local: &Local, now: Now) {
        let Some(record) = &local.record else { return };
        let me = local.me();
        self.table.retain(|id, _| record.info.replicas.contains(id));
        for id in record.info.replicas.iter().filter(|id| **id != me) {
            self.table.entry(*id).or_insert_with(|| Progress::unseen(now));
        }
    }

    /// The record changed within the epoch.
    pub(super) fn on_record(&mut self, local: &Local, before: &Record, now: Now) {
        let Some(record) = &local.record else { return };
        self.adopt_replicas(local, now);
        let newer = record.info.partition_epoch > before.info.partition_epoch;
        self.proposals.on_record(record.info.partition_epoch, newer);
        if newer {
            self.table.values_mut().for_each(|progress| progress.refused_until = None);
        }
        for id in record.info.isr.iter().filter(|id| !before.info.isr.contains(id)) {
            if let Some(progress) = self.table.get_mut(id) {
                progress.forgive(now);
            }
        }
    }

    pub(super) fn on_synced(&mut self, seq: OpSeq, local: &mut Local, now: Now, effects: &mut Vec<Effect>) {
        if matches!(self.start, Start::Syncing(start) if start <= seq) {
            self.start = Start::Synced;
            for parked in local.parked.take_up_to(self.epoch) {
                self.on_open(parked.stream, parked.follower, parked.open, local, now, effects);
            }
        }
    }

    /// The disk refused `seq` and what followed: nothing that was appended from `lowest` on has happened.
    pub(super) fn on_write_failed(
        &mut self,
        seq: OpSeq,
        error: &WireError,
        lowest: Offset,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(self.start, Start::Syncing(start) if start >= seq) {
            self.start = Start::Failed(now + START_RETRY);
        }
        self.fail_above(lowest, error, effects);
    }

    /// A follower opens (rules R3, R4). Its epoch is not above the leader's.
    pub(super) fn on_open(
        &mut self,
        stream: StreamId,
        follower: BrokerId,
        open: Open,
        local: &mut Local,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.table.get(&follower).is_some_and(|p| p.is_late(stream, open.session, open.broker_epoch)) {
            return;
        }
        if !self.started() {
            local.parked.park(stream, follower, open, now + local.config.open_park_max);
            return;
        }
        let answer = self.refuse_open(follower, &open, local).unwrap_or_else(|| {
            let answer = compare_logs(&open, local);
            if let Some(progress) = self.table.get_mut(&follower) {
                progress.close();
                if answer == OpenAnswer::Start {
                    progress.open(stream, open.session, open.broker_epoch, open.end);
                }
            }
            answer
        });
        effects.push(Effect::Opened(stream, Opened { id: open.id, session: open.session, answer }));
    }

    /// Why an open changes nothing here, if so.
    fn refuse_open(&self, follower: BrokerId, open: &Open, local: &Local) -> Option<OpenAnswer> {
        let rules = local.config.rules;
        // R3
        if open.leader_epoch != self.epoch && rules.r3_leader_epoch_fence() {
            return Some(OpenAnswer::Fenced { leader_epoch: self.epoch });
        }
        let Some(progress) = self.table.get(&follower) else { return Some(OpenAnswer::NotLeader) };
        let known = local.record.as_ref().and_then(|record| record.unfenced.get(&follower).copied());
        let newest = progress.broker_epoch.max(known.unwrap_or(BrokerEpoch::ZERO));
        let stale = open.broker_epoch < newest && rules.r9_broker_epoch();
        stale.then_some(OpenAnswer::StaleBrokerEpoch)
    }

    /// A follower acknowledges; anything but the current session and epochs is ignored.
    pub(super) fn on_ack(&mut self, stream: StreamId, follower: BrokerId, ack: &Ack, local: &Local) {
        let rules = local.config.rules;
        let Some(progress) = self.table.get_mut(&follower) else { return };
        let current = progress.lives_on(stream, Some(ack.session))
            && (ack.leader_epoch == self.epoch || !rules.r3_leader_epoch_fence())
            && (ack.broker_epoch == progress.broker_epoch || !rules.r9_broker_epoch());
        if current && ack.end <= local.log.written_end() {
            progress.ack(ack.end);
        }
    }

    pub(super) fn on_pushed(
        &mut self,
        stream: StreamId,
        follower: BrokerId,
        session: SessionId,
        sent: (Offset, u64),
        local: &Local,
        now: Now,
    ) {
        if let Some(progress) = self.table.get_mut(&follower).filter(|p| p.lives_on(stream, Some(session))) {
            progress.pushed(sent.0, sent.1, local.log.written_end(), now);
        }
    }

    pub(super) fn on_closed(&mut self, stream: StreamId, session: Option<SessionId>) {
        for progress in self.table.values_mut().filter(|progress| progress.lives_on(stream, session)) {
            progress.close();
        }
    }

    /// The coordinator refused a proposal.
    pub(super) fn on_refused(&mut self, partition_epoch: PartitionEpoch, local: &Local, now: Now) {
        let Some(record) = &local.record else { return };
        let retry = local.config.proposal_retry;
        let named = self.proposals.on_refused(partition_epoch, now + retry);
        let added: Vec<BrokerId> = named.into_iter().filter(|id| !record.info.isr.contains(id)).collect();
        // One of them may be why (a replica with damage, say), and must not keep the others out: they are
        // proposed one by one, and who is refused alone waits.
        let alone = added.len() == 1;
        for (turn, id) in (1..).zip(added) {
            if let Some(progress) = self.table.get_mut(&id) {
                progress.refused_until = Some(now + retry * if alone { REFUSED_TURNS } else { turn });
            }
        }
    }

    /// After every event: what follows for the commit and the ISR.
    pub(super) fn decide(&mut self, local: &mut Local, now: Now, effects: &mut Vec<Effect>) {
        self.start_epoch(local, now, effects);
        let written_end = local.log.written_end();
        for progress in self.table.values_mut() {
            progress.tick(now);
            progress.observe(written_end, now);
            progress.late = progress.lag_deadline(local.config.replica_lag_max).is_some_and(|at| at <= now);
        }
        if self.started() {
            self.commit(local, now);
            self.propose(local, now, effects);
        }
    }

    fn commit(&self, local: &mut Local, now: Now) {
        let Some(record) = &local.record else { return };
        let rules = local.config.rules;
        let me = local.me();
        let maximal = rules.r6_maximal_isr();
        let proposed = self.proposals.members().filter(|_| maximal);
        // Whoever is about to join is waited for, too: under steady load a follower that is a little slower
        // than the others would never be seen at the high watermark otherwise.
        let joining = self.eligible(local, record).filter_map(|(id, progress, acked)| {
            let near = progress.is_near(now, local.config.replica_lag_max) && acked >= self.epoch_start;
            (near && maximal).then_some(id)
        });
        let members = record.info.isr.iter().copied().chain(proposed).chain(joining).filter(|id| *id != me);
        let standing = Standing {
            high_watermark: local.high_watermark,
            epoch_start: self.epoch_start,
            own_end: local.reported_end(rules.r2_leader_counts_synced()),
            enough_replicas: record.enough_replicas() || !rules.r6_strict_min_isr(),
        };
        let ends = members.map(|id| self.table.get(&id).and_then(|progress| progress.acked));
        if let Some(high_watermark) = commit::advance(standing, ends) {
            assert!(high_watermark > local.high_watermark, "the high watermark never goes back");
            local.high_watermark = high_watermark;
        }
    }

    fn propose(&mut self, local: &Local, now: Now, effects: &mut Vec<Effect>) {
        let Some(record) = &local.record else { return };
        let config = &local.config;
        if let Some((partition_epoch, isr)) = self.proposals.resend(now, config.proposal_retry, config.rules)
        {
            let leader_epoch = self.epoch;
            effects.push(Effect::Propose(IsrProposal { id: config.id, leader_epoch, partition_epoch, isr }));
        }
        if !self.proposals.may_propose(now) || !self.calls_for_change(local, record, now) {
            return;
        }
        let wanted = self.wanted_isr(local, record, now);
        let isr: Vec<_> =
            wanted.into_iter().map(|id| (id, self.broker_epoch_of(id, local, record))).collect();
        let partition_epoch = record.info.partition_epoch;
        self.proposals.propose(partition_epoch, isr.clone(), now + config.proposal_retry);
        let leader_epoch = self.epoch;
        effects.push(Effect::Propose(IsrProposal { id: config.id, leader_epoch, partition_epoch, isr }));
    }

    fn calls_for_change(&self, local: &Local, record: &Record, now: Now) -> bool {
        self.proposals.in_doubt()
            || record.info.isr.iter().any(|id| self.lags(*id, local, now))
            || self.candidates(local, record).next().is_some()
    }

    /// R8: whether a member has been behind for too long. The leader itself never is.
    fn lags(&self, id: BrokerId, local: &Local, now: Now) -> bool {
        let due = self.table.get(&id).and_then(|p| p.lag_deadline(local.config.replica_lag_max));
        due.is_some_and(|at| at <= now)
    }

    /// The ISR as it ought to be: without those that lag (R8), with those that have caught up (R7).
    fn wanted_isr(&self, local: &Local, record: &Record, now: Now) -> BTreeSet<BrokerId> {
        let stay = record.info.isr.iter().copied().filter(|id| !self.lags(*id, local, now));
        stay.chain(self.candidates(local, record)).collect()
    }

    /// Followers that may join the ISR (rule R7). One that would be shrunk at once (rule R8) stays out, or it
    /// would come and go for as long as the watermark stands still.
    fn candidates<'a>(&'a self, local: &'a Local, record: &'a Record) -> impl Iterator<Item = BrokerId> + 'a {
        let any_start = !local.config.rules.r7_epoch_start();
        self.eligible(local, record).filter(|(_, progress, _)| !progress.late).filter_map(
            move |(id, _, acked)| {
                let caught_up = acked >= local.high_watermark && (acked >= self.epoch_start || any_start);
                caught_up.then_some(id)
            },
        )
    }

    /// Followers outside the ISR that are live, seen in this epoch and not just refused, with their
    /// acknowledged ends.
    fn eligible<'a>(
        &'a self,
        local: &'a Local,
        record: &'a Record,
    ) -> impl Iterator<Item = (BrokerId, &'a Progress, Offset)> + 'a {
        let rules = local.config.rules;
        self.table.iter().filter_map(move |(id, progress)| {
            let acked = progress.acked.filter(|_| progress.is_open() || !rules.r5_seen_this_epoch())?;
            let known = record.unfenced.get(id)?;
            let current = *known == progress.broker_epoch || !rules.r9_broker_epoch();
            let open = current && progress.refused_until.is_none();
            (open && !record.info.isr.contains(id)).then_some((*id, progress, acked))
        })
    }

    fn broker_epoch_of(&self, id: BrokerId, local: &Local, record: &Record) -> BrokerEpoch {
        if id == local.me() {
            return record.broker_epoch;
        }
        let seen = self.table.get(&id).filter(|progress| progress.acked.is_some());
        let known = record.unfenced.get(&id).copied().unwrap_or_default();
        seen.map_or(known, |progress| progress.broker_epoch)
    }

    /// Pushes what is due, once readers can see it.
    pub(super) fn push(&mut self, local: &Local, effects: &mut Vec<Effect>) {
        let window = local.config.window_bytes;
        let (end, high_watermark, log_start) =
            (local.log.written_end(), local.high_watermark, local.log.start());
        let news = (high_watermark, log_start);
        for (follower, progress) in &mut self.table {
            if let Some((stream, session, from)) = progress.start_push(end, news, window) {
                let follower = *follower;
                effects.push(Effect::Push { stream, follower, session, from, high_watermark, log_start });
            }
        }
    }

    /// Why commits cannot happen or publishes are refused, in words. What only takes its time is no trouble.
    pub(super) fn trouble(&self, local: &Local) -> Option<String> {
        let record = local.record.as_ref()?;
        if !self.takes_appends() {
            return Some("the disk refused the start of the leader's epoch; trying again".into());
        }
        if !record.enough_replicas() {
            return Some(format!("ISR {} < min {}", record.info.isr.len(), record.info.min_isr));
        }
        let unseen = |id: &&BrokerId| self.table.get(id).is_some_and(|progress| progress.acked.is_none());
        let unseen: Vec<_> = record.info.isr.iter().filter(unseen).map(ToString::to_string).collect();
        (!unseen.is_empty())
            .then(|| format!("in the ISR but not seen in this epoch: broker {}", unseen.join(", ")))
    }

    /// Why a publish has waited too long.
    pub(super) fn delay(&self, local: &Local) -> String {
        let isr = local.record.iter().flat_map(|record| &record.info.isr);
        let behind = |id: &&BrokerId| {
            self.table.get(id).and_then(|p| p.lag_deadline(local.config.replica_lag_max)).is_some()
        };
        let behind: Vec<_> = isr.filter(behind).map(ToString::to_string).collect();
        self.trouble(local).unwrap_or_else(|| match behind.as_slice() {
            [] => "the own disk has not confirmed it".to_owned(),
            behind => format!("waiting for broker {}", behind.join(", ")),
        })
    }

    pub(super) fn deadline(&self, local: &Local) -> Option<Now> {
        let record = local.record.as_ref()?;
        let start = match self.start {
            Start::Failed(at) => Some(at),
            Start::Syncing(_) | Start::Synced => None,
        };
        let isr = self.started().then(|| self.isr_deadline(local, record)).flatten();
        let pushes = self.table.values().filter_map(Progress::push_deadline).min();
        [start, isr, pushes, self.uncommitted.next_deadline(), self.undurable.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn isr_deadline(&self, local: &Local, record: &Record) -> Option<Now> {
        let lag_max = local.config.replica_lag_max;
        let lagging = record.info.isr.iter().filter_map(|id| self.table.get(id)?.lag_deadline(lag_max)).min();
        let joins = self.candidates(local, record).next().map(|_| Now::default());
        let again = self.table.values().filter_map(|progress| progress.refused_until).min();
        let due = self.proposals.deadline(joins.into_iter().chain(lagging).min());
        due.into_iter().chain(again).min()
    }

    pub(super) fn assert_invariants(&self, local: &Local) {
        assert!(
            self.epoch_start <= local.log.end() || !self.takes_appends(),
            "an epoch starts within the log"
        );
        assert!(
            local.log.epochs().newest() == self.epoch || !self.takes_appends(),
            "the log is in its epoch"
        );
    }
}

/// R4: how much of the follower's log agrees with this one. The follower table is not touched by it.
fn compare_logs(open: &Open, local: &Local) -> OpenAnswer {
    let (log_start, log_end) = (local.log.start(), local.log.written_end());
    if open.end < log_start {
        return OpenAnswer::RestartAt { log_start, epochs: local.log.epochs().below(log_start) };
    }
    if !local.config.rules.r4_truncate_by_epoch() {
        return if open.end <= log_end { OpenAnswer::Start } else { OpenAnswer::UnknownEpoch };
    }
    let (epoch, end) = local.log.epochs().end_for(open.last_epoch, log_end);
    if epoch < open.last_epoch || end < open.end {
        return OpenAnswer::Diverging { epoch, end };
    }
    OpenAnswer::Start
}
