//! Who is active, and what becomes of entries when that changes.

use crate::harness::*;
use std::time::Duration;
use yak_coordinator::metalog::{Lost, MetaLog};
use yak_protocol::ids::CoordinatorEpoch;

#[tokio::test]
async fn one_coordinator_is_a_quorum_of_one() {
    let mut one = start_alone(tempfile::TempDir::new().unwrap()).await;
    let term = one.quorum.campaign().await.unwrap();
    assert!(term.created);
    assert_eq!(epoch(&term), CoordinatorEpoch(1));
    one.quorum.append(vec![decision(1), decision(2)]).await.unwrap();
    assert!(one.quorum.held());
    until_so("it says that it is active", || {
        one.standing().active.is_some_and(|active| active.myself && active.address == one.address())
    })
    .await;
    let cluster_id = one.quorum.cluster_id();

    let mut one = one.kill().await.start().await;
    let term = one.quorum.campaign().await.unwrap();
    assert!(!term.created);
    assert_eq!((epoch(&term), decisions(&term.records)), (CoordinatorEpoch(2), 2));
    assert_eq!(one.quorum.cluster_id(), cluster_id);
}

#[tokio::test]
async fn when_the_active_one_dies_another_goes_on_with_every_entry() {
    let mut three = start_many(3, |_, _| {}).await;
    let (first, term) = elect(&mut three).await;
    assert!(term.created);
    for n in 1..=20 {
        three[first].quorum.append(vec![decision(n)]).await.unwrap();
    }
    let address = three[first].address().to_owned();
    for one in &three {
        until_so("all know who is active", || {
            one.standing().active.is_some_and(|active| active.address == address)
        })
        .await;
    }
    three.remove(first).kill().await;
    let (_, next) = elect(&mut three).await;
    assert!(!next.created);
    assert_eq!((epoch(&next), decisions(&next.records)), (epoch(&term).next(), 20));
    assert_eq!(state(&next.records).cluster_id(), state(&term.records).cluster_id());
}

#[tokio::test]
async fn a_leader_that_is_cut_off_stops_and_what_it_writes_is_lost() {
    let mut three = start_many(3, |_, _| {}).await;
    let (first, term) = elect(&mut three).await;
    three[first].quorum.append(vec![decision(1)]).await.unwrap();
    let ids: Vec<u64> = three.iter().map(Coordinator::id).collect();
    let mut old = three.remove(first);
    old.cuts().isolate(old.id(), &ids);
    until_so("it does not hold its term", || !old.quorum.held()).await;

    let (second, next) = elect(&mut three).await;
    assert!(epoch(&next) > epoch(&term));
    three[second].quorum.append(vec![decision(2)]).await.unwrap();
    // It has not asked whether its term is over, and writes.
    let late = old.quorum.append(vec![decision(7)]).await.unwrap_err();
    assert!(matches!(late, Lost::Deposed(_)), "{late}");
    assert!(matches!(old.quorum.deposed().await, Lost::Deposed(_)));

    old.cuts().heal();
    three[second].quorum.append(vec![decision(3)]).await.unwrap();
    until_so("it has caught up", || old.applied() == three[second].applied()).await;
    assert!(!old.quorum.held());
    three.push(old);
    three.remove(second).kill().await;
    let (_, last) = elect(&mut three).await;
    assert_eq!((epoch(&last), decisions(&last.records)), (epoch(&next).next(), 3));
}

#[tokio::test]
async fn a_leader_that_comes_back_changes_nothing_by_its_old_term() {
    let mut three = start_many(3, |_, _| {}).await;
    let (first, term) = elect(&mut three).await;
    three[first].quorum.append(vec![decision(1)]).await.unwrap();
    let ids: Vec<u64> = three.iter().map(Coordinator::id).collect();
    let mut old = three.remove(first);
    old.cuts().isolate(old.id(), &ids);
    let (second, next) = elect(&mut three).await;
    three[second].quorum.append(vec![decision(2)]).await.unwrap();

    // Now it may lead again: it comes back, and the one that followed it dies.
    old.cuts().heal();
    until_so("it has caught up", || old.applied() == three[second].applied()).await;
    three.remove(second).kill().await;
    let rest = three.remove(0);
    until_so("one of the two leads", || {
        [&old, &rest].iter().any(|one| one.standing().active.is_some_and(|active| active.myself))
    })
    .await;
    // Whether it leads the log again or not: what was decided in its old term has no effect.
    let late = old.quorum.append(vec![decision(7)]).await.unwrap_err();
    assert!(matches!(late, Lost::Deposed(_)), "{late}");
    let (_, last) = elect(&mut [old, rest]).await;
    assert!(epoch(&last) > epoch(&next) && epoch(&next) > epoch(&term));
    assert_eq!(decisions(&last.records), 2);
}

#[tokio::test]
async fn after_all_have_stopped_everything_is_there() {
    let mut three = start_many(3, |_, _| {}).await;
    let (first, term) = elect(&mut three).await;
    for n in 1..=5 {
        three[first].quorum.append(vec![decision(n)]).await.unwrap();
    }
    let mut stopped = Vec::new();
    for one in three {
        stopped.push(one.kill().await);
    }
    let mut three = Vec::new();
    for one in stopped {
        three.push(one.start().await);
    }
    let (_, next) = elect(&mut three).await;
    assert_eq!((epoch(&next), decisions(&next.records)), (epoch(&term).next(), 5));
}

#[tokio::test]
async fn one_that_was_cut_off_comes_back_without_ending_a_healthy_term() {
    // No busy machine may make anybody else doubt the leader.
    let mut three = start_many(3, |_, config| {
        config.election_timeout_min = Duration::from_secs(3);
        config.election_timeout_max = Duration::from_secs(4);
    })
    .await;
    let (first, _) = elect(&mut three).await;
    let raft_term = three[first].says("term");
    let ids: Vec<u64> = three.iter().map(Coordinator::id).collect();
    let lonely = three.iter().position(|one| one.id() != ids[first]).unwrap();
    let cuts = three[first].cuts().clone();
    cuts.isolate(ids[lonely], &ids);
    until_so("it has asked for votes in vain", || cuts.votes_lost(ids[lonely]) >= 6).await;
    three[first].quorum.append(vec![decision(1)]).await.unwrap();
    cuts.heal();
    until_so("it has caught up", || three[lonely].applied() == three[first].applied()).await;
    three[first].quorum.append(vec![decision(2)]).await.unwrap();
    assert_eq!(three[first].says("term"), raft_term);
    assert!(three[first].quorum.held());
}

#[tokio::test]
async fn one_that_resigns_is_followed_by_another() {
    let mut three = start_many(3, |_, _| {}).await;
    let (first, term) = elect(&mut three).await;
    three[first].quorum.append(vec![decision(1)]).await.unwrap();
    let mut old = three.remove(first);
    old.quorum.resign().await;
    assert!(!old.quorum.held());
    let (_, next) = elect(&mut three).await;
    assert_eq!((epoch(&next), decisions(&next.records)), (epoch(&term).next(), 1));
}
