//! Reads by offset and by time give what a list in memory would, whatever is in memory, in files, behind a
//! restart or behind an index that is not there.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use bytes::Bytes;
use harness::*;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use yak_protocol::batch::{BatchBuilder, Compression, RecordRef};
use yak_protocol::ids::{LeaderEpoch, Offset};
use yak_storage::io::Io;
use yak_storage::io::sim::SimDisk;
use yak_storage::{Log, LogOp, ReadError, Store, StoreConfig};

/// A record of the model: its timestamp and value. Its index is its offset.
type Record = (i64, String);

fn build(records: &[Record], compressed: bool) -> Bytes {
    let mut builder = BatchBuilder::new(if compressed { Compression::Lz4 } else { Compression::None });
    for (timestamp_ms, value) in records {
        let record =
            RecordRef { timestamp_ms: *timestamp_ms, key: None, value: Some(value.as_bytes()), headers: &[] };
        builder.push(&record);
    }
    builder.build().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    /// Appends batches of so many records each, as one operation.
    Append {
        batches: Vec<usize>,
        compressed: bool,
        pushed: bool,
    },
    /// Keeps this share of the log, in percent, cut where a batch begins.
    Truncate(u64),
    /// Moves the start up by this share.
    MoveStart(u64),
    Restart {
        clean: bool,
    },
    /// Removes all index files.
    LoseIndexes,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::collection::vec(1..6_usize, 1..4), any::<bool>(), any::<bool>())
            .prop_map(|(batches, compressed, pushed)| Step::Append { batches, compressed, pushed }),
        1 => (0..100_u64).prop_map(Step::Truncate),
        1 => (0..60_u64).prop_map(Step::MoveStart),
        1 => any::<bool>().prop_map(|clean| Step::Restart { clean }),
        1 => Just(Step::LoseIndexes),
    ]
}

struct Model {
    disk: SimDisk,
    config: StoreConfig,
    store: Option<Store>,
    writer: Writer,
    records: Vec<Record>,
    start: u64,
    /// Where batches begin.
    bounds: Vec<u64>,
    epoch: u32,
    clock: i64,
}

impl Model {
    fn new(config: StoreConfig) -> Self {
        let disk = SimDisk::new();
        let store = open_on(Arc::new(disk.clone()), Path::new("/data"), config.clone());
        let writer = Writer::new(&store, partition(0));
        let (records, bounds) = (Vec::new(), Vec::new());
        Self { disk, config, store: Some(store), writer, records, start: 0, bounds, epoch: 1, clock: 1000 }
    }

    fn end(&self) -> u64 {
        self.records.len() as u64
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append { batches, compressed, pushed } => {
                let base = self.end();
                let mut bytes = Vec::new();
                for count in batches {
                    let at = self.end();
                    let records: Vec<Record> = (at..at + *count as u64)
                        .map(|n| {
                            // Time mostly goes on, and sometimes back.
                            self.clock += if n % 7 == 3 { -5 } else { 3 };
                            (self.clock, format!("record {n} of epoch {}", self.epoch))
                        })
                        .collect();
                    self.bounds.push(at);
                    let batch = build(&records, *compressed);
                    bytes.extend_from_slice(&if *pushed { stamped(&batch, at, self.epoch) } else { batch });
                    self.records.extend(records);
                }
                let leader_epoch = (!pushed).then_some(LeaderEpoch(self.epoch));
                self.writer.submit(LogOp::Append { base: Offset(base), leader_epoch, batches: bytes.into() });
            }
            Step::Truncate(percent) => {
                let share = self.start + (self.end() - self.start) * percent / 100;
                let to = self.bounds.iter().copied().rfind(|bound| *bound <= share);
                let Some(to) = to.filter(|to| *to >= self.start) else { return };
                self.writer.truncate(to);
                self.records.truncate(usize::try_from(to).unwrap());
                self.bounds.retain(|bound| *bound < to);
                self.epoch += 1;
            }
            Step::MoveStart(percent) => {
                self.start += (self.end() - self.start) * percent / 100;
                self.writer.submit(LogOp::MoveLogStart { to: Offset(self.start) });
            }
            Step::Restart { clean } => {
                if self.writer.seq > 0 {
                    self.writer.sync();
                }
                let store = self.store.take().unwrap();
                if *clean {
                    store.close().unwrap()
                } else {
                    drop(store)
                }
                let store = open_on(Arc::new(self.disk.clone()), Path::new("/data"), self.config.clone());
                self.writer = Writer::new(&store, partition(0));
                self.store = Some(store);
            }
            Step::LoseIndexes => {
                let dir = Path::new("/data/topics").join(partition(0).topic.to_string()).join("0");
                for entry in self.disk.list(&dir).unwrap_or_default() {
                    if entry.name.ends_with("index") {
                        // The flusher may be removing it, too.
                        let _ = self.disk.remove_file(&dir.join(entry.name));
                    }
                }
            }
        }
    }

    fn check(&self) {
        if self.writer.seq > 0 {
            self.writer.sync();
        }
        let log = &self.writer.log;
        let (start, end) = (self.start, self.end());
        assert_eq!(log.bounds(), (Offset(start), Offset(end)));
        self.check_offsets(log, start, end);
        self.check_times(log, start, end);
        let heads: Vec<u64> =
            log.heads(Offset(start), Offset(end)).map(|head| head.unwrap().base_offset.0).collect();
        let first = self.bounds.iter().rposition(|bound| *bound <= start).unwrap_or(0);
        if start < end {
            assert_eq!(heads, self.bounds[first..]);
        }
        assert!(log.damaged().is_empty());
    }

    fn check_offsets(&self, log: &Log, start: u64, end: u64) {
        for from in start..end {
            for (max_bytes, below) in [(1, end), (400, end), (100_000, end), (100_000, (from + 3).min(end))] {
                let batches = log.read(Offset(from), max_bytes, Offset(below)).unwrap();
                if let Some(recent) = log.read_recent(Offset(from), max_bytes, Offset(below)) {
                    assert_eq!(recent, batches, "from memory as from the file");
                }
                let first_end = self.bounds.iter().copied().find(|bound| *bound > from).unwrap_or(end);
                assert_eq!(batches.is_empty(), first_end > below, "{from} below {below}: whole batches only");
                let size: usize = batches.iter().map(Bytes::len).sum();
                assert!(batches.len() <= 1 || size <= max_bytes);
                let found: Vec<_> = batches.iter().flat_map(|bytes| records(bytes)).collect();
                for (offset, value) in &found {
                    assert_eq!(value, &self.records[usize::try_from(*offset).unwrap()].1);
                }
                if let (Some(first), Some(last)) = (found.first(), found.last()) {
                    assert!(first.0 <= from && last.0 < below);
                    assert_eq!(found.len() as u64, last.0 - first.0 + 1, "without gaps");
                }
            }
        }
        assert!(log.read(Offset(end), 1, Offset(u64::MAX)).unwrap().is_empty());
        for outside in [start.checked_sub(1), Some(end + 1)].into_iter().flatten() {
            let error = log.read(Offset(outside), 1, Offset(end)).unwrap_err();
            assert!(matches!(error, ReadError::OutOfRange { .. }));
            assert_eq!(log.read_recent(Offset(outside), 1, Offset(end)), None);
        }
    }

    fn check_times(&self, log: &Log, start: u64, end: u64) {
        for timestamp in (990..self.clock + 10).step_by(3) {
            let inside = (start..end).map(|n| usize::try_from(n).unwrap());
            let expected = inside.clone().find(|n| self.records[*n].0 >= timestamp);
            let found = log.offset_at(timestamp, Offset(end)).unwrap();
            assert_eq!(found, expected.map(|n| Offset(n as u64)), "at or after {timestamp}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]
    #[test]
    fn as_a_list_would(steps in prop::collection::vec(step(), 1..14), eager in any::<bool>()) {
        let mut config = small();
        if eager {
            config = StoreConfig {
                checkpoint: std::time::Duration::ZERO,
                write_behind_bytes: 1,
                tail_bytes: 0,
                open_files_max: 1,
                ..config
            };
        }
        let mut model = Model::new(config);
        for step in &steps {
            model.apply(step);
            model.check();
        }
    }
}

#[test]
fn the_first_batch_comes_whole_even_if_it_is_larger_than_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { segment_bytes: 10 << 20, wal_file_bytes: 1 << 20, ..small() };
    let store = open(dir.path(), config.clone());
    let mut writer = Writer::new(&store, partition(0));
    let large = "x".repeat(3 << 20);
    writer.append(0, 1, batch(&["small"]));
    writer.append(1, 1, batch(&[&large]));
    writer.append(2, 1, batch(&["small too"]));
    writer.sync();
    store.close().unwrap();
    let store = open(dir.path(), config);
    let log = Writer::new(&store, partition(0)).log;
    assert_eq!(log.read_recent(Offset(0), 1, Offset(3)), None, "nothing is in memory");
    let found = log.read(Offset(1), 10, Offset(3)).unwrap();
    assert_eq!(records(&found[0]), [(1, large)]);
    assert_eq!(found.len(), 1);
    assert_eq!(
        log.read(Offset(0), 10_000, Offset(3)).unwrap().len(),
        1,
        "the large one is for the next read"
    );
}

/// Behind the cut the index file still tells of what was cut, and the segment's file still holds it.
#[test]
fn what_a_truncation_left_in_the_files_misleads_no_reader() {
    let mut model = Model::new(small());
    let append =
        |batches: &[usize]| Step::Append { batches: batches.to_vec(), compressed: false, pushed: false };
    let restart = Step::Restart { clean: true };
    for step in [append(&[1, 3]), append(&[1, 2, 1]), restart, Step::Truncate(63), append(&[1, 1])] {
        model.apply(&step);
        model.check();
    }
}
