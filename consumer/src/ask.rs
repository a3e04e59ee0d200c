//! Questions to the cluster, each in a task of its own.

use crate::start::Start;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{Consume, ConsumeFrom, ConsumeReply, Consumed, Format, Offsets, OffsetsReply};
use yak_protocol::net::{Answer, Cluster, ClusterError, Connection, Leader, PendingAnswer, RequestError};

/// How long one question without a deadline of its own may take before it is asked anew.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// How much longer than the broker the consumer waits for an answer.
const ANSWER_GRACE: Duration = Duration::from_millis(1500);

/// Asks a partition's leader for its offsets, and for the first record at least as new as `at_ms`.
///
/// # Errors
/// An unknown topic or partition, or what was in the way at the deadline.
pub async fn offsets(
    cluster: &Cluster,
    topic: &str,
    partition: PartitionIndex,
    at_ms: Option<i64>,
    deadline: Instant,
) -> Result<OffsetsReply, ClusterError> {
    let request = Offsets { topic: topic.to_owned(), partition, at_ms, stale_ok: true, forward: false };
    ask_offsets(cluster, &request, deadline).await
}

async fn ask_offsets(
    cluster: &Cluster,
    request: &Offsets,
    deadline: Instant,
) -> Result<OffsetsReply, ClusterError> {
    let Offsets { topic, partition, .. } = request;
    Ok(cluster.request_leader(topic, *partition, request, Vec::new(), deadline.into()).await?.body)
}

/// Names an assigned partition, and which of its lives: a seek begins a new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    pub(crate) index: usize,
    pub(crate) generation: u64,
}

/// A connection to a partition's leader.
#[derive(Clone, Debug)]
pub(crate) struct LeaderLink {
    pub(crate) connection: Connection,
    pub(crate) known: Leader,
}

/// A partition in a question for records.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: Key,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: PartitionIndex,
    pub(crate) offset: Offset,
    pub(crate) leader: Leader,
}

/// What came of a question.
pub(crate) enum Done {
    Started { key: Key, offset: Result<Offset, ClusterError> },
    Found { key: Key, leader: Result<LeaderLink, ClusterError> },
    Fetched { asked: Vec<Asked>, answer: Result<Answer<ConsumeReply>, RequestError> },
}

pub(crate) async fn resolve(
    cluster: Cluster,
    key: Key,
    topic: Arc<str>,
    partition: PartitionIndex,
    start: Start,
) -> Done {
    let deadline = Instant::now() + ASK_TIMEOUT;
    // Only the newest leader knows what is latest; where the log begins any leader does.
    let stale_ok = !matches!(start, Start::Latest | Start::BeforeEnd(_));
    let request =
        Offsets { topic: topic.to_string(), partition, at_ms: start.at_ms(), stale_ok, forward: false };
    let log = ask_offsets(&cluster, &request, deadline).await;
    Done::Started { key, offset: log.map(|log| start.resolve(&log)) }
}

pub(crate) async fn find_leader(
    cluster: Cluster,
    key: Key,
    topic: Arc<str>,
    partition: PartitionIndex,
) -> Done {
    let deadline = Instant::now() + ASK_TIMEOUT;
    let leader = loop {
        let known = match cluster.leader_of(&topic, partition, deadline.into()).await {
            Ok(known) => known,
            Err(error) => break Err(error),
        };
        match cluster.connection_to(&known.address).await {
            Ok(connection) => break Ok(LeaderLink { connection, known }),
            Err(error) => cluster.note_failure(&topic, partition, Some(&known), &error.to_string()),
        }
    };
    Done::Found { key, leader }
}

pub(crate) fn request(asked: &[Asked], bytes_max: u32, wait: Duration) -> Consume {
    let partitions = asked
        .iter()
        .map(|asked| ConsumeFrom {
            topic: asked.topic.to_string(),
            partition: asked.partition,
            offset: asked.offset,
        })
        .collect();
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Consume { partitions, format: Format::Batch, bytes_max, wait_ms, forward: false }
}

pub(crate) async fn fetched(asked: Vec<Asked>, answer: PendingAnswer<ConsumeReply>, wait: Duration) -> Done {
    let answer = answer.within(wait + ANSWER_GRACE).await;
    Done::Fetched { asked, answer }
}

/// The part of an answer that belongs to each question, in the order of the questions.
///
/// # Errors
/// When the answer does not fit the question.
pub(crate) fn split(asked: &[Asked], answer: Answer<ConsumeReply>) -> Result<Vec<(Consumed, Bytes)>, String> {
    let Answer { body, mut bin } = answer;
    if body.partitions.len() != asked.len() {
        return Err(format!("{} partitions were asked for, {} answered", asked.len(), body.partitions.len()));
    }
    let mut parts = Vec::with_capacity(asked.len());
    for (asked, found) in asked.iter().zip(body.partitions) {
        if *found.topic != *asked.topic || found.partition != asked.partition {
            let (topic, partition) = (&asked.topic, asked.partition);
            return Err(format!(
                "{}/{} came where {topic}/{partition} was asked for",
                found.topic, found.partition
            ));
        }
        let bytes = found.bytes as usize;
        if bytes > bin.len() {
            return Err(format!(
                "{}/{} announces {bytes} bytes, {} came",
                found.topic,
                found.partition,
                bin.len()
            ));
        }
        let part = bin.split_to(bytes);
        parts.push((found, part));
    }
    Ok(parts)
}
