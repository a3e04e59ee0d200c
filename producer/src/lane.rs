//! One partition's batches from the first attempt to their outcome: pure, driven by the sender.
//!
//! ```text
//!   taken from the intake -> [ waiting | outstanding ... outstanding | waiting ] -> settled
//!                              ^ oldest                                  newest
//! ```
//!
//! Go-back-N: batches are sent oldest first. After a failure the sender collects the answers that are
//! still due and calls [`Lane::rewind`]; from then on everything unsettled is sent again in order,
//! with its original sequence numbers. Sequence numbers are given at the first attempt, so a batch
//! that was never sent leaves no gap.
//!
//! When the chain of numbers is broken for good (a batch was refused for ever, or the broker does not
//! know the numbers before it), the lane goes on with the next producer epoch from number 0; but only
//! batches whose every attempt was definitely refused go along. The others end as *outcome unknown*:
//! sending them under new numbers could write them twice.

use crate::delivery::Ticket;
use crate::error::ProduceError;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use yak_protocol::batch::{BatchBuilder, BatchError, Compression};
use yak_protocol::error::{Action, ErrorCode, WireError};
use yak_protocol::ids::{ProducerEpoch, ProducerId};
use yak_protocol::message::Acked;

/// Names a batch within its lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchNumber(u64);

/// How one attempt failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AttemptFailure {
    /// Whether this attempt certainly wrote nothing.
    pub(crate) definite: bool,
    /// Whether another attempt makes no sense.
    pub(crate) give_up: bool,
    /// Whether the broker misses the numbers before this batch.
    pub(crate) chain_broken: bool,
    pub(crate) code: Option<ErrorCode>,
    pub(crate) why: Arc<str>,
}

impl AttemptFailure {
    /// What a broker's refusal means for the attempt.
    pub(crate) fn refused(error: &WireError) -> Self {
        let chain_broken = matches!(error.code, ErrorCode::OutOfOrderSequence | ErrorCode::UnknownProducerId);
        // A timeout does not say whether it struck before or after the append.
        let definite = error.code.action() != Action::Unknown && error.code != ErrorCode::Timeout;
        let why = match &error.hint {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        };
        Self {
            definite,
            give_up: error.code.action() == Action::GiveUp && !chain_broken,
            chain_broken,
            code: Some(error.code),
            why: why.into(),
        }
    }

    /// No answer came.
    pub(crate) fn unanswered(why: impl Into<Arc<str>>, definite: bool) -> Self {
        Self { definite, give_up: false, chain_broken: false, code: None, why: why.into() }
    }
}

/// A batch is built (and compressed) at its first attempt.
enum Body {
    Filled(BatchBuilder),
    Built(Bytes),
}

struct Batch {
    number: BatchNumber,
    body: Body,
    records: u32,
    ticket: Ticket,
    deadline: Instant,
    sequence: Option<i32>,
    /// The failure of the current round, `None` once it is sent again.
    failure: Option<AttemptFailure>,
    /// The last failure of any round.
    last: Option<AttemptFailure>,
}

/// Producer id, epoch and the sequence number of the first record.
type Stamp = (ProducerId, ProducerEpoch, i32);

impl Batch {
    /// The batch's bytes with this stamp.
    fn build(&mut self, stamp: Option<Stamp>) -> Result<Bytes, BatchError> {
        let bytes = match &mut self.body {
            Body::Filled(builder) => {
                let mut builder = std::mem::replace(builder, BatchBuilder::new(Compression::None));
                if let Some((id, epoch, base)) = stamp {
                    builder = builder.producer(id, epoch, base);
                }
                builder.build()?
            }
            Body::Built(bytes) => match stamp {
                Some((id, epoch, base)) if self.sequence.is_none() => {
                    let mut copy = bytes.to_vec();
                    yak_protocol::batch::restamp(&mut copy, id, epoch, base);
                    Bytes::from(copy)
                }
                _ => bytes.clone(),
            },
        };
        self.body = Body::Built(bytes.clone());
        Ok(bytes)
    }
}

/// One partition's batches on their way.
pub(crate) struct Lane {
    place: Arc<str>,
    sequenced: bool,
    /// Epochs come from the coordinator, which gives the name to one producer at a time.
    named: bool,
    in_flight_max: usize,
    identity: Option<(ProducerId, ProducerEpoch)>,
    next_sequence: i32,
    batches: VecDeque<Batch>,
    /// The number of the next batch to send; everything before it is outstanding or settled.
    next_to_send: u64,
    next_number: u64,
}

impl Lane {
    pub(crate) fn new(place: Arc<str>, sequenced: bool, in_flight_max: usize, named: bool) -> Self {
        Self {
            place,
            sequenced,
            named,
            in_flight_max: in_flight_max.clamp(1, yak_protocol::defaults::PRODUCER_BATCHES),
            identity: None,
            next_sequence: 0,
            batches: VecDeque::new(),
            next_to_send: 0,
            next_number: 0,
        }
    }

    /// Whether a producer id must be set before the next batch can be sent.
    pub(crate) fn wants_identity(&self) -> bool {
        self.sequenced && self.identity.is_none()
    }

    pub(crate) fn set_identity(&mut self, id: ProducerId, epoch: ProducerEpoch) {
        self.identity = Some((id, epoch));
        self.next_sequence = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether another batch may be taken from the intake.
    pub(crate) fn has_room(&self) -> bool {
        self.batches.len() < self.in_flight_max
    }

    /// When the oldest batch is given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.batches.front().map(|batch| batch.deadline)
    }

    /// Puts a batch behind all others.
    pub(crate) fn add(&mut self, builder: BatchBuilder, ticket: Ticket, deadline: Instant) {
        let number = BatchNumber(self.next_number);
        self.next_number += 1;
        self.batches.push_back(Batch {
            number,
            records: builder.count(),
            body: Body::Filled(builder),
            ticket,
            deadline,
            sequence: None,
            failure: None,
            last: None,
        });
    }

    /// The next batch to send, in order; `None` when all are outstanding or an identity is wanted.
    pub(crate) fn send_next(&mut self) -> Option<(BatchNumber, Bytes)> {
        loop {
            if self.wants_identity() {
                return None;
            }
            let at = self.batches.iter().position(|batch| batch.number.0 >= self.next_to_send)?;
            let stamp = self.stamp(at)?;
            let batch = &mut self.batches[at];
            match batch.build(stamp) {
                Ok(bytes) => {
                    batch.failure = None;
                    self.next_to_send = batch.number.0 + 1;
                    if let Some((_, _, base)) = stamp.filter(|_| batch.sequence.is_none()) {
                        batch.sequence = Some(base);
                        self.next_sequence = base + batch.records.cast_signed();
                    }
                    return Some((batch.number, bytes));
                }
                Err(error) => {
                    let failure = AttemptFailure::unanswered(error.to_string(), true);
                    let error = self.error(&failure);
                    if let Some(batch) = self.batches.remove(at) {
                        batch.ticket.failed(error);
                    }
                }
            }
        }
    }

    /// The producer stamp for the batch at `at`: `Some(None)` without idempotence, `None` when it has
    /// to wait.
    #[allow(clippy::option_option, reason = "the two absences mean different things, said above")]
    fn stamp(&mut self, at: usize) -> Option<Option<Stamp>> {
        if !self.sequenced {
            return Some(None);
        }
        let batch = &self.batches[at];
        let (records, numbered) = (batch.records, batch.sequence);
        let fits =
            i32::try_from(records).is_ok_and(|records| self.next_sequence.checked_add(records).is_some());
        if numbered.is_none() && !fits {
            // The numbers are used up: start over in the next epoch once nothing is outstanding.
            if at > 0 {
                return None;
            }
            self.next_epoch();
        }
        let (id, epoch) = self.identity?;
        Some(Some((id, epoch, numbered.unwrap_or(self.next_sequence))))
    }

    /// The batch is acknowledged (`None`: sent, and no answer is wanted).
    pub(crate) fn acked(&mut self, number: BatchNumber, acked: Option<Acked>) {
        if let Some(at) = self.position(number)
            && let Some(batch) = self.batches.remove(at)
        {
            batch.ticket.acked(acked);
        }
    }

    /// The attempt failed; what follows from it is decided by [`Lane::rewind`].
    pub(crate) fn attempt_failed(&mut self, number: BatchNumber, failure: AttemptFailure) {
        let Some(at) = self.position(number) else { return };
        let batch = &mut self.batches[at];
        batch.ticket.maybe_written |= !failure.definite;
        batch.last = Some(failure.clone());
        batch.failure = Some(failure);
    }

    /// Ends the round: nothing may be outstanding. Settles what is decided; the rest is due again.
    pub(crate) fn rewind(&mut self, now: Instant) {
        if !self.sequenced {
            // Without sequence numbers a second attempt could write the batch twice.
            self.settle_if(|batch| batch.ticket.maybe_written);
        }
        if let Some(failure) = self.batches.front().and_then(|batch| batch.failure.clone()) {
            self.judge_oldest(&failure);
        }
        self.expire(now);
        self.next_to_send = self.batches.front().map_or(self.next_number, |batch| batch.number.0);
    }

    /// No batch can be sent, now or later: there is no id for this producer.
    pub(crate) fn refused(&mut self, failure: &AttemptFailure) {
        for batch in std::mem::take(&mut self.batches) {
            self.give_up(batch, Some(failure));
        }
    }

    /// Gives up what is past its deadline. Nothing may be outstanding.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.batches.front().is_some_and(|batch| now >= batch.deadline) {
            let Some(batch) = self.batches.pop_front() else { return };
            // A batch that was numbered and certainly never written leaves a gap behind it.
            let gap = batch.sequence.is_some() && !batch.ticket.maybe_written;
            self.give_up(batch, None);
            if gap {
                self.next_epoch();
            }
        }
    }

    /// What a failure means for the oldest batch, before which everything is settled.
    fn judge_oldest(&mut self, failure: &AttemptFailure) {
        let Some(oldest) = self.batches.front() else { return };
        let first_of_epoch = oldest.sequence == Some(0);
        if failure.give_up || (failure.chain_broken && (first_of_epoch || oldest.ticket.maybe_written)) {
            if let Some(batch) = self.batches.pop_front() {
                self.give_up(batch, Some(failure));
            }
            // Another one has the name: those behind it are refused, too.
            if !(self.named && failure.code == Some(ErrorCode::ProducerFenced)) {
                self.next_epoch();
            }
        } else if failure.chain_broken {
            self.next_epoch();
        }
    }

    /// Begins a new chain of numbers with everything that certainly was not written.
    fn next_epoch(&mut self) {
        self.settle_if(|batch| batch.sequence.is_some() && batch.ticket.maybe_written);
        for batch in &mut self.batches {
            batch.sequence = None;
        }
        self.next_sequence = 0;
        let next = |epoch: ProducerEpoch| epoch.0.checked_add(1).filter(|_| !self.named);
        self.identity = self.identity.and_then(|(id, epoch)| Some((id, ProducerEpoch(next(epoch)?))));
    }

    fn settle_if(&mut self, condition: impl Fn(&Batch) -> bool) {
        for batch in std::mem::take(&mut self.batches) {
            if condition(&batch) {
                self.give_up(batch, None);
            } else {
                self.batches.push_back(batch);
            }
        }
    }

    fn give_up(&self, batch: Batch, failure: Option<&AttemptFailure>) {
        let never = AttemptFailure::unanswered("it could not be sent in time", true);
        let failure = failure.or(batch.last.as_ref()).unwrap_or(&never);
        let error = if batch.ticket.maybe_written {
            ProduceError::OutcomeUnknown { place: Arc::clone(&self.place), why: Arc::clone(&failure.why) }
        } else {
            self.error(failure)
        };
        batch.ticket.failed(error);
    }

    /// The error for a batch that certainly was not written.
    pub(crate) fn error(&self, failure: &AttemptFailure) -> ProduceError {
        ProduceError::Failed {
            place: Arc::clone(&self.place),
            why: Arc::clone(&failure.why),
            code: failure.code,
        }
    }

    /// Notes why nothing can be sent now: the cause that a batch given up for its age will name.
    pub(crate) fn not_sent(&mut self, why: &Arc<str>) {
        for batch in &mut self.batches {
            batch.last = Some(AttemptFailure::unanswered(Arc::clone(why), true));
        }
    }

    fn position(&self, number: BatchNumber) -> Option<usize> {
        self.batches.iter().position(|batch| batch.number == number)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        for batch in &mut self.batches {
            // Sent and not answered yet: nobody will hear what became of it.
            batch.ticket.maybe_written |= batch.number.0 < self.next_to_send && batch.failure.is_none();
        }
    }
}

#[cfg(test)]
mod tests;
