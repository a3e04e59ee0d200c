//! What becomes of a record: one outcome a batch, shared by the deliveries of its records.

use crate::error::ProduceError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::{Notify, Semaphore};
use yak_protocol::ids::{LeaderEpoch, Offset, PartitionIndex};
use yak_protocol::message::Acked;

/// A record's acknowledgement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// The partition it was written to.
    pub partition: PartitionIndex,
    /// Its offset, or that of the record with the same `msg_id` that was there before; `None` with `acks=0`, where
    /// nobody answers, and where nobody remembers it.
    pub offset: Option<Offset>,
    /// How many replicas have it.
    pub replicas: u32,
    /// Whether they have it on disk.
    pub durable: bool,
    /// In which leader's term it was acknowledged.
    pub leader_epoch: LeaderEpoch,
}

/// The outcome of a record that was handed to the producer. May be dropped: the record is sent anyway.
#[derive(Clone, Debug)]
pub struct Delivery {
    outcome: Arc<Outcome>,
    index: u32,
}

impl Delivery {
    /// Waits for the acknowledgement.
    ///
    /// # Errors
    /// When the record was refused, or its fate is not known (see [`ProduceError`]).
    pub async fn wait(&self) -> Result<Delivered, ProduceError> {
        self.outcome.settled().await;
        self.get().unwrap_or_else(|| Err(ProduceError::Closed { place: Arc::clone(&self.outcome.place) }))
    }

    /// The outcome, if it is known by now.
    #[must_use]
    pub fn get(&self) -> Option<Result<Delivered, ProduceError>> {
        Some(match self.outcome.cell.get()? {
            Ok(acked) => Ok(self.delivered(acked.as_ref())),
            Err(error) => Err(error.clone()),
        })
    }

    fn delivered(&self, acked: Option<&Acked>) -> Delivered {
        Delivered {
            partition: self.outcome.partition,
            offset: acked.and_then(|acked| acked.offset_of(self.index)),
            replicas: acked.map_or(0, |acked| acked.replicas),
            durable: acked.is_some_and(|acked| acked.durable),
            leader_epoch: acked.map_or(LeaderEpoch::ZERO, |acked| acked.leader_epoch),
        }
    }
}

/// The outcome of one batch.
#[derive(Debug)]
pub(crate) struct Outcome {
    cell: OnceLock<Result<Option<Acked>, ProduceError>>,
    changed: Notify,
    partition: PartitionIndex,
    place: Arc<str>,
}

impl Outcome {
    pub(crate) async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.cell.get().is_some() {
                return;
            }
            changed.await;
        }
    }
}

/// Bytes and batches that are on their way, of all partitions of a producer.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Semaphore,
    bytes_max: usize,
    batches: Mutex<(u64, HashMap<u64, Arc<Outcome>>)>,
}

impl Buffer {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let bytes_max = bytes_max.clamp(1, u32::MAX as usize);
        Arc::new(Self { bytes: Semaphore::new(bytes_max), bytes_max, batches: Mutex::default() })
    }

    /// Waits until `bytes` more fit, and takes them. A record larger than everything takes everything.
    pub(crate) async fn take(&self, bytes: usize) -> usize {
        let bytes = bytes.min(self.bytes_max);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        // The semaphore is never closed, so there is no error to see.
        if let Ok(permit) = self.bytes.acquire_many(permits).await {
            permit.forget();
        }
        bytes
    }

    /// The outcomes of everything that is on its way now.
    pub(crate) fn outstanding(&self) -> Vec<Arc<Outcome>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).1.values().cloned().collect()
    }

    /// Opens the books on a new batch.
    pub(crate) fn ticket(self: &Arc<Self>, place: &Arc<str>, partition: PartitionIndex) -> Ticket {
        let outcome = Arc::new(Outcome {
            cell: OnceLock::new(),
            changed: Notify::new(),
            partition,
            place: Arc::clone(place),
        });
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.0 += 1;
        let number = batches.0;
        batches.1.insert(number, Arc::clone(&outcome));
        Ticket { outcome, buffer: Arc::clone(self), number, bytes: 0, records: 0, maybe_written: false }
    }
}

/// The batch's side of its outcome: settled exactly once, at the latest when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    outcome: Arc<Outcome>,
    buffer: Arc<Buffer>,
    number: u64,
    bytes: usize,
    records: u32,
    /// Whether any attempt so far may have been written.
    pub(crate) maybe_written: bool,
}

impl Ticket {
    /// Adds a record that took `bytes` of the buffer.
    pub(crate) fn add(&mut self, bytes: usize) -> Delivery {
        let index = self.records;
        self.records += 1;
        self.bytes += bytes;
        Delivery { outcome: Arc::clone(&self.outcome), index }
    }

    pub(crate) fn acked(self, acked: Option<Acked>) {
        self.settle(Ok(acked));
    }

    pub(crate) fn failed(self, error: ProduceError) {
        self.settle(Err(error));
    }

    fn settle(&self, outcome: Result<Option<Acked>, ProduceError>) {
        if self.outcome.cell.set(outcome).is_err() {
            return;
        }
        self.outcome.changed.notify_waiters();
        self.buffer.bytes.add_permits(self.bytes);
        self.buffer.batches.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.number);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let place = Arc::clone(&self.outcome.place);
        self.settle(Err(if self.maybe_written {
            ProduceError::OutcomeUnknown {
                place,
                why: "the producer was closed before the answer came".into(),
            }
        } else {
            ProduceError::Closed { place }
        }));
    }
}
