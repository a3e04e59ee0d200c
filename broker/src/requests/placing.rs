//! Finds the partition that a publish is for: makes the topic if it must, waits for a leader that is
//! just taking over, and hands the batch to its task.

use super::PublishAnswer;
use crate::broker::Broker;
use crate::clock;
use crate::cluster_map::Resolved;
use crate::config::{PUBLISH_BYTES_MIN, PUBLISH_MEMORY_BYTES, PUBLISH_TIMEOUT_MAX};
use crate::partition::{self, Command, PartitionHandle};
use crate::producers;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use yak_core::partition::{BatchHead, BatchIds, Now};
use yak_protocol::batch::{self, LookForIds};
use yak_protocol::defaults::PUBLISH_TIMEOUT;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, PartitionIndex, TopicPartition};
use yak_protocol::message::{Acks, Publish, TopicConfig};

/// How long a publish waits for this broker to take over a leadership that it was just given. That
/// costs a sync or two; refusing would cost the client a pause.
const TAKE_OVER: Duration = Duration::from_millis(250);

/// A batch on its way to a partition.
pub(super) struct Placing {
    pub(super) topic: String,
    pub(super) partition: PartitionIndex,
    pub(super) batch: Bytes,
}

/// What holds for all batches of a request.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) acks: Acks,
    pub(super) timeout: Duration,
    pub(super) deadline: Now,
    pub(super) forward: bool,
    /// Whether compressed batches may have message ids.
    pub(super) msg_ids: bool,
}

impl Terms {
    pub(super) fn of(publish: &Publish) -> Self {
        let timeout = match publish.timeout_ms {
            0 => PUBLISH_TIMEOUT,
            ms => Duration::from_millis(ms).min(PUBLISH_TIMEOUT_MAX),
        };
        let Publish { acks, forward, msg_ids, .. } = *publish;
        Self { acks, timeout, deadline: clock::now() + timeout, forward, msg_ids }
    }
}

/// Who takes a batch.
pub(super) enum Taker {
    Here(Arc<PartitionHandle>),
    /// Another broker leads, and the request may be passed on.
    Other(BrokerId),
}

/// Finds who takes batches of this partition.
pub(super) async fn taker(broker: &Broker, id: &Resolved, forward: bool) -> Result<Taker, WireError> {
    let id = id.id;
    if let Some(partition) = broker.partition(id).filter(|partition| partition.view().leads) {
        broker.link.may_serve()?;
        return Ok(Taker::Here(partition));
    }
    let me = broker.id();
    match broker.cluster.leader(id) {
        Some(hint) if Some(hint.leader) == me => taking_over(broker, id).await.map(Taker::Here),
        Some(hint) if forward => Ok(Taker::Other(hint.leader)),
        _ => Err(broker.not_leader(id)),
    }
}

/// The partition that this broker was just told to lead; not led yet if that takes too long: the machine
/// says itself why.
async fn taking_over(broker: &Broker, id: TopicPartition) -> Result<Arc<PartitionHandle>, WireError> {
    let until = Instant::now() + TAKE_OVER;
    let mut news = broker.cluster.subscribe();
    // A new partition is known a moment before it runs; news are announced when it does.
    let partition = loop {
        if let Some(partition) = broker.partition(id) {
            break partition;
        }
        if !matches!(timeout_at(until, news.changed()).await, Ok(Ok(()))) {
            return broker.partition(id).ok_or_else(|| broker.not_leader(id));
        }
    };
    let mut view = partition.watch();
    let _ = timeout_at(until, view.wait_for(|view| view.leads)).await;
    drop(view);
    Ok(partition)
}

/// What the partition needs to know of a batch, if it is sound.
fn head(batch: &Bytes, config: &TopicConfig, terms: Terms) -> Result<BatchHead, WireError> {
    let look = match (config.dedupe_window_ms, terms.msg_ids) {
        (0, _) => LookForIds::No,
        (_, false) => LookForIds::InPassing,
        (_, true) => LookForIds::Everywhere,
    };
    let checked = batch::check_publish(batch, config.validate, config.batch_bytes_max, look)?;
    let ids = (!checked.ids.is_empty())
        .then(|| BatchIds { time_ms: clock::wall_ms(), records: checked.ids.into() });
    Ok(producers::head(&checked.header, ids))
}

/// Checks a batch and hands it to its partition. Batches of one connection to one partition arrive
/// there in the order of these calls.
pub(super) async fn append(
    broker: &Broker,
    resolved: &Resolved,
    partition: &PartitionHandle,
    batch: Bytes,
    terms: Terms,
    answer: Option<PublishAnswer>,
) {
    let head = match head(&batch, &resolved.topic.config, terms) {
        Ok(head) => head,
        Err(error) => {
            if let Some(answer) = answer {
                answer.send(Err(error));
            }
            return;
        }
    };
    let bytes = batch.len().clamp(PUBLISH_BYTES_MIN, PUBLISH_MEMORY_BYTES);
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    // Waiting here stops the connection from reading more: that is the back-pressure.
    let Ok(memory) = broker.publish_memory.clone().acquire_many_owned(bytes).await else {
        if let Some(answer) = answer {
            answer
                .send(Err(WireError::new(ErrorCode::ShuttingDown, "this broker stops; nothing was written")));
        }
        return;
    };
    partition.send(Command::Publish(partition::Publish {
        batch,
        head,
        acks: terms.acks,
        deadline: terms.deadline,
        lease_held: broker.link.lease_held(),
        only_in: None,
        answer,
        memory,
    }));
}
