//! The promise is no better than that of the Redis, and it is said.

use crate::coordinators::{Coordinator, LONG, SHORT, decision, decisions, epoch};
use crate::server::RedisServer;
use yak_coordinator::metalog::MetaLog;
use yak_coordinator::redis::{Secret, Target};

#[tokio::test]
async fn a_redis_that_syncs_every_write_gives_the_full_promise() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.campaign().await;
    assert_eq!(first.described("durability"), "every write synced");
    assert!(first.described("settings").starts_with("appendonly yes, appendfsync always"));
    assert!(
        first.described("version").starts_with("redis ") || first.described("version").starts_with("valkey ")
    );
    assert_eq!(first.described("backend"), "redis");
    assert_eq!(first.described("host"), format!("127.0.0.1:{}", server.port));
}

#[tokio::test]
async fn weaker_settings_are_shown() {
    let Some(server) = RedisServer::start_with(&["--appendfsync", "everysec"]).await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.campaign().await;
    assert_eq!(first.described("durability"), "weaker than every write synced");
    assert!(first.described("warnings").contains("appendfsync everysec"), "{}", first.described("warnings"));

    let Some(server) = RedisServer::start_with(&["--appendonly", "no"]).await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.campaign().await;
    assert!(first.described("warnings").contains("appendonly no"), "{}", first.described("warnings"));
}

#[tokio::test]
async fn after_a_restart_of_a_weaker_one_no_lease_can_be_left_when_the_next_is_given_out() {
    let Some(mut server) = RedisServer::start_with(&["--appendfsync", "everysec"]).await else { return };
    let mut first = Coordinator::new("first", server.target(), SHORT);
    first.campaign().await;
    first.append(&[decision(1)]).await;
    first.log.resign().await;
    let mut patient = Coordinator::new("patient", server.target(), LONG * 10);
    server.kill();
    server.run().await;
    patient.trouble("may have forgotten a lease").await;
    let term = first.campaign().await; // its lease is shorter, and so is its wait
    assert_eq!((epoch(&term), decisions(&term.records)), (2, vec![1]));
}

#[tokio::test]
async fn without_the_right_to_ask_the_promise_is_unknown() {
    let Some(server) = RedisServer::start().await else { return };
    server
        .tell(&[
            "ACL",
            "SETUSER",
            "yak",
            "on",
            ">secret",
            "~leader_lease*",
            "~coordinator_journal*",
            "+@all",
            "-config",
        ])
        .await;
    let target =
        Target { user: Some("yak".to_owned()), password: Some(Secret::new("secret")), ..server.target() };
    let mut first = Coordinator::new("first", target, SHORT);
    first.campaign().await;
    first.append(&[decision(1)]).await;
    assert_eq!(first.described("durability"), "unknown");
    assert!(first.described("warnings").contains("does not say"), "{}", first.described("warnings"));
}

#[tokio::test]
async fn a_redis_that_may_delete_the_journal_is_refused_by_name() {
    let Some(server) = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]).await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    let trouble = first.trouble("maxmemory-policy allkeys-lru").await;
    assert!(trouble.contains("set noeviction"), "{trouble}");
    server.tell(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]).await;
    first.campaign().await;
    assert!(first.described("warnings").contains("volatile-ttl"), "{}", first.described("warnings"));
}
