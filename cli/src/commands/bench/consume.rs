//! How many records a second are read, each one of them looked at.

use super::BenchArgs;
use super::progress::Progress;
use super::report::Report;
use super::target::Target;
use std::sync::Arc;
use std::time::{Duration, Instant};
use yak_consumer::{Consumer, ConsumerConfig, Event, Polled, Start};

/// How long nothing may come.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Every consumer (as many as producers) reads all the records.
pub(super) async fn measure(
    args: &BenchArgs,
    target: &Target,
    topic: &str,
    records: u64,
) -> anyhow::Result<Report> {
    let until = args.seconds.map(|limit| Instant::now() + limit);
    let mut consumers = Vec::new();
    for _ in 0..args.producers {
        let hook = Arc::new(|event: Event| tracing::warn!("{event}"));
        let mut consumer = Consumer::new(target.client(), ConsumerConfig::default(), hook);
        consumer.assign(topic, None, Start::Earliest).await?;
        consumers.push(consumer);
    }
    let progress = Progress::start(args, "consume", records.saturating_mul(u64::from(args.producers)));
    let started = Instant::now();
    let reading = |consumer| tokio::spawn(read(consumer, records, until, progress.clone()));
    let tasks: Vec<_> = consumers.into_iter().map(reading).collect();
    let (mut read, mut bytes) = (0, 0);
    for task in tasks {
        let (records, size) = task.await??;
        read += records;
        bytes += size;
    }
    let took = started.elapsed();
    progress.end();
    Ok(Report::new("consume", read, 0, bytes, took))
}

async fn read(
    mut consumer: Consumer,
    wanted: u64,
    until: Option<Instant>,
    progress: Progress,
) -> anyhow::Result<(u64, u64)> {
    let (mut read, mut bytes) = (0, 0);
    while read < wanted && until.is_none_or(|until| Instant::now() < until) {
        let polled = tokio::time::timeout(SILENCE_MAX, consumer.next()).await;
        let polled = polled.map_err(|_| anyhow::anyhow!("only {read} of {wanted} records came"))?;
        if let Polled::Records(batch) = polled? {
            let before = read;
            for record in batch.records() {
                read += 1;
                bytes += record?.value.map_or(0, <[u8]>::len) as u64;
            }
            progress.add(read - before);
        }
    }
    Ok((read, bytes))
}
