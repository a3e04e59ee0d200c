//! One partition's sender: keeps up to five batches on their way to whoever leads.

use crate::intake::Intake;
use crate::lane::{AttemptFailure, BatchNumber, Lane};
use crate::leader::{self, Leader, View};
use crate::producer::{IdentityError, Shared};
use crate::topic::PartitionHandle;
use crate::wait::{Backoff, Trouble};
use bytes::Bytes;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::PartitionIndex;
use yak_protocol::message::{Acks, BatchRef, Message as _, Publish, PublishReply, PublishResult};
use yak_protocol::net::{Answer, PendingAnswer, RequestError};

/// How often a sender that waits for an answer looks whether somebody else leads by now.
const LOOK_AFTER: Duration = Duration::from_millis(500);
/// How much longer than the broker the sender waits for an answer.
const ANSWER_GRACE: Duration = Duration::from_secs(1);
/// How much may be queued for a connection without an answer to wait for (`acks=0`), in bytes.
const UNANSWERED_BYTES_MAX: usize = 4 << 20;
/// How long to pause while that much is queued.
const QUEUE_PAUSE: Duration = Duration::from_millis(1);

pub(crate) struct Sender {
    shared: Arc<Shared>,
    topic: Arc<str>,
    partition: PartitionIndex,
    intake: Arc<Intake>,
    stalled: Arc<AtomicBool>,
    lane: Lane,
    backoff: Backoff,
    trouble: Trouble,
    /// The last real cause, while there is no progress.
    cause: Option<Arc<str>>,
    /// Whether the lane had the producer's id, so that the next one must be another.
    had_identity: bool,
}

/// A batch that waits for its answer.
struct InFlight {
    number: BatchNumber,
    answer: PendingAnswer<PublishReply>,
    sent_at: Instant,
    give_up_at: Instant,
}

/// A look at the metadata that is under way.
type Look = Pin<Box<dyn Future<Output = Result<Option<View>, String>> + Send>>;

impl Drop for Sender {
    fn drop(&mut self) {
        self.intake.close();
    }
}

impl Sender {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        topic: &Arc<str>,
        partition: PartitionIndex,
        place: Arc<str>,
        handle: &PartitionHandle,
    ) -> Self {
        let config = &shared.config;
        Self {
            shared: Arc::clone(shared),
            topic: Arc::clone(topic),
            partition,
            intake: Arc::clone(&handle.intake),
            stalled: Arc::clone(&handle.stalled),
            lane: Lane::new(place, config.sequenced(), config.in_flight_max, config.name.is_some()),
            backoff: Backoff::default(),
            trouble: Trouble::new(Arc::clone(topic), Some(partition), Instant::now()),
            cause: None,
            had_identity: false,
        }
    }

    /// Sends for ever.
    pub(crate) async fn run(mut self) {
        loop {
            self.wait_for_work().await;
            let Some(leader) = self.find_leader().await else { continue };
            if self.shared.config.acks == Acks::None {
                self.send_unanswered(&leader).await;
            } else {
                self.send_until_idle(&leader).await;
            }
        }
    }

    async fn wait_for_work(&mut self) {
        loop {
            self.pull();
            if !self.lane.is_empty() {
                return;
            }
            match self.intake.due_at() {
                None => self.intake.changed().await,
                Some(due) => tokio::select! {
                    () = self.intake.changed() => {}
                    () = tokio::time::sleep_until(due.into()) => {}
                },
            }
        }
    }

    /// Takes due batches from the intake while there is room for them.
    fn pull(&mut self) {
        let now = Instant::now();
        while self.lane.has_room() {
            let Some(filling) = self.intake.take_due(now) else { return };
            if self.lane.is_empty() {
                self.trouble.restart(now);
            }
            let deadline = filling.opened + self.shared.config.delivery_timeout;
            self.lane.add(filling.builder, filling.ticket, deadline);
        }
    }

    /// Looks for the leader until there is one or nothing is left to send.
    async fn find_leader(&mut self) -> Option<Leader> {
        loop {
            match self.try_find_leader().await? {
                Ok(leader) => return Some(leader),
                Err(why) => {
                    self.stalled.store(true, Ordering::Relaxed);
                    self.cause = Some(why.into());
                    let pause = self.backoff.next();
                    self.minding_the_time(tokio::time::sleep(pause)).await?;
                }
            }
        }
    }

    async fn try_find_leader(&mut self) -> Option<Result<Leader, String>> {
        if self.lane.wants_identity() {
            let (shared, fresh) = (Arc::clone(&self.shared), self.had_identity);
            match self.minding_the_time(async move { shared.identity(fresh).await }).await? {
                Ok((id, epoch)) => {
                    self.lane.set_identity(id, epoch);
                    self.had_identity = true;
                }
                Err(IdentityError::Later(why)) => return Some(Err(why)),
                Err(IdentityError::Refused(error)) => {
                    self.shared.heed(&error);
                    self.lane.refused(&AttemptFailure::refused(&error));
                    return None;
                }
            }
        }
        let (shared, topic, partition) = (Arc::clone(&self.shared), Arc::clone(&self.topic), self.partition);
        let deadline = Instant::now() + shared.config.delivery_timeout;
        self.minding_the_time(async move { leader::find(&shared.cluster, &topic, partition, deadline).await })
            .await
    }

    /// Awaits `work` while it announces the wait and gives up what is too old; `None` once nothing is left.
    async fn minding_the_time<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let deadline = self.lane.deadline()?;
            let next = deadline.min(self.trouble.next_note());
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = tokio::time::sleep_until(next.into()) => self.still_waiting(),
            }
        }
    }

    /// Announces the wait if it is time, and gives up what is too old. Nothing is outstanding.
    fn still_waiting(&mut self) {
        let now = Instant::now();
        self.stalled.store(true, Ordering::Relaxed);
        let own = || self.cause.as_deref().unwrap_or("the cluster does not answer").to_owned();
        // A note says for how long beside the cause; a failure has only this text.
        let (cause, why) = match self.shared.cluster.trouble(&self.topic, self.partition) {
            Some(trouble) => (trouble.cause.clone(), trouble.to_string()),
            None => (own(), own()),
        };
        let why: Arc<str> = why.into();
        self.lane.not_sent(&why);
        self.lane.expire(now);
        if let Some(before) = now.checked_sub(self.shared.config.delivery_timeout) {
            while let Some(filling) = self.intake.take_older(before) {
                self.lane.add(filling.builder, filling.ticket, now);
                self.lane.not_sent(&why);
                self.lane.expire(now);
            }
        }
        self.trouble.note(&self.shared, now, || cause);
    }

    /// Keeps the pipeline to one leader full until there is nothing to send or an attempt has failed and
    /// every answer is in.
    async fn send_until_idle(&mut self, leader: &Leader) {
        let mut pending = VecDeque::new();
        let mut going_on = true;
        let mut look_at = Instant::now() + LOOK_AFTER;
        let mut look: Option<Look> = None;
        loop {
            if going_on {
                self.pull();
                going_on = self.fill_pipeline(leader, &mut pending);
            }
            let Some(oldest) = pending.front_mut() else { break };
            let due = if going_on && self.lane.has_room() { self.intake.due_at() } else { None };
            tokio::select! {
                biased;
                answer = &mut oldest.answer => {
                    let number = oldest.number;
                    pending.pop_front();
                    going_on &= self.answered(leader, number, answer);
                }
                () = self.intake.changed(), if going_on && self.lane.has_room() => {}
                () = tokio::time::sleep_until(due.unwrap_or(look_at).into()), if due.is_some() => {}
                seen = async { look.as_mut().expect("guarded by the condition").await }, if look.is_some() => {
                    look = None;
                    if let Some(why) = self.judge_look(leader, &seen) {
                        self.abandon(leader, &mut pending, &why);
                        going_on = false;
                    }
                }
                () = tokio::time::sleep_until(look_at.into()) => {
                    let now = Instant::now();
                    look_at = now + LOOK_AFTER;
                    if now >= oldest.give_up_at {
                        leader.connection.close();
                        let why = format!("no answer from {} in time", leader.connection.address());
                        self.abandon(leader, &mut pending, &why);
                        going_on = false;
                    } else if now >= oldest.sent_at + LOOK_AFTER && look.is_none() {
                        look = Some(self.look_around());
                    }
                }
            }
        }
        self.lane.rewind(Instant::now());
    }

    /// No answer for a while: asks who leads by now.
    fn look_around(&self) -> Look {
        let (shared, topic, partition) = (Arc::clone(&self.shared), Arc::clone(&self.topic), self.partition);
        Box::pin(async move {
            let metadata = shared.cluster.metadata(true).await.map_err(|error| error.to_string())?;
            Ok(leader::view(&metadata, &topic, partition))
        })
    }

    /// Says why it takes so long; returns why the answers are no longer waited for, if so.
    fn judge_look(&mut self, leader: &Leader, seen: &Result<Option<View>, String>) -> Option<String> {
        let address = leader.connection.address();
        let why = match seen {
            Ok(Some(view)) if view.leader_epoch > leader.known.epoch => {
                return Some(format!("{address} no longer leads {}/{}", self.topic, self.partition));
            }
            Ok(Some(view)) => view.trouble.clone(),
            Ok(None) => Some(format!("there is no topic {} any more", self.topic)),
            Err(error) => Some(error.clone()),
        };
        self.trouble.note(&self.shared, Instant::now(), || {
            why.unwrap_or_else(|| format!("no answer from the leader at {address}"))
        });
        None
    }

    /// Starts every batch that is due; `false` when one could not be started.
    fn fill_pipeline(&mut self, leader: &Leader, pending: &mut VecDeque<InFlight>) -> bool {
        let config = &self.shared.config;
        while let Some((number, bytes)) = self.lane.send_next() {
            let left = self
                .lane
                .deadline()
                .map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            let timeout = config.publish_timeout.min(left).max(Duration::from_millis(1));
            let request = self.publish(&bytes, timeout);
            match leader.connection.start(&request, vec![bytes]) {
                Ok(answer) => {
                    let sent_at = Instant::now();
                    let give_up_at = sent_at + timeout + ANSWER_GRACE;
                    pending.push_back(InFlight { number, answer, sent_at, give_up_at });
                }
                Err(error) => {
                    self.attempt_failed(leader, number, &error);
                    return false;
                }
            }
        }
        true
    }

    /// Sends everything that is due; nobody will say what became of it (`acks=0`).
    async fn send_unanswered(&mut self, leader: &Leader) {
        while let Some((number, bytes)) = self.lane.send_next() {
            let request = self.publish(&bytes, self.shared.config.publish_timeout);
            match leader.connection.send(0, Publish::KIND, &request, vec![bytes]) {
                Ok(()) => {
                    self.lane.acked(number, None);
                    self.progress();
                }
                Err(error) => {
                    let error = RequestError::Lost { cause: error.0, sent: false };
                    self.attempt_failed(leader, number, &error);
                    break;
                }
            }
            while leader.connection.queued_bytes() > UNANSWERED_BYTES_MAX && !leader.connection.closed() {
                tokio::time::sleep(QUEUE_PAUSE).await;
            }
            self.pull();
        }
        self.lane.rewind(Instant::now());
    }

    fn publish(&self, bytes: &Bytes, timeout: Duration) -> Publish {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Publish {
            acks: self.shared.config.acks,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            batches: vec![BatchRef(self.topic.to_string(), self.partition, size)],
            msg_ids: self.intake.has_ids(),
            ..Publish::default()
        }
    }

    /// Books an answer; `false` when the attempt failed.
    fn answered(
        &mut self,
        leader: &Leader,
        number: BatchNumber,
        answer: Result<Answer<PublishReply>, RequestError>,
    ) -> bool {
        let error = match answer {
            Ok(answer) => match answer.body.results.into_iter().next() {
                Some(PublishResult { ack: Some(ack), .. }) => {
                    self.lane.acked(number, Some(ack));
                    self.progress();
                    return true;
                }
                Some(PublishResult { error: Some(error), .. }) => RequestError::Refused(error),
                _ => RequestError::Refused(WireError::new(ErrorCode::Internal, "the answer names no result")),
            },
            Err(error) => error,
        };
        self.attempt_failed(leader, number, &error);
        false
    }

    fn progress(&mut self) {
        self.cause = None;
        self.backoff.reset();
        self.stalled.store(false, Ordering::Relaxed);
        self.shared.cluster.note_ok(&self.topic, self.partition);
        self.trouble.over(&self.shared, Instant::now());
    }

    fn attempt_failed(&mut self, leader: &Leader, number: BatchNumber, error: &RequestError) {
        let (cluster, topic) = (&self.shared.cluster, &self.topic);
        let failure = match error {
            RequestError::Refused(refusal) => {
                self.shared.heed(refusal);
                AttemptFailure::refused(refusal)
            }
            RequestError::Lost { sent, .. } => AttemptFailure::unanswered(error.to_string(), !sent),
            RequestError::Timeout(_) => AttemptFailure::unanswered(error.to_string(), false),
            RequestError::Encode(_) => {
                AttemptFailure { give_up: true, ..AttemptFailure::unanswered(error.to_string(), true) }
            }
        };
        match error {
            RequestError::Refused(refusal) if refusal.code == ErrorCode::NotLeader => {
                cluster.note_not_leader(topic, self.partition, refusal.leader.as_deref());
            }
            _ if failure.give_up || failure.chain_broken => {}
            _ => cluster.note_failure(topic, self.partition, Some(&leader.known), &failure.why),
        }
        tracing::debug!(%topic, partition = %self.partition, cause = %failure.why, "an attempt failed");
        self.cause = Some(Arc::clone(&failure.why));
        self.lane.attempt_failed(number, failure);
    }

    /// Nobody waits for these answers any more: what became of the batches is not known.
    fn abandon(&mut self, leader: &Leader, pending: &mut VecDeque<InFlight>, why: &str) {
        let why: Arc<str> = why.into();
        self.shared.cluster.note_failure(&self.topic, self.partition, Some(&leader.known), &why);
        for in_flight in pending.drain(..) {
            self.lane.attempt_failed(in_flight.number, AttemptFailure::unanswered(Arc::clone(&why), false));
        }
        self.cause = Some(why);
    }
}
