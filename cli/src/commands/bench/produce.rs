//! How many records a second are published and acknowledged.

use super::progress::Progress;
use super::report::{Latency, Report};
use super::target::Target;
use super::{BenchArgs, Mode};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use yak_producer::{Delivery, Producer, ProducerRecord};
use yak_protocol::ids::PartitionIndex;

/// One record of so many has the time to its acknowledgement measured.
const SAMPLE_EVERY: u64 = 32;

/// Values are slices of this many random bytes.
const POOL_BYTES: usize = 1 << 20;

/// What keeps a record from being written twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Once {
    /// Nothing.
    Never,
    /// Producers number their batches.
    Idempotent,
    /// Records have ids, too.
    MsgId,
}

impl Once {
    fn name(self) -> &'static str {
        match self {
            Self::Never => "not idempotent",
            Self::Idempotent => "idempotent",
            Self::MsgId => "with msg_id",
        }
    }
}

/// What it costs that nothing is written twice: the same load without and with it, one after the other.
pub(super) async fn compare(args: &BenchArgs, target: &Target) -> anyhow::Result<Vec<Report>> {
    // The first round finds everything cold.
    let topic = target.make_topic(args.partitions, args).await?;
    run(args, target, &topic, Once::Never).await?;
    let mut reports: Vec<Report> = Vec::new();
    for once in [Once::Never, Once::Idempotent, Once::MsgId] {
        let topic = target.make_topic(args.partitions, args).await?;
        let report = run(args, target, &topic, once).await?;
        reports.push(match reports.first() {
            Some(first) => report.compared(first),
            None => report,
        });
    }
    Ok(reports)
}

pub(super) async fn measure(args: &BenchArgs, target: &Target, topic: &str) -> anyhow::Result<Report> {
    Ok(run(args, target, topic, Once::Idempotent).await?.named("produce"))
}

async fn run(args: &BenchArgs, target: &Target, topic: &str, once: Once) -> anyhow::Result<Report> {
    let pool: Arc<[u8]> = values(args.size).into();
    let wanted = Mode::Produce.records(args);
    let until = args.seconds.map(|limit| Instant::now() + limit);
    let taken = Arc::new(AtomicU64::new(0));
    // Connections and metadata first, so that the rate is the rate.
    let mut producers = Vec::new();
    for _ in 0..args.producers {
        let producer = target.producer(args, once != Once::Never);
        producer.partitions(topic).await?;
        producers.push(producer);
    }
    let progress = Progress::start(args, "produce", wanted);
    let started = Instant::now();
    let mut tasks = Vec::new();
    for producer in producers {
        let run = Run {
            progress: progress.clone(),
            producer,
            topic: topic.to_owned(),
            size: args.size,
            pool: Arc::clone(&pool),
            wanted,
            until,
            taken: Arc::clone(&taken),
            ids: once == Once::MsgId,
        };
        tasks.push(tokio::spawn(run.publish()));
    }
    let (mut acknowledged, mut failed, mut latency) = (0, 0, Latency::new()?);
    for task in tasks {
        let (ok, not_ok, measured) = task.await??;
        acknowledged += ok;
        failed += not_ok;
        latency.merge(&measured)?;
    }
    let took = started.elapsed();
    progress.end();
    let bytes = acknowledged * args.size as u64;
    Ok(Report::new(once.name(), acknowledged, failed, bytes, took)
        .with_latency("acknowledged after", &latency))
}

/// Random bytes, at least enough for one value.
pub(super) fn values(size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..POOL_BYTES.max(size * 2)).map(|_| random.u8(..)).collect()
}

/// One producer's part.
struct Run {
    producer: Producer,
    progress: Progress,
    topic: String,
    size: usize,
    pool: Arc<[u8]>,
    wanted: u64,
    until: Option<Instant>,
    /// Records that some producer has taken on, of all of them.
    taken: Arc<AtomicU64>,
    /// Whether records have ids.
    ids: bool,
}

impl Run {
    async fn publish(self) -> anyhow::Result<(u64, u64, Latency)> {
        let (samples, collected) = mpsc::unbounded_channel();
        let collecting = tokio::spawn(collect(collected));
        let mut tally = Tally::default();
        let partitions = u64::from(self.producer.partitions(&self.topic).await?.max(1));
        let mut at = 0;
        loop {
            let number = self.taken.fetch_add(1, Ordering::Relaxed);
            // A look at the clock for every record would cost more than the record.
            let look = number.is_multiple_of(64);
            let late = look && self.until.is_some_and(|until| Instant::now() >= until);
            if look {
                self.progress.at(number);
            }
            if number >= self.wanted || late {
                if late {
                    self.taken.store(self.wanted, Ordering::Relaxed);
                }
                break;
            }
            at = (at + 61) % (self.pool.len() - self.size);
            let value = &self.pool[at..at + self.size];
            let id = number.to_be_bytes();
            // An id chooses the partition, which is not what is compared: records go round.
            let partition =
                self.ids.then(|| PartitionIndex(u32::try_from(number / 1024 % partitions).unwrap_or(0)));
            let msg_id = self.ids.then_some(&id[..]);
            let record =
                ProducerRecord { value: Some(value), partition, msg_id, ..ProducerRecord::default() };
            let sampled = number.is_multiple_of(SAMPLE_EVERY).then(Instant::now);
            let delivery = self.producer.send(&self.topic, &record).await?;
            if let Some(sent) = sampled {
                let (delivery, samples) = (delivery.clone(), samples.clone());
                tokio::spawn(async move {
                    if delivery.wait().await.is_ok() {
                        let _ = samples.send(sent.elapsed());
                    }
                });
            }
            tally.waiting.push_back(delivery);
            tally.count_settled();
        }
        drop(samples);
        self.producer.flush().await;
        tally.count_settled();
        let latency = collecting.await??;
        Ok((tally.acknowledged, tally.failed, latency))
    }
}

#[derive(Default)]
struct Tally {
    waiting: VecDeque<Delivery>,
    acknowledged: u64,
    failed: u64,
}

impl Tally {
    /// Counts what has its outcome, from the oldest on.
    fn count_settled(&mut self) {
        while let Some(outcome) = self.waiting.front().and_then(Delivery::get) {
            self.waiting.pop_front();
            match outcome {
                Ok(_) => self.acknowledged += 1,
                Err(error) => {
                    if self.failed == 0 {
                        tracing::error!("{error}");
                    }
                    self.failed += 1;
                }
            }
        }
    }
}

async fn collect(mut samples: mpsc::UnboundedReceiver<Duration>) -> anyhow::Result<Latency> {
    let mut latency = Latency::new()?;
    while let Some(sample) = samples.recv().await {
        latency.add(sample);
    }
    Ok(latency)
}
