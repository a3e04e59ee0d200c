//! The follower's role: it opens, makes its log agree with the leader's, takes pushes, acknowledges what
//! it has synced (rules R2 to R4).

use super::Now;
use super::effect::{DiskOp, Effect, StreamClass};
use super::event::PushedBatch;
use super::local::{Local, Record};
use std::time::Duration;
use yak_protocol::ids::{BrokerEpoch, BrokerId, EpochStart, LeaderEpoch, Offset, SessionId};
use yak_protocol::message::{Ack, Open, OpenAnswer};

/// How long until the next open after the leader could not take one, or sent what does not fit.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);
/// How long until the next open after the disk refused something.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// How long until a repair that has not been reported is asked for again.
const REPAIR_RETRY: Duration = Duration::from_secs(5);

/// How it stands with the leader.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Link {
    /// Opens as soon as the log is settled, and not before that time.
    Waiting(Option<Now>),
    /// Nothing to do before the coordinator says more.
    AwaitingRecord,
    /// Asked; asks again at that time.
    Opening { session: SessionId, class: StreamClass, until: Now },
    /// Open.
    Open { session: SessionId, class: StreamClass },
}

/// A replica that follows `leader` in one leader epoch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Follower {
    pub(super) leader: BrokerId,
    pub(super) epoch: LeaderEpoch,
    /// The session with the coordinator in which it opens.
    broker_epoch: BrokerEpoch,
    link: Link,
    /// What was acknowledged last in the open session.
    acked: Offset,
    /// The leader's high watermark as last heard in the open session.
    leader_high_watermark: Offset,
    /// The leader's log start as last heard in the open session.
    leader_log_start: Offset,
    /// When repairs that were asked for in this session are asked for again.
    repair_again: Option<Now>,
    /// Why there is no open session.
    cause: Option<&'static str>,
}

impl Follower {
    /// Begins to follow.
    pub(super) fn begin(
        local: &mut Local,
        leader: BrokerId,
        epoch: LeaderEpoch,
        effects: &mut Vec<Effect>,
    ) -> Self {
        local.promise(epoch, leader, effects);
        if !local.config.rules.r4_truncate_by_epoch() && local.high_watermark < local.log.end() {
            local.truncate(local.high_watermark, effects);
        }
        Self {
            leader,
            epoch,
            broker_epoch: local.record.as_ref().map_or(BrokerEpoch::ZERO, |record| record.broker_epoch),
            link: Link::Waiting(None),
            acked: Offset::ZERO,
            leader_high_watermark: Offset::ZERO,
            leader_log_start: Offset::ZERO,
            repair_again: None,
            cause: None,
        }
    }

    fn session(&self) -> Option<SessionId> {
        match self.link {
            Link::Opening { session, .. } | Link::Open { session, .. } => Some(session),
            Link::Waiting(_) | Link::AwaitingRecord => None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.link, Link::Open { .. })
    }

    /// Ends the session, if there is one, and says so to the leader.
    pub(super) fn close(&mut self, effects: &mut Vec<Effect>) {
        if let Some(session) = self.session() {
            effects.push(Effect::Close { leader: self.leader, session });
        }
        self.link = Link::AwaitingRecord;
    }

    fn reopen(&mut self, at: Option<Now>, cause: Option<&'static str>, effects: &mut Vec<Effect>) {
        self.close(effects);
        self.link = Link::Waiting(at);
        self.cause = cause;
    }

    /// The record changed within the epoch.
    pub(super) fn on_record(&mut self, local: &Local, before: &Record, effects: &mut Vec<Effect>) {
        let Some(record) = &local.record else { return };
        let me = local.me();
        let dropped = before.info.isr.contains(&me) && !record.info.isr.contains(&me);
        let left_behind = dropped && local.log.end() < self.leader_high_watermark;
        let in_sync_stream = matches!(self.link, Link::Open { class: StreamClass::InSync, .. });
        if record.broker_epoch != self.broker_epoch || (left_behind && in_sync_stream) {
            self.broker_epoch = record.broker_epoch;
            self.reopen(None, None, effects);
        }
    }

    pub(super) fn on_stream_up(&mut self, leader: BrokerId) {
        // An open that was sent before the stream stood may be lost: open again, under another name.
        if leader == self.leader && matches!(self.link, Link::Waiting(_) | Link::Opening { .. }) {
            self.link = Link::Waiting(None);
        }
    }

    pub(super) fn on_stream_down(&mut self, leader: BrokerId, local: &Local, now: Now) {
        if leader == self.leader && self.session().is_some() {
            self.link = Link::Waiting(Some(now + local.config.open_park_max));
            self.cause = Some("no stream to the leader");
        }
    }

    /// The disk refused something; the log is already rolled back.
    pub(super) fn on_write_failed(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.reopen(Some(now + DISK_PAUSE), Some("the disk refused a write; trying again"), effects);
    }

    /// The leader's answer to an open.
    pub(super) fn on_answer(
        &mut self,
        asked: SessionId,
        answer: OpenAnswer,
        local: &mut Local,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Link::Opening { session, class, .. } = self.link else { return };
        if session != asked {
            return;
        }
        // The leader keeps no session unless it answers `start`.
        self.link = Link::Waiting(None);
        match answer {
            OpenAnswer::Start => {
                self.link = Link::Open { session, class };
                self.acked = local.log.end();
                self.leader_high_watermark = Offset::ZERO;
                self.leader_log_start = Offset::ZERO;
                self.repair_again = None;
                self.cause = None;
            }
            OpenAnswer::Diverging { epoch, end } => self.diverge(epoch, end, local, now, effects),
            OpenAnswer::RestartAt { log_start, epochs } => {
                self.restart(log_start, epochs, local, now, effects)
            }
            OpenAnswer::Fenced { leader_epoch } if leader_epoch > self.epoch => {
                self.link = Link::AwaitingRecord;
                self.cause = Some("the leader is in a newer epoch; waiting for the coordinator's word");
            }
            OpenAnswer::Fenced { .. } | OpenAnswer::UnknownEpoch | OpenAnswer::NotLeader => {
                self.pause(now, "the leader does not lead in this epoch yet");
            }
            OpenAnswer::StaleBrokerEpoch => {
                self.pause(now, "the leader knows a newer session of this broker")
            }
        }
    }

    fn pause(&mut self, now: Now, cause: &'static str) {
        self.link = Link::Waiting(Some(now + REOPEN_PAUSE));
        self.cause = Some(cause);
    }

    /// R4: cut what the leader does not have, by the epoch histories of both.
    ///
    /// The cut lies at the edge of a batch: where an epoch of this log ends, or where the leader's log ends
    /// an epoch that both have. Where the leader's log ends an epoch that this one lacks says nothing about
    /// this one; then the next open asks again, from the end of the epoch before.
    fn diverge(
        &mut self,
        epoch: LeaderEpoch,
        end: Offset,
        local: &mut Local,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let log_end = local.log.end();
        let (own_epoch, own_end) = local.log.epochs().end_for(epoch, log_end);
        let to = if !local.config.rules.r4_least_of_both_ends() {
            end.min(log_end)
        } else if own_epoch == epoch {
            end.min(own_end)
        } else {
            own_end
        };
        if to >= log_end {
            return self.pause(now, "the leader says that the logs differ, but they do not");
        }
        if to < local.high_watermark {
            let reason = format!(
                "broker {} (leader epoch {}) wants the log cut at {to}, but everything below {} is committed",
                self.leader, self.epoch, local.high_watermark
            );
            return local.halt(reason, effects);
        }
        local.truncate(to, effects);
    }

    /// R4: the leader's log starts behind this one's end.
    fn restart(
        &mut self,
        start: Offset,
        epochs: Vec<EpochStart>,
        local: &mut Local,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if start <= local.log.end() {
            return self.pause(now, "the leader's log start lies within this log");
        }
        local.log.change(DiskOp::Reset { start, epochs }, effects);
        local.fold.reset();
        local.damage.remove(Offset::ZERO, Offset(u64::MAX));
    }

    /// The leader pushes.
    pub(super) fn on_push(&mut self, push: &Pushed, local: &mut Local, now: Now, effects: &mut Vec<Effect>) {
        if !matches!(self.link, Link::Open { session, .. } if session == push.session) {
            return;
        }
        if push.from != local.log.end() || !self.in_order(push, local) {
            let cause = Some("the leader pushed what does not continue this log");
            return self.reopen(Some(now + REOPEN_PAUSE), cause, effects);
        }
        if let Some(last) = push.batches.last() {
            let base = local.log.end();
            let end = last.base.advance(u64::from(last.head.count));
            let epochs = push.batches.iter().map(|batch| (batch.head.leader_epoch, batch.base));
            local.log.append(DiskOp::AppendPushed { base }, end, epochs, effects);
            for batch in &push.batches {
                local.fold.appended(batch.base, &batch.head, batch.head.ids.clone());
            }
        }
        self.leader_high_watermark = self.leader_high_watermark.max(push.high_watermark);
        self.leader_log_start = push.log_start;
        // R4: what comes next is gone. The next open is told where to begin.
        if push.log_start > local.log.end() {
            self.reopen(None, Some("the leader's log starts behind this one's end"), effects);
        }
    }

    /// Positions ascend (compaction may leave gaps), epochs do not go back and are not above the own one.
    fn in_order(&self, push: &Pushed, local: &Local) -> bool {
        let fenced = local.config.rules.r3_leader_epoch_fence();
        let mut end = push.from;
        let mut epoch = local.log.epochs().newest();
        push.batches.iter().all(|batch| {
            let head = &batch.head;
            let fits = batch.base >= end
                && head.count > 0
                && head.leader_epoch >= epoch
                && (head.leader_epoch <= self.epoch || !fenced);
            end = batch.base.advance(u64::from(head.count));
            epoch = head.leader_epoch;
            fits
        })
    }

    /// After every event: the watermark, and the next open once nothing is under way.
    pub(super) fn decide(&mut self, local: &mut Local, now: Now, effects: &mut Vec<Effect>) {
        if self.is_open() {
            let committed = self.leader_high_watermark.min(local.log.written_end());
            local.high_watermark = local.high_watermark.max(committed);
            // Only what is committed is dropped with the leader.
            local.drop_below(self.leader_log_start, effects);
        }
        if local.log.settled() {
            // What lies before a log start is committed.
            local.high_watermark = local.high_watermark.max(local.log.start());
        }
        match self.link {
            Link::Waiting(Some(at)) if at <= now => self.link = Link::Waiting(None),
            Link::Opening { until, .. } if until <= now => {
                self.reopen(None, Some("the leader has not answered"), effects);
            }
            _ => {}
        }
        if self.link == Link::Waiting(None) {
            local.promise(self.epoch, self.leader, effects);
            forget_empty_epoch(local, effects);
        }
        self.change_stream(local, effects);
    }

    /// Moves to the stream for in-sync partitions once it is near the leader's end.
    fn change_stream(&mut self, local: &Local, effects: &mut Vec<Effect>) {
        let catches_up = matches!(self.link, Link::Open { class: StreamClass::CatchUp, .. });
        if catches_up && self.class(local) == StreamClass::InSync {
            self.reopen(None, None, effects);
        }
    }

    fn class(&self, local: &Local) -> StreamClass {
        let in_isr = local.record.as_ref().is_some_and(|record| record.info.isr.contains(&local.me()));
        let near =
            self.leader_high_watermark > Offset::ZERO && local.log.synced_end() >= self.leader_high_watermark;
        if in_isr || near { StreamClass::InSync } else { StreamClass::CatchUp }
    }

    /// Tells the leader what is due.
    pub(super) fn speak(&mut self, local: &mut Local, now: Now, effects: &mut Vec<Effect>) {
        if self.link == Link::Waiting(None) && self.may_open(local) {
            self.open(local, now, effects);
        }
        let Link::Open { session, .. } = self.link else { return };
        // R2
        let end = local.reported_end(local.config.rules.r2_follower_reports_synced());
        if end > self.acked {
            self.acked = end;
            let (leader_epoch, broker_epoch) = (self.epoch, self.broker_epoch);
            let ack = Ack { id: local.config.id, session, leader_epoch, broker_epoch, end };
            effects.push(Effect::Ack { leader: self.leader, ack });
        }
        self.repair(local, now, effects);
    }

    /// R2, R14: nothing is opened before the promise and the whole log are on disk.
    fn may_open(&self, local: &Local) -> bool {
        local.log.settled()
            || (!local.config.rules.r2_follower_reports_synced()
                && local.log.written_end() == local.log.end())
    }

    fn open(&mut self, local: &mut Local, now: Now, effects: &mut Vec<Effect>) {
        let end = local.log.end();
        let class = self.class(local);
        local.last_session = local.last_session.next();
        let session = local.last_session;
        let open = Open {
            id: local.config.id,
            session,
            leader_epoch: self.epoch,
            broker_epoch: self.broker_epoch,
            end,
            last_epoch: local.log.epochs().of_last_record(end),
        };
        // The leader may park it for as long as that; then the answer is lost.
        let until = now + local.config.open_park_max * 2;
        self.link = Link::Opening { session, class, until };
        effects.push(Effect::Open { leader: self.leader, class, open });
    }

    /// R17: the leader's log agrees with this one as long as the session is open.
    fn repair(&mut self, local: &Local, now: Now, effects: &mut Vec<Effect>) {
        if local.damage.is_empty() {
            self.repair_again = None;
        } else if self.repair_again.is_none_or(|at| at <= now) {
            self.repair_again = Some(now + REPAIR_RETRY);
            let leader = self.leader;
            let ranges = local.damage.ranges().iter();
            effects.extend(ranges.map(|&(from, to)| Effect::Repair { leader, from, to }));
        }
    }

    /// More damage was found: ask for repairs at once.
    pub(super) fn on_damage(&mut self) {
        self.repair_again = None;
    }

    pub(super) fn trouble(&self) -> Option<String> {
        if self.is_open() { None } else { self.cause.map(str::to_owned) }
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        let link = match self.link {
            Link::Waiting(at) => at,
            Link::Opening { until, .. } => Some(until),
            Link::AwaitingRecord | Link::Open { .. } => None,
        };
        let repair = self.repair_again.filter(|_| self.is_open());
        link.into_iter().chain(repair).min()
    }
}

/// An epoch in which this replica led and wrote nothing leaves no trace: the leader's records at that
/// place may be older than it.
fn forget_empty_epoch(local: &mut Local, effects: &mut Vec<Effect>) {
    let end = local.log.end();
    if local.log.epochs().newest() != local.log.epochs().of_last_record(end) {
        local.log.change(DiskOp::Truncate { to: end }, effects);
    }
}

/// A push as the event has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pushed {
    pub(super) session: SessionId,
    pub(super) from: Offset,
    pub(super) high_watermark: Offset,
    pub(super) log_start: Offset,
    pub(super) batches: Vec<PushedBatch>,
}
