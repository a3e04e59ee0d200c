//! Logs go away only when told to: deleted for good, set aside, or cut at the front, and not even a crash
//! brings them back or takes more than that.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{EpochStart, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use yak_storage::io::Io;
use yak_storage::io::sim::{Crash, SimDisk};
use yak_storage::{LogOp, ReadError, Store, StoreConfig};

fn other(n: u32) -> TopicPartition {
    TopicPartition { topic: TopicId(99), partition: PartitionIndex(n) }
}

fn config(checkpoints: bool) -> StoreConfig {
    let checkpoint = if checkpoints { Duration::ZERO } else { Duration::from_secs(3600) };
    StoreConfig { checkpoint, ..small() }
}

fn fill(store: &Store, id: TopicPartition, name: &str) -> Writer {
    let mut writer = Writer::new(store, id);
    for n in 0..10 {
        writer.append(n, 1, batch(&[&format!("{name} {n}")]));
    }
    writer.sync();
    writer
}

fn on(disk: &SimDisk, checkpoints: bool) -> Store {
    open_on(Arc::new(disk.clone()), Path::new("/data"), config(checkpoints))
}

#[test]
fn a_deleted_topic_stays_deleted_and_its_bytes_go() {
    for checkpoints in [false, true] {
        let disk = SimDisk::new();
        let store = on(&disk, checkpoints);
        let mut gone = fill(&store, partition(0), "gone");
        fill(&store, partition(1), "gone too");
        fill(&store, other(0), "kept");
        store.delete(partition(0).topic).unwrap();
        assert_eq!(store.logs(), [other(0)]);
        assert!(matches!(gone.log.read(Offset(0), 1, Offset(1)), Err(ReadError::Gone(_))));
        assert_eq!(gone.log.read_recent(Offset(0), 1, Offset(1)), None);
        gone.append(10, 1, batch(&["too late"]));
        let heard = gone.ear.until(|heard| !heard.failed.is_empty());
        assert_eq!(heard.failed[0].1, ErrorCode::UnknownPartition);
        store.delete(TopicId(12345)).unwrap();
        drop(store);
        disk.crash(Crash::LoseUnsynced);
        let store = on(&disk, checkpoints);
        assert_eq!(store.recovered().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [other(0)]);
        assert_eq!(read_all(&Writer::new(&store, other(0)).log).unwrap().len(), 10);
        store.close().unwrap();
        let topics = disk.list(Path::new("/data/topics")).unwrap();
        assert_eq!(topics.len(), 1, "{topics:?}");
        assert!(disk.list(Path::new("/data/trash")).unwrap().is_empty());
    }
}

#[test]
fn what_is_set_aside_is_kept_and_the_partition_can_begin_anew() {
    for checkpoints in [false, true] {
        let disk = SimDisk::new();
        let store = on(&disk, checkpoints);
        fill(&store, partition(0), "old");
        store.close().unwrap();
        let store = on(&disk, checkpoints);
        store.set_aside(partition(0)).unwrap();
        assert!(store.logs().is_empty());
        let mut writer = Writer::new(&store, partition(0));
        assert_eq!(writer.log.bounds(), (Offset(0), Offset(0)));
        writer.append(0, 2, batch(&["new"]));
        writer.sync();
        drop(store);
        disk.crash(Crash::LoseUnsynced);
        let store = on(&disk, checkpoints);
        assert_eq!(store.recovered()[0].1.log_end, Offset(1));
        let log = Writer::new(&store, partition(0)).log;
        assert_eq!(read_all(&log).unwrap(), [(0, "new".to_owned())]);
        store.close().unwrap();
        let orphans = disk.list(Path::new("/data/orphan")).unwrap();
        assert_eq!(orphans.len(), 1, "{orphans:?}");
        let inside = disk.list(&Path::new("/data/orphan").join(&orphans[0].name)).unwrap();
        let segments = inside.iter().filter(|entry| entry.name.ends_with(".log")).count();
        assert!(segments > 1, "{inside:?}");
    }
}

#[test]
fn a_reset_sets_the_segments_aside_and_begins_elsewhere() {
    for checkpoints in [false, true] {
        let disk = SimDisk::new();
        let store = on(&disk, checkpoints);
        fill(&store, partition(0), "old");
        store.close().unwrap();
        let store = on(&disk, checkpoints);
        let mut writer = Writer::new(&store, partition(0));
        let epochs = vec![
            EpochStart { epoch: LeaderEpoch(1), start: Offset(0) },
            EpochStart { epoch: LeaderEpoch(4), start: Offset(50) },
        ];
        writer.submit(LogOp::Reset { start: Offset(100), epochs: epochs.clone() });
        let pushed = stamped(&batch(&["from the leader"]), 100, 4);
        writer.submit(LogOp::Append { base: Offset(100), leader_epoch: None, batches: pushed });
        writer.sync();
        drop(store);
        disk.crash(Crash::LoseUnsynced);
        let store = on(&disk, checkpoints);
        let recovered = &store.recovered()[0].1;
        assert_eq!((recovered.log_start, recovered.log_end), (Offset(100), Offset(101)));
        assert_eq!(recovered.epochs, epochs);
        let log = Writer::new(&store, partition(0)).log;
        assert_eq!(read_all(&log).unwrap(), [(100, "from the leader".to_owned())]);
        assert!(matches!(log.read(Offset(99), 1, Offset(101)), Err(ReadError::OutOfRange { .. })));
        store.close().unwrap();
        assert_eq!(disk.list(Path::new("/data/orphan")).unwrap().len(), 1);
    }
}

#[test]
fn the_log_start_moves_up_and_whole_segments_go() {
    for checkpoints in [false, true] {
        let disk = SimDisk::new();
        let store = on(&disk, checkpoints);
        let mut writer = fill(&store, partition(0), "record");
        let before = writer.log.segments().len();
        writer.submit(LogOp::MoveLogStart { to: Offset(7) });
        writer.sync();
        assert!(writer.log.segments().len() < before);
        assert_eq!(writer.log.bounds(), (Offset(7), Offset(10)));
        assert!(matches!(writer.log.read(Offset(6), 1, Offset(10)), Err(ReadError::OutOfRange { .. })));
        writer.submit(LogOp::MoveLogStart { to: Offset(11) });
        let heard = writer.ear.until(|heard| !heard.failed.is_empty());
        assert_eq!(heard.failed[0].1, ErrorCode::Internal, "beyond the end");
        writer.log.resume();
        writer.submit(LogOp::MoveLogStart { to: Offset(3) });
        writer.submit(LogOp::MoveLogStart { to: Offset(10) });
        writer.append(10, 2, batch(&["first of the rest"]));
        writer.ear.until(|heard| heard.synced == 15);
        store.close().unwrap();
        let store = on(&disk, checkpoints);
        assert_eq!(store.recovered()[0].1.log_start, Offset(10));
        let log = Writer::new(&store, partition(0)).log;
        assert_eq!(read_all(&log).unwrap(), [(10, "first of the rest".to_owned())]);
        assert_eq!(log.segments().len(), 1);
    }
}

#[test]
fn segments_are_closed_at_the_size_and_the_moment_that_somebody_asks_for() {
    let disk = SimDisk::new();
    let store = on(&disk, false);
    let mut writer = Writer::new(&store, partition(0));
    let bases = |writer: &Writer| -> Vec<u64> {
        writer.log.segments().iter().map(|segment| segment.base.0).collect()
    };
    let one = batch(&["x"]).len() as u64;
    writer.log.set_segment_bytes(2 * one);
    for n in 0..5 {
        writer.append(n, 1, batch(&["x"]));
    }
    writer.sync();
    assert_eq!(bases(&writer), [0, 2, 4]);
    writer.log.close_segment(Offset(4));
    writer.append(5, 1, batch(&["x"]));
    writer.append(6, 1, batch(&["x"]));
    writer.sync();
    assert_eq!(bases(&writer), [0, 2, 4, 5]);
    // One that is closed already does not close the one after it.
    writer.log.close_segment(Offset(0));
    writer.log.set_segment_bytes(1 << 20);
    writer.append(7, 1, batch(&["x"]));
    writer.sync();
    assert_eq!(bases(&writer), [0, 2, 4, 5]);
    // All of it goes, and appends go on where it ended.
    writer.submit(LogOp::MoveLogStart { to: Offset(8) });
    writer.append(8, 1, batch(&["y"]));
    writer.sync();
    assert_eq!(bases(&writer), [8]);
    drop(store);
    disk.crash(Crash::LoseUnsynced);
    let store = on(&disk, false);
    let writer = Writer::new(&store, partition(0));
    assert_eq!(bases(&writer), [8]);
    assert_eq!(read_all(&writer.log).unwrap(), [(8, "y".to_owned())]);
}
