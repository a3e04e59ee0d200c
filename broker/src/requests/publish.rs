//! `publish`: ready batches, or plain records of which this broker makes batches.

use super::forward;
use super::placing::{Placing, Taker, Terms, append, taker};
use super::{PublishAnswer, create_topic};
use crate::broker::Broker;
use crate::clock;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use yak_protocol::batch::{self, Compression};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::PartitionIndex;
use yak_protocol::message::{Acks, PlainRecord, Publish, TopicInfo};
use yak_protocol::net::{Incoming, Replier};

/// Takes one request. Everything that orders batches happens before this returns.
pub(crate) async fn publish(broker: &Arc<Broker>, request: Incoming, reply: Replier) {
    let Incoming { bin, .. } = &request;
    let publish: Publish = match request.parse() {
        Ok(publish) => publish,
        Err(error) => return reply.refuse(&error),
    };
    let terms = Terms::of(&publish);
    let placings = match placings(broker, publish, bin.clone()).await {
        Ok(placings) => placings,
        Err(error) => return reply.refuse(&error),
    };
    if terms.acks == Acks::None {
        reply.discard();
        for placing in placings {
            place(broker, placing, terms, None).await;
        }
        return;
    }
    let names = placings.iter().map(|placing| (placing.topic.clone(), placing.partition)).collect();
    let answers = PublishAnswer::for_each(names, reply);
    for (placing, answer) in placings.into_iter().zip(answers) {
        place(broker, placing, terms, Some(answer)).await;
    }
}

/// What the request wants appended where; not empty.
async fn placings(broker: &Arc<Broker>, publish: Publish, bin: Bytes) -> Result<Vec<Placing>, WireError> {
    match (publish.batches.is_empty(), publish.records.is_empty()) {
        (false, true) => ready(publish, bin),
        (true, false) => plain(broker, publish).await,
        (true, true) => Err(bad("it carries neither batches nor records".to_owned())),
        (false, false) => Err(bad("it carries both batches and records; send two requests".to_owned())),
    }
}

fn ready(publish: Publish, mut bin: Bytes) -> Result<Vec<Placing>, WireError> {
    let listed: u64 = publish.batches.iter().map(|batch| u64::from(batch.2)).sum();
    if listed != bin.len() as u64 {
        return Err(bad(format!(
            "its batches are listed with {listed} bytes in all, the frame carries {}",
            bin.len()
        )));
    }
    let placing = |batch: yak_protocol::message::BatchRef| Placing {
        topic: batch.0,
        partition: batch.1,
        batch: bin.split_to(batch.2 as usize),
    };
    Ok(publish.batches.into_iter().map(placing).collect())
}

async fn plain(broker: &Arc<Broker>, publish: Publish) -> Result<Vec<Placing>, WireError> {
    let Some(topic) = publish.topic else {
        return Err(bad("plain records need a topic".to_owned()));
    };
    create_topic::ensure(broker, &topic).await?;
    let info = broker.cluster.topic(&topic)?;
    let mut spread: BTreeMap<PartitionIndex, Vec<&PlainRecord>> = BTreeMap::new();
    let mut keyless = None;
    for record in &publish.records {
        // Without a key the id chooses the partition: a repeat must come to the same one.
        let key = record.key.as_ref().or_else(|| record.id());
        let partition = match (publish.partition, key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => info.partition_of(key),
            (None, None) => *keyless.get_or_insert_with(|| any_partition(broker, &info)),
        };
        spread.entry(partition).or_default().push(record);
    }
    let now = clock::wall_ms();
    spread
        .into_iter()
        .map(|(partition, records)| {
            let batch = batch::build_plain(records, now, Compression::None)
                .map_err(|error| WireError::new(ErrorCode::BadBatch, error.to_string()))?;
            Ok(Placing { topic: topic.clone(), partition, batch })
        })
        .collect()
}

/// Where records without a key go: round the partitions that this broker leads, so that a hand-written
/// client need not follow leaders; round all of them if it leads none.
fn any_partition(broker: &Broker, topic: &TopicInfo) -> PartitionIndex {
    let mine = broker.id().map(|me| broker.cluster.led_by(topic, me)).unwrap_or_default();
    let turn = broker.keyless.fetch_add(1, Ordering::Relaxed);
    let pick = |count: usize| usize::try_from(turn % (count.max(1) as u64)).unwrap_or(0);
    mine.get(pick(mine.len()))
        .copied()
        .unwrap_or_else(|| PartitionIndex(u32::try_from(pick(topic.partitions as usize)).unwrap_or(0)))
}

async fn place(broker: &Arc<Broker>, placing: Placing, terms: Terms, answer: Option<PublishAnswer>) {
    let Placing { topic, partition, batch } = placing;
    let found = match create_topic::ensure(broker, &topic).await {
        Ok(()) => broker.cluster.resolve(&topic, partition),
        Err(error) => Err(error),
    };
    let taken = match found {
        Ok(resolved) => taker(broker, &resolved, terms.forward).await.map(|taker| (resolved, taker)),
        Err(error) => Err(error),
    };
    match taken {
        Ok((resolved, Taker::Here(handle))) => append(broker, &resolved, &handle, batch, terms, answer).await,
        Ok((_, Taker::Other(leader))) => {
            forward::publish(broker, leader, Placing { topic, partition, batch }, terms, answer).await;
        }
        Err(error) => {
            if let Some(answer) = answer {
                answer.send(Err(error));
            }
        }
    }
}

fn bad(what: String) -> WireError {
    WireError::bad_request(format!("publish: {what}"))
}
