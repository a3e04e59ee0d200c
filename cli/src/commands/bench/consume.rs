//! How many records a second are read, each one of them looked at.

use super::progress::Progress;
use super::report::Report;
use super::target::Target;
use super::{BenchArgs, produce};
use std::sync::Arc;
use std::time::{Duration, Instant};
use yak_consumer::{Consumer, ConsumerConfig, Event, GroupConfig, GroupConsumer, GroupPolled, Polled, Start};
use yak_protocol::message::GroupDelete;

/// How long nothing may come.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How often one and the other way is measured, in turns.
const ROUNDS: usize = 5;

/// What membership of a group costs: the same records read by a consumer that assigned itself the partitions, and by
/// the only member of a group, which commits every second. Both from the first record handed out on; medians.
pub(super) async fn compare(args: &BenchArgs, target: &Target) -> anyhow::Result<Vec<Report>> {
    let topic = target.make_topic(args.partitions, args).await?;
    let records = produce::measure(args, target, &topic).await?.records;
    // The first round finds everything cold.
    read_alone(target, &topic, records).await?;
    let (mut alone, mut grouped) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(read_alone(target, &topic, records).await?);
        grouped.push(read_in_group(target, &topic, records).await?);
    }
    let bytes = records * args.size as u64;
    let report = |name, took| Report::new(name, records, 0, bytes, median(took));
    let alone = report("alone", alone);
    let grouped = report("in a group", grouped).compared(&alone);
    Ok(vec![alone, grouped])
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn read_alone(target: &Target, topic: &str, wanted: u64) -> anyhow::Result<Duration> {
    let hook = Arc::new(|event: Event| tracing::warn!("{event}"));
    let mut consumer = Consumer::new(target.client(), ConsumerConfig::default(), hook);
    consumer.assign(topic, None, Start::Earliest).await?;
    let (mut began, mut read) = (None, 0);
    while read < wanted {
        let polled = tokio::time::timeout(SILENCE_MAX, consumer.next()).await;
        if let Polled::Records(batch) = polled.map_err(|_| too_few(read, wanted))?? {
            began.get_or_insert_with(Instant::now);
            for record in batch.records() {
                record?;
                read += 1;
            }
        }
    }
    Ok(began.map(|began| began.elapsed()).unwrap_or_default())
}

async fn read_in_group(target: &Target, topic: &str, wanted: u64) -> anyhow::Result<Duration> {
    let group = format!("bench-{:08x}", fastrand::u32(..));
    let (cluster, hook) = (target.client(), Arc::new(|event: Event| tracing::warn!("{event}")));
    let mut member =
        GroupConsumer::join(cluster.clone(), GroupConfig::new(&group, vec![topic.to_owned()]), hook);
    let (mut began, mut read) = (None, 0);
    while read < wanted {
        let polled = tokio::time::timeout(SILENCE_MAX, member.next()).await;
        if let GroupPolled::Records { batch, .. } = polled.map_err(|_| too_few(read, wanted))?? {
            began.get_or_insert_with(Instant::now);
            for record in batch.records() {
                record?;
                read += 1;
            }
        }
    }
    let took = began.map(|began: Instant| began.elapsed()).unwrap_or_default();
    member.close().await?;
    let deadline = Instant::now() + SILENCE_MAX;
    cluster.request_any(&GroupDelete { group, forward: true }, Vec::new(), deadline.into()).await?;
    Ok(took)
}

fn too_few(read: u64, wanted: u64) -> anyhow::Error {
    anyhow::anyhow!("only {read} of {wanted} records came")
}

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
        let polled = polled.map_err(|_| too_few(read, wanted))?;
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
