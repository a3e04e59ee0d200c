//! A Redis that holds less than it once did: no second history is begun.

use crate::coordinators::{Coordinator, LONG, SHORT, decision, decisions};
use crate::server::{RedisServer, copy};
use yak_coordinator::metalog::MetaLog;

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_refused_and_restoring_it_helps() {
    let Some(mut server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), SHORT);
    first.campaign().await;
    first.append(&[decision(1)]).await;
    let mut standby = Coordinator::new("standby", server.target(), LONG);
    standby.stands_by_until(|standing| standing.active.is_some()).await;
    server.kill();
    let elsewhere = server.dir.path().join("elsewhere");
    copy(&server.files(), &elsewhere);
    std::fs::remove_dir_all(server.files()).unwrap();
    server.run().await;

    let trouble = first.trouble("has lost data").await;
    for word in ["is empty", "seen entry 3, token 1", "yak coordinator rebuild"] {
        assert!(trouble.contains(word), "{trouble}");
    }
    assert_ne!(first.described("data_lost"), "-");
    standby.trouble("has lost data").await;
    // Nor after a restart of the coordinator, which knows it from its file.
    let mut first = first.crash_and_restart().await;
    first.trouble("has lost data").await;
    assert_eq!(server.ask::<u64>(&["DBSIZE"]).await, 0, "nobody has written anything");

    server.kill();
    copy(&elsewhere, &server.files());
    server.run().await;
    assert_eq!(decisions(&first.campaign().await.records), [1]);
    assert_eq!(first.described("data_lost"), "-");
}

#[tokio::test]
async fn a_redis_that_comes_back_with_old_data_is_refused() {
    let Some(mut server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.campaign().await;
    first.append(&[decision(1)]).await;
    first.log.resign().await;
    server.kill();
    let old = server.dir.path().join("old");
    copy(&server.files(), &old);
    server.run().await;
    first.campaign().await;
    first.append(&[decision(2), decision(3)]).await;
    first.log.resign().await;
    server.kill();
    copy(&old, &server.files());
    server.run().await;
    let trouble = first.trouble("has lost data").await;
    assert!(trouble.contains("ends at entry 3, token 1"), "{trouble}");
    assert!(trouble.contains("seen entry 6, token 2"), "{trouble}");
    let mut first = first.crash_and_restart().await;
    first.trouble("ends at entry 3").await;
}

#[tokio::test]
async fn a_term_notices_that_what_it_kept_is_gone() {
    let Some(mut server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), SHORT);
    first.campaign().await;
    // This much of the same term is what the Redis will know after its restart.
    let old = server.dir.path().join("old");
    copy(&server.files(), &old);
    first.append(&[decision(1)]).await;
    server.kill();
    copy(&old, &server.files());
    server.run().await;
    let why = first.deposed().await;
    assert!(why.contains("lost"), "{why}");
    first.trouble("ends at entry 2").await;
}

#[tokio::test]
async fn another_history_of_the_same_length_is_refused() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.campaign().await;
    first.append(&[decision(1)]).await;
    first.log.resign().await;
    server.tell(&["FLUSHALL"]).await;
    // A coordinator that knows nothing makes a new cluster.
    let mut fresh = Coordinator::new("fresh", server.target(), LONG);
    assert!(fresh.campaign().await.created);
    fresh.append(&[decision(9)]).await;
    fresh.log.resign().await;
    first.trouble("has another entry 3").await;
    // Nor when it has grown longer.
    fresh.campaign().await;
    fresh.append(&[decision(10)]).await;
    fresh.log.resign().await;
    first.trouble("has another entry 3").await;
}
