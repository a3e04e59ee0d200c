//! Who belongs to the quorum: how it begins, and how it changes.

use crate::harness::*;
use yak_coordinator::metalog::MetaLog;
use yak_protocol::error::ErrorCode;
use yak_protocol::message::ChangePeers;

fn add(address: &str) -> ChangePeers {
    ChangePeers { add: Some(address.to_owned()), ..ChangePeers::default() }
}

fn remove(what: &str) -> ChangePeers {
    ChangePeers { remove: Some(what.to_owned()), ..ChangePeers::default() }
}

fn replace(old: &str, new: &str) -> ChangePeers {
    ChangePeers { remove: Some(old.to_owned()), ..add(new) }
}

#[tokio::test]
async fn peers_with_different_lists_make_no_quorum() {
    let two = start_many(2, |index, config| {
        if index == 1 {
            config.peers.push("127.0.0.1:1".to_owned());
        }
    })
    .await;
    for one in &two {
        until_so("it says why", || {
            one.standing().trouble.is_some_and(|why| why.contains("all lists are the same"))
        })
        .await;
        assert!(!one.hello().await.member);
    }
}

#[tokio::test]
async fn a_new_quorum_waits_for_all_and_says_for_whom() {
    let three = start_many(3, |_, _| {}).await;
    let mut three: Vec<_> = three.into_iter().collect();
    let (first, _) = elect(&mut three).await;
    assert!(three[first].hello().await.member);

    let mut waits = start_beside(&three, &["127.0.0.1:1"]).await;
    until_so("it says for whom it waits", || {
        waits.standing().trouble.is_some_and(|why| why.contains("waits for 127.0.0.1:1"))
    })
    .await;
    let in_time = tokio::time::timeout(waits.config.election_timeout_max * 2, waits.quorum.campaign());
    assert!(in_time.await.is_err(), "it made a quorum of its own");
}

#[tokio::test]
async fn coordinators_are_added_removed_and_replaced_while_it_runs() {
    let mut all = start_many(1, |_, _| {}).await;
    let (_, term) = elect(&mut all).await;
    all[0].quorum.append(vec![decision(1)]).await.unwrap();
    let active = all[0].address().to_owned();

    // From one to three.
    for count in 2..=3 {
        let new = start_beside(&all, &[&active]).await;
        until_so("it says that it waits to be let in", || {
            new.standing().trouble.is_some_and(|why| why.contains("not part of it"))
        })
        .await;
        let changed = all[0].change(add(new.address())).await.unwrap();
        assert!(changed.changed);
        assert_eq!(changed.voters.len(), count);
        assert!(!all[0].change(add(new.address())).await.unwrap().changed, "it is done already");
        all.push(new);
    }
    all[0].quorum.append(vec![decision(2)]).await.unwrap();

    // The others say who is to be asked.
    let elsewhere = all[1].change(remove(&active)).await.unwrap_err();
    assert_eq!(elsewhere.code, ErrorCode::NotActive);
    until_so("it knows", || all[1].standing().active.is_some()).await;
    let elsewhere = all[1].change(remove(&active)).await.unwrap_err();
    assert!(elsewhere.hint.unwrap().contains(&active));

    // One by another, in one step.
    let new = start_beside(&all, &[&active]).await;
    let old = all.remove(1);
    let changed = all[0].change(replace(old.address(), new.address())).await.unwrap();
    let mut voters: Vec<u64> = changed.voters.iter().map(|voter| voter.id.0).collect();
    let mut wanted = vec![all[0].id(), all[1].id(), new.id()];
    voters.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(voters, wanted);
    assert!(!all[0].change(replace(old.address(), new.address())).await.unwrap().changed);
    old.kill().await;
    all.push(new);

    // It was the same term all the time, and the new ones have everything.
    all[0].quorum.append(vec![decision(3)]).await.unwrap();
    all.remove(0).kill().await;
    let (last, next) = elect(&mut all).await;
    assert_eq!((epoch(&next), decisions(&next.records)), (epoch(&term).next(), 3));

    // And back to one.
    let gone = all[1 - last].config.name.clone();
    assert!(all[last].change(remove(&active)).await.unwrap().changed);
    assert_eq!(all[last].change(remove(&gone)).await.unwrap().voters.len(), 1);
    all[last].quorum.append(vec![decision(4)]).await.unwrap();
}

/// The active one, one that is alive, and one that is dead and known to be.
async fn three_of_which_one_is_missed() -> (Coordinator, Coordinator, Stopped) {
    let mut three = start_many(3, |_, _| {}).await;
    let (first, _) = elect(&mut three).await;
    let active = three.remove(first);
    let dead = three.remove(0).kill().await;
    let alive = three.remove(0);
    until_so("the dead one is missed", || active.says_of(&dead.config.address).contains("silent")).await;
    (active, alive, dead)
}

#[tokio::test]
async fn a_change_that_would_lose_the_quorum_is_refused() {
    let (active, alive, dead) = three_of_which_one_is_missed().await;
    let refused = active.change(remove(alive.address())).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotApplied);
    assert!(refused.message.contains("would be lost"), "{refused}");
    assert_eq!(active.change(remove(&dead.config.address)).await.unwrap().voters.len(), 2);
}

#[tokio::test]
async fn one_that_no_majority_hears_changes_nothing_now_or_later() {
    let mut two = start_many(2, |_, _| {}).await;
    let (first, _) = elect(&mut two).await;
    let (active, other) = (&two[first], &two[1 - first]);
    active.cuts().isolate(active.id(), &[other.id()]);
    until_so("it knows that it is alone", || active.standing().active.is_none()).await;
    let gone = remove(other.address());
    for change in [gone.clone(), ChangePeers { dry_run: true, ..gone.clone() }, ChangePeers::default()] {
        let refused = active.change(change).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotActive, "{refused}");
    }
    active.cuts().heal();
    let (next, _) = elect(&mut two).await;
    let voters = two[next].change(ChangePeers::default()).await.unwrap().voters;
    assert_eq!(voters.len(), 2, "it was changed later");
}

#[tokio::test]
async fn a_forced_change_that_nobody_confirms_is_answered_and_holds_nobody_up() {
    let (active, alive, dead) = three_of_which_one_is_missed().await;
    let forced = ChangePeers { force: true, ..remove(alive.address()) };
    let unknown = active.change(forced.clone()).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::OutcomeUnknown, "{unknown}");
    let next = active.change(ChangePeers { dry_run: true, ..forced.clone() }).await.unwrap_err();
    assert_eq!(next.code, ErrorCode::NotActive, "{next}");
    // It goes on where it stopped.
    let back = dead.start().await;
    until("it is done", || async { back.hello().await.member.then_some(()) }).await;
    until_so("the other one is gone", || !active.says_of(alive.address()).contains(": votes")).await;
}

#[tokio::test]
async fn whom_nobody_knows_is_not_removed_and_not_replaced() {
    let mut all = start_many(1, |_, _| {}).await;
    elect(&mut all).await;
    let active = all[0].address().to_owned();
    let new = start_beside(&all, &[&active]).await;
    for change in [remove("nonsense"), remove("127.0.0.1:1"), replace("127.0.0.1:1", new.address())] {
        for dry_run in [true, false] {
            let refused = all[0].change(ChangePeers { dry_run, ..change.clone() }).await.unwrap_err();
            assert_eq!(refused.code, ErrorCode::BadRequest, "{refused}");
            assert!(refused.message.contains(&active), "it names who there is: {refused}");
        }
    }
    assert_eq!(all[0].change(ChangePeers::default()).await.unwrap().voters.len(), 1);
}

#[tokio::test]
async fn one_with_an_emptied_dir_is_somebody_else_until_it_is_let_in() {
    let mut three = start_many(3, |_, _| {}).await;
    let (first, _) = elect(&mut three).await;
    three[first].quorum.append(vec![decision(1)]).await.unwrap();
    let mut active = three.remove(first);
    let old = three.remove(0);
    let (address, old_id) = (old.address().to_owned(), old.id());
    let new = old.kill().await.wiped().start().await;
    assert_ne!(new.id(), old_id);
    until_so("it says what to do", || {
        new.standing().trouble.is_some_and(|why| why.contains("not part of it"))
    })
    .await;
    until_so("the active one says that somebody else is there", || {
        active.says_of(&address).contains(&format!("coordinator {}", new.id()))
    })
    .await;
    assert!(!new.hello().await.member, "it has voted");
    let refused = active.change(add(&address)).await.unwrap_err();
    assert!(refused.message.contains("emptied"), "{refused}");

    let changed = active.change(replace(&address, &address)).await.unwrap();
    assert!(changed.voters.iter().any(|voter| voter.id.0 == new.id()));
    assert!(changed.voters.iter().all(|voter| voter.id.0 != old_id));
    active.quorum.append(vec![decision(2)]).await.unwrap();
    active.kill().await;
    three.push(new);
    let (_, next) = elect(&mut three).await;
    assert_eq!(decisions(&next.records), 2);
}

#[tokio::test]
async fn one_that_moves_to_another_address_is_found_there() {
    let mut three = start_many(3, |_, _| {}).await;
    let (first, _) = elect(&mut three).await;
    let mut active = three.remove(first);
    active.quorum.append(vec![decision(1)]).await.unwrap();
    // A follower: the active one is told.
    let moved = three.remove(0).kill().await.start_elsewhere().await;
    assert!(active.change(add(moved.address())).await.unwrap().changed);
    active.quorum.append(vec![decision(2)]).await.unwrap();
    until_so("it has caught up", || moved.applied() == active.applied()).await;
    assert!(!active.change(add(moved.address())).await.unwrap().changed);

    // The one that leads next says itself where it is.
    three.push(moved);
    active.kill().await;
    let (last, term) = elect(&mut three).await;
    assert_eq!(decisions(&term.records), 2);
    let address = three[last].address().to_owned();
    for one in &three {
        until_so("all know where it is", || {
            one.standing().active.is_some_and(|active| active.address == address)
        })
        .await;
    }
}

#[tokio::test]
async fn a_single_one_that_moves_says_so() {
    let mut one = start_alone(tempfile::TempDir::new().unwrap()).await;
    one.quorum.campaign().await.unwrap();
    let mut one = one.kill().await.start_elsewhere().await;
    one.quorum.campaign().await.unwrap();
    until_so("the log knows", || one.standing().peers == [one.address()]).await;
    assert_eq!(one.standing().active.unwrap().address, one.address());
}

#[tokio::test]
async fn what_would_be_is_answered_and_nothing_done() {
    let mut all = start_many(1, |_, _| {}).await;
    elect(&mut all).await;
    let active = all[0].address().to_owned();
    let who = all[0].change(ChangePeers::default()).await.unwrap();
    assert!(!who.changed && who.active.0 == all[0].id() && who.silent.is_empty());
    assert_eq!(who.voters.len(), 1);

    let new = start_beside(&all, &[&active]).await;
    let would = |change: ChangePeers| ChangePeers { dry_run: true, ..change };
    let added = all[0].change(would(add(new.address()))).await.unwrap();
    assert!(added.changed);
    assert!(added.voters.iter().any(|voter| voter.id.0 == new.id() && voter.address == new.address()));
    assert_eq!(all[0].change(ChangePeers::default()).await.unwrap().voters, who.voters);
    assert!(!new.hello().await.member);
    let nobody = all[0].change(would(add("127.0.0.1:1"))).await.unwrap_err();
    assert_eq!(nobody.code, ErrorCode::NotReady);

    assert!(all[0].change(add(new.address())).await.unwrap().changed);
    let removed = all[0].change(would(remove(new.address()))).await.unwrap();
    assert!(removed.changed);
    assert_eq!(removed.voters, who.voters);
    let after = all[0].change(ChangePeers::default()).await.unwrap();
    assert_eq!((after.voters.len(), after.active), (2, who.active));

    // One that has gone is told from the others; without it nothing can be decided.
    let gone = new.kill().await;
    until_so("it is missed", || all[0].says_of(&gone.config.address).contains("silent")).await;
    let silent = all[0].change(ChangePeers::default()).await;
    assert!(
        silent.as_ref().map_or_else(
            |refused| refused.code == ErrorCode::NotActive,
            |known| known.silent.iter().any(|id| id.0 != known.active.0),
        ),
        "{silent:?}"
    );
}
