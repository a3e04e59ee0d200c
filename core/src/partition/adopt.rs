//! What the coordinator's record means for this replica: to lead, to follow, or neither (rules R13, R14).

use super::effect::Effect;
use super::follower::Follower;
use super::leader::Leader;
use super::local::{Local, Record};
use super::{Now, Replica, Role};
use yak_protocol::ids::BrokerId;

/// What a replica has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Duty {
    Lead,
    Follow(BrokerId),
    /// Nothing, for that reason.
    Rest(&'static str),
}

impl Replica {
    /// Takes a record, unless it is older than what is known or breaks the promise.
    pub(super) fn on_record(&mut self, record: Record, now: Now, effects: &mut Vec<Effect>) {
        let stale = self.local.record.as_ref().is_some_and(|known| is_older(&record, known));
        if !stale {
            self.local.fold.set_window(record.dedupe_window_ms);
        }
        if record.info.recovering {
            // R15: rest whatever its epochs are. The own ones are kept, never lowered.
            self.local.recovering = true;
            if !stale {
                self.local.record = Some(record);
            }
            return self.rest("the partition waits until its metadata is rebuilt", effects);
        }
        if stale {
            return;
        }
        self.local.refused = self.broken_promise(&record);
        if self.local.refused.is_some() {
            return;
        }
        self.local.recovering = false;
        if !self.local.removed && self.taken_away(&record) {
            self.local.removed = true;
            self.local.removal_due = true;
        }
        let duty = self.duty(&record);
        self.forget_committed(&record, duty);
        let before = self.local.record.replace(record);
        if self.fulfils(duty) {
            match (&mut self.role, &before) {
                (Role::Leader(leader), Some(before)) => leader.on_record(&self.local, before, now),
                (Role::Follower(follower), Some(before)) => {
                    follower.on_record(&self.local, before, effects);
                }
                _ => {}
            }
        } else {
            self.take_up(duty, now, effects);
        }
        for parked in self.local.parked.take_up_to(self.local.record_epoch()) {
            self.on_open(parked.stream, parked.follower, parked.open, now, effects);
        }
    }

    /// R14: why this record must not be acted on, if it must not.
    fn broken_promise(&self, record: &Record) -> Option<String> {
        let leader = record.info.leader?;
        let epoch = record.info.leader_epoch;
        let newest = self.local.log.epochs().newest();
        if epoch < newest {
            return Some(format!(
                "the record names leader epoch {epoch}, but the log has epoch {newest} already"
            ));
        }
        if !self.local.config.rules.r14_promise() {
            return None;
        }
        let leads = matches!(&self.role, Role::Leader(leader) if leader.epoch == epoch);
        let (promised, to) = self.local.log.promise().unwrap_or((newest, leader));
        if epoch < promised {
            return Some(format!(
                "the record names leader epoch {epoch}, but {promised} was promised already"
            ));
        }
        if epoch == promised && leader != to {
            let reason =
                format!("the record names broker {leader} as leader of epoch {epoch}, promised to {to}");
            return Some(reason);
        }
        (epoch == promised && leader == self.local.me() && !leads)
            .then(|| format!("this replica has led in epoch {epoch} before; waiting for a newer one"))
    }

    /// R10: an operator has let somebody lead who may lack what earlier terms committed. A follower that comes
    /// from such a term no longer stands by what it took for committed: its log is compared like any other.
    fn forget_committed(&mut self, record: &Record, duty: Duty) {
        let Some(unclean) = record.info.unclean else { return };
        let local = &mut self.local;
        let known = local.record.as_ref().is_some_and(|known| known.info.leader_epoch >= unclean);
        let newest = local.log.epochs().newest();
        let led = local.log.promise().is_some_and(|(epoch, to)| epoch >= unclean && to == local.me());
        if matches!(duty, Duty::Follow(_)) && !known && !led && newest < unclean {
            local.high_watermark = local.log.start();
        }
    }

    /// R18: whether the record says that the partition has moved away since this replica held it. Replicas come
    /// and go with a new leader epoch; a record without one is from a coordinator that has forgotten who holds it.
    fn taken_away(&self, record: &Record) -> bool {
        let (local, me) = (&self.local, self.local.me());
        let newest = local.log.epochs().newest();
        let promised = local.log.promise().map_or(newest, |(epoch, _)| epoch.max(newest));
        let newer = record.info.leader_epoch > promised || !local.config.rules.r18_newer_record_removes();
        newer && !record.info.replicas.contains(&me)
    }

    fn duty(&self, record: &Record) -> Duty {
        if self.local.removed {
            return Duty::Rest("the partition has moved away; its data here is being deleted");
        }
        if self.local.halted.is_some() {
            return Duty::Rest("the replica has stopped itself");
        }
        if !record.info.replicas.contains(&self.local.me()) {
            return Duty::Rest("this broker is no replica of the partition");
        }
        match record.info.leader {
            None => Duty::Rest("the partition has no leader"),
            Some(leader) if leader == self.local.me() => Duty::Lead,
            Some(leader) => Duty::Follow(leader),
        }
    }

    /// Whether the role at hand is the one that the record asks for.
    fn fulfils(&self, duty: Duty) -> bool {
        let epoch = self.local.record_epoch();
        match (&self.role, duty) {
            (Role::Leader(leader), Duty::Lead) => leader.epoch == epoch,
            (Role::Follower(follower), Duty::Follow(leader)) => {
                follower.epoch == epoch && follower.leader == leader
            }
            (Role::Resting(why), Duty::Rest(reason)) => *why == reason,
            _ => false,
        }
    }

    fn take_up(&mut self, duty: Duty, now: Now, effects: &mut Vec<Effect>) {
        let reason = match duty {
            Duty::Rest(reason) => reason,
            Duty::Lead | Duty::Follow(_) => "between two roles",
        };
        self.rest(reason, effects);
        let epoch = self.local.record_epoch();
        self.role = match duty {
            Duty::Lead => {
                // R5: the table is new in every epoch.
                let table = self.remembered_table();
                Role::Leader(Box::new(Leader::begin(&mut self.local, epoch, table, now, effects)))
            }
            Duty::Follow(leader) => Role::Follower(Follower::begin(&mut self.local, leader, epoch, effects)),
            Duty::Rest(reason) => Role::Resting(reason),
        };
    }

    /// Gives up the role at hand.
    pub(super) fn rest(&mut self, reason: &'static str, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.role, Role::Resting(reason)) {
            Role::Leader(mut leader) => {
                leader.abandon(&step_down_cause(&self.local), effects);
                self.remember_table(*leader);
            }
            Role::Follower(mut follower) => follower.close(effects),
            Role::Resting(_) => {}
        }
    }
}

fn is_older(record: &Record, known: &Record) -> bool {
    record.info.partition_epoch < known.info.partition_epoch
        || record.info.leader_epoch < known.info.leader_epoch
        || record.broker_epoch < known.broker_epoch
}

fn step_down_cause(local: &Local) -> String {
    let broker = local.me();
    if local.halted.is_some() {
        return format!("broker {broker} has stopped its replica");
    }
    let Some(record) = local.record.as_ref().filter(|_| !local.recovering) else {
        return format!("broker {broker} stepped down: the partition waits until its metadata is rebuilt");
    };
    let epoch = record.info.leader_epoch;
    match record.info.leader {
        Some(leader) => format!("broker {broker} stepped down: broker {leader} leads in epoch {epoch}"),
        None => format!("broker {broker} stepped down: nobody leads in epoch {epoch}"),
    }
}
