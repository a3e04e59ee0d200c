//! A Redis that is away, slow, full, read-only or locked.

use crate::coordinators::{Coordinator, LONG, SHORT, decision, decisions, epoch};
use crate::server::RedisServer;
use rustix::process::Signal;
use yak_coordinator::metalog::MetaLog;
use yak_coordinator::redis::{Secret, Target};

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_has_everything() {
    let Some(mut server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), SHORT);
    first.campaign().await;
    first.append(&[decision(1)]).await;
    server.kill();
    let why = first.deposed().await;
    assert!(why.contains("cannot be reached") || why.contains("does not answer any more"), "{why}");
    assert!(!first.log.held());
    let trouble = first.trouble("cannot be reached").await;
    assert!(trouble.contains(&format!("redis at 127.0.0.1:{}", server.port)), "{trouble}");
    assert!(first.log.look().trouble().unwrap().contains("cannot be reached"));
    server.run().await;
    let term = first.campaign().await;
    assert_eq!((epoch(&term), decisions(&term.records)), (2, vec![1]));
    first.append(&[decision(2)]).await;
    assert_eq!(first.log.look().trouble(), None);
}

#[tokio::test]
async fn a_redis_that_is_back_before_the_lease_is_over_is_not_noticed() {
    let Some(mut server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.campaign().await;
    first.append(&[decision(1)]).await;
    server.kill();
    server.run().await;
    assert!(first.log.held());
    // The connection of the appends is broken, and nobody knows what became of what was on it.
    first.refused(decision(2)).await;
    let term = first.campaign().await;
    assert_eq!((epoch(&term), decisions(&term.records)), (2, vec![1]));
}

#[tokio::test]
async fn a_slow_redis_deposes_within_the_lease() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), SHORT);
    first.campaign().await;
    server.signal(Signal::STOP);
    let why = first.refused(decision(1)).await;
    assert!(why.contains("is slow"), "{why}");
    assert!(!first.log.held());
    first.trouble("is slow").await;
    server.signal(Signal::CONT);
    let term = first.campaign().await;
    assert!(epoch(&term) >= 2);
    // It may have been done once the server was itself again, but not twice and not half.
    assert!(decisions(&term.records).len() <= 1);
}

#[tokio::test]
async fn a_term_in_which_nobody_appends_ends_with_a_slow_redis() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), SHORT);
    first.campaign().await;
    server.signal(Signal::STOP);
    let why = first.deposed().await;
    assert!(why.contains("the lease ran out"), "{why}");
    server.signal(Signal::CONT);
    first.campaign().await;
}

#[tokio::test]
async fn a_full_redis_is_named_and_resumes_when_there_is_room() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.campaign().await;
    server.tell(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let why = first.refused(decision(1)).await;
    assert!(why.contains("maxmemory"), "{why}");
    let trouble = first.trouble("maxmemory").await;
    assert!(trouble.contains("give it more memory"), "{trouble}");
    server.tell(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(decisions(&first.campaign().await.records), Vec::<u64>::new());
    first.append(&[decision(2)]).await;
}

#[tokio::test]
async fn a_redis_that_cannot_save_is_named() {
    let Some(server) = RedisServer::start_with(&["--save", "3600 1000000"]).await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.campaign().await;
    // What it would rename its dump over.
    std::fs::create_dir(server.dir.path().join("dump.rdb")).unwrap();
    server.tell(&["BGSAVE"]).await;
    crate::coordinators::eventually("the save failed", || async {
        server.ask::<String>(&["INFO", "persistence"]).await.contains("rdb_last_bgsave_status:err")
    })
    .await;
    let why = first.refused(decision(1)).await;
    assert!(why.contains("cannot save to its disk"), "{why}");
    first.trouble("cannot save to its disk").await;
    std::fs::remove_dir(server.dir.path().join("dump.rdb")).unwrap();
    server.tell(&["BGSAVE"]).await;
    first.campaign().await;
}

#[tokio::test]
async fn a_replica_is_named() {
    let Some(primary) = RedisServer::start().await else { return };
    let of = format!("127.0.0.1 {}", primary.port);
    let Some(replica) = RedisServer::start_with(&["--replicaof", &of]).await else { return };
    let mut lost = Coordinator::new("lost", replica.target(), LONG);
    let trouble = lost.trouble("read-only replica").await;
    assert!(trouble.contains("name the primary"), "{trouble}");

    // A primary that becomes a replica under an active coordinator.
    let mut first = Coordinator::new("first", primary.target(), LONG);
    first.campaign().await;
    primary.tell(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let why = first.refused(decision(1)).await;
    assert!(why.contains("read-only replica"), "{why}");
    first.trouble("read-only replica").await;
    primary.tell(&["REPLICAOF", "NO", "ONE"]).await;
    first.campaign().await;
}

#[tokio::test]
async fn a_password_is_asked_for_by_name_and_never_shown() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "correct"]).await else { return };
    let target = |password: Option<&str>| Target {
        password: password.map(Secret::new),
        ..Target::plain("127.0.0.1", server.port)
    };
    let trouble = Coordinator::new("first", target(None), LONG).trouble("wants a password").await;
    assert!(trouble.contains("REDIS_PASSWORD"), "{trouble}");
    let mut wrong = Coordinator::new("first", target(Some("hunter2")), LONG);
    let trouble = wrong.trouble("refused").await;
    assert!(
        !format!("{trouble} {:?} {:?}", wrong.log, wrong.log.look().describe()).contains("hunter2"),
        "{trouble}"
    );
    let mut right = Coordinator::new("first", target(Some("correct")), LONG);
    right.campaign().await;
    assert!(!format!("{:?} {:?}", right.log, right.log.look().describe()).contains("correct"));
}

#[tokio::test]
async fn a_redis_that_was_never_there_is_waited_for() {
    let Some(mut server) = RedisServer::start().await else { return };
    server.kill();
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.trouble("cannot be reached").await;
    server.run().await;
    assert!(first.campaign().await.created);
}
