//! What a partition remembers of its idempotent producers, read back from its log (invariant I12).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use yak_core::partition::{BatchHead, Producers, Sequence, Stamped};
use yak_protocol::batch::BatchHeader;
use yak_protocol::ids::Offset;
use yak_storage::{Log, ReadError};

/// How many batches a fold reads before it leaves a snapshot, so that the next one reads fewer.
const SNAPSHOT_BATCHES: u64 = 1000;

/// What the machine needs to know of a batch.
pub(crate) fn head(header: &BatchHeader) -> BatchHead {
    BatchHead { count: header.count(), leader_epoch: header.leader_epoch, sequence: sequence(header) }
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
    /// How many batches were read for it.
    pub(crate) batches: u64,
    /// Whether nothing was skipped.
    whole: bool,
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
pub(crate) fn rebuild(log: &Log, end: Offset, damage: Damage) -> Result<Folded, ReadError> {
    let generation = log.generation();
    let (mut from, producers) = newest_snapshot(log, end);
    let mut folded = Folded { producers, batches: 0, whole: true };
    loop {
        match fold(log, from, end, &mut folded) {
            Err(ReadError::Damaged { to, .. }) if damage == Damage::Skip && to > from => {
                (from, folded.whole) = (to, false);
            }
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    if folded.batches >= SNAPSHOT_BATCHES && folded.whole {
        save(log, end, &folded.producers, generation);
    }
    Ok(folded)
}

fn fold(log: &Log, from: Offset, end: Offset, folded: &mut Folded) -> Result<(), ReadError> {
    for header in log.heads(from.max(log.bounds().0), end) {
        let header = header?;
        folded.batches += 1;
        if let Some(sequence) = sequence(&header) {
            folded.producers.fold(&Stamped { base: header.base_offset, count: header.count(), sequence });
        }
    }
    Ok(())
}

/// A snapshot that cannot be read costs a longer fold, nothing else.
fn newest_snapshot(log: &Log, end: Offset) -> (Offset, Producers) {
    let found = log.load_producers(end).ok().flatten();
    let decoded = found.and_then(|(offset, bytes)| Some((offset, rmp_serde::from_slice(&bytes).ok()?)));
    decoded.unwrap_or((Offset::ZERO, Producers::default()))
}

/// Leaves a snapshot at `end`; without it the next fold reads more, nothing else. Blocks.
pub(crate) fn save(log: &Log, end: Offset, producers: &Producers, generation: u64) {
    match rmp_serde::to_vec(producers) {
        Ok(bytes) => {
            if let Err(error) = log.save_producers(end, &bytes, generation) {
                tracing::debug!(%error, "no snapshot of the producers");
            }
        }
        Err(error) => tracing::debug!(%error, "no snapshot of the producers"),
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
            rebuild(&self.log, self.log.bounds().1, Damage::Fail).expect("the log is sound")
        }
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
        save(&log.log, Offset(20), &folded.producers, log.log.generation());
        log.append(1, 23, 0);
        let folded = log.fold();
        assert_eq!(folded.batches, 3, "the rest is in the snapshot");
        let without = {
            let mut all = Folded { producers: Producers::default(), batches: 0, whole: true };
            fold(&log.log, Offset::ZERO, Offset(23), &mut all).expect("sound");
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
            let mut some = Folded { producers: Producers::default(), batches: 0, whole: true };
            fold(&log.log, Offset::ZERO, Offset(8), &mut some).expect("sound");
            some.producers
        });
        save(&log.log, Offset(10), &at_10, begun);
        log.run(LogOp::Truncate { to: Offset(8) });
        // Begun before the cut, written after it.
        save(&log.log, Offset(10), &at_10, begun);
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
        let mut folded = Folded { producers: Producers::default(), batches: 0, whole: false };
        snapshots.folded(&folded);
        assert!(!snapshots.due(10));
        folded.whole = true;
        snapshots.folded(&folded);
        assert!(snapshots.due(10));
        snapshots.taken();
        assert!(!snapshots.due(10));
    }
}
