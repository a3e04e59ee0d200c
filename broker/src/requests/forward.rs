//! Passes a request on to the broker that leads, once: the passed-on request does not allow it again.

use super::PublishAnswer;
use super::placing::{Placing, Terms};
use crate::broker::Broker;
use crate::config::FORWARD_SLACK;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::BrokerId;
use yak_protocol::message::{Acked, BatchRef, Consume, Consumed, Message, Publish};
use yak_protocol::net::RequestError;

/// Passes a batch on. It is queued for the leader when this returns, so order is kept.
pub(super) async fn publish(
    broker: &Arc<Broker>,
    leader: BrokerId,
    placing: Placing,
    terms: Terms,
    answer: Option<PublishAnswer>,
) {
    let refuse = |answer: Option<PublishAnswer>, error| {
        if let Some(answer) = answer {
            answer.send(Err(error));
        }
    };
    let connection = match broker.peers.to(broker, leader).await {
        Ok(connection) => connection,
        Err(error) => return refuse(answer, error),
    };
    let bytes = u32::try_from(placing.batch.len()).unwrap_or(u32::MAX);
    let request = Publish {
        acks: terms.acks,
        timeout_ms: u64::try_from(terms.timeout.as_millis()).unwrap_or(u64::MAX),
        batches: vec![BatchRef(placing.topic, placing.partition, bytes)],
        msg_ids: terms.msg_ids,
        ..Publish::default()
    };
    let pending = match connection.start(&request, vec![placing.batch]) {
        Ok(pending) => pending,
        Err(error) => return refuse(answer, outcome_of(error, leader)),
    };
    let Some(answer) = answer else { return };
    broker.tasks.spawn("forwarded publish", async move {
        let outcome = match pending.within(terms.timeout + FORWARD_SLACK).await {
            Ok(reply) => only_result(reply.body.results.into_iter().next(), leader),
            Err(error) => Err(outcome_of(error, leader)),
        };
        answer.send(outcome);
    });
}

fn only_result(
    result: Option<yak_protocol::message::PublishResult>,
    leader: BrokerId,
) -> Result<Acked, WireError> {
    match result.map(|result| (result.ack, result.error)) {
        Some((Some(acked), _)) => Ok(acked),
        Some((None, Some(error))) => Err(error),
        _ => Err(WireError::new(
            ErrorCode::OutcomeUnknown,
            format!("broker {leader} answered without a result"),
        )),
    }
}

/// What a request that was passed on and not answered means to its sender.
fn outcome_of(error: RequestError, leader: BrokerId) -> WireError {
    match error {
        RequestError::Refused(error) => error,
        RequestError::Lost { cause, sent: false } => WireError::new(
            ErrorCode::NoLeader,
            format!("broker {leader}, which leads, cannot be reached from here: {cause}"),
        ),
        other => WireError::new(
            ErrorCode::OutcomeUnknown,
            format!("passed on to broker {leader}, which leads: {other}"),
        )
        .hint("an idempotent producer can send it again safely"),
    }
}

/// Passes a request on that can be sent again: it changes nothing, or nothing twice.
///
/// # Errors
/// What the leader says, or why it cannot be asked.
pub(super) async fn ask<M: Message>(
    broker: &Broker,
    leader: BrokerId,
    request: &M,
) -> Result<M::Reply, WireError> {
    to(broker, leader, request, FORWARD_SLACK).await
}

/// Passes on what can be asked again without doing anything twice.
///
/// # Errors
/// What the leader says, or why it cannot be asked.
pub(crate) async fn to<M: Message>(
    broker: &Broker,
    leader: BrokerId,
    request: &M,
    within: Duration,
) -> Result<M::Reply, WireError> {
    let connection = broker.peers.to(broker, leader).await?;
    let pending = connection.start(request, Vec::new());
    let answered = match pending {
        Ok(pending) => pending.within(within + FORWARD_SLACK).await,
        Err(error) => Err(error),
    };
    answered.map(|answer| answer.body).map_err(|error| without_outcome(outcome_of(error, leader)))
}

/// What can be sent again has no outcome that matters.
fn without_outcome(error: WireError) -> WireError {
    let code = if error.code == ErrorCode::OutcomeUnknown { ErrorCode::Timeout } else { error.code };
    // The hint of an unknown outcome is for publishers.
    let hint = error.hint.filter(|_| code == error.code);
    WireError { code, hint, ..error }
}

/// Passes a consume on; what cannot be asked becomes an error of each partition.
pub(super) async fn consume(
    broker: &Arc<Broker>,
    leader: BrokerId,
    request: Consume,
) -> (Vec<Consumed>, Bytes) {
    let wait = Duration::from_millis(request.wait_ms) + FORWARD_SLACK + FORWARD_SLACK;
    let named: Vec<_> = request.partitions.iter().map(|from| (from.topic.clone(), from.partition)).collect();
    let asked = async {
        let connection = broker.peers.to(broker, leader).await?;
        let pending = connection.start(&request, Vec::new()).map_err(|error| outcome_of(error, leader))?;
        pending.within(wait).await.map_err(|error| outcome_of(error, leader))
    };
    match asked.await {
        Ok(answer) => (answer.body.partitions, answer.bin),
        Err(error) => {
            let error = without_outcome(error);
            let failed = |(topic, partition)| Consumed {
                topic,
                partition,
                log_start: Default::default(),
                high_watermark: Default::default(),
                leader_epoch: Default::default(),
                bytes: 0,
                records: Vec::new(),
                next: None,
                error: Some(error.clone()),
            };
            (named.into_iter().map(failed).collect(), Bytes::new())
        }
    }
}
