//! A truncation may end anywhere in damage: what lies above is gone, what lies below stays damaged and can be
//! repaired, and the log goes on.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use bytes::Bytes;
use harness::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::ids::{LeaderEpoch, Offset};
use yak_storage::io::Io;
use yak_storage::io::sim::{Crash, SimDisk};
use yak_storage::{LogOp, ReadError, Store, StoreConfig};

/// Batches of two records each; four fit into a segment.
const BATCHES: u64 = 8;

fn nth(n: u64, epoch: u32) -> Bytes {
    let values = [format!("{epoch} value {:02}", 2 * n), format!("{epoch} value {:02}", 2 * n + 1)];
    stamped(&batch(&[&values[0], &values[1]]), 2 * n, epoch)
}

fn config(checkpoints: bool) -> StoreConfig {
    let segment_bytes = 4 * nth(0, 1).len() as u64;
    let checkpoint = if checkpoints { Duration::ZERO } else { Duration::from_secs(3600) };
    StoreConfig { segment_bytes, checkpoint, ..small() }
}

fn on(disk: &SimDisk, checkpoints: bool) -> Store {
    open_on(Arc::new(disk.clone()), Path::new("/data"), config(checkpoints))
}

fn push(writer: &mut Writer, batches: Bytes, base: u64) {
    writer.submit(LogOp::Append { base: Offset(base), leader_epoch: None, batches });
    writer.sync();
}

/// Where each batch of the first epoch lies, in files of the folder.
fn places(disk: &SimDisk, dir: &Path) -> Vec<(PathBuf, usize)> {
    let files: Vec<_> = disk.list(dir).unwrap().into_iter().map(|entry| dir.join(entry.name)).collect();
    let place = |n| {
        let whole = nth(n, 1);
        let found = files.iter().find_map(|path| {
            let bytes = disk.read(path).ok()?;
            let at = bytes.windows(whole.len()).position(|window| *window == whole[..])?;
            Some((path.clone(), at))
        });
        found.unwrap_or_else(|| panic!("batch {n} is in no file of {}", dir.display()))
    };
    (0..BATCHES).map(place).collect()
}

/// Every record is right, or in one of the damaged ranges, which are returned.
fn check(store: &Store, cut: u64, end: u64, what: &str) -> Vec<(Offset, Offset)> {
    let log = Writer::new(store, partition(0)).log;
    assert_eq!(log.bounds(), (Offset(0), Offset(2 * end)), "{what}");
    let mut n = 0;
    while n < end {
        match log.read(Offset(2 * n), 1, Offset(2 * end)) {
            Ok(found) => {
                assert_eq!(found[0], nth(n, if n < cut { 1 } else { 2 }), "{what}");
                n += 1;
            }
            Err(ReadError::Damaged { from, to }) => {
                assert!(from.0 <= 2 * n && 2 * n < to.0 && to.0 <= 2 * cut, "{what}: {from} to {to}");
                n = to.0 / 2;
            }
            Err(other) => panic!("{what}: {other}"),
        }
    }
    log.damaged()
}

fn stop(store: Store, disk: &SimDisk, cleanly: bool) {
    if cleanly {
        store.close().unwrap();
    } else {
        drop(store);
        disk.crash(Crash::LoseUnsynced);
    }
}

/// Cuts at batch `cut`, appends, repairs, stopping in between as told; everything is right at every point.
fn cut_append_and_repair(disk: &SimDisk, damaged: std::ops::Range<u64>, cut: u64, cleanly: bool, what: &str) {
    let store = on(disk, false);
    let mut writer = Writer::new(&store, partition(0));
    writer.truncate(2 * cut);
    writer.sync();
    let expected: Vec<_> = (damaged.start < cut.min(damaged.end))
        .then_some((Offset(2 * damaged.start), Offset(2 * cut.min(damaged.end))))
        .into_iter()
        .collect();
    assert_eq!(check(&store, cut, cut, what), expected, "{what}");
    stop(store, disk, cleanly);

    let store = on(disk, false);
    assert_eq!(check(&store, cut, cut, what), expected, "{what}: it stays damaged");
    let mut writer = Writer::new(&store, partition(0));
    push(&mut writer, nth(cut, 2), 2 * cut);
    assert_eq!(check(&store, cut, cut + 1, what), expected, "{what}");
    stop(store, disk, cleanly);

    let store = on(disk, true);
    let log = Writer::new(&store, partition(0)).log;
    for (from, to) in check(&store, cut, cut + 1, what) {
        let copy: Vec<u8> = (from.0 / 2..to.0 / 2).flat_map(|n| nth(n, 1).to_vec()).collect();
        // The cut reaches the files a moment after it is in the write-ahead log.
        wait_for(|| log.repair(from, to, &copy).is_ok());
    }
    assert_eq!(check(&store, cut, cut + 1, what), [], "{what}: repaired");
    store.close().unwrap();

    let store = on(disk, false);
    assert_eq!(check(&store, cut, cut + 1, what), [], "{what}: it stays repaired");
    let mut writer = Writer::new(&store, partition(0));
    push(&mut writer, nth(cut + 1, 2), 2 * cut + 2);
    stop(store, disk, cleanly);
    assert_eq!(check(&on(disk, false), cut, cut + 2, what), [], "{what}: and it goes on");
}

#[test]
fn wherever_it_ends_in_damaged_segments() {
    let pristine = SimDisk::new();
    let store = on(&pristine, false);
    let mut writer = Writer::new(&store, partition(0));
    for n in 0..BATCHES {
        push(&mut writer, nth(n, 1), 2 * n);
    }
    store.close().unwrap();
    let places = places(&pristine, &Path::new("/data/topics").join(partition(0).topic.to_string()).join("0"));
    let mut stories = 0;
    for segment in [0, BATCHES / 2] {
        for first in segment..segment + BATCHES / 2 {
            for end in first + 1..=segment + BATCHES / 2 {
                for cut in first..=end {
                    for (header, cleanly) in [(false, false), (true, false), (true, true)] {
                        let what = format!("damage {first}..{end}, cut at {cut}, headers {header}");
                        let disk = pristine.copy();
                        for (path, at) in
                            &places[usize::try_from(first).unwrap()..usize::try_from(end).unwrap()]
                        {
                            let at = if header { at + 16 } else { at + nth(0, 1).len() - 3 };
                            disk.damage(path, |bytes| bytes[at] ^= 0x55).unwrap();
                        }
                        cut_append_and_repair(&disk, first..end, cut, cleanly, &what);
                        stories += 1;
                    }
                }
            }
        }
    }
    assert!(stories > 100, "{stories}");
}

#[test]
fn wherever_it_ends_in_a_damaged_round() {
    let pristine = SimDisk::new();
    let store = on(&pristine, false);
    let mut writer = Writer::new(&store, partition(0));
    let half = BATCHES / 2;
    push(&mut writer, (0..half).flat_map(|n| nth(n, 1)).collect(), 0);
    push(&mut writer, (half..BATCHES).flat_map(|n| nth(n, 1)).collect(), 2 * half);
    drop(store);
    pristine.crash(Crash::LoseUnsynced);
    let places = places(&pristine, Path::new("/data/wal"));
    for cut in 0..=half {
        for cleanly in [false, true] {
            let disk = pristine.copy();
            let (path, at) = &places[1];
            disk.damage(path, |bytes| bytes[at + 70] ^= 1).unwrap();
            // All that was pushed together is damaged together.
            cut_append_and_repair(&disk, 0..half, cut, cleanly, &format!("cut at {cut}"));
        }
    }
}

#[test]
fn twice_into_the_same_damage() {
    let disk = SimDisk::new();
    let store = on(&disk, false);
    let mut writer = Writer::new(&store, partition(0));
    for n in 0..BATCHES {
        push(&mut writer, nth(n, 1), 2 * n);
    }
    store.close().unwrap();
    let places = places(&disk, &Path::new("/data/topics").join(partition(0).topic.to_string()).join("0"));
    for (path, at) in &places[..4] {
        disk.damage(path, |bytes| bytes[at + 16] ^= 0x55).unwrap();
    }
    let store = on(&disk, false);
    let mut writer = Writer::new(&store, partition(0));
    writer.truncate(6);
    writer.append(6, 2, batch(&["gone again"]));
    writer.truncate(2);
    writer.sync();
    assert_eq!(check(&store, 1, 1, "twice"), [(Offset(0), Offset(2))]);
    assert_eq!(writer.log.epochs().last().map(|last| last.epoch), Some(LeaderEpoch(1)));
    drop(store);
    cut_append_and_repair(&disk, 0..1, 1, true, "twice");
}
