//! How long single records take, one after the other.

use super::produce::values;
use super::progress::Progress;
use super::report::{Latency, Report};
use super::target::Target;
use super::{BenchArgs, Mode};
use anyhow::Context as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use yak_consumer::{Consumer, ConsumerConfig, Event, Polled, Start};
use yak_producer::{Producer, ProducerRecord};

/// How many records go first, unmeasured.
const WARM_UP: u64 = 100;
/// How long one record may take.
const RECORD_TIMEOUT: Duration = Duration::from_secs(30);

/// Every producer publishes a record and waits for its acknowledgement before the next one.
pub(super) async fn measure(args: &BenchArgs, target: &Target, topic: &str) -> anyhow::Result<Report> {
    let value: Arc<[u8]> = values(args.size)[..args.size].into();
    let each = Mode::Latency.records(args).div_ceil(u64::from(args.producers));
    let mut producers = Vec::new();
    for _ in 0..args.producers {
        let producer = target.producer(args, true);
        for _ in 0..WARM_UP.min(each) {
            publish(&producer, topic, &value).await?;
        }
        producers.push(producer);
    }
    let until = args.seconds.map(|limit| Instant::now() + limit);
    let progress = Progress::start(args, "latency", each.saturating_mul(u64::from(args.producers)));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for producer in producers {
        let progress = progress.clone();
        let (topic, value) = (topic.to_owned(), Arc::clone(&value));
        tasks.push(tokio::spawn(async move {
            let mut latency = Latency::new()?;
            let mut records = 0;
            while records < each && until.is_none_or(|until| Instant::now() < until) {
                let sent = Instant::now();
                publish(&producer, &topic, &value).await?;
                latency.add(sent.elapsed());
                records += 1;
                progress.add(1);
            }
            anyhow::Ok((records, latency))
        }));
    }
    let (mut records, mut latency) = (0, Latency::new()?);
    for task in tasks {
        let (count, measured) = task.await??;
        records += count;
        latency.merge(&measured)?;
    }
    let took = started.elapsed();
    progress.end();
    Ok(Report::new("latency", records, 0, records * args.size as u64, took)
        .with_latency("acknowledged after", &latency))
}

async fn publish(producer: &Producer, topic: &str, value: &[u8]) -> anyhow::Result<()> {
    let record = ProducerRecord { value: Some(value), ..ProducerRecord::default() };
    producer.send(topic, &record).await?.wait().await?;
    Ok(())
}

/// A record is published once a consumer has the one before it.
pub(super) async fn measure_end_to_end(
    args: &BenchArgs,
    target: &Target,
    topic: &str,
) -> anyhow::Result<Report> {
    let value = &values(args.size)[..args.size];
    let wanted = Mode::EndToEnd.records(args);
    let producer = target.producer(args, true);
    let hook = Arc::new(|event: Event| tracing::warn!("{event}"));
    let mut consumer = Consumer::new(target.client(), ConsumerConfig::default(), hook);
    consumer.assign(topic, None, Start::Earliest).await?;
    for _ in 0..WARM_UP.min(wanted) {
        there_and_back(&producer, &mut consumer, topic, value).await?;
    }
    let until = args.seconds.map(|limit| Instant::now() + limit);
    let (mut latency, mut records) = (Latency::new()?, 0);
    let progress = Progress::start(args, "end-to-end", wanted);
    let started = Instant::now();
    while records < wanted && until.is_none_or(|until| Instant::now() < until) {
        latency.add(there_and_back(&producer, &mut consumer, topic, value).await?);
        records += 1;
        progress.add(1);
    }
    let took = started.elapsed();
    progress.end();
    Ok(Report::new("end-to-end", records, 0, records * args.size as u64, took)
        .with_latency("read after", &latency))
}

async fn there_and_back(
    producer: &Producer,
    consumer: &mut Consumer,
    topic: &str,
    value: &[u8],
) -> anyhow::Result<Duration> {
    let sent = Instant::now();
    let record = ProducerRecord { value: Some(value), ..ProducerRecord::default() };
    let delivery = producer.send(topic, &record).await?;
    let reading = async {
        loop {
            if let Polled::Records(_) = consumer.next().await? {
                return anyhow::Ok(sent.elapsed());
            }
        }
    };
    let took =
        tokio::time::timeout(RECORD_TIMEOUT, reading).await.context("the record was not read in time")??;
    delivery.wait().await?;
    Ok(took)
}
