//! Readers go on while logs are appended to, truncated, rolled, flushed and checkpointed.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use yak_protocol::ids::Offset;
use yak_storage::{Log, ReadError, StoreConfig};

fn busy() -> StoreConfig {
    StoreConfig {
        checkpoint: Duration::from_millis(1),
        write_behind_bytes: 2000,
        tail_bytes: 1000,
        segment_bytes: 5000,
        wal_file_bytes: 64 << 10,
        open_files_max: 4,
        ..small()
    }
}

fn value(n: u64) -> String {
    format!("the value of {n}")
}

/// Follows the log up to `end` and looks at every record.
fn follow(log: &Log, synced: &AtomicU64, end: u64) {
    let mut next = 0;
    while next < end {
        let below = Offset(synced.load(Ordering::Acquire));
        for bytes in log.read(Offset(next), 1000, below).unwrap() {
            for record in records(&bytes) {
                assert_eq!(record, (next, value(next)));
                next += 1;
            }
        }
    }
}

#[test]
fn readers_follow_several_logs_that_are_written_at_once() {
    const RECORDS: u64 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), busy());
    let writers: Vec<_> = (0..3).map(|p| Writer::new(&store, partition(p))).collect();
    std::thread::scope(|scope| {
        for mut writer in writers {
            let synced = Arc::new(AtomicU64::new(0));
            for _ in 0..2 {
                let (log, synced) = (writer.log.clone(), Arc::clone(&synced));
                scope.spawn(move || follow(&log, &synced, RECORDS));
            }
            scope.spawn(move || {
                for n in 0..RECORDS {
                    writer.append(n, 1, batch(&[&value(n)]));
                    if n % 50 == 49 {
                        writer.sync();
                        synced.store(n + 1, Ordering::Release);
                    }
                }
            });
        }
    });
    drop(store);
    let store = open(dir.path(), busy());
    for p in 0..3 {
        assert_eq!(read_all(&Writer::new(&store, partition(p)).log).unwrap().len() as u64, RECORDS);
    }
}

#[test]
fn a_reader_never_takes_a_truncation_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), busy());
    let mut writer = Writer::new(&store, partition(0));
    let log = writer.log.clone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0_u64;
            while !done.load(Ordering::Acquire) {
                round += 1;
                match log.read(Offset(round % 60), 500, Offset(u64::MAX)) {
                    Ok(batches) => {
                        for (offset, value) in batches.iter().flat_map(|bytes| records(bytes)) {
                            assert!(value.starts_with(&format!("record {offset} ")), "{offset}: {value}");
                        }
                    }
                    Err(ReadError::OutOfRange { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
        let mut end = 0;
        for epoch in 1..120 {
            let to = end * (u64::from(epoch) % 5) / 5;
            if to < end {
                writer.truncate(to);
                end = to;
            }
            for _ in 0..20 {
                // Of other lengths each time, so that nothing lies where something was.
                let value = format!("record {end} {}", "x".repeat(epoch as usize % 17));
                writer.append(end, epoch, batch(&[&value]));
                end += 1;
            }
            writer.sync();
        }
        done.store(true, Ordering::Release);
    });
    assert!(log.damaged().is_empty());
}
