//! A write-ahead log or a segment that ends anywhere: what was never acknowledged is cut, what was is
//! there or marked as damaged.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use yak_protocol::ids::Offset;
use yak_storage::ReadError;
use yak_storage::io::Io;
use yak_storage::io::sim::{Crash, SimDisk};

fn value(n: u64) -> String {
    format!("record {n}")
}

fn prepare(appends: u64, close: bool) -> SimDisk {
    let disk = SimDisk::new();
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), small());
    let mut writer = Writer::new(&store, partition(0));
    for n in 0..appends {
        writer.append(n, 1, batch(&[&value(n)]));
        writer.sync();
    }
    if close {
        store.close().unwrap();
    } else {
        drop(store);
    }
    disk.crash(Crash::LoseUnsynced);
    disk
}

fn only(disk: &SimDisk, dir: &str, ending: &str) -> PathBuf {
    let dir = Path::new("/data").join(dir);
    let mut names = disk.list(&dir).unwrap().into_iter().filter(|entry| entry.name.ends_with(ending));
    let first = names.next().unwrap();
    assert!(names.next().is_none(), "one file");
    dir.join(first.name)
}

#[test]
fn the_last_round_torn_at_every_byte_is_cut_and_the_log_goes_on() {
    let pristine = prepare(5, false);
    let last = value(4).into_bytes();
    let holds = |bytes: &[u8]| bytes.windows(last.len()).position(|window| window == last);
    let files = pristine.list(Path::new("/data/wal")).unwrap();
    let mut files = files.iter().map(|entry| Path::new("/data/wal").join(&entry.name));
    let path = files.find(|path| holds(&pristine.read(path).unwrap()).is_some()).unwrap();
    let bytes = pristine.read(&path).unwrap();
    let inside = holds(&bytes).unwrap();
    // The round begins with its magic, and ends with the last byte that is not zero.
    let begin = bytes[..inside].windows(4).rposition(|window| window == b"YKr1").unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    for at in begin..=end {
        for fill in [0, 0x5a] {
            let disk = pristine.copy();
            disk.damage(&path, |bytes| bytes[at..].fill(fill)).unwrap();
            let store = open_on(Arc::new(disk.clone()), Path::new("/data"), small());
            let recovered = &store.recovered()[0].1;
            // The end of the trailing header is zeros: losing those loses nothing.
            let whole = fill == 0 && bytes[at..=end].iter().all(|byte| *byte == 0);
            assert_eq!(recovered.log_end, Offset(if whole { 5 } else { 4 }), "byte {at}");
            assert!(recovered.damaged.is_empty());
            let mut writer = Writer::new(&store, partition(0));
            writer.append(recovered.log_end.0, 2, batch(&["after"]));
            writer.sync();
            drop(store);
            disk.crash(Crash::LoseUnsynced);
            let store = open_on(Arc::new(disk), Path::new("/data"), small());
            let all = read_all(&Writer::new(&store, partition(0)).log).unwrap();
            assert_eq!(all[..4], (0..4).map(|n| (n, value(n))).collect::<Vec<_>>());
            assert_eq!(all.last().unwrap(), &(if whole { 5 } else { 4 }, "after".to_owned()));
        }
    }
}

#[test]
fn a_segment_cut_at_any_byte_is_damaged_from_there_on_and_never_shortened() {
    let pristine = prepare(3, true);
    let path = only(&pristine, &format!("topics/{}/0", partition(0).topic), ".log");
    let length = pristine.read(&path).unwrap().len();
    for cut in 0..length {
        let disk = pristine.copy();
        disk.damage(&path, |bytes| bytes.truncate(cut)).unwrap();
        let store = open_on(Arc::new(disk), Path::new("/data"), small());
        let recovered = &store.recovered()[0].1;
        let sound = (cut * 3 / length) as u64;
        assert_eq!(recovered.log_end, Offset(3), "cut at {cut}");
        assert_eq!(recovered.damaged, [(Offset(sound), Offset(3))], "cut at {cut}");
        let writer = Writer::new(&store, partition(0));
        for n in 0..3 {
            match writer.log.read(Offset(n), 1, Offset(3)) {
                Ok(batches) => assert_eq!(records(&batches[0]), [(n, value(n))]),
                Err(ReadError::Damaged { from, to }) => assert_eq!((from.0, to.0), (sound, 3)),
                Err(other) => panic!("{other}"),
            }
        }
        let bytes: Vec<u8> = (sound..3).flat_map(|n| stamped(&batch(&[&value(n)]), n, 1).to_vec()).collect();
        writer.log.repair(Offset(sound), Offset(3), &bytes).unwrap();
        assert_eq!(read_all(&writer.log).unwrap(), (0..3).map(|n| (n, value(n))).collect::<Vec<_>>());
    }
}

#[test]
fn a_segment_that_is_gone_is_damaged() {
    let disk = prepare(3, true);
    let path = only(&disk, &format!("topics/{}/0", partition(0).topic), ".log");
    disk.remove_file(&path).unwrap();
    let store = open_on(Arc::new(disk), Path::new("/data"), small());
    assert_eq!(store.recovered()[0].1.damaged, [(Offset(0), Offset(3))]);
    let writer = Writer::new(&store, partition(0));
    let bytes: Vec<u8> = (0..3).flat_map(|n| stamped(&batch(&[&value(n)]), n, 1).to_vec()).collect();
    writer.log.repair(Offset(0), Offset(3), &bytes).unwrap();
    assert_eq!(read_all(&writer.log).unwrap(), (0..3).map(|n| (n, value(n))).collect::<Vec<_>>());
}
