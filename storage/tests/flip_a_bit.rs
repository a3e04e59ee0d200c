//! One flipped bit, anywhere in a data dir: below the checkpoint, in a middle round of the write-ahead log
//! or in its last one, in an index, a checkpoint or the identity. No record is ever silently wrong, nothing
//! synced is cut but the last round (which looks torn), and what is damaged can be repaired.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use bytes::Bytes;
use harness::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::Offset;
use yak_storage::io::Io;
use yak_storage::io::sim::{Crash, SimDisk};
use yak_storage::{Log, LogOp, ReadError, RepairError, Store};

const APPENDS: u64 = 24;
/// Those before it are in the segments below the checkpoint.
const CHECKPOINTED: u64 = 12;

fn value(n: u64) -> String {
    format!("the value of record number {n}")
}

/// The n-th append: two records.
fn nth(n: u64) -> Bytes {
    stamped(&batch(&[&value(2 * n), &value(2 * n + 1)]), 2 * n, 1)
}

/// Half of it below the checkpoint, half of it in rounds of the write-ahead log, one append each.
fn prepare() -> SimDisk {
    let disk = SimDisk::new();
    let mut store = open_on(Arc::new(disk.clone()), Path::new("/data"), small());
    for n in 0..APPENDS {
        if n == CHECKPOINTED {
            store.close().unwrap();
            store = open_on(Arc::new(disk.clone()), Path::new("/data"), small());
        }
        let mut writer = Writer::new(&store, partition(0));
        writer.append(2 * n, 1, batch(&[&value(2 * n), &value(2 * n + 1)]));
        writer.sync();
    }
    drop(store);
    disk.crash(Crash::LoseUnsynced);
    disk
}

fn reopen(disk: &SimDisk) -> Store {
    open_on(Arc::new(disk.clone()), Path::new("/data"), small())
}

fn files(disk: &SimDisk, dir: &str, ending: &str) -> Vec<PathBuf> {
    let dir = Path::new("/data").join(dir);
    let names = disk.list(&dir).unwrap().into_iter().filter(|entry| entry.name.ends_with(ending));
    names.map(|entry| dir.join(entry.name)).collect()
}

fn segment_dir() -> String {
    format!("topics/{}/0", partition(0).topic)
}

fn flip(disk: &SimDisk, path: &Path, at: usize) {
    disk.damage(path, |bytes| bytes[at] ^= 1 << (at % 8)).unwrap();
}

/// Reads record by record; every one is right or in a damaged range. Returns the ranges found.
fn read_each(log: &Log, end: u64, what: &str) -> Vec<(Offset, Offset)> {
    let mut next = 0;
    while next < end {
        match log.read(Offset(next), 1, Offset(end)) {
            Ok(batches) => {
                let found = records(&batches[0]);
                assert_eq!(found[0], (next, value(next)), "{what}");
                assert_eq!(found[1], (next + 1, value(next + 1)), "{what}");
                next += 2;
            }
            Err(ReadError::Damaged { from, to }) => {
                assert!(from.0 <= next && next < to.0, "{what}: {from} to {to} at {next}");
                next = to.0;
            }
            Err(other) => panic!("{what}: {other}"),
        }
    }
    log.damaged()
}

/// What another replica has for a range.
fn replica(from: Offset, to: Offset) -> Vec<u8> {
    assert!(
        from.0.is_multiple_of(2) && to.0.is_multiple_of(2),
        "damage ends where batches do: {from} to {to}"
    );
    (from.0 / 2..to.0 / 2).flat_map(|n| nth(n).to_vec()).collect()
}

fn repair_all(store: Store, disk: &SimDisk, log: &Log, end: u64, what: &str) {
    for (from, to) in log.damaged() {
        log.repair(from, to, &replica(from, to)).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert!(read_each(log, end, what).is_empty(), "{what}: all is repaired");
    store.close().unwrap();
    let store = reopen(disk);
    assert!(store.recovered()[0].1.damaged.is_empty(), "{what}: it stays repaired");
    assert!(read_each(&Writer::new(&store, partition(0)).log, end, what).is_empty());
}

#[test]
fn in_the_last_round_cuts_that_round() {
    let disk = prepare();
    let last = value(2 * APPENDS - 1).into_bytes();
    let mut flipped = 0;
    for path in files(&disk, "wal", ".wal") {
        let bytes = disk.read(&path).unwrap();
        if let Some(at) = bytes.windows(last.len()).position(|window| window == last) {
            flip(&disk, &path, at);
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1);
    let store = reopen(&disk);
    let recovered = &store.recovered()[0].1;
    assert_eq!(recovered.log_end, Offset(2 * APPENDS - 2));
    assert!(recovered.damaged.is_empty());
}

#[test]
fn in_a_middle_round_marks_exactly_that_append() {
    let disk = prepare();
    let middle = value(2 * 18).into_bytes();
    for path in files(&disk, "wal", ".wal") {
        let bytes = disk.read(&path).unwrap();
        if let Some(at) = bytes.windows(middle.len()).position(|window| window == middle) {
            flip(&disk, &path, at);
        }
    }
    let store = reopen(&disk);
    let recovered = &store.recovered()[0].1;
    assert_eq!(recovered.log_end, Offset(2 * APPENDS));
    assert_eq!(recovered.damaged, [(Offset(36), Offset(38))]);
    let log = Writer::new(&store, partition(0)).log;
    assert_eq!(read_each(&log, 2 * APPENDS, "middle"), [(Offset(36), Offset(38))]);

    // A repair takes the right bytes only.
    let refused = |from, to, bytes: &[u8]| log.repair(Offset(from), Offset(to), bytes).unwrap_err();
    assert!(matches!(refused(34, 36, &nth(17)), RepairError::NotDamaged { .. }));
    assert!(matches!(refused(36, 38, &nth(17)), RepairError::Unfit(_)));
    let mut bad = nth(18).to_vec();
    bad[70] ^= 4;
    assert!(matches!(refused(36, 38, &bad), RepairError::Unfit(_)));
    let other_epoch = stamped(&batch(&[&value(36), &value(37)]), 36, 2);
    assert!(matches!(refused(36, 38, &other_epoch), RepairError::Unfit(_)));
    let short = stamped(&batch(&["a", "b"]), 36, 1);
    assert!(matches!(refused(36, 38, &short), RepairError::Unfit(_)));
    assert_eq!(log.damaged(), [(Offset(36), Offset(38))]);
    repair_all(store, &disk, &log, 2 * APPENDS, "middle");
}

#[test]
fn below_the_checkpoint_is_found_when_read_and_marked_not_cut() {
    let disk = prepare();
    let old = value(5).into_bytes();
    for path in files(&disk, &segment_dir(), ".log") {
        let bytes = disk.read(&path).unwrap();
        if let Some(at) = bytes.windows(old.len()).position(|window| window == old) {
            flip(&disk, &path, at);
        }
    }
    let store = reopen(&disk);
    let recovered = &store.recovered()[0].1;
    assert_eq!(recovered.log_end, Offset(2 * APPENDS));
    let log = Writer::new(&store, partition(0)).log;
    assert_eq!(read_each(&log, 2 * APPENDS, "below"), [(Offset(4), Offset(6))]);
    // What is in front of it is served, in one go up to the damage.
    let front = log.read(Offset(0), 10_000, Offset(40)).unwrap();
    assert_eq!(front.iter().map(|bytes| records(bytes).len()).sum::<usize>(), 4);
    store.close().unwrap();
    let store = reopen(&disk);
    assert_eq!(store.recovered()[0].1.damaged, [(Offset(4), Offset(6))], "it stays marked");
    let log = Writer::new(&store, partition(0)).log;
    repair_all(store, &disk, &log, 2 * APPENDS, "below");
}

#[test]
fn at_any_byte_of_the_write_ahead_log() {
    let pristine = prepare();
    for path in files(&pristine, "wal", ".wal") {
        let bytes = pristine.read(&path).unwrap();
        for at in (0..bytes.len()).step_by(5).filter(|at| bytes[*at] != 0 || at % 15 == 0) {
            let what = format!("{} byte {at}", path.display());
            let disk = pristine.copy();
            flip(&disk, &path, at);
            let store = reopen(&disk);
            let end = store.recovered()[0].1.log_end.0;
            assert!(end == 2 * APPENDS || end == 2 * APPENDS - 2, "{what}: the log ends at {end}");
            let log = Writer::new(&store, partition(0)).log;
            let damaged = read_each(&log, end, &what);
            assert!(damaged.len() <= 1, "{what}: {damaged:?}");
            if !damaged.is_empty() && at % 4 == 0 {
                repair_all(store, &disk, &log, end, &what);
            }
        }
    }
}

#[test]
fn at_any_byte_of_a_segment_or_its_index() {
    let pristine = prepare();
    for ending in [".log", "index"] {
        for path in files(&pristine, &segment_dir(), ending) {
            let bytes = pristine.read(&path).unwrap();
            for at in (0..bytes.len()).step_by(3) {
                let what = format!("{} byte {at}", path.display());
                let disk = pristine.copy();
                flip(&disk, &path, at);
                let store = reopen(&disk);
                assert_eq!(store.recovered()[0].1.log_end.0, 2 * APPENDS, "{what}");
                let log = Writer::new(&store, partition(0)).log;
                let damaged = read_each(&log, 2 * APPENDS, &what);
                match ending {
                    ".log" => {
                        assert!(damaged.len() <= 1, "{what}: {damaged:?}");
                        if at % 2 == 0 {
                            repair_all(store, &disk, &log, 2 * APPENDS, &what);
                        }
                    }
                    _ => assert!(damaged.is_empty(), "{what}: an index is only a shortcut: {damaged:?}"),
                }
            }
        }
    }
}

#[test]
fn at_any_byte_of_a_checkpoint_or_the_identity() {
    let pristine = prepare();
    let identity = reopen(&pristine.copy()).identity().data_dir;
    for file in ["checkpoint.a", "checkpoint.b", "identity.a", "identity.b"] {
        let path = Path::new("/data").join(file);
        let Ok(bytes) = pristine.read(&path) else { continue };
        for at in 0..bytes.len() {
            let disk = pristine.copy();
            flip(&disk, &path, at);
            let store = reopen(&disk);
            assert_eq!(store.identity().data_dir, identity);
            let log = Writer::new(&store, partition(0)).log;
            let what = format!("{file} byte {at}");
            assert!(read_each(&log, 2 * APPENDS, &what).is_empty(), "{what}");
        }
    }
}

#[test]
fn the_first_append_of_an_epoch_keeps_its_place_in_the_history() {
    let disk = SimDisk::new();
    let store = reopen(&disk);
    let mut writer = Writer::new(&store, partition(0));
    let texts = ["one of the first epoch", "one of the second", "another of the second"];
    let epochs = [1, 2, 2];
    // As a follower gets them: the first two in one push.
    let one = |n: usize| stamped(&batch(&[texts[n]]), n as u64, epochs[n]);
    let both: Vec<u8> = [one(0), one(1)].concat();
    writer.submit(LogOp::Append { base: Offset(0), leader_epoch: None, batches: both.into() });
    writer.sync();
    writer.submit(LogOp::Append { base: Offset(2), leader_epoch: None, batches: one(2) });
    writer.sync();
    let older = LogOp::Append { base: Offset(3), leader_epoch: None, batches: stamped(&batch(&["x"]), 3, 1) };
    writer.submit(older);
    writer.ear.until(|heard| heard.failed == [(3, ErrorCode::Internal)]);
    drop(store);
    disk.crash(Crash::LoseUnsynced);
    let middle = texts[1].as_bytes();
    for path in files(&disk, "wal", ".wal") {
        let bytes = disk.read(&path).unwrap();
        if let Some(at) = bytes.windows(middle.len()).position(|window| window == middle) {
            flip(&disk, &path, at);
        }
    }
    let store = reopen(&disk);
    let recovered = &store.recovered()[0].1;
    assert_eq!(recovered.damaged, [(Offset(1), Offset(2))], "the push was damaged in one batch");
    let starts: Vec<_> = recovered.epochs.iter().map(|entry| (entry.epoch.0, entry.start.0)).collect();
    assert_eq!(starts, [(1, 0), (2, 1)]);
    let log = Writer::new(&store, partition(0)).log;
    log.repair(Offset(1), Offset(2), &one(1)).unwrap();
    let expected: Vec<_> = (0..).zip(texts.map(str::to_owned)).collect();
    assert_eq!(read_all(&log).unwrap(), expected);
}
