//! What the tests share: batches with a known content, an observer to wait on, and a store on any disk.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use bytes::Bytes;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use yak_protocol::batch::{BatchBuilder, Compression, RecordRef, Records, patch};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use yak_storage::io::{Io, RealIo};
use yak_storage::{FatalHook, Log, LogOp, Observer, ReadError, Store, StoreConfig};

/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn partition(n: u32) -> TopicPartition {
    TopicPartition { topic: TopicId(0x1234_5678_9abc), partition: PartitionIndex(n) }
}

/// A batch of these values; the record at index i has timestamp `time + i`.
pub fn batch_at(time: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for (n, value) in values.iter().enumerate() {
        let timestamp_ms = time + i64::try_from(n).unwrap();
        builder.push(&RecordRef { timestamp_ms, key: None, value: Some(value.as_bytes()), headers: &[] });
    }
    builder.build().unwrap()
}

pub fn batch(values: &[&str]) -> Bytes {
    batch_at(1000, values)
}

/// The batch as it lies in a log.
pub fn stamped(batch: &Bytes, base: u64, epoch: u32) -> Bytes {
    let mut bytes = batch.to_vec();
    patch(&mut bytes, Offset(base), LeaderEpoch(epoch));
    bytes.into()
}

/// Offset and value of each record.
pub fn records(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for found in yak_protocol::batch::batches(bytes) {
        let (_, one) = found.unwrap();
        for record in Records::open(one, 8 << 20).unwrap().iter() {
            let record = record.unwrap();
            all.push((record.offset.0, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    all
}

/// Everything in the log.
pub fn read_all(log: &Log) -> Result<Vec<(u64, String)>, ReadError> {
    let (start, end) = log.bounds();
    let (mut next, mut all) = (start, Vec::new());
    while next < end {
        let batches = log.read(next, 200, end)?;
        assert!(!batches.is_empty(), "nothing at {next} though the log ends at {end}");
        for bytes in batches {
            all.extend(records(&bytes));
            next = Offset(all.last().unwrap().0 + 1);
        }
    }
    Ok(all)
}

#[derive(Default, Debug, Clone)]
pub struct Heard {
    pub written: u64,
    pub synced: u64,
    pub failed: Vec<(u64, ErrorCode)>,
}

/// Keeps what a log reports.
#[derive(Default)]
pub struct Ear {
    heard: Mutex<Heard>,
    changed: Condvar,
}

impl Observer for Ear {
    fn written(&self, seq: u64) {
        let mut heard = self.heard.lock().unwrap();
        assert!(heard.written < seq, "written {seq} after {}", heard.written);
        heard.written = seq;
        self.changed.notify_all();
    }

    fn synced(&self, seq: u64) {
        let mut heard = self.heard.lock().unwrap();
        assert_eq!(heard.written, seq, "synced is what was written");
        heard.synced = seq;
        self.changed.notify_all();
    }

    fn failed(&self, seq: u64, error: WireError) {
        let mut heard = self.heard.lock().unwrap();
        assert!(heard.written < seq, "what is written does not fail: {error}");
        heard.failed.push((seq, error.code));
        self.changed.notify_all();
    }
}

impl Ear {
    pub fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until `what` holds.
    pub fn until(&self, what: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.lock().unwrap();
        let give_up = Instant::now() + PATIENCE;
        while !what(&heard) {
            let left = give_up.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain: {heard:?}");
            heard = self.changed.wait_timeout(heard, left).unwrap().0;
        }
        heard.clone()
    }

    pub fn until_synced(&self, seq: u64) {
        self.until(|heard| heard.synced >= seq || !heard.failed.is_empty());
        assert!(self.heard().synced >= seq, "{:?}", self.heard());
    }
}

/// Waits until `what` holds, for things that have no signal.
pub fn wait_for(what: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < give_up, "waited in vain");
        std::thread::yield_now();
    }
}

/// A log with its submitter.
pub struct Writer {
    pub log: Log,
    pub ear: Arc<Ear>,
    pub seq: u64,
}

impl Writer {
    pub fn new(store: &Store, id: TopicPartition) -> Self {
        let ear = Arc::new(Ear::default());
        Self { log: store.log(id, Arc::clone(&ear) as Arc<dyn Observer>), ear, seq: 0 }
    }

    pub fn submit(&mut self, op: LogOp) -> u64 {
        self.seq += 1;
        self.log.submit(self.seq, op);
        self.seq
    }

    pub fn append(&mut self, base: u64, epoch: u32, batches: Bytes) -> u64 {
        let leader_epoch = Some(LeaderEpoch(epoch));
        self.submit(LogOp::Append { base: Offset(base), leader_epoch, batches })
    }

    pub fn truncate(&mut self, to: u64) -> u64 {
        self.submit(LogOp::Truncate { to: Offset(to) })
    }

    /// Waits for the last operation, when so many earlier ones failed.
    pub fn sync_after(&self, failures: usize) {
        let seq = self.seq;
        let heard = self.ear.until(|heard| heard.synced >= seq || heard.failed.len() > failures);
        assert!(heard.synced >= seq, "{heard:?}");
    }

    pub fn sync(&self) {
        self.ear.until_synced(self.seq);
    }
}

/// Small files, so that rolls and recycling happen in a test.
pub fn small() -> StoreConfig {
    StoreConfig {
        segment_bytes: 400,
        wal_file_bytes: 9 << 10,
        index_interval_bytes: 100,
        checkpoint: Duration::from_secs(3600),
        reserve_bytes: Some(0),
        full_recheck: Duration::from_millis(1),
        ballast_bytes: 64 << 10,
        ..StoreConfig::default()
    }
}

/// A hook that only notes.
pub fn note_fatal() -> (FatalHook, Arc<Mutex<Option<String>>>) {
    let noted = Arc::new(Mutex::new(None));
    let note = Arc::clone(&noted);
    (Arc::new(move |what: &str| *note.lock().unwrap() = Some(what.to_owned())), noted)
}

/// Opens with a hook that fails the test.
pub fn open_on(io: Arc<dyn Io>, dir: &Path, config: StoreConfig) -> Store {
    let fatal: FatalHook = Arc::new(|what| panic!("fatal: {what}"));
    Store::open(dir, config, io, fatal).unwrap()
}

pub fn open(dir: &Path, config: StoreConfig) -> Store {
    open_on(Arc::new(RealIo), dir, config)
}
