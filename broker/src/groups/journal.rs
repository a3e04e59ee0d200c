//! Writes what a coordinator of groups wants to be remembered.

use crate::broker::Broker;
use crate::clock;
use crate::config::{PUBLISH_BYTES_MIN, PUBLISH_MEMORY_BYTES};
use crate::partition::{Command, PartitionHandle, Publish};
use crate::producers;
use crate::requests::PublishAnswer;
use std::sync::Arc;
use tokio::sync::oneshot;
use yak_core::group::{Key, Value};
use yak_protocol::batch::{BatchBuilder, BatchHeader, Compression, RecordRef};
use yak_protocol::defaults::PUBLISH_TIMEOUT;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::LeaderEpoch;
use yak_protocol::message::{Acked, Acks};

/// How large a batch gets before the next one is begun, in bytes.
const BATCH_BYTES: usize = 256 << 10;

/// An entry to be written, with its number.
pub(super) type Entry = (u64, Key, Option<Value>);

/// Learns what became of a batch.
pub(super) type Outcome = oneshot::Receiver<Result<Acked, WireError>>;

/// Appends entries in their order, as long as the partition's leader epoch is `epoch`; returns for each batch
/// the number of its last entry and what becomes of it.
///
/// # Errors
/// When an entry cannot be written down, or the broker stops.
pub(super) async fn append(
    broker: &Arc<Broker>,
    partition: &PartitionHandle,
    epoch: LeaderEpoch,
    entries: Vec<Entry>,
) -> Result<Vec<(u64, Outcome)>, WireError> {
    let mut outcomes = Vec::new();
    let mut entries = entries.into_iter().peekable();
    while entries.peek().is_some() {
        let mut builder = BatchBuilder::new(Compression::None);
        let mut last = 0;
        while builder.size_estimate() < BATCH_BYTES
            && let Some((seq, key, value)) = entries.next()
        {
            let key = bytes_of(&key)?;
            let value = value.as_ref().map(bytes_of).transpose()?;
            let timestamp_ms = clock::wall_ms();
            builder.push(&RecordRef { timestamp_ms, key: Some(&key), value: value.as_deref(), headers: &[] });
            last = seq;
        }
        let batch = builder.build().map_err(|error| internal(error.to_string()))?;
        let header = BatchHeader::parse(&batch).map_err(|error| internal(error.to_string()))?;
        let bytes = batch.len().clamp(PUBLISH_BYTES_MIN, PUBLISH_MEMORY_BYTES);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(memory) = broker.publish_memory.clone().acquire_many_owned(bytes).await else {
            return Err(WireError::new(ErrorCode::ShuttingDown, "this broker stops; nothing was written"));
        };
        let (answer, outcome) = PublishAnswer::here();
        partition.send(Command::Publish(Publish {
            batch,
            head: producers::head(&header, None),
            acks: Acks::All,
            deadline: clock::now() + PUBLISH_TIMEOUT,
            lease_held: broker.link.lease_held(),
            only_in: Some(epoch),
            answer: Some(answer),
            memory,
        }));
        outcomes.push((last, outcome));
    }
    Ok(outcomes)
}

fn bytes_of<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, WireError> {
    rmp_serde::to_vec_named(value).map_err(|error| internal(error.to_string()))
}

fn internal(what: String) -> WireError {
    WireError::new(ErrorCode::Internal, format!("what is to be remembered of a consumer group: {what}"))
}
