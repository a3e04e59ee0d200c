//! What a partition remembers of its idempotent producers and of message ids, read back from its log (invariant
//! I12).
//!
//! Batches with ids are told by their time of append (`LogAppendTime`), which brokers write into no others. Only
//! these are opened, and only as far back as ids are remembered: a snapshot says where that begins.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use yak_core::partition::{BatchHead, BatchIds, Ids, Producers, Sequence, Stamped};
use yak_protocol::batch::{BatchError, BatchHeader, message_ids};
use yak_protocol::ids::Offset;
use yak_storage::{Log, ReadError};

/// How many batches a fold reads before it leaves a snapshot, so that the next one reads fewer.
const SNAPSHOT_BATCHES: u64 = 1000;

/// What the machine needs to know of a batch.
pub(crate) fn head(header: &BatchHeader, ids: Option<BatchIds>) -> BatchHead {
    BatchHead { count: header.count(), leader_epoch: header.leader_epoch, sequence: sequence(header), ids }
}

/// The ids in a batch of the log; `None` in one that was stored without regard to ids.
///
/// # Errors
/// When the batch cannot be opened.
pub(crate) fn ids_of_batch(header: &BatchHeader, batch: &[u8]) -> Result<Option<BatchIds>, BatchError> {
    if !header.log_append_time() {
        return Ok(None);
    }
    let records = message_ids(batch)?.into();
    Ok(Some(BatchIds { time_ms: header.max_timestamp, records }))
}

fn sequence(header: &BatchHeader) -> Option<Sequence> {
    header.producer_id.is_some().then_some(Sequence {
        producer: header.producer_id,
        epoch: header.producer_epoch,
        base: header.base_sequence,
    })
}

/// What a fold does with a damaged range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// It fails: the range will be repaired, and half a fold would let duplicates through.
    Fail,
    /// It goes on behind the range: no copy is in sight, and without a fold no idempotent producer can go
    /// on. Only a repeat of a batch in the range is not recognized.
    Skip,
}

/// What a fold found.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) producers: Producers,
    pub(crate) ids: Ids,
    /// How many batches were read for it.
    pub(crate) batches: u64,
    /// Whether nothing was skipped.
    whole: bool,
}

/// What is kept of a fold. Ids themselves are not: they are read again, from the first that is remembered on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    producers: Producers,
    /// Where the first id is that was remembered.
    ids_from: Option<Offset>,
    dedupe_window_ms: u64,
    /// Whether there were older ones that a longer window would hold.
    forgot: bool,
}

impl Snapshot {
    pub(crate) fn of(producers: &Producers, ids: &Ids) -> Self {
        Self {
            producers: producers.clone(),
            ids_from: ids.first_offset(),
            dedupe_window_ms: ids.window_ms(),
            forgot: ids.forgot(),
        }
    }
}

/// When a partition leaves a snapshot of its producers. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Snapshots(Arc<Book>);

#[derive(Default)]
struct Book {
    /// Bytes appended since the last one.
    unsaved_bytes: AtomicUsize,
    /// A damaged range was folded around: the state is no fold of the log (invariant I12) and must outlive
    /// nothing.
    partial: AtomicBool,
}

impl Snapshots {
    pub(crate) fn appended(&self, bytes: usize) {
        self.0.unsaved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The state was folded from the log.
    pub(crate) fn folded(&self, folded: &Folded) {
        self.0.partial.store(!folded.whole, Ordering::Relaxed);
    }

    /// Whether so much was appended since the last one, and the state is worth one.
    pub(crate) fn due(&self, after_bytes: usize) -> bool {
        self.0.unsaved_bytes.load(Ordering::Relaxed) >= after_bytes && !self.0.partial.load(Ordering::Relaxed)
    }

    pub(crate) fn taken(&self) {
        self.0.unsaved_bytes.store(0, Ordering::Relaxed);
    }
}

/// Folds the log up to `end`, from the newest snapshot on.
///
/// # Errors
/// When a part of the log cannot be read.
pub(crate) fn rebuild(
    log: &Log,
    end: Offset,
    dedupe_window_ms: u64,
    damage: Damage,
) -> Result<Folded, ReadError> {
    let generation = log.generation();
    let (producers_from, snapshot) = newest_snapshot(log, end);
    // A longer window reaches further back than the snapshot knows of.
    let longer = dedupe_window_ms > snapshot.dedupe_window_ms && snapshot.forgot;
    let (ids_from, forgot) = match snapshot.ids_from {
        _ if longer => (Offset::ZERO, false),
        from => (from.unwrap_or(producers_from), snapshot.forgot),
    };
    let ids = Ids::new(dedupe_window_ms, forgot);
    let mut folded = Folded { producers: snapshot.producers, ids, batches: 0, whole: true };
    let mut from = producers_from.min(ids_from);
    loop {
        match fold(log, from, end, producers_from, &mut folded) {
            Err(ReadError::Damaged { to, .. }) if damage == Damage::Skip && to > from => {
                (from, folded.whole) = (to, false);
            }
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    if folded.batches >= SNAPSHOT_BATCHES && folded.whole {
        save(log, end, &Snapshot::of(&folded.producers, &folded.ids), generation);
    }
    folded.ids.log_starts_at(log.bounds().0);
    Ok(folded)
}

/// Folds the batches of `[from, end)`; of those below `producers_from` only ids are new.
fn fold(
    log: &Log,
    from: Offset,
    end: Offset,
    producers_from: Offset,
    folded: &mut Folded,
) -> Result<(), ReadError> {
    for found in log.batches(from.max(log.bounds().0), end) {
        let (header, batch): (BatchHeader, Bytes) = found?;
        folded.batches += 1;
        let damaged = |_| ReadError::Damaged { from: header.base_offset, to: header.next_offset() };
        if let Some(ids) = ids_of_batch(&header, &batch).map_err(damaged)? {
            folded.ids.fold(header.base_offset, &ids);
        }
        if let Some(sequence) = sequence(&header)
            && header.base_offset >= producers_from
        {
            folded.producers.fold(&Stamped { base: header.base_offset, count: header.count(), sequence });
        }
    }
    Ok(())
}

/// A snapshot that cannot be read costs a longer fold, nothing else.
fn newest_snapshot(log: &Log, end: Offset) -> (Offset, Snapshot) {
    let found = log.load_producers(end).ok().flatten();
    let decoded = found.and_then(|(offset, bytes)| Some((offset, rmp_serde::from_slice(&bytes).ok()?)));
    decoded.unwrap_or_default()
}

/// Leaves a snapshot at `end`; without it the next fold reads more, nothing else. Blocks.
pub(crate) fn save(log: &Log, end: Offset, snapshot: &Snapshot, generation: u64) {
    match rmp_serde::to_vec(snapshot) {
        Ok(bytes) => {
            if let Err(error) = log.save_producers(end, &bytes, generation) {
                tracing::debug!(%error, "no snapshot of the producers");
            }
        }
        Err(error) => tracing::debug!(%error, "no snapshot of the producers"),
    }
}

impl Default for Folded {
    fn default() -> Self {
        Self { producers: Producers::default(), ids: Ids::default(), batches: 0, whole: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use yak_protocol::batch::{BatchBuilder, Compression, RecordRef};
    use yak_protocol::error::WireError;
    use yak_protocol::ids::{
        LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicPartition,
    };
    use yak_storage::io::sim::SimDisk;
    use yak_storage::{LogOp, Observer, Store, StoreConfig};

    struct Ear(Sender<u64>);

    impl Observer for Ear {
        fn written(&self, _: u64) {}
        fn synced(&self, seq: u64) {
            let _ = self.0.send(seq);
        }
        fn failed(&self, seq: u64, error: WireError) {
            panic!("operation {seq} failed: {error}");
        }
    }

    /// A log whose every batch is one record of producer 7.
    struct Fixture {
        store: Store,
        log: Log,
        heard: std::sync::mpsc::Receiver<u64>,
        submitted: u64,
    }

    impl Fixture {
        fn open(disk: &SimDisk) -> Self {
            let fatal = Arc::new(|what: &str| panic!("{what}"));
            let store = Store::open("/data".as_ref(), StoreConfig::default(), Arc::new(disk.clone()), fatal);
            let store = store.expect("the disk is sound");
            let (synced, heard) = channel();
            let id = TopicPartition { topic: TopicId(5), partition: PartitionIndex(0) };
            let log = store.log(id, Arc::new(Ear(synced)));
            Self { store, log, heard, submitted: 0 }
        }

        fn run(&mut self, op: LogOp) {
            self.submitted += 1;
            self.log.submit(self.submitted, op);
            while self.heard.recv().expect("the store runs") < self.submitted {}
        }

        /// Appends records up to `end`; offset and sequence number are the same, but for `shift`.
        fn append(&mut self, epoch: u32, end: u64, shift: i32) {
            for base in self.log.bounds().1.0..end {
                let sequence = i32::try_from(base).expect("small") + shift;
                let mut builder =
                    BatchBuilder::new(Compression::None).producer(ProducerId(7), ProducerEpoch(0), sequence);
                builder.push(&RecordRef { timestamp_ms: 1, key: None, value: Some(b"x"), headers: &[] });
                let batches = builder.build().expect("a batch");
                let leader_epoch = Some(LeaderEpoch(epoch));
                self.run(LogOp::Append { base: Offset(base), leader_epoch, batches });
            }
        }

        fn fold(&self) -> Folded {
            rebuild(&self.log, self.log.bounds().1, 600_000, Damage::Fail).expect("the log is sound")
        }
    }

    fn snapshot(producers: &Producers) -> Snapshot {
        Snapshot::of(producers, &Ids::default())
    }

    #[test]
    fn a_restart_folds_from_the_last_snapshot_on() {
        let disk = SimDisk::new();
        let mut log = Fixture::open(&disk);
        log.append(1, 20, 0);
        log.store.close().expect("clean");
        let mut log = Fixture::open(&disk);
        let folded = log.fold();
        assert_eq!(folded.batches, 20);
        save(&log.log, Offset(20), &snapshot(&folded.producers), log.log.generation());
        log.append(1, 23, 0);
        let folded = log.fold();
        assert_eq!(folded.batches, 3, "the rest is in the snapshot");
        let without = {
            let mut all = Folded::default();
            fold(&log.log, Offset::ZERO, Offset(23), Offset::ZERO, &mut all).expect("sound");
            all.producers
        };
        assert_eq!(folded.producers, without, "and it says the same");
        drop(log);
        assert_eq!(Fixture::open(&disk).fold().batches, 3);
    }

    #[test]
    fn what_was_cut_is_in_no_fold() {
        let disk = SimDisk::new();
        let mut log = Fixture::open(&disk);
        log.append(1, 10, 0);
        log.store.close().expect("clean");
        let mut log = Fixture::open(&disk);
        let at_10 = log.fold().producers;
        let (begun, at_8) = (log.log.generation(), {
            let mut some = Folded::default();
            fold(&log.log, Offset::ZERO, Offset(8), Offset::ZERO, &mut some).expect("sound");
            some.producers
        });
        save(&log.log, Offset(10), &snapshot(&at_10), begun);
        log.run(LogOp::Truncate { to: Offset(8) });
        // Begun before the cut, written after it.
        save(&log.log, Offset(10), &snapshot(&at_10), begun);
        assert_eq!(log.fold().producers, at_8);
        log.append(2, 10, 100);
        assert_eq!(log.fold().batches, 10, "neither of the two counts");
        assert_ne!(log.fold().producers, at_10);
    }

    #[test]
    fn a_fold_around_damage_leaves_no_snapshot() {
        let snapshots = Snapshots::default();
        snapshots.appended(10);
        assert!(snapshots.due(10) && !snapshots.due(11));
        let mut folded = Folded { whole: false, ..Folded::default() };
        snapshots.folded(&folded);
        assert!(!snapshots.due(10));
        folded.whole = true;
        snapshots.folded(&folded);
        assert!(snapshots.due(10));
        snapshots.taken();
        assert!(!snapshots.due(10));
    }
}
