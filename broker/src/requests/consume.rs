//! `consume`: reads one or more partitions, and waits for the first record if there is none.

use super::forward;
use super::reading::{leading, read};
use crate::broker::Broker;
use crate::config::{
    CONSUME_BYTES, CONSUME_BYTES_MAX, CONSUME_WAIT_MAX, CONSUME_WAIT_MIXED, RECORDS_BYTES_MAX,
};
use crate::metrics::Counters;
use crate::partition::PartitionHandle;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join_all, select_all};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use yak_core::partition::View;
use yak_protocol::batch;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, Offset, TopicPartition};
use yak_protocol::message::{Consume, ConsumeFrom, ConsumeReply, Consumed, Format};
use yak_protocol::net::{Incoming, Replier};

/// Answers at once when what is wanted is in memory; what waits or reads files does so beside the
/// connection.
pub(crate) fn consume(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    let consume: Consume = match request.parse() {
        Ok(consume) => consume,
        Err(error) => return reply.refuse(&error),
    };
    if consume.partitions.is_empty() {
        return reply.refuse(&WireError::bad_request("consume: it names no partition"));
    }
    let broker_of_task = broker.clone();
    let mut work = Box::pin(async move {
        let found = run(&broker_of_task, consume).await;
        count(&broker_of_task.counters, &found);
        let bin = found.iter().flat_map(|(_, batches)| batches.iter().cloned()).collect();
        let partitions = found.into_iter().map(|(consumed, _)| consumed).collect();
        reply.reply::<Consume>(Ok(&ConsumeReply { partitions }), bin);
    });
    if work.as_mut().now_or_never().is_none() {
        broker.tasks.spawn("consume", work);
    }
}

/// Counts what goes out, by the heads of its batches.
fn count(counters: &Counters, found: &[Found]) {
    let (mut records, mut bytes) = (0, 0);
    for (consumed, batches) in found {
        records += consumed.records.len() as u64;
        for batches in batches {
            bytes += batches.len() as u64;
            let heads = batch::batches(batches).filter_map(Result::ok);
            records += heads.map(|(head, _)| u64::from(head.count())).sum::<u64>();
        }
    }
    counters.consumed_records.add(records);
    counters.consumed_bytes.add(bytes);
}

/// One partition's part of the answer, and its batches.
type Found = (Consumed, Vec<Bytes>);

async fn run(broker: &Arc<Broker>, mut consume: Consume) -> Vec<Found> {
    let elsewhere = if consume.forward { led_elsewhere(broker, &consume) } else { BTreeMap::new() };
    if elsewhere.is_empty() {
        return here(broker, &consume).await;
    }
    if elsewhere.values().map(Vec::len).sum::<usize>() < consume.partitions.len() || elsewhere.len() > 1 {
        // What others have would wait for what nobody has.
        consume.wait_ms = consume.wait_ms.min(u64::try_from(CONSUME_WAIT_MIXED.as_millis()).unwrap_or(0));
    }
    mixed(broker, &consume, elsewhere).await
}

/// The places, in the request, of partitions that other brokers lead.
fn led_elsewhere(broker: &Broker, consume: &Consume) -> BTreeMap<BrokerId, Vec<usize>> {
    let mut elsewhere: BTreeMap<BrokerId, Vec<usize>> = BTreeMap::new();
    for (place, from) in consume.partitions.iter().enumerate() {
        let leader = broker.cluster.resolve(&from.topic, from.partition).ok();
        let leader = leader.and_then(|resolved| broker.cluster.leader(resolved.id));
        if let Some(hint) = leader.filter(|hint| Some(hint.leader) != broker.id()) {
            elsewhere.entry(hint.leader).or_default().push(place);
        }
    }
    elsewhere
}

/// Asks each leader for its part, and puts the answers in the order of the request.
async fn mixed(
    broker: &Arc<Broker>,
    consume: &Consume,
    elsewhere: BTreeMap<BrokerId, Vec<usize>>,
) -> Vec<Found> {
    let part = |places: &[usize]| Consume {
        partitions: places.iter().filter_map(|place| consume.partitions.get(*place).cloned()).collect(),
        forward: false,
        ..consume.clone()
    };
    let away: Vec<usize> = elsewhere.values().flatten().copied().collect();
    let mine: Vec<usize> = (0..consume.partitions.len()).filter(|place| !away.contains(place)).collect();
    let local = async {
        let part = part(&mine);
        if part.partitions.is_empty() { Vec::new() } else { here(broker, &part).await }
    };
    let remote = elsewhere.iter().map(|(leader, places)| {
        let part = part(places);
        async move {
            let (consumed, mut bin) = forward::consume(broker, *leader, part).await;
            let cut = |consumed: Consumed| {
                let bytes = (consumed.bytes as usize).min(bin.len());
                (consumed, vec![bin.split_to(bytes)])
            };
            consumed.into_iter().map(cut).collect::<Vec<Found>>()
        }
    });
    let (local, remote) = tokio::join!(local, join_all(remote));
    let mut found: BTreeMap<usize, Found> = mine.into_iter().zip(local).collect();
    for (places, answers) in elsewhere.into_values().zip(remote) {
        found.extend(places.into_iter().zip(answers));
    }
    found.into_values().collect()
}

/// Reads the partitions; waits until one of them has something, or has an error to tell.
async fn here(broker: &Arc<Broker>, consume: &Consume) -> Vec<Found> {
    let deadline = Instant::now() + Duration::from_millis(consume.wait_ms).min(CONSUME_WAIT_MAX);
    loop {
        let mut pass = Pass { broker, consume, left: bytes_max(consume), watches: Vec::new(), done: false };
        let mut found = Vec::with_capacity(consume.partitions.len());
        for from in &consume.partitions {
            found.push(pass.partition(from).await);
        }
        if pass.done || Instant::now() >= deadline {
            return found;
        }
        let changes = pass.watches.iter_mut().map(|watch| Box::pin(watch.changed()));
        let _ = timeout_at(deadline, select_all(changes)).await;
    }
}

fn bytes_max(consume: &Consume) -> usize {
    let wanted = if consume.bytes_max == 0 { CONSUME_BYTES } else { consume.bytes_max };
    wanted.min(CONSUME_BYTES_MAX) as usize
}

/// One look at all partitions of a request.
struct Pass<'a> {
    broker: &'a Arc<Broker>,
    consume: &'a Consume,
    /// How many bytes may still be returned.
    left: usize,
    watches: Vec<watch::Receiver<Arc<View>>>,
    /// Whether there is something to answer.
    done: bool,
}

impl Pass<'_> {
    async fn partition(&mut self, from: &ConsumeFrom) -> Found {
        let mut consumed = Consumed {
            topic: from.topic.clone(),
            partition: from.partition,
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            leader_epoch: Default::default(),
            bytes: 0,
            records: Vec::new(),
            next: None,
            error: None,
        };
        match self.read(from, &mut consumed).await {
            Ok(batches) => (consumed, batches),
            Err(error) => {
                self.done = true;
                consumed.error = Some(error);
                (consumed, Vec::new())
            }
        }
    }

    async fn read(&mut self, from: &ConsumeFrom, consumed: &mut Consumed) -> Result<Vec<Bytes>, WireError> {
        let id = self.broker.cluster.resolve(&from.topic, from.partition)?.id;
        let (partition, view) = self.watch(id)?;
        consumed.log_start = view.log_start;
        consumed.high_watermark = view.high_watermark;
        consumed.leader_epoch = view.leader_epoch;
        if self.left == 0 {
            return Ok(Vec::new());
        }
        let batches = read(self.broker, &partition, &view, from.offset, self.left).await?;
        let bytes: usize = batches.iter().map(Bytes::len).sum();
        self.left = self.left.saturating_sub(bytes);
        self.done |= bytes > 0;
        if self.consume.format == Format::Batch {
            consumed.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            return Ok(batches);
        }
        consumed.records = plain(&batches, from.offset, view.high_watermark)?;
        let heads = batches.iter().flat_map(|bytes| batch::batches(bytes)).filter_map(Result::ok);
        consumed.next = heads.last().map(|(head, _)| head.next_offset());
        Ok(Vec::new())
    }

    /// The partition as it is now, and a watch that sees every later change.
    fn watch(&mut self, id: TopicPartition) -> Result<(Arc<PartitionHandle>, Arc<View>), WireError> {
        let (partition, _) = leading(self.broker, id)?;
        let mut watch = partition.watch();
        let view = watch.borrow_and_update().clone();
        self.watches.push(watch);
        if view.leads { Ok((partition, view)) } else { Err(self.broker.not_leader(id)) }
    }
}

fn plain(
    batches: &[Bytes],
    from: Offset,
    below: Offset,
) -> Result<Vec<yak_protocol::message::PlainRecord>, WireError> {
    let mut records = Vec::new();
    for bytes in batches {
        let opened = batch::plain_records(bytes, from, below, RECORDS_BYTES_MAX);
        records.extend(opened.map_err(|error| {
            WireError::new(
                ErrorCode::BadBatch,
                format!("the batch at or after offset {from} cannot be opened: {error}"),
            )
            .hint("ask for the format \"batch\" to get the bytes as they are, or go on behind it")
        })?);
    }
    Ok(records)
}
