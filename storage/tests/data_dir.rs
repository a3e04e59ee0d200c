//! A data dir has an identity and one user; what cannot be used is refused with what was found and what
//! to do.
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use harness::*;
use std::path::Path;
use std::sync::Arc;
use yak_protocol::ids::{BrokerEpoch, BrokerId, ClusterId, CoordinatorEpoch, DataDirId, Offset};
use yak_storage::io::sim::{Crash, SimDisk};
use yak_storage::io::{Io, RealIo};
use yak_storage::{OpenError, Store, StoreConfig};

fn refused(dir: &Path, config: StoreConfig) -> OpenError {
    let (fatal, _) = note_fatal();
    Store::open(dir, config, Arc::new(RealIo), fatal).unwrap_err()
}

#[test]
fn an_identity_is_made_once_and_keeps_what_is_put_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), small());
    let fresh = store.identity();
    assert_ne!(fresh.data_dir, DataDirId(0));
    assert_eq!((fresh.cluster_id, fresh.broker_id, fresh.name), (None, None, None));
    store
        .update_identity(|identity| {
            identity.cluster_id = Some(ClusterId(7));
            identity.broker_id = Some(BrokerId(3));
            identity.name = Some("broker-three".to_owned());
            identity.broker_epoch = BrokerEpoch(12);
            identity.coordinator_epoch = CoordinatorEpoch(4);
            identity.data_dir = DataDirId(0);
            identity.clean_shutdown = false;
        })
        .unwrap();
    assert_eq!(store.identity().data_dir, fresh.data_dir, "nobody changes that");
    assert!(store.identity().clean_shutdown, "nor how it was found");
    drop(store);
    let store = open(dir.path(), small());
    let identity = store.identity();
    assert_eq!(identity.data_dir, fresh.data_dir);
    assert_eq!(identity.cluster_id, Some(ClusterId(7)));
    assert_eq!(identity.broker_id, Some(BrokerId(3)));
    assert_eq!(identity.name.as_deref(), Some("broker-three"));
    assert_eq!((identity.broker_epoch, identity.coordinator_epoch), (BrokerEpoch(12), CoordinatorEpoch(4)));
    assert!(!identity.clean_shutdown);
    store.close().unwrap();
    assert!(open(dir.path(), small()).identity().clean_shutdown);
}

#[test]
fn another_start_of_the_machine_is_noticed() {
    let disk = SimDisk::new();
    drop(open_on(Arc::new(disk.clone()), Path::new("/data"), small()));
    disk.crash(Crash::KeepAll);
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), small());
    assert!(store.identity().same_boot);
    drop(store);
    disk.crash(Crash::LoseUnsynced);
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), small());
    assert!(!store.identity().same_boot);
    assert!(!store.identity().clean_shutdown);
}

#[test]
fn a_dir_in_use_is_refused_and_free_again_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), small());
    let error = refused(dir.path(), small());
    assert!(matches!(error, OpenError::Locked { .. }));
    let text = error.to_string();
    assert!(text.contains(&format!("by process {}", std::process::id())), "{text}");
    assert!(text.contains("--data"), "{text}");
    drop(store);
    open(dir.path(), small()).close().unwrap();
}

#[test]
fn a_foreign_dir_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["thesis.txt", "photos", "a", "b", "c"] {
        std::fs::write(dir.path().join(name), "mine").unwrap();
    }
    let error = refused(dir.path(), small());
    assert!(matches!(error, OpenError::Foreign { .. }));
    let text = error.to_string();
    assert!(text.contains("\"photos\"") || text.contains("\"a\""), "{text}");
    assert!(text.contains("and 2 more"), "{text}");
    assert_eq!(std::fs::read_to_string(dir.path().join("thesis.txt")).unwrap(), "mine");
    assert!(!dir.path().join("identity.a").exists());
}

#[test]
fn a_dir_that_is_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = refused(&path, small());
        assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert!(error.to_string().contains("may write"), "{error}");
    }
}

#[test]
fn a_dir_on_a_disk_without_room_is_refused() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(100));
    let (fatal, _) = note_fatal();
    let error = Store::open(Path::new("/data"), small(), Arc::new(disk), fatal).unwrap_err();
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
}

#[test]
fn a_lost_identity_is_not_replaced_by_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), small()).close().unwrap();
    for name in ["identity.a", "identity.b"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let error = refused(dir.path(), small());
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("other replicas"), "{error}");
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let disk = SimDisk::new();
    open_on(Arc::new(disk.clone()), Path::new("/data"), small()).close().unwrap();
    for name in ["/data/identity.a", "/data/identity.b"] {
        let newer = |bytes: &mut Vec<u8>| {
            bytes[15] = 9;
            let crc = crc32c::crc32c(&bytes[12..]);
            bytes[8..12].copy_from_slice(&crc.to_be_bytes());
        };
        disk.damage(Path::new(name), newer).unwrap();
    }
    let (fatal, _) = note_fatal();
    let error = Store::open(Path::new("/data"), small(), Arc::new(disk), fatal).unwrap_err();
    assert!(matches!(error, OpenError::Unsupported { found: 9, known: 1, .. }), "{error}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = refused(dir.path(), StoreConfig { segment_bytes: 3 << 30, ..small() });
    assert!(error.to_string().contains("segment_bytes"), "{error}");
    let error = refused(dir.path(), StoreConfig { index_interval_bytes: 0, ..small() });
    assert!(matches!(error, OpenError::Config { name: "index_interval_bytes", .. }), "{error}");
}

#[test]
fn files_that_the_store_did_not_write_are_left_alone() {
    let disk = SimDisk::new();
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), small());
    let mut writer = Writer::new(&store, partition(0));
    writer.append(0, 1, batch(&["a record"]));
    writer.sync();
    store.close().unwrap();
    let partition_dir = format!("/data/topics/{}/0", partition(0).topic);
    let strange = [
        "/data/README".to_owned(),
        "/data/wal/notes.txt".to_owned(),
        "/data/topics/not-a-topic".to_owned(),
        format!("{partition_dir}/00000000000000000000.log.bak"),
        format!("{partition_dir}/0.log"),
    ];
    for path in &strange {
        disk.create(Path::new(path)).unwrap();
    }
    // A segment that no log knows is somebody's data: it is moved, not deleted.
    let unknown = format!("{partition_dir}/00000000000000000500.log");
    disk.create(Path::new(&unknown)).unwrap();
    let store = open_on(Arc::new(disk.clone()), Path::new("/data"), small());
    assert_eq!(store.recovered()[0].1.log_end, Offset(1));
    for path in &strange {
        assert!(disk.exists(Path::new(path)).unwrap(), "{path}");
    }
    assert!(!disk.exists(Path::new(&unknown)).unwrap());
    let orphans = disk.list(Path::new("/data/orphan")).unwrap();
    assert_eq!(orphans.len(), 1);
    let kept = Path::new("/data/orphan").join(&orphans[0].name).join("00000000000000000500.log");
    assert!(disk.exists(&kept).unwrap());
}
