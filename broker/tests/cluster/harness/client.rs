//! A client that speaks frames and follows no leader by itself.

use super::{PATIENCE, batch, eventually};
use bytes::Bytes;
use yak_protocol::error::WireError;
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::message::{
    Acked, Acks, BatchRef, Consume, ConsumeFrom, ConsumeReply, Consumed, Format, Message, Offsets,
    OffsetsReply, PlainRecord, Publish, PublishResult,
};
use yak_protocol::net::{ConnectOptions, Connection, RequestError};

pub struct Client {
    pub connection: Connection,
}

impl Client {
    pub async fn to(address: &str) -> Self {
        let (connection, _) =
            Connection::connect(address, &ConnectOptions::default()).await.expect("somebody listens");
        Self { connection }
    }

    /// `None` = nobody listens there.
    pub async fn try_to(address: &str) -> Option<Self> {
        let (connection, _) = Connection::connect(address, &ConnectOptions::default()).await.ok()?;
        Some(Self { connection })
    }

    /// Asks; a lost connection or a refusal is an error of the same kind here.
    pub async fn request<M: Message>(&self, message: &M) -> Result<M::Reply, RequestError> {
        self.with_bin(message, Vec::new()).await.map(|(body, _)| body)
    }

    pub async fn with_bin<M: Message>(
        &self,
        message: &M,
        bin: Vec<Bytes>,
    ) -> Result<(M::Reply, Bytes), RequestError> {
        let answer = tokio::time::timeout(PATIENCE, self.connection.request(message, bin));
        let answer = answer.await.unwrap_or_else(|_| panic!("{} was not answered", M::KIND))?;
        Ok((answer.body, answer.bin))
    }

    /// Publishes ready batches; one result for each.
    pub async fn publish_with(
        &self,
        publish: Publish,
        batches: Vec<(&str, u32, Bytes)>,
    ) -> Result<Vec<PublishResult>, RequestError> {
        let length = |batch: &Bytes| u32::try_from(batch.len()).expect("small");
        let named = batches.iter().map(|(topic, partition, batch)| {
            BatchRef((*topic).to_owned(), PartitionIndex(*partition), length(batch))
        });
        let publish = Publish { batches: named.collect(), ..publish };
        let bin = batches.into_iter().map(|(_, _, batch)| batch).collect();
        self.with_bin(&publish, bin).await.map(|(reply, _)| reply.results)
    }

    /// Publishes one batch of these values with `acks=all`.
    pub async fn publish(&self, topic: &str, partition: u32, values: &[&str]) -> Result<Acked, WireError> {
        self.publish_acks(topic, partition, values, Acks::All).await
    }

    pub async fn publish_acks(
        &self,
        topic: &str,
        partition: u32,
        values: &[&str],
        acks: Acks,
    ) -> Result<Acked, WireError> {
        let publish = Publish { acks, ..Publish::default() };
        match self.publish_with(publish, vec![(topic, partition, batch(values))]).await {
            Ok(results) => outcome(results.into_iter().next().expect("one result")),
            Err(RequestError::Refused(error)) => Err(error),
            Err(other) => panic!("the connection was lost: {other}"),
        }
    }

    /// Publishes plain records without keys.
    pub async fn publish_plain(
        &self,
        topic: &str,
        values: &[&str],
    ) -> Result<Vec<PublishResult>, RequestError> {
        let record = |value: &&str| PlainRecord {
            value: Some(serde_bytes::ByteBuf::from(value.as_bytes())),
            ..PlainRecord::default()
        };
        let records = values.iter().map(record).collect();
        let publish = Publish { topic: Some(topic.to_owned()), records, ..Publish::default() };
        self.request(&publish).await.map(|reply| reply.results)
    }

    /// One look at one partition.
    pub async fn consume(&self, topic: &str, partition: u32, from: u64, wait_ms: u64) -> (Consumed, Bytes) {
        let from = ConsumeFrom {
            topic: topic.to_owned(),
            partition: PartitionIndex(partition),
            offset: Offset(from),
        };
        let consume =
            Consume { partitions: vec![from], format: Format::Batch, wait_ms, ..Consume::default() };
        let (ConsumeReply { mut partitions }, bin) =
            self.with_bin(&consume, Vec::new()).await.expect("consume is answered");
        (partitions.pop().expect("one partition was asked for"), bin)
    }

    /// All committed values of a partition from the beginning, each with its offset.
    pub async fn read_all(&self, topic: &str, partition: u32) -> Vec<(u64, String)> {
        self.read_all_from(topic, partition, 0).await
    }

    /// The same from an offset on.
    pub async fn read_all_from(&self, topic: &str, partition: u32, from: u64) -> Vec<(u64, String)> {
        let mut values = Vec::new();
        let mut next = from;
        loop {
            let (consumed, bin) = self.consume(topic, partition, next, 0).await;
            if let Some(error) = consumed.error {
                panic!("reading {topic}/{partition} at {next}: {error}");
            }
            // The last offsets of a batch may be empty.
            let Some(end) = super::end_of(&bin) else { return values };
            values.extend(super::values_of(&bin).into_iter().filter(|(offset, _)| *offset >= next));
            next = end;
        }
    }

    pub async fn offsets(&self, topic: &str, partition: u32) -> Result<OffsetsReply, WireError> {
        let request = Offsets {
            topic: topic.to_owned(),
            partition: PartitionIndex(partition),
            at_ms: None,
            stale_ok: false,
            forward: false,
        };
        match self.request(&request).await {
            Ok(reply) => Ok(reply),
            Err(RequestError::Refused(error)) => Err(error),
            Err(other) => panic!("the connection was lost: {other}"),
        }
    }

    /// Waits until so much of the partition is committed.
    pub async fn committed(&self, topic: &str, partition: u32, offset: u64) {
        eventually("it is committed", || async {
            let reply = self.offsets(topic, partition).await.ok()?;
            (reply.high_watermark >= Offset(offset)).then_some(())
        })
        .await;
    }
}

pub fn outcome(result: PublishResult) -> Result<Acked, WireError> {
    match (result.ack, result.error) {
        (Some(acked), None) => Ok(acked),
        (None, Some(error)) => Err(error),
        other => panic!("a result says either: {other:?}"),
    }
}
