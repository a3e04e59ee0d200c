//! Publishing in the background: every line a record, paced, each acknowledgement noted with its time.

use super::verdict::{Acknowledgements, Told};
use super::{LOOK, key_of, partition_of};
use anyhow::bail;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use yak_producer::{Delivery, Event, ProduceError, Producer, ProducerConfig, ProducerRecord};
use yak_protocol::net::Cluster;

/// How far a sender that was late may make up for it.
const BURST: Duration = Duration::from_millis(10);
/// The header that carries a record's line number.
pub const NUMBER: &str = "n";

/// Gathers what a partition's records were told.
type Collector = JoinHandle<Vec<(usize, Told)>>;

/// A file on its way.
pub struct Publishing {
    acknowledgements: Arc<Mutex<Acknowledgements>>,
    allowed: Arc<AtomicUsize>,
    /// The partition of each line.
    placed: Vec<u32>,
    sending: JoinHandle<Result<Vec<Collector>, ProduceError>>,
    lines: usize,
}

impl Publishing {
    /// Gets ready to publish at most `rate` lines a second, as far as they are allowed.
    pub fn start(cluster: &Cluster, topic: &str, partitions: u32, lines: Vec<Vec<u8>>, rate: u32) -> Self {
        let hook = Arc::new(|event: Event| tracing::info!("{event}"));
        let producer = Producer::new(cluster.clone(), ProducerConfig::default(), hook);
        let acknowledgements = Arc::new(Mutex::new(Acknowledgements::default()));
        let allowed = Arc::new(AtomicUsize::new(0));
        let count = lines.len();
        let placed = lines.iter().map(|line| partition_of(line, partitions).0).collect();
        let sending = tokio::spawn(send_all(
            producer,
            topic.to_owned(),
            partitions,
            lines,
            rate,
            Arc::clone(&acknowledgements),
            Arc::clone(&allowed),
        ));
        Self { acknowledgements, allowed, placed, sending, lines: count }
    }

    /// Waits until so many records are acknowledged.
    pub async fn reached(&self, count: usize) -> anyhow::Result<()> {
        while self.noted().count() < count {
            if self.sending.is_finished() {
                bail!("publishing ended after {} of {} records", self.noted().count(), self.lines);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until each of these partitions has an acknowledgement newer than `since`, or nothing left to be
    /// acknowledged.
    pub async fn resumed(&self, partitions: &[u32], since: Instant, timeout: Duration) -> anyhow::Result<()> {
        let allowed = self.allowed.load(Ordering::Acquire).min(self.lines);
        let allowed = &self.placed[..allowed];
        let wanted: Vec<(u32, usize)> = partitions
            .iter()
            .map(|partition| (*partition, allowed.iter().filter(|placed| *placed == partition).count()))
            .collect();
        let waits = |(partition, allowed): &(u32, usize)| {
            let noted = self.noted();
            !noted.resumed(&[*partition], since) && noted.count_of(*partition) < *allowed
        };
        while wanted.iter().any(waits) {
            if since.elapsed() > timeout {
                bail!("publishing did not go on within {} s", timeout.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// The partitions with the most acknowledgements first.
    pub fn busiest(&self) -> Vec<u32> {
        self.noted().busiest()
    }

    /// The longest time without an acknowledgement on one of these partitions that ended after `since`.
    pub fn longest_pause(&self, partitions: &[u32], since: Instant) -> Duration {
        self.noted().longest_pause(partitions, since, Instant::now())
    }

    /// So many lines may go: a fault is to hit a stream that is still being published, however long the faults
    /// before it took.
    pub fn allow(&self, lines: usize) {
        self.allowed.store(lines, Ordering::Release);
    }

    /// Waits for the outcome of every record.
    pub async fn finish(self) -> anyhow::Result<Vec<Told>> {
        let mut told = vec![Told::Unknown; self.lines];
        for collector in self.sending.await?? {
            for (number, outcome) in collector.await? {
                told[number] = outcome;
            }
        }
        Ok(told)
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, Acknowledgements> {
        self.acknowledgements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send_all(
    producer: Producer,
    topic: String,
    partitions: u32,
    lines: Vec<Vec<u8>>,
    rate: u32,
    acknowledgements: Arc<Mutex<Acknowledgements>>,
    allowed: Arc<AtomicUsize>,
) -> Result<Vec<Collector>, ProduceError> {
    // One collector a partition: a partition without a leader must not hide the others' progress.
    let (senders, collectors): (Vec<_>, Vec<_>) = (0..partitions)
        .map(|partition| {
            let (sender, deliveries) = mpsc::unbounded_channel();
            (sender, tokio::spawn(collect(partition, deliveries, Arc::clone(&acknowledgements))))
        })
        .unzip();
    let gap = Duration::from_secs(1) / rate;
    let mut due = Instant::now();
    for (number, line) in lines.iter().enumerate() {
        while Instant::now() < due || number >= allowed.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        due = (due + gap).max(Instant::now().checked_sub(BURST).unwrap_or(due));
        let partition = partition_of(line, partitions);
        let digits = number.to_string();
        let record = ProducerRecord {
            partition: Some(partition),
            key: Some(key_of(line)),
            value: Some(line),
            headers: &[(NUMBER, digits.as_bytes())],
            ..ProducerRecord::default()
        };
        let delivery = producer.send(&topic, &record).await?;
        // The collector lives as long as its sender.
        let _ = senders[partition.0 as usize].send((number, delivery));
    }
    drop(senders);
    producer.close().await;
    Ok(collectors)
}

async fn collect(
    partition: u32,
    mut deliveries: mpsc::UnboundedReceiver<(usize, Delivery)>,
    acknowledgements: Arc<Mutex<Acknowledgements>>,
) -> Vec<(usize, Told)> {
    let mut told = Vec::new();
    while let Some((number, delivery)) = deliveries.recv().await {
        told.push((
            number,
            match delivery.wait().await {
                Ok(_) => {
                    let mut noted = acknowledgements.lock().unwrap_or_else(PoisonError::into_inner);
                    noted.note(partition, Instant::now());
                    Told::Acknowledged
                }
                Err(error) if error.is_outcome_unknown() => {
                    tracing::warn!("line {number}: {error}");
                    Told::Unknown
                }
                Err(error) => {
                    tracing::warn!("line {number}: {error}");
                    Told::Refused
                }
            },
        ));
    }
    told
}
