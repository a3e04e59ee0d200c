//! Reading everything back, from the beginning to the end.

use super::publish::NUMBER;
use super::verdict::Read;
use std::collections::BTreeSet;
use std::sync::Arc;
use yak_consumer::{Consumer, ConsumerConfig, Event, Polled, Start};
use yak_protocol::net::Cluster;

/// Every record of the topic, each partition in its order.
pub async fn everything(cluster: &Cluster, topic: &str) -> anyhow::Result<Vec<Read>> {
    let hook = Arc::new(|event: Event| tracing::info!("{event}"));
    let mut consumer = Consumer::new(cluster.clone(), ConsumerConfig::default(), hook);
    consumer.assign(topic, None, Start::Earliest).await?;
    let mut open: BTreeSet<_> = consumer.assignment().map(|(_, partition)| partition).collect();
    let mut read = Vec::new();
    while !open.is_empty() {
        match consumer.next().await? {
            Polled::End { partition, .. } => {
                open.remove(&partition);
            }
            Polled::Records(batch) => {
                for record in batch.records() {
                    let record = record?;
                    let number =
                        record.headers.clone().find(|(name, _)| *name == NUMBER).map(|(_, value)| value);
                    read.push(Read {
                        number: number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()),
                        key: record.key.unwrap_or_default().to_vec(),
                        value: record.value.unwrap_or_default().to_vec(),
                    });
                }
            }
        }
    }
    Ok(read)
}
