//! Publishes at the leader: refused before the append, or answered later. What is said after the append
//! is never a definite failure, except when the disk refused the batch.

use super::Now;
use super::effect::{DiskOp, Effect};
use super::event::{BatchHead, Ticket};
use super::leader::Leader;
use super::local::{Local, Record};
use super::pending::{Pending, Waiting};
use super::producers::Verdict;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::Offset;
use yak_protocol::message::{Acked, Acks, Durability};

/// A publish as the event has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Publish {
    pub(super) ticket: Ticket,
    pub(super) head: BatchHead,
    pub(super) acks: Acks,
    pub(super) deadline: Now,
    pub(super) lease_held: bool,
}

impl Publish {
    /// Answers with a definite error; `acks=0` is not answered at all.
    pub(super) fn refuse(&self, error: WireError, effects: &mut Vec<Effect>) {
        if self.acks != Acks::None {
            effects.push(Effect::Answer { ticket: self.ticket, outcome: Err(error) });
        }
    }
}

impl Record {
    /// Whether the ISR is large enough for `acks=all` and for commits (rules R1, R6).
    pub(super) fn enough_replicas(&self) -> bool {
        self.info.isr.len() >= usize::try_from(self.info.min_isr).unwrap_or(usize::MAX)
    }
}

/// The answer after an append of which the end is not known.
fn unknown(cause: &str) -> WireError {
    WireError::new(ErrorCode::OutcomeUnknown, format!("appended, but its fate is not known: {cause}"))
}

impl Leader {
    /// Takes a publish or refuses it.
    pub(super) fn on_publish(
        &mut self,
        publish: &Publish,
        local: &mut Local,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(error) = self.admit(publish, now) {
            return publish.refuse(error, effects);
        }
        let verdict = match publish.head.sequence {
            Some(sequence) => local.fold.judge(sequence, publish.head.count),
            None => Verdict::Append,
        };
        match verdict {
            Verdict::Append => self.append(publish, local, effects),
            Verdict::Duplicate { base, end } => self.wait(publish, Some(base), end),
            Verdict::OldDuplicate { below } => self.wait(publish, None, below),
            Verdict::Refused(error) => publish.refuse(error, effects),
        }
    }

    fn admit(&self, publish: &Publish, now: Now) -> Result<(), WireError> {
        if publish.head.count == 0 {
            return Err(WireError::new(ErrorCode::BadBatch, "the batch has no records"));
        }
        if publish.acks != Acks::All && !publish.lease_held {
            let message = "the broker's lease is over, so only acks=all is taken";
            return Err(WireError::new(ErrorCode::LeaseOver, message));
        }
        if publish.acks != Acks::None && publish.deadline <= now {
            return Err(WireError::new(ErrorCode::Timeout, "it waited too long before it could be appended"));
        }
        if !self.takes_appends() {
            let message = "the disk refused the start of the leader's epoch; nothing was written";
            return Err(WireError::new(ErrorCode::StorageFull, message));
        }
        Ok(())
    }

    fn append(&mut self, publish: &Publish, local: &mut Local, effects: &mut Vec<Effect>) {
        // R1
        if let Some(record) = local.record.as_ref().filter(|record| !record.enough_replicas())
            && publish.acks == Acks::All
        {
            let (isr, min) = (record.info.isr.len(), record.info.min_isr);
            let message = format!("ISR {isr} < min {min}: nothing was written");
            return publish.refuse(WireError::new(ErrorCode::NotEnoughReplicas, message), effects);
        }
        let base = local.log.end();
        let end = base.advance(u64::from(publish.head.count));
        let op = DiskOp::Append { base, leader_epoch: self.epoch };
        local.log.append(op, end, std::iter::once((self.epoch, base)), effects);
        local.fold.appended(base, &publish.head);
        self.wait(publish, Some(base), end);
    }

    fn wait(&mut self, publish: &Publish, base: Option<Offset>, end: Offset) {
        let waiting = Waiting { ticket: publish.ticket, end, base, deadline: publish.deadline };
        match publish.acks {
            Acks::None => {}
            Acks::Leader => self.undurable.insert(waiting),
            Acks::All => self.uncommitted.insert(waiting),
        }
    }

    /// Answers what has been reached, and what has waited too long.
    pub(super) fn answer(&mut self, local: &Local, now: Now, effects: &mut Vec<Effect>) {
        let synced = local.log.synced_end();
        while let Some(waiting) = self.undurable.take_reached(local.durable_end()) {
            let durable = waiting.end <= synced;
            effects.push(self.acked(&waiting, 1, durable));
        }
        // R6: acknowledged once the high watermark has passed it.
        while let Some(waiting) = self.uncommitted.take_reached(local.high_watermark) {
            let holders = self.table.values().filter(|p| p.acked.is_some_and(|end| end >= waiting.end));
            let replicas = u32::try_from(holders.count() + 1).unwrap_or(u32::MAX);
            effects.push(self.acked(&waiting, replicas, local.durability() == Durability::Fsync));
        }
        if self.next_expiry().is_some_and(|at| at <= now) {
            let error = unknown(&format!("timeout ({})", self.delay(local)));
            while let Some(waiting) =
                self.uncommitted.take_expired(now).or_else(|| self.undurable.take_expired(now))
            {
                effects.push(Effect::Answer { ticket: waiting.ticket, outcome: Err(error.clone()) });
            }
        }
    }

    fn next_expiry(&self) -> Option<Now> {
        self.uncommitted.next_deadline().into_iter().chain(self.undurable.next_deadline()).min()
    }

    fn acked(&self, waiting: &Waiting, replicas: u32, durable: bool) -> Effect {
        let acked = Acked { offset: waiting.base, replicas, durable, leader_epoch: self.epoch };
        Effect::Answer { ticket: waiting.ticket, outcome: Ok(acked) }
    }

    /// What was appended from `end` on never happened.
    pub(super) fn fail_above(&mut self, end: Offset, error: &WireError, effects: &mut Vec<Effect>) {
        for pending in [&mut self.uncommitted, &mut self.undurable] {
            while let Some(waiting) = pending.take_above(end) {
                let error = match waiting.base {
                    Some(base) => {
                        assert!(base >= end, "batches fail as a whole");
                        error.clone()
                    }
                    None => unknown("the disk refused batches behind it"),
                };
                effects.push(Effect::Answer { ticket: waiting.ticket, outcome: Err(error) });
            }
        }
    }

    /// Answers everything that waits with "unknown".
    pub(super) fn abandon(&mut self, cause: &str, effects: &mut Vec<Effect>) {
        let abandon = |pending: &mut Pending, effects: &mut Vec<Effect>| {
            while let Some(waiting) = pending.take_first() {
                effects.push(Effect::Answer { ticket: waiting.ticket, outcome: Err(unknown(cause)) });
            }
        };
        abandon(&mut self.uncommitted, effects);
        abandon(&mut self.undurable, effects);
    }
}
