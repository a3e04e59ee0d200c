//! Requests that find their own way.

use super::Cluster;
use super::backoff::Backoff;
use super::error::ClusterError;
use super::trouble::Cause;
use super::view::Leader;
use crate::error::{Action, ErrorCode, WireError};
use crate::ids::PartitionIndex;
use crate::message::{CreateTopic, DeleteTopic, Message, Publish};
use crate::net::connection::Connection;
use crate::net::pending::{Answer, RequestError};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// While an answer is awaited, how often to look whether the partition has another leader by now.
const LEADER_CHECK: Duration = Duration::from_secs(1);

/// Whether a request that may have taken effect can be sent again without doing something twice.
fn repeatable<M: Message>() -> bool {
    ![Publish::KIND, CreateTopic::KIND, DeleteTopic::KIND].contains(&M::KIND)
}

/// Whether a leader that says that it is none names another one (or none at all).
fn points_elsewhere(error: &WireError, asked: &Leader) -> bool {
    error.code == ErrorCode::NotLeader && error.leader.as_ref().is_none_or(|hint| hint.leader != asked.broker)
}

/// What to do after one attempt failed.
enum Failed {
    /// Nothing happened, or nothing that matters: try again, elsewhere if that helps.
    Again(String),
    /// This is the answer.
    Final(ClusterError),
}

impl Cluster {
    /// Asks any process of the cluster, and another one if that cannot answer, until the deadline.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] for errors that no other process and no waiting will change;
    /// [`ClusterError::Timeout`]; [`ClusterError::OutcomeUnknown`] for `publish`, `create_topic` and
    /// `delete_topic` that were sent and not answered.
    pub async fn request_any<M: Message>(
        &self,
        message: &M,
        bin: Vec<Bytes>,
        deadline: Instant,
    ) -> Result<Answer<M::Reply>, ClusterError> {
        let started = Instant::now();
        let mut backoff = Backoff::default();
        let mut avoid: Vec<String> = Vec::new();
        let mut cause = Cause::default();
        loop {
            let connection = self.any_but(&avoid, M::KIND, deadline).await?;
            let attempt_end =
                if repeatable::<M>() { Instant::now() + self.0.options.attempt_timeout } else { deadline };
            let outcome =
                timeout_at(attempt_end.min(deadline), connection.request(message, bin.clone())).await;
            match self.judge::<M>(outcome.map_err(|_| ()), &connection) {
                Ok(answer) => return Ok(answer),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Again(failed)) => cause.note(failed),
            }
            // The next one is asked at once; after a round there is a pause.
            avoid.push(connection.address().to_owned());
            if self.all_avoided(&avoid) {
                avoid.clear();
                sleep_until((Instant::now() + backoff.next()).min(deadline)).await;
            }
            if Instant::now() >= deadline {
                return Err(cause.timeout(M::KIND, started));
            }
        }
    }

    /// Asks the leader of a partition, follows it when it moves, and waits while there is none, until the
    /// deadline.
    ///
    /// # Errors
    /// As [`Self::request_any`]; a timeout names the last real cause and since when.
    pub async fn request_leader<M: Message>(
        &self,
        topic: &str,
        partition: PartitionIndex,
        message: &M,
        bin: Vec<Bytes>,
        deadline: Instant,
    ) -> Result<Answer<M::Reply>, ClusterError> {
        let started = Instant::now();
        loop {
            let leader = self.leader_of(topic, partition, deadline).await?;
            let failed = match self.connection_to(&leader.address).await {
                Err(error) => Failed::Again(error.to_string()),
                Ok(connection) => {
                    let asked = self.ask_leader(&connection, topic, partition, &leader, message, bin.clone());
                    match timeout_at(deadline, asked).await {
                        Ok(Err(RequestError::Refused(error))) if points_elsewhere(&error, &leader) => {
                            self.note_not_leader(topic, partition, error.leader.as_deref());
                            continue;
                        }
                        outcome => match self.judge::<M>(outcome.map_err(|_| ()), &connection) {
                            Ok(answer) => {
                                self.note_ok(topic, partition);
                                return Ok(answer);
                            }
                            Err(failed) => failed,
                        },
                    }
                }
            };
            match failed {
                Failed::Final(error) => return Err(error),
                Failed::Again(cause) => self.note_failure(topic, partition, Some(&leader), &cause),
            }
            if Instant::now() >= deadline {
                return Err(self.gave_up(topic, partition, started));
            }
        }
    }

    /// One request to one leader. A leader that has been replaced will not answer any more (its process
    /// may be stopped, its machine unreachable), so who leads is looked up again from time to time.
    async fn ask_leader<M: Message>(
        &self,
        connection: &Connection,
        topic: &str,
        partition: PartitionIndex,
        leader: &Leader,
        message: &M,
        bin: Vec<Bytes>,
    ) -> Result<Answer<M::Reply>, RequestError> {
        let replaced = async {
            loop {
                tokio::time::sleep(LEADER_CHECK).await;
                let _ = self.refresh().await;
                let known = self.view(|view| view.leader(topic, partition));
                if known.is_ok_and(|known| known.epoch > leader.epoch) {
                    return;
                }
            }
        };
        tokio::select! {
            answer = connection.request(message, bin) => answer,
            () = replaced => {
                let cause = crate::net::Loss::other(format!("{} was replaced as leader before it answered", leader.address));
                Err(RequestError::Lost { cause, sent: true })
            }
        }
    }

    fn judge<M: Message>(
        &self,
        outcome: Result<Result<Answer<M::Reply>, RequestError>, ()>,
        connection: &Connection,
    ) -> Result<Answer<M::Reply>, Failed> {
        let unknown = |cause: String| {
            if repeatable::<M>() {
                return Failed::Again(cause);
            }
            Failed::Final(ClusterError::OutcomeUnknown { what: M::KIND.to_owned(), cause })
        };
        Err(match outcome {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(RequestError::Refused(error))) => self.judge_refusal(error),
            Ok(Err(RequestError::Lost { cause, sent: false })) => Failed::Again(cause.to_string()),
            Ok(Err(RequestError::Lost { cause, sent: true })) => unknown(cause.to_string()),
            Ok(Err(error @ RequestError::Timeout(_))) => unknown(error.to_string()),
            Ok(Err(RequestError::Encode(error))) => Failed::Final(error.into()),
            Err(()) => unknown(format!("no answer from {}", connection.address())),
        })
    }

    fn judge_refusal(&self, error: WireError) -> Failed {
        self.note_refusal(&error);
        match error.code.action() {
            Action::Retry | Action::Refresh => Failed::Again(error.message),
            Action::GiveUp | Action::Unknown | Action::Reopen => Failed::Final(ClusterError::Refused(error)),
        }
    }
}
