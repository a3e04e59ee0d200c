//! Publishes at the leader: refused before the append, or answered later. What is said after the append
//! is never a definite failure, except when the disk refused the batch.

use super::Now;
use super::effect::{DiskOp, Effect, Rewrite};
use super::event::{BatchHead, Ticket};
use super::ids::{BatchIds, Repeats};
use super::leader::Leader;
use super::local::{Local, Record};
use super::pending::{Pending, Waiting};
use super::producers::Verdict;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::Offset;
use yak_protocol::message::{Acked, Acks, Durability};

/// A publish as the event has it.
#[derive(Clone, PartialEq, Eq, Debug)]
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

/// Where the records of an answer are.
struct Place {
    /// Where the batch begins; `None` = not remembered.
    base: Option<Offset>,
    /// Records that lie elsewhere.
    firsts: Vec<(u32, Offset)>,
    /// What must be reached before it can be given.
    end: Offset,
}

impl Place {
    fn lowest(&self) -> Offset {
        let firsts = self.firsts.iter().map(|(_, first)| *first);
        self.base.map_or(Offset::ZERO, |base| firsts.fold(base, Offset::min))
    }

    /// Of a batch whose every record the log has already.
    fn of_repeats(firsts: &[(u32, Offset)]) -> Option<Self> {
        let (_, base) = *firsts.first()?;
        let last = firsts.iter().map(|(_, first)| *first).max()?;
        let elsewhere = |(index, first): &&(u32, Offset)| *first != base.advance(u64::from(*index));
        let firsts = firsts.iter().filter(elsewhere).copied().collect();
        Some(Self { base: Some(base), firsts, end: last.advance(1) })
    }
}

/// The answer after an append of which the end is not known.
fn unknown(cause: &str) -> WireError {
    WireError::new(ErrorCode::OutcomeUnknown, format!("appended, but its fate is not known: {cause}"))
}

/// What the ids of the batch mean, if it has some, and the topic takes note of them.
fn repeats(publish: &Publish, base: Offset, local: &Local) -> Result<Option<Repeats>, WireError> {
    let ids = publish.head.ids.as_ref().filter(|_| local.fold.window_ms() > 0);
    ids.map(|ids| local.fold.judge_ids(ids, base)).transpose()
}

/// The ids of a batch as the log gets it.
fn what_stays(ids: &BatchIds, rewrite: &Rewrite) -> BatchIds {
    let stays = ids.records.iter().filter(|record| rewrite.dropped.binary_search(&record.index).is_err());
    BatchIds { time_ms: rewrite.time_ms, records: stays.copied().collect() }
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
            Verdict::Append => self.on_new(publish, local, effects),
            Verdict::Duplicate { base, end } => {
                let ids = publish.head.ids.as_ref().filter(|_| local.fold.window_ms() > 0);
                let place = match ids.map_or(Some(Vec::new()), |ids| local.fold.places(ids, base)) {
                    Some(firsts) => Place { base: Some(base), firsts, end },
                    None => Place { base: None, firsts: Vec::new(), end },
                };
                self.wait(publish, place);
            }
            Verdict::OldDuplicate { below } => {
                self.wait(publish, Place { base: None, firsts: Vec::new(), end: below });
            }
            Verdict::Refused(error) => publish.refuse(error, effects),
        }
    }

    /// The batch is no repeat as a whole; its records may be.
    fn on_new(&mut self, publish: &Publish, local: &mut Local, effects: &mut Vec<Effect>) {
        let repeats = match repeats(publish, local.log.end(), local) {
            Ok(repeats) => repeats,
            Err(error) => return publish.refuse(error, effects),
        };
        if let Some(repeats) = &repeats
            && repeats.firsts.len() == publish.head.count as usize
            && publish.head.sequence.is_none()
            && let Some(place) = Place::of_repeats(&repeats.firsts)
        {
            return self.wait(publish, place);
        }
        // With a sequence the batch is appended even if nothing of it stays: its numbers must not leave a gap.
        self.append(publish, repeats, local, effects);
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

    fn append(
        &mut self,
        publish: &Publish,
        repeats: Option<Repeats>,
        local: &mut Local,
        effects: &mut Vec<Effect>,
    ) {
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
        let rewrite = repeats.as_ref().map(|repeats| Rewrite {
            time_ms: repeats.time_ms,
            dropped: repeats.firsts.iter().map(|(index, _)| *index).collect(),
        });
        let stayed =
            rewrite.as_ref().and_then(|rewrite| Some(what_stays(publish.head.ids.as_ref()?, rewrite)));
        let op = DiskOp::Append { base, leader_epoch: self.epoch, rewrite };
        local.log.append(op, end, std::iter::once((self.epoch, base)), effects);
        local.fold.appended(base, &publish.head, stayed);
        let firsts = repeats.map_or_else(Vec::new, |repeats| repeats.firsts);
        self.wait(publish, Place { base: Some(base), firsts, end });
    }

    fn wait(&mut self, publish: &Publish, place: Place) {
        let waiting = Waiting {
            ticket: publish.ticket,
            end: place.end,
            base: place.base,
            lowest: place.lowest(),
            firsts: place.firsts,
            deadline: publish.deadline,
        };
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
            effects.push(self.acked(waiting, 1, durable));
        }
        // R6: acknowledged once the high watermark has passed it.
        while let Some(waiting) = self.uncommitted.take_reached(local.high_watermark) {
            let holders = self.table.values().filter(|p| p.acked.is_some_and(|end| end >= waiting.end));
            let replicas = u32::try_from(holders.count() + 1).unwrap_or(u32::MAX);
            effects.push(self.acked(waiting, replicas, local.durability() == Durability::Fsync));
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

    fn acked(&self, waiting: Waiting, replicas: u32, durable: bool) -> Effect {
        let Waiting { base: offset, firsts, .. } = waiting;
        let acked = Acked { offset, replicas, durable, leader_epoch: self.epoch, firsts };
        Effect::Answer { ticket: waiting.ticket, outcome: Ok(acked) }
    }

    /// What was appended from `end` on never happened.
    pub(super) fn fail_above(&mut self, end: Offset, error: &WireError, effects: &mut Vec<Effect>) {
        for pending in [&mut self.uncommitted, &mut self.undurable] {
            while let Some(waiting) = pending.take_above(end) {
                let error = if waiting.lowest >= end {
                    error.clone()
                } else {
                    // A repeat of something that is there, at least in part.
                    unknown("the disk refused batches behind it")
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
