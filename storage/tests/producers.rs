//! Snapshots of producer state: the newest that belongs to what the log holds, or none.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use std::path::Path;
use std::sync::Arc;
use yak_protocol::ids::Offset;
use yak_storage::io::sim::SimDisk;
use yak_storage::{Log, Store};

fn open_sim(disk: &SimDisk) -> Store {
    open_on(Arc::new(disk.clone()), Path::new("/data"), small())
}

fn loaded(log: &Log, below: u64) -> Option<(u64, Vec<u8>)> {
    log.load_producers(Offset(below)).unwrap().map(|(offset, bytes)| (offset.0, bytes.to_vec()))
}

/// Ten records in segments.
fn prepare() -> (SimDisk, Store) {
    let disk = SimDisk::new();
    let store = open_sim(&disk);
    let mut writer = Writer::new(&store, partition(0));
    assert_eq!(loaded(&writer.log, 10), None);
    for n in 0..10 {
        writer.append(n, 1, batch(&["record"]));
    }
    writer.sync();
    store.close().unwrap();
    let store = open_sim(&disk);
    (disk, store)
}

#[test]
fn the_newest_at_or_below_the_offset_is_loaded_and_two_are_kept() {
    let (_disk, store) = prepare();
    let log = Writer::new(&store, partition(0)).log;
    for offset in [3, 5, 8] {
        log.save_producers(Offset(offset), format!("state at {offset}").as_bytes(), log.generation())
            .unwrap();
    }
    assert_eq!(loaded(&log, 10), Some((8, b"state at 8".to_vec())));
    assert_eq!(loaded(&log, 7), Some((5, b"state at 5".to_vec())));
    assert_eq!(loaded(&log, 4), None, "the third was removed");
}

#[test]
fn a_truncation_drops_what_lies_above_even_if_the_log_grows_again() {
    let (disk, store) = prepare();
    let mut writer = Writer::new(&store, partition(0));
    writer.log.save_producers(Offset(4), b"four", writer.log.generation()).unwrap();
    writer.log.save_producers(Offset(8), b"eight", writer.log.generation()).unwrap();
    writer.truncate(6);
    for n in 6..10 {
        writer.append(n, 2, batch(&["another"]));
    }
    writer.sync();
    assert_eq!(loaded(&writer.log, 10), Some((4, b"four".to_vec())), "before its file is removed");
    store.close().unwrap();
    let store = open_sim(&disk);
    let log = Writer::new(&store, partition(0)).log;
    assert_eq!(loaded(&log, 10), Some((4, b"four".to_vec())));
}

#[test]
fn a_damaged_one_is_not_used() {
    let (disk, store) = prepare();
    let log = Writer::new(&store, partition(0)).log;
    log.save_producers(Offset(4), b"four", log.generation()).unwrap();
    log.save_producers(Offset(8), b"eight", log.generation()).unwrap();
    let dir = format!("/data/topics/{}/0", partition(0).topic);
    let path = Path::new(&dir).join("00000000000000000008.producers");
    let length = disk.read(&path).unwrap().len();
    for at in 0..length {
        disk.damage(&path, |bytes| bytes[at] ^= 0x10).unwrap();
        assert_eq!(loaded(&log, 10), Some((4, b"four".to_vec())), "byte {at}");
        disk.damage(&path, |bytes| bytes[at] ^= 0x10).unwrap();
    }
    assert_eq!(loaded(&log, 10), Some((8, b"eight".to_vec())));
}
