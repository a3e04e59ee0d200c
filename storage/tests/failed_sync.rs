//! A sync that fails ends the store: nothing after it is promised, nothing is retried, and what had been
//! synced before is there at the next start.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::ids::Offset;
use yak_storage::io::sim::{Crash, Fault, SimDisk};
use yak_storage::{OpenError, ReadError, Store, StoreConfig, StoreError};

fn eager() -> StoreConfig {
    StoreConfig { checkpoint: Duration::ZERO, write_behind_bytes: 1, tail_bytes: 0, ..small() }
}

#[test]
fn at_every_sync_of_a_run() {
    let opening = {
        let disk = SimDisk::new();
        drop(open_on(Arc::new(disk.clone()), Path::new("/data"), eager()));
        disk.calls()
    };
    let (mut fatal_runs, mut at) = (0, opening);
    loop {
        let disk = SimDisk::new();
        let (fatal, noted) = note_fatal();
        let store = Store::open(Path::new("/data"), eager(), Arc::new(disk.clone()), fatal).unwrap();
        disk.fault(at..at + 1, Fault::Error);
        let mut writer = Writer::new(&store, partition(0));
        let mut refused = 0;
        let mut next = 0;
        for _ in 0..12 {
            let seq = writer.append(next, 1, batch(&[&format!("record {next}")]));
            wait_for(|| {
                let heard = writer.ear.heard();
                heard.synced >= seq || heard.failed.len() > refused || noted.lock().unwrap().is_some()
            });
            let heard = writer.ear.heard();
            if heard.failed.len() > refused {
                // An error of a write, not of a sync: rolled back.
                refused = heard.failed.len();
                writer.log.resume();
                wait_for(|| !store.is_full() || noted.lock().unwrap().is_some());
            } else {
                next += 1;
            }
        }
        if noted.lock().unwrap().is_some() {
            fatal_runs += 1;
            assert!(matches!(store.delete(partition(0).topic), Err(StoreError::Stopped)));
            assert!(matches!(store.update_identity(|_| ()), Err(StoreError::Stopped)));
            assert!(matches!(writer.log.read(Offset(0), 1, Offset(1)), Ok(_) | Err(ReadError::Gone(_))));
            assert!(matches!(store.close(), Err(StoreError::Stopped)));
            let before = writer.ear.heard();
            writer.append(next, 1, batch(&["to nobody"]));
            let after = writer.ear.heard();
            assert_eq!((after.written, after.synced), (before.written, before.synced), "nothing is reported");
        } else {
            drop(store);
        }
        let synced = writer.ear.heard().synced;
        let met = disk.calls() > at;
        disk.crash(Crash::LoseUnsynced);
        let store = open_on(Arc::new(disk), Path::new("/data"), eager());
        let found = read_all(&Writer::new(&store, partition(0)).log).unwrap();
        assert!(found.len() as u64 >= synced.saturating_sub(refused as u64), "call {at}: {synced} {found:?}");
        assert!(found.len() as u64 <= next, "call {at}");
        for (n, record) in (0..).zip(&found) {
            assert_eq!(record, &(n, format!("record {n}")), "call {at}");
        }
        if !met {
            break;
        }
        at += 1;
    }
    assert!(fatal_runs > 10, "{fatal_runs} of {at} calls were syncs");
}

#[test]
fn while_opening_is_an_error() {
    let pristine = SimDisk::new();
    let store = open_on(Arc::new(pristine.clone()), Path::new("/data"), eager());
    let mut writer = Writer::new(&store, partition(0));
    writer.append(0, 1, batch(&["one"]));
    writer.sync();
    drop(store);
    for at in 0..12 {
        let disk = pristine.copy();
        disk.fault(at..at + 1, Fault::Error);
        let (fatal, noted) = note_fatal();
        match Store::open(Path::new("/data"), eager(), Arc::new(disk.clone()), fatal) {
            Ok(store) => drop(store),
            Err(OpenError::Unusable { cause: source, .. }) => assert_eq!(source.raw_os_error(), Some(5)),
            Err(other) => panic!("call {at}: {other}"),
        }
        drop(noted);
        disk.crash(Crash::KeepAll);
        let store = open_on(Arc::new(disk), Path::new("/data"), eager());
        let found = read_all(&Writer::new(&store, partition(0)).log).unwrap();
        assert_eq!(found, [(0, "one".to_owned())], "call {at}");
    }
}
