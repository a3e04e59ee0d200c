//! What a replica has and knows whatever its role: its log, the coordinator's record, the watermark.

use super::ReplicaConfig;
use super::damage::Damage;
use super::disk::Log;
use super::effect::{DiskOp, Effect};
use super::event::RecoveredLog;
use super::fold::Fold;
use super::parked::Parked;
use std::collections::BTreeMap;
use yak_protocol::ids::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, SessionId};
use yak_protocol::message::{Durability, PartitionInfo};

/// The coordinator's record of the partition, with what came along.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Record {
    pub(super) info: PartitionInfo,
    /// This broker's session.
    pub(super) broker_epoch: BrokerEpoch,
    /// The sessions of the replicas' brokers; fenced ones are left out.
    pub(super) unfenced: BTreeMap<BrokerId, BrokerEpoch>,
    pub(super) durability: Durability,
    pub(super) dedupe_window_ms: u64,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Local {
    pub(super) config: ReplicaConfig,
    pub(super) log: Log,
    pub(super) fold: Fold,
    pub(super) damage: Damage,
    /// The newest record that was not refused.
    pub(super) record: Option<Record>,
    /// Everything below is known to be committed.
    pub(super) high_watermark: Offset,
    pub(super) parked: Parked,
    /// The last session that this replica opened as a follower.
    pub(super) last_session: SessionId,
    /// The coordinator says that it knows less than the brokers do (rule R15).
    pub(super) recovering: bool,
    /// The process stops.
    pub(super) stopping: bool,
    /// Why the replica has stopped itself.
    pub(super) halted: Option<String>,
    /// Why the newest record is not acted on (rule R14).
    pub(super) refused: Option<String>,
    /// The partition has moved away, and the data of this replica is being deleted (rule R18).
    pub(super) removed: bool,
    /// The shell has yet to be told so; last, when everything else has been said.
    pub(super) removal_due: bool,
}

impl Local {
    pub(super) fn recovered(config: ReplicaConfig, log: &RecoveredLog) -> Self {
        // R13: the hint is a lower bound; what lies before the log start is committed in any case.
        let high_watermark = log.high_watermark_hint.max(log.log_start).min(log.log_end);
        Self {
            log: Log::recovered(log),
            fold: Fold::recovered(log.log_end),
            damage: Damage::recovered(&log.damaged),
            record: None,
            high_watermark,
            parked: Parked::default(),
            last_session: config.sessions_after,
            recovering: false,
            stopping: false,
            halted: None,
            refused: None,
            removed: false,
            removal_due: false,
            config,
        }
    }

    pub(super) fn me(&self) -> BrokerId {
        self.config.broker
    }

    /// The leader epoch of the record; zero without one.
    pub(super) fn record_epoch(&self) -> LeaderEpoch {
        self.record.as_ref().map_or(LeaderEpoch::ZERO, |record| record.info.leader_epoch)
    }

    pub(super) fn durability(&self) -> Durability {
        self.record.as_ref().map_or(Durability::Fsync, |record| record.durability)
    }

    /// The end of what is kept as the topic's durability understands it.
    pub(super) fn durable_end(&self) -> Offset {
        match self.durability() {
            Durability::Fsync => self.log.synced_end(),
            Durability::Replicated => self.log.written_end(),
        }
    }

    /// The durable end, or the written end where the rule that asks for durability is off (rule R2).
    pub(super) fn reported_end(&self, only_durable: bool) -> Offset {
        if only_durable { self.durable_end() } else { self.log.written_end() }
    }

    /// Makes the promise durable before anything that follows it in the log (rule R14).
    pub(super) fn promise(&mut self, leader_epoch: LeaderEpoch, leader: BrokerId, effects: &mut Vec<Effect>) {
        if self.config.rules.r14_promise() && self.log.promise() != Some((leader_epoch, leader)) {
            self.log.change(DiskOp::Promise { leader_epoch, leader }, effects);
        }
    }

    /// Drops what lies below `to`, as far as it is committed.
    pub(super) fn drop_below(&mut self, to: Offset, effects: &mut Vec<Effect>) {
        let to = to.min(self.high_watermark).min(self.log.end());
        if to > self.log.start() {
            self.log.change(DiskOp::MoveLogStart { to }, effects);
            self.damage.remove(Offset::ZERO, to);
        }
    }

    /// Cuts the log.
    pub(super) fn truncate(&mut self, to: Offset, effects: &mut Vec<Effect>) {
        self.log.change(DiskOp::Truncate { to }, effects);
        self.fold.cut(to);
        self.damage.remove(to, Offset(u64::MAX));
    }

    /// Stops the replica for good.
    pub(super) fn halt(&mut self, reason: String, effects: &mut Vec<Effect>) {
        if self.halted.is_none() {
            effects.push(Effect::Halt { reason: reason.clone() });
            self.halted = Some(reason);
        }
    }

    pub(super) fn assert_invariants(&self) {
        self.log.assert_invariants();
        let (hw, end) = (self.high_watermark, self.log.end());
        assert!(hw <= end || self.halted.is_some(), "high watermark {hw} <= log end {end}");
    }
}
