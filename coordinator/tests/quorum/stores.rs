//! What is on disk: snapshots, damage, and the journal of a single coordinator.

use crate::harness::*;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use yak_coordinator::RunError;
use yak_coordinator::metalog::MetaLog;
use yak_coordinator::quorum::{Quorum, QuorumError};
use yak_protocol::ids::{ClusterId, CoordinatorEpoch};

#[tokio::test]
async fn one_that_lags_behind_the_log_gets_a_snapshot() {
    let mut three = start_many(3, |_, config| {
        config.snapshot_entries = 20;
        config.kept_entries = 5;
        config.piece_bytes = 64;
    })
    .await;
    let (first, _) = elect(&mut three).await;
    let mut active = three.remove(first);
    active.quorum.append(vec![decision(1)]).await.unwrap();
    let lagging = three.remove(0).kill().await;
    assert!(!lagging.has("quorum.snapshot"));
    for n in 2..=100 {
        active.quorum.append(vec![decision(n)]).await.unwrap();
    }
    until_so("the log is shorter", || active.says("purged").parse().unwrap_or(0) > 60).await;
    let lagging = lagging.start().await;
    until_so("it has caught up", || lagging.applied() == active.applied()).await;
    assert!(lagging.says("purged").parse::<u64>().unwrap() > 60);

    // Everything is there, whoever leads, and after all have started again.
    three.push(lagging);
    active.kill().await;
    let (_, term) = elect(&mut three).await;
    assert_eq!(decisions(&term.records), 100);
    let mut again = Vec::new();
    for one in three {
        again.push(one.kill().await.start().await);
    }
    let (_, term) = elect(&mut again).await;
    assert_eq!(decisions(&term.records), 100);
}

/// The journal of a single coordinator of cluster `n`, as version 0.1 before the quorum wrote it: its term 5, two
/// decisions.
fn journal_with(dir: &Path, n: u128) {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/journal-v1-cluster-{n}"));
    fs::copy(fixture, dir.join("journal")).unwrap();
}

#[tokio::test]
async fn a_single_coordinators_journal_is_carried_over_once() {
    let cluster_id = ClusterId(77);
    let dir = TempDir::new().unwrap();
    journal_with(dir.path(), 77);
    let copy = fs::read(dir.path().join("journal")).unwrap();

    // A crash before it is done changes nothing.
    let mut one = start_alone(dir).await.kill().await;
    assert!(one.has("quorum.log"));
    for crash_after in [false, true] {
        if crash_after {
            // As if it had crashed before the journal was renamed.
            fs::write(one.dir.path().join("journal"), &copy).unwrap();
        }
        let mut running = one.start().await;
        let term = running.quorum.campaign().await.unwrap();
        assert!(!term.created);
        let state = state(&term.records);
        let wanted = CoordinatorEpoch(if crash_after { 7 } else { 6 });
        assert_eq!((state.cluster_id(), state.version().0, epoch(&term)), (cluster_id, 2, wanted));
        one = running.kill().await;
        assert!(!one.has("journal"));
        assert_eq!(fs::read(one.dir.path().join("journal.carried")).unwrap(), copy);
    }

    // Another cluster's journal is not taken for its own.
    let other = TempDir::new().unwrap();
    journal_with(other.path(), 78);
    fs::copy(other.path().join("journal"), one.dir.path().join("journal")).unwrap();
    let mut running = one.start().await;
    let refused = running.quorum.campaign().await.unwrap_err();
    assert!(matches!(refused, RunError::Quorum(QuorumError::TwoHistories { .. })), "{refused}");
}

async fn refused(dir: &Path) -> QuorumError {
    match Quorum::open(config(dir, "127.0.0.1:1")).await {
        Err(error) => error,
        Ok(_) => panic!("it is not refused"),
    }
}

#[tokio::test]
async fn damage_is_refused_with_the_files_name_and_an_unfinished_end_is_cut() {
    let mut one = start_alone(TempDir::new().unwrap()).await;
    one.quorum.campaign().await.unwrap();
    for n in 1..=3 {
        one.quorum.append(vec![decision(n)]).await.unwrap();
    }
    let one = one.kill().await;
    let path = one.dir.path().join("quorum.log");
    // It is not locked any more once it opens again.
    let mut one = one.start().await;
    assert_eq!(decisions(&one.quorum.campaign().await.unwrap().records), 3);
    let one = one.kill().await;
    let (copy, place) = until("it is not locked", || async {
        let place = one.dir.path().to_owned();
        let there = Quorum::open(config(&place, "127.0.0.1:1")).await.is_ok();
        there.then(|| (fs::read(&path).unwrap(), place))
    })
    .await;

    let fresh = || {
        let dir = TempDir::new().unwrap();
        assert!(place.exists());
        dir
    };
    // A bit of its middle.
    let dir = fresh();
    let mut damaged = copy.clone();
    damaged[copy.len() / 2] ^= 1;
    fs::write(dir.path().join("quorum.log"), &damaged).unwrap();
    let error = refused(dir.path()).await;
    assert!(matches!(error, QuorumError::Damaged { .. }), "{error}");
    assert!(
        error.to_string().contains("quorum.log") && error.to_string().contains("peers replace"),
        "{error}"
    );
    // Another format.
    let dir = fresh();
    let mut newer = copy.clone();
    newer[4] = 9;
    fs::write(dir.path().join("quorum.log"), &newer).unwrap();
    assert!(matches!(refused(dir.path()).await, QuorumError::Newer { .. }));
    // Something else in the dir.
    let dir = fresh();
    fs::write(dir.path().join("segment"), "x").unwrap();
    assert!(matches!(refused(dir.path()).await, QuorumError::Foreign { .. }));
    // The last block was never finished.
    let dir = fresh();
    fs::write(dir.path().join("quorum.log"), &copy[..copy.len() - 1]).unwrap();
    let mut again = start_alone(dir).await;
    assert_eq!(decisions(&again.quorum.campaign().await.unwrap().records), 3);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let dir = TempDir::new().unwrap();
    let mut settings = config(dir.path(), "127.0.0.1:1");
    settings.heartbeat = settings.election_timeout_min;
    assert!(matches!(Quorum::open(settings).await, Err(QuorumError::Timers { .. })));
    let mut settings = config(dir.path(), "127.0.0.1:1");
    settings.peers = vec!["127.0.0.1:2".to_owned()];
    assert!(matches!(Quorum::open(settings).await, Err(QuorumError::NotAmongPeers { .. })));
}
