//! What was synced is there after a clean stop and after a crash of the process.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use std::path::Path;
use std::sync::Arc;
use yak_protocol::ids::{BrokerEpoch, BrokerId, EpochStart, LeaderEpoch, Offset};
use yak_storage::io::sim::{Crash, SimDisk};
use yak_storage::{LogOp, Store};

fn fill(store: &Store) {
    for p in 0..3 {
        let mut writer = Writer::new(store, partition(p));
        writer.submit(LogOp::Promise { epoch: LeaderEpoch(3), leader: BrokerId(p) });
        writer.submit(LogOp::StartEpoch(EpochStart { epoch: LeaderEpoch(3), start: Offset(0) }));
        for n in 0..20 {
            let values = [format!("{p}-{n}-a"), format!("{p}-{n}-b")];
            writer.append(2 * n, 3, batch(&[&values[0], &values[1]]));
        }
        writer.sync();
        writer.log.set_high_watermark_hint(Offset(7));
    }
}

fn check(store: &Store) {
    assert_eq!(store.recovered().len(), 3);
    for (id, recovered) in store.recovered() {
        assert_eq!((recovered.log_start, recovered.log_end), (Offset(0), Offset(40)));
        assert_eq!(recovered.promise, Some((LeaderEpoch(3), BrokerId(id.partition.0))));
        assert_eq!(recovered.epochs, [EpochStart { epoch: LeaderEpoch(3), start: Offset(0) }]);
        assert!(recovered.damaged.is_empty());
        let writer = Writer::new(store, *id);
        let all = read_all(&writer.log).unwrap();
        let p = id.partition.0;
        let expected: Vec<_> =
            (0..40).map(|n| (n, format!("{p}-{}-{}", n / 2, if n % 2 == 0 { "a" } else { "b" }))).collect();
        assert_eq!(all, expected);
    }
}

#[test]
fn after_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), small());
    assert!(store.identity().clean_shutdown);
    fill(&store);
    store.close().unwrap();
    let store = open(dir.path(), small());
    assert!(store.identity().clean_shutdown);
    assert!(store.identity().same_boot);
    assert_eq!(store.recovered()[0].1.high_watermark_hint, Offset(7));
    check(&store);
}

#[test]
fn after_a_crash_of_the_process_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), small());
    fill(&store);
    drop(store);
    for _ in 0..3 {
        let store = open(dir.path(), small());
        assert!(!store.identity().clean_shutdown);
        check(&store);
        drop(store);
    }
    open(dir.path(), small()).close().unwrap();
    check(&open(dir.path(), small()));
}

/// A process that never came to register must not make its successor look as if nothing were lost.
#[test]
fn a_lost_machine_is_remembered_until_a_session_is_granted() {
    let disk = SimDisk::new();
    let dir = Path::new("/data");
    let open = || open_on(Arc::new(disk.clone()), dir, small());
    let grant =
        |store: &Store, epoch| store.update_identity(|i| i.broker_epoch = BrokerEpoch(epoch)).unwrap();
    let store = open();
    grant(&store, 1);
    drop(store);
    disk.crash(Crash::LoseUnsynced);
    for _ in 0..2 {
        let store = open();
        assert!(!store.identity().same_boot && !store.identity().clean_shutdown);
        drop(store);
        disk.crash(Crash::KeepAll);
    }
    open().close().unwrap();
    disk.crash(Crash::KeepAll);
    let store = open();
    assert!(
        !store.identity().same_boot && !store.identity().clean_shutdown,
        "the clean stop knew nothing of it"
    );
    grant(&store, 2);
    assert!(store.identity().same_boot, "nothing was lost since");
    drop(store);
    disk.crash(Crash::KeepAll);
    assert!(open().identity().same_boot);
}

#[test]
fn appends_go_on_where_the_log_ended() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..6 {
        let store = open(dir.path(), small());
        let mut writer = Writer::new(&store, partition(0));
        assert_eq!(writer.log.bounds().1, Offset(n));
        writer.append(n, 1, batch(&[&format!("value {n}")]));
        writer.sync();
        if n % 2 == 0 {
            store.close().unwrap();
        }
    }
    let store = open(dir.path(), small());
    let all = read_all(&Writer::new(&store, partition(0)).log).unwrap();
    assert_eq!(all, (0..6).map(|n| (n, format!("value {n}"))).collect::<Vec<_>>());
}
