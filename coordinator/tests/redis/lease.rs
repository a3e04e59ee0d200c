//! Who is active.

use crate::coordinators::{Coordinator, LONG, SHORT, decision, decisions, epoch, eventually, within};
use crate::server::RedisServer;
use std::sync::{Arc, Mutex};
use yak_coordinator::metalog::MetaLog;
use yak_coordinator::redis::Target;
use yak_core::cluster::Record;

#[tokio::test]
async fn a_lease_is_taken_renewed_and_released() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), SHORT);
    let term = first.campaign().await;
    assert!(term.created && first.log.held());
    assert_eq!(epoch(&term), 1);
    assert!(matches!(term.records.as_slice(), [Record::Cluster { .. }, Record::CoordinatorEpoch { epoch }]
        if epoch.0 == 1));
    assert_eq!(server.ask::<String>(&["GET", "leader_lease"]).await, "first", "the key of the seeds");
    assert_eq!(server.ask::<u64>(&["GET", "leader_lease:token"]).await, 1);
    assert_eq!(first.log.standing().borrow().active.as_ref().map(|active| active.myself), Some(true));

    // Without renewals it only gets shorter.
    let left = async || server.ask::<i64>(&["PTTL", "leader_lease"]).await;
    let lowest = Mutex::new(i64::MAX);
    eventually("renewed", || async {
        let left = left().await;
        let mut lowest = lowest.lock().unwrap();
        *lowest = left.min(*lowest);
        left > *lowest
    })
    .await;

    let mut second = Coordinator::new("second", server.target(), LONG);
    let standing = second.stands_by_until(|standing| standing.active.is_some()).await.active.unwrap();
    assert_eq!((standing.name.as_str(), standing.address.as_str()), ("first", "first:9700"));
    assert!(!standing.myself);
    assert_eq!(second.described("lease_holder"), "first");

    first.log.resign().await;
    assert!(!first.log.held());
    let term = second.campaign().await;
    assert_eq!((epoch(&term), term.created), (2, false));
    assert_eq!(second.described("token"), "2");
}

#[tokio::test]
async fn of_many_campaigners_one_wins_each_time_and_tokens_strictly_increase() {
    let Some(server) = RedisServer::start().await else { return };
    let wins = Arc::new(Mutex::new(Vec::new()));
    let racers: Vec<_> = (0..12)
        .map(|n| {
            let mut coordinator = Coordinator::new(&format!("c{n}"), server.target(), LONG);
            let wins = wins.clone();
            tokio::spawn(async move {
                let term = coordinator.campaign().await;
                let before = wins.lock().unwrap().len();
                coordinator.append(&[decision(n)]).await;
                // Whoever else had won meanwhile would show here.
                wins.lock().unwrap().insert(before, (n, epoch(&term), decisions(&term.records)));
                coordinator.log.resign().await;
            })
        })
        .collect();
    for racer in racers {
        within(racer).await.unwrap();
    }
    let wins = wins.lock().unwrap();
    let order: Vec<u64> = wins.iter().map(|win| win.0).collect();
    for (place, (_, epoch, before)) in wins.iter().enumerate() {
        assert_eq!(*epoch, place as u64 + 1);
        assert_eq!(*before, order[..place], "each sees what those before it kept, and nothing else");
    }
    assert_eq!(wins.len(), 12);
}

#[tokio::test]
async fn one_that_is_started_again_does_not_wait_for_its_own_lease_and_has_a_new_token() {
    let Some(server) = RedisServer::start().await else { return };
    // So long that nobody could wait for it here.
    let mut coordinator = Coordinator::new("only", server.target(), LONG * 100);
    assert_eq!(epoch(&coordinator.campaign().await), 1);
    coordinator.append(&[decision(1)]).await;
    let mut coordinator = coordinator.crash_and_restart().await;
    let term = coordinator.campaign().await;
    assert_eq!((epoch(&term), decisions(&term.records)), (2, vec![1]));
}

#[tokio::test]
async fn two_of_one_name_do_not_take_turns_by_accident() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("same", server.target(), LONG);
    first.campaign().await;
    let mut second = Coordinator::new("same", server.target(), LONG);
    let trouble = second.trouble("another coordinator is called same").await;
    assert!(trouble.contains("same:9700"), "{trouble}");
    first.append(&[decision(1)]).await;
}

#[tokio::test]
async fn a_lease_that_somebody_else_set_is_waited_for() {
    let Some(server) = RedisServer::start().await else { return };
    server.tell(&["SET", "leader_lease", "broker-of-old", "PX", "600000"]).await;
    let mut coordinator = Coordinator::new("new", server.target(), LONG);
    coordinator.trouble("leader_lease is set to broker-of-old").await;
    assert_eq!(coordinator.log.standing().borrow().active, None, "nobody who could be asked");
    server.tell(&["PEXPIRE", "leader_lease", "1"]).await;
    assert_eq!(epoch(&coordinator.campaign().await), 1, "as soon as it ran out");

    coordinator.log.resign().await;
    server.tell(&["SET", "leader_lease", "broker-of-old"]).await;
    let trouble = coordinator.trouble("never runs out").await;
    assert!(trouble.contains("delete the key leader_lease"), "{trouble}");
    server.tell(&["DEL", "leader_lease"]).await;
    assert_eq!(epoch(&coordinator.campaign().await), 2);
}

#[tokio::test]
async fn a_lease_that_is_taken_away_ends_the_term() {
    let Some(server) = RedisServer::start().await else { return };
    let mut coordinator = Coordinator::new("first", server.target(), SHORT);
    coordinator.campaign().await;
    server.tell(&["SET", "leader_lease", "thief", "PX", "60000"]).await;
    let why = coordinator.deposed().await;
    assert!(why.contains("thief has it"), "{why}");
    assert!(!coordinator.log.held());
    assert_eq!(coordinator.log.standing().borrow().active, None);
}

#[tokio::test]
async fn a_token_that_was_deleted_is_taken_from_the_journal() {
    let Some(server) = RedisServer::start().await else { return };
    let mut coordinator = Coordinator::new("only", server.target(), LONG);
    coordinator.campaign().await;
    coordinator.log.resign().await;
    coordinator.campaign().await;
    coordinator.log.resign().await;
    server.tell(&["DEL", "leader_lease:token"]).await;
    assert_eq!(epoch(&coordinator.campaign().await), 3);
}

#[tokio::test]
async fn two_clusters_share_a_redis_by_a_prefix() {
    let Some(server) = RedisServer::start().await else { return };
    let mut plain = Coordinator::new("plain", server.target(), LONG);
    let blue = Target { prefix: "blue:".to_owned(), ..server.target() };
    let mut blue = Coordinator::new("blue", blue, LONG);
    let (one, other) = (plain.campaign().await, blue.campaign().await);
    assert!(one.created && other.created && one.records[0] != other.records[0]);
    assert_eq!(server.ask::<String>(&["GET", "blue:leader_lease"]).await, "blue");
    plain.append(&[decision(1)]).await;
    blue.append(&[decision(2)]).await;
}

#[tokio::test]
async fn a_lease_that_the_redis_keeps_for_an_hour_too_long_ends_when_nobody_renews_it() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), SHORT);
    first.campaign().await;
    // What a clock that is set back does to keys.
    let put_off = async || server.tell(&["PEXPIRE", "leader_lease", "3600000"]).await;
    put_off().await;
    let left = async || server.ask::<i64>(&["PTTL", "leader_lease"]).await;
    eventually("a live holder to renew it as ever", || async { left().await <= 5000 }).await;
    assert_eq!(server.ask::<u64>(&["GET", "leader_lease:token"]).await, 1);

    drop(first);
    put_off().await;
    let mut second = Coordinator::new("second", server.target(), LONG);
    let term = second.campaign().await;
    assert_eq!((epoch(&term), term.created), (2, false));
}
