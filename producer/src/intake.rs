//! Where records of one partition are filled into batches, until its sender takes them.

use crate::delivery::{Buffer, Delivery, Ticket};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use yak_protocol::batch::{BatchBuilder, Compression, RecordRef};
use yak_protocol::ids::PartitionIndex;

/// A batch that is being filled, or is full and waits to be sent.
#[derive(Debug)]
pub(crate) struct Filling {
    pub(crate) builder: BatchBuilder,
    pub(crate) ticket: Ticket,
    /// When its first record came: linger and delivery timeout count from here.
    pub(crate) opened: Instant,
}

/// Records of one partition on their way into batches.
#[derive(Debug)]
pub(crate) struct Intake {
    place: Arc<str>,
    partition: PartitionIndex,
    compression: Compression,
    batch_bytes: usize,
    linger: Duration,
    buffer: Arc<Buffer>,
    batches: Mutex<Batches>,
    changed: Notify,
    /// Whether the open batch can take another record like the last one.
    filling: AtomicBool,
    /// Whether there were records with a message id.
    ids: AtomicBool,
}

#[derive(Debug, Default)]
struct Batches {
    full: VecDeque<Filling>,
    open: Option<Filling>,
    closed: bool,
}

impl Intake {
    pub(crate) fn new(
        place: Arc<str>,
        partition: PartitionIndex,
        compression: Compression,
        batch_bytes: usize,
        linger: Duration,
        buffer: Arc<Buffer>,
    ) -> Self {
        Self {
            place,
            partition,
            compression,
            batch_bytes,
            linger,
            buffer,
            batches: Mutex::default(),
            changed: Notify::new(),
            filling: AtomicBool::new(false),
            ids: AtomicBool::new(false),
        }
    }

    /// Adds a record that already took `bytes` of the buffer.
    pub(crate) fn append(&self, record: &RecordRef<'_>, bytes: usize, now: Instant) -> Delivery {
        let mut batches = self.lock();
        if batches.closed {
            // The ticket is dropped unsent, which is what its delivery will say.
            return self.buffer.ticket(&self.place, self.partition).add(bytes);
        }
        let mut filled = false;
        if let Some(open) = batches.open.take() {
            if open.builder.size_estimate() + bytes > self.batch_bytes {
                batches.full.push_back(open);
                filled = true;
            } else {
                batches.open = Some(open);
            }
        }
        let fresh = batches.open.is_none();
        let open = batches.open.get_or_insert_with(|| Filling {
            builder: BatchBuilder::new(self.compression),
            ticket: self.buffer.ticket(&self.place, self.partition),
            opened: now,
        });
        open.builder.push(record);
        let delivery = open.ticket.add(bytes);
        if open.builder.size_estimate() >= self.batch_bytes {
            filled = true;
            let open = batches.open.take();
            batches.full.extend(open);
        }
        let another_fits = batches
            .open
            .as_ref()
            .is_some_and(|open| open.builder.size_estimate() + bytes <= self.batch_bytes);
        self.filling.store(another_fits, Ordering::Relaxed);
        drop(batches);
        if fresh || filled {
            self.changed.notify_one();
        }
        delivery
    }

    /// From here on, batches may have records with message ids.
    pub(crate) fn note_ids(&self) {
        self.ids.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_ids(&self) -> bool {
        self.ids.load(Ordering::Relaxed)
    }

    /// Whether a batch is open that more records can join: the partition to stay at without a key.
    pub(crate) fn is_filling(&self) -> bool {
        self.filling.load(Ordering::Relaxed)
    }

    /// Takes the oldest batch if it is full or has lingered long enough.
    pub(crate) fn take_due(&self, now: Instant) -> Option<Filling> {
        let mut batches = self.lock();
        if let Some(full) = batches.full.pop_front() {
            return Some(full);
        }
        if batches.open.as_ref().is_some_and(|open| now >= open.opened + self.linger) {
            return self.take_open(&mut batches);
        }
        None
    }

    /// When `take_due` will have something, as things stand; `None` while there is no record.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let batches = self.lock();
        batches
            .full
            .front()
            .map(|full| full.opened)
            .or_else(|| batches.open.as_ref().map(|open| open.opened + self.linger))
    }

    /// Makes what is there due at once.
    pub(crate) fn hurry(&self) {
        let mut batches = self.lock();
        let open = self.take_open(&mut batches);
        batches.full.extend(open);
        drop(batches);
        self.changed.notify_one();
    }

    /// Takes the oldest batch if it was opened before `opened_before`, due or not.
    pub(crate) fn take_older(&self, opened_before: Instant) -> Option<Filling> {
        let mut batches = self.lock();
        if batches.full.front().is_some_and(|full| full.opened < opened_before) {
            return batches.full.pop_front();
        }
        if batches.full.is_empty() && batches.open.as_ref().is_some_and(|open| open.opened < opened_before) {
            return self.take_open(&mut batches);
        }
        None
    }

    /// Gives up what is there and everything that still comes: nobody sends it any more.
    pub(crate) fn close(&self) {
        let mut batches = self.lock();
        let abandoned = (std::mem::take(&mut batches.full), self.take_open(&mut batches));
        batches.closed = true;
        drop(batches);
        drop(abandoned);
    }

    /// The topic and the partition, `orders/2`.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Waits until something was added or became due by `hurry`.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes the open batch, which is then no place to stay at.
    fn take_open(&self, batches: &mut Batches) -> Option<Filling> {
        self.filling.store(false, Ordering::Relaxed);
        batches.open.take()
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
