//! openraft's own suite for storage on real files, and what it does not cover.

use super::error::QuorumError;
use super::log_store::{LOG, LogStore};
use super::machine::Machine;
use super::types::{Entry, Outcome, Proposal, StorageError, TypeConfig, Vote};
use super::{convert, dir};
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use std::fs;
use tempfile::TempDir;
use yak_core::cluster::Record;
use yak_protocol::ids::{ClusterId, CoordinatorEpoch, CoordinatorId, MetadataVersion};
use yak_protocol::message::LogPosition;

struct InTempDir;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for InTempDir {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError> {
        let temp = TempDir::new().unwrap();
        let opened = dir::open(temp.path()).unwrap();
        Ok((temp, opened.store, opened.machine))
    }
}

#[test]
fn the_store_passes_openrafts_suite() {
    Suite::test_all(InTempDir).unwrap();
}

fn proposal(at: u64, proposal: Proposal) -> Entry {
    let position = LogPosition { term: 1, id: CoordinatorId(7), index: at };
    convert::entry(&position, None, Some(proposal))
}

fn version(n: u64) -> Vec<Vec<Record>> {
    vec![vec![Record::Version { version: MetadataVersion(n) }]]
}

#[tokio::test]
async fn an_entry_of_a_term_that_is_over_has_no_effect() {
    let temp = TempDir::new().unwrap();
    let opened = dir::open(temp.path()).unwrap();
    let (mut machine, me) = (opened.machine, opened.store.id().0);
    let begin = |epoch, by| Proposal::Begin { epoch: CoordinatorEpoch(epoch), by, new_cluster: ClusterId(9) };
    let decisions = |epoch, n| Proposal::Decisions { epoch: CoordinatorEpoch(epoch), decisions: version(n) };
    let fenced = |epoch| Outcome::Fenced(CoordinatorEpoch(epoch));
    let entries = [
        (begin(1, me), None),
        (decisions(1, 1), Some(Outcome::Done)),
        (begin(2, me + 1), Some(Outcome::Done)),
        (decisions(1, 2), Some(fenced(2))),
        (begin(2, me), Some(fenced(2))),
        (decisions(3, 2), Some(fenced(2))),
        (decisions(2, 2), Some(Outcome::Done)),
    ];
    for (at, (asked, outcome)) in (1..).zip(entries) {
        let got = machine.apply([proposal(at, asked)]).await.unwrap().remove(0);
        match outcome {
            Some(outcome) => assert_eq!(got, outcome, "entry {at}"),
            None => assert!(matches!(got, Outcome::Begun(begun) if begun.created), "entry {at}"),
        }
    }
    assert_eq!((machine.epoch(), machine.cluster_id()), (CoordinatorEpoch(2), Some(ClusterId(9))));
    let asked = begin(3, me);
    let Outcome::Begun(begun) = machine.apply([proposal(8, asked)]).await.unwrap().remove(0) else {
        panic!("the term has not begun");
    };
    assert!(!begun.created);
    assert!(begun.records.contains(&Record::Version { version: MetadataVersion(2) }));
    assert_eq!(begun.records.last(), Some(&Record::CoordinatorEpoch { epoch: CoordinatorEpoch(3) }));
}

#[tokio::test]
async fn a_log_that_ends_at_any_byte_opens_with_what_was_whole() {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join(LOG);
    let mut ends = Vec::new();
    {
        let mut store = dir::open(temp.path()).unwrap().store;
        ends.push(fs::read(&path).unwrap().len());
        for at in 0..4 {
            store.save_vote(&Vote::new(at + 1, 7)).await.unwrap();
            ends.push(fs::read(&path).unwrap().len());
        }
    }
    let bytes = fs::read(&path).unwrap();
    for cut in ends[0]..=bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let store = dir::open(temp.path()).unwrap().store;
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64 - 1;
        assert_eq!(store.vote().map_or(0, |vote| vote.leader_id.term), whole, "cut at {cut}");
    }
    // Less than its first block, which came with a rename, is damage.
    fs::write(&path, &bytes[..ends[0] - 1]).unwrap();
    assert!(matches!(dir::open(temp.path()), Err(QuorumError::Damaged { .. })));
}
