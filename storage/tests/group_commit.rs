//! One sync per round, however many partitions it touched; and none at all when nothing happens.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{LeaderEpoch, Offset};
use yak_storage::io::sim::SimDisk;
use yak_storage::{LogOp, Observer, StoreConfig};

/// Holds the writer's thread up in its first report until it is let go.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Observer for Gate {
    fn written(&self, _: u64) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.changed.wait(open).unwrap();
        }
    }
    fn synced(&self, _: u64) {}
    fn failed(&self, _: u64, error: WireError) {
        panic!("{error}");
    }
}

#[test]
fn everything_that_queued_during_a_round_is_the_next_round() {
    let disk = SimDisk::new();
    let config = StoreConfig { wal_file_bytes: 4 << 20, ..small() };
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), config);
    let gate = Arc::new(Gate::default());
    let held = store.log(partition(500), Arc::clone(&gate) as Arc<dyn Observer>);
    let append = |base| LogOp::Append {
        base: Offset(base),
        leader_epoch: Some(LeaderEpoch(1)),
        batches: batch(&["something"]),
    };
    held.submit(1, append(0));
    wait_for(|| held.bounds().1 == Offset(1));
    let mut writers: Vec<_> = (0..100).map(|p| Writer::new(&store, partition(p))).collect();
    for writer in &mut writers {
        for n in 0..5 {
            writer.append(n, 1, batch(&[&format!("record {n}")]));
        }
    }
    let before = disk.syncs();
    *gate.open.lock().unwrap() = true;
    gate.changed.notify_all();
    writers.iter().for_each(Writer::sync);
    assert_eq!(disk.syncs() - before, 2, "the round that was held up, and one for all 500 appends");
    for writer in &writers {
        let heard = writer.ear.heard();
        assert_eq!((heard.written, heard.synced), (5, 5));
    }
}

#[test]
fn an_idle_store_leaves_the_disk_alone() {
    let disk = SimDisk::new();
    let config = StoreConfig { checkpoint: std::time::Duration::from_millis(1), ..small() };
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), config);
    let mut writer = Writer::new(&store, partition(0));
    writer.append(0, 1, batch(&["the last one for a while"]));
    writer.sync();
    // The checkpoint comes, and then nothing more.
    let checkpointed = || disk.read(Path::new("/data/checkpoint.a")).is_ok_and(|bytes| !bytes.is_empty());
    wait_for(checkpointed);
    // The last thing that it does to the disk.
    let ballast_bytes = usize::try_from(small().ballast_bytes).unwrap();
    wait_for(|| disk.read(Path::new("/data/ballast")).is_ok_and(|ballast| ballast.len() == ballast_bytes));
    // Time goes by: many times the checkpoint's interval.
    let time_goes_by = || {
        let other = open_on(Arc::new(SimDisk::new()), Path::new("/data"), small());
        let mut writer = Writer::new(&other, partition(0));
        writer.append(0, 1, batch(&["somewhere else"]));
        writer.sync();
        other.close().unwrap();
    };
    let calls = disk.calls();
    for _ in 0..20 {
        time_goes_by();
    }
    assert_eq!(disk.calls(), calls);
}

#[test]
fn what_does_not_fit_fails_and_drags_what_follows_until_the_submitter_knows() {
    let disk = SimDisk::new();
    let store = open_on(Arc::new(disk), Path::new("/data"), small());
    let mut writer = Writer::new(&store, partition(0));
    writer.append(0, 1, batch(&["zero"]));
    let misfit = writer.append(5, 1, batch(&["a gap"]));
    writer.append(1, 1, batch(&["dropped: its submitter did not know"]));
    writer.submit(LogOp::Promise { epoch: LeaderEpoch(9), leader: yak_protocol::ids::BrokerId(1) });
    let heard = writer.ear.until(|heard| !heard.failed.is_empty());
    assert_eq!(heard.failed, [(misfit, ErrorCode::Internal)]);
    writer.log.resume();
    let last = writer.append(1, 1, batch(&["one"]));
    writer.ear.until(|heard| heard.synced == last);
    assert_eq!(writer.ear.heard().failed.len(), 1);
    assert_eq!(read_all(&writer.log).unwrap(), [(0, "zero".to_owned()), (1, "one".to_owned())]);

    for op in [
        LogOp::Append { base: Offset(2), leader_epoch: None, batches: stamped(&batch(&["x"]), 3, 1) },
        LogOp::Append { base: Offset(2), leader_epoch: None, batches: batch(&["x"]).slice(..68) },
        LogOp::Append { base: Offset(2), leader_epoch: None, batches: bytes::Bytes::new() },
        LogOp::Truncate { to: Offset(3) },
        LogOp::StartEpoch(yak_protocol::ids::EpochStart { epoch: LeaderEpoch(3), start: Offset(1) }),
    ] {
        let known = writer.ear.heard().failed.len();
        writer.submit(op.clone());
        writer.ear.until(|heard| heard.failed.len() > known);
        assert_eq!(writer.log.bounds().1, Offset(2), "{op:?}");
        writer.log.resume();
    }
    writer.append(2, 1, batch(&["two", "three"]));
    writer.ear.until(|heard| heard.synced == writer.seq);
    writer.truncate(3);
    let heard = writer.ear.until(|heard| heard.failed.len() == 7);
    assert_eq!(heard.failed[6].0, writer.seq, "a batch is not cut in two");
}
