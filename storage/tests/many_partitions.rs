//! Ten thousand partitions: made, written in few rounds, reopened after a crash and after a clean stop,
//! with few files open.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use yak_protocol::ids::{BrokerId, LeaderEpoch, Offset};
use yak_storage::{LogOp, Store, StoreConfig};

const PARTITIONS: u32 = 10_000;
const WITH_DATA: u32 = 200;

fn config() -> StoreConfig {
    StoreConfig { wal_file_bytes: 8 << 20, segment_bytes: 1 << 20, ..small() }
}

fn check(store: &Store) {
    assert_eq!(store.recovered().len(), PARTITIONS as usize);
    for (id, recovered) in store.recovered() {
        let p = id.partition.0;
        assert_eq!(recovered.promise, Some((LeaderEpoch(1), BrokerId(p % 5))));
        assert_eq!(recovered.log_end, Offset(u64::from(p < WITH_DATA)));
    }
    for p in (0..WITH_DATA).step_by(97) {
        let log = Writer::new(store, partition(p)).log;
        assert_eq!(read_all(&log).unwrap(), [(0, format!("in {p}"))]);
    }
}

#[test]
fn ten_thousand_partitions_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), config());
    let mut writers: Vec<_> = (0..PARTITIONS).map(|p| Writer::new(&store, partition(p))).collect();
    for (p, writer) in (0..).zip(&mut writers) {
        writer.submit(LogOp::Promise { epoch: LeaderEpoch(1), leader: BrokerId(p % 5) });
        if p < WITH_DATA {
            writer.append(0, 1, batch(&[&format!("in {p}")]));
        }
    }
    writers.iter().for_each(Writer::sync);
    drop(writers);
    drop(store);
    let store = open(dir.path(), config());
    check(&store);
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(descriptors < 600, "{descriptors} files are open");
    store.close().unwrap();
    check(&open(dir.path(), config()));
}
