//! The journal survives a crash at any byte, and says so when it is damaged.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::Path;
use tempfile::TempDir;
use yak_coordinator::journal::{Journal, JournalError};
use yak_core::cluster::Record;
use yak_protocol::ids::{ClusterId, CoordinatorEpoch, MetadataVersion};

fn format() -> Vec<Record> {
    vec![Record::Cluster { cluster_id: ClusterId(7) }]
}

fn decision(n: u64) -> Vec<Record> {
    vec![
        Record::Version { version: MetadataVersion(n) },
        Record::ProducerIds { next: i64::try_from(n).unwrap() * 1000 },
    ]
}

fn open(dir: &Path) -> Result<(Journal, Vec<Record>), JournalError> {
    Journal::open(dir, format).map(|(journal, recovered)| (journal, recovered.records))
}

/// A data dir whose journal is exactly these bytes.
fn dir_with(bytes: &[u8]) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("journal"), bytes).unwrap();
    dir
}

/// A journal of `decisions` entries after its first; the bytes, and where each entry ends.
fn written(decisions: u64) -> (Vec<u8>, Vec<usize>) {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path()).unwrap();
    let mut ends = vec![usize::try_from(journal.bytes()).unwrap()];
    for n in 1..=decisions {
        journal.append(&[decision(n)]).unwrap();
        ends.push(usize::try_from(journal.bytes()).unwrap());
    }
    (fs::read(dir.path().join("journal")).unwrap(), ends)
}

/// The records of the first `entries` decisions.
fn expected(entries: u64) -> Vec<Record> {
    format().into_iter().chain((1..=entries).flat_map(decision)).collect()
}

#[test]
fn an_empty_dir_gets_a_journal_and_an_open_one_continues() {
    let dir = TempDir::new().unwrap();
    let (mut journal, recovered) = Journal::open(dir.path(), format).unwrap();
    assert!(recovered.created);
    journal.append(&[decision(1), decision(2)]).unwrap();
    drop(journal);
    let (mut journal, recovered) = Journal::open(dir.path(), || panic!("it exists")).unwrap();
    assert!(!recovered.created);
    assert_eq!(recovered.records, expected(2));
    journal.append(&[decision(3)]).unwrap();
    drop(journal);
    assert_eq!(open(dir.path()).unwrap().1, expected(3));
}

#[test]
fn a_file_cut_at_any_byte_keeps_every_whole_entry_and_goes_on() {
    let (bytes, ends) = written(3);
    for cut in ends[0]..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64 - 1;
        let dir = dir_with(&bytes[..cut]);
        let (mut journal, records) = open(dir.path()).unwrap();
        assert_eq!(records, expected(whole), "cut at {cut}");
        journal.append(&[decision(whole + 1)]).unwrap();
        drop(journal);
        assert_eq!(open(dir.path()).unwrap().1, expected(whole + 1), "cut at {cut}, then appended");
    }
}

#[test]
fn a_file_cut_within_its_first_entry_is_refused() {
    let (bytes, ends) = written(0);
    for cut in 0..ends[0] {
        let dir = dir_with(&bytes[..cut]);
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "cut at {cut}: {error}");
    }
}

#[test]
fn a_flipped_bit_before_the_last_entry_is_refused_and_nothing_is_cut() {
    let (bytes, ends) = written(3);
    for position in 0..ends[2] {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        let dir = dir_with(&damaged);
        let error = open(dir.path()).unwrap_err();
        assert!(
            matches!(error, JournalError::Damaged { .. } | JournalError::Newer { .. }),
            "bit at {position}: {error}"
        );
        assert_eq!(fs::read(dir.path().join("journal")).unwrap(), damaged, "bit at {position}");
    }
}

#[test]
fn an_unfinished_last_entry_is_cut_whatever_it_holds() {
    let (bytes, ends) = written(3);
    for position in ends[2]..ends[3] {
        let mut torn = bytes.clone();
        torn[position..].fill(0);
        let keeps_all = torn == bytes;
        let (_, records) = open(dir_with(&torn).path()).unwrap();
        assert_eq!(records, expected(if keeps_all { 3 } else { 2 }), "zeros from {position}");
    }
}

#[test]
fn a_snapshot_replaces_the_journal_and_later_entries_follow_it() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path()).unwrap();
    for n in 1..=50 {
        journal.append(&[decision(n)]).unwrap();
    }
    let before = journal.bytes();
    let snapshot: Vec<Record> = format().into_iter().chain(decision(50)).collect();
    journal.replace(&snapshot).unwrap();
    assert!(journal.bytes() < before);
    journal.append(&[decision(51)]).unwrap();
    drop(journal);
    let all: Vec<Record> = snapshot.into_iter().chain(decision(51)).collect();
    assert_eq!(open(dir.path()).unwrap().1, all);
}

#[test]
fn a_crash_while_a_snapshot_is_written_leaves_the_old_journal() {
    let (bytes, _) = written(2);
    let (snapshot, _) = written(0);
    for cut in 0..=snapshot.len() {
        let dir = dir_with(&bytes);
        fs::write(dir.path().join("journal.new"), &snapshot[..cut]).unwrap();
        assert_eq!(open(dir.path()).unwrap().1, expected(2), "snapshot cut at {cut}");
        assert!(!dir.path().join("journal.new").exists());
    }
}

#[test]
fn a_crash_while_the_first_journal_is_made_leaves_an_empty_dir() {
    let (first, _) = written(0);
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("journal.new"), &first[..first.len() - 1]).unwrap();
    let (_, recovered) = Journal::open(dir.path(), format).unwrap();
    assert!(recovered.created);
}

#[test]
fn a_data_dir_has_one_user_at_a_time() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, JournalError::Locked(_)));
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn a_dir_with_other_things_is_not_taken_for_an_empty_one() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("identity"), b"a broker's").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("identity"), "{error}");
}

#[test]
fn a_journal_of_a_newer_format_is_refused_by_name() {
    let (mut bytes, _) = written(1);
    bytes[4] = 2;
    let error = open(dir_with(&bytes).path()).unwrap_err();
    assert!(matches!(error, JournalError::Newer { version: 2, .. }), "{error}");
}

#[test]
fn a_file_in_place_of_the_data_dir_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"").unwrap();
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("data dir"), "{error}");
}

#[test]
fn records_survive_the_way_to_disk_and_back() {
    let dir = TempDir::new().unwrap();
    let (mut journal, _) = open(dir.path()).unwrap();
    let records = vec![
        Record::CoordinatorEpoch { epoch: CoordinatorEpoch(3) },
        serde_record(),
        Record::TopicDeleted { id: yak_protocol::ids::TopicId(u128::MAX) },
    ];
    journal.append(std::slice::from_ref(&records)).unwrap();
    drop(journal);
    assert_eq!(open(dir.path()).unwrap().1[1..], records);
}

fn serde_record() -> Record {
    use yak_protocol::ids::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, TopicPartition};
    Record::Partition(yak_protocol::message::PartitionInfo {
        id: TopicPartition { topic: TopicId(1), partition: PartitionIndex(2) },
        replicas: vec![BrokerId(3), BrokerId(1)],
        leader: None,
        leader_epoch: LeaderEpoch(4),
        partition_epoch: PartitionEpoch(u32::MAX),
        isr: vec![],
        elr: vec![BrokerId(1)],
        min_isr: 2,
        recovering: true,
    })
}
