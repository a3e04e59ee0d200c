//! What is kept.

use crate::coordinators::{Coordinator, LONG, SHORT, decision, decisions, epoch, eventually};
use crate::proxy::{Flow, OPEN, Proxy};
use crate::server::RedisServer;
use yak_coordinator::metalog::MetaLog;
use yak_coordinator::redis::Target;

#[tokio::test]
async fn everything_kept_comes_back_in_order() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    let made = first.campaign().await;
    first.append(&[decision(1), decision(2)]).await;
    first.append(&[]).await;
    // More than one script adds, and than one page reads.
    let many: Vec<_> = (3..=1300).map(decision).collect();
    first.append(&many).await;
    first.log.resign().await;
    let mut second = Coordinator::new("second", server.target(), LONG);
    let term = second.campaign().await;
    assert_eq!(decisions(&term.records), (1..=1300).collect::<Vec<_>>());
    assert_eq!(term.records[0], made.records[0], "the same cluster");
    assert_eq!(second.described("journal_entries"), "1303");
}

#[tokio::test]
async fn a_snapshot_replaces_the_journal_and_it_goes_on_from_there() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.config.snapshot_bytes_min = 2000;
    let mut first = first.crash_and_restart().await;
    let mut records = first.campaign().await.records;
    first.log.compact(|| panic!("it is short")).await.unwrap();
    let many: Vec<_> = (1..=50).map(decision).collect();
    first.append(&many).await;
    records.extend(decision(50));
    first.log.compact(|| records.clone()).await.unwrap();
    assert_eq!(server.ask::<u64>(&["LLEN", "coordinator_journal"]).await, 1);
    assert_eq!(first.described("snapshots"), "1");
    first.append(&[decision(51)]).await;
    first.log.resign().await;
    let mut second = Coordinator::new("second", server.target(), LONG);
    assert_eq!(decisions(&second.campaign().await.records), [50, 51]);
}

#[tokio::test]
async fn an_append_that_comes_after_another_took_over_is_refused_by_the_server() {
    let Some(server) = RedisServer::start().await else { return };
    let proxy = Proxy::to(server.port).await;
    let mut first = Coordinator::new("first", Target::plain("127.0.0.1", proxy.port), SHORT);
    first.campaign().await;
    first.append(&[decision(1)]).await;
    // Its renewals and its next append are on the way from now on.
    proxy.set(Flow { requests: false, ..OPEN });
    let why = first.refused(decision(666)).await;
    assert!(why.contains("did not answer"), "{why}");
    assert!(!first.log.held());

    let mut second = Coordinator::new("second", server.target(), LONG);
    let term = second.campaign().await;
    assert_eq!((epoch(&term), decisions(&term.records)), (2, vec![1]));
    second.append(&[decision(2)]).await;

    assert_eq!(proxy.replied("fenced"), 0);
    proxy.set(OPEN);
    eventually("the late append has arrived", || async { proxy.replied("fenced") == 1 }).await;
    second.append(&[decision(3)]).await;
    second.log.resign().await;
    let mut third = Coordinator::new("third", server.target(), LONG);
    assert_eq!(decisions(&third.campaign().await.records), [1, 2, 3]);
}

#[tokio::test]
async fn after_an_append_of_unknown_fate_the_next_term_knows_and_has_a_new_token() {
    let Some(server) = RedisServer::start().await else { return };
    let proxy = Proxy::to(server.port).await;
    let mut first = Coordinator::new("first", Target::plain("127.0.0.1", proxy.port), SHORT);
    let term = first.campaign().await;
    proxy.set(Flow { replies: false, ..OPEN });
    let why = first.refused(decision(1)).await;
    assert!(why.contains("did not answer"), "{why}");
    proxy.set(OPEN);
    let next = first.campaign().await;
    assert!(epoch(&next) > epoch(&term));
    assert_eq!(decisions(&next.records), [1], "it was kept, and nobody had been told");
}

#[tokio::test]
async fn a_call_that_is_dropped_in_the_middle_ends_the_term() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.campaign().await;
    {
        let mut append = std::pin::pin!(first.log.append(vec![decision(1)]));
        let waker = std::task::Waker::noop();
        assert!(append.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    }
    assert!(!first.log.held());
    assert!(first.refused(decision(2)).await.contains("no term"));
    assert_eq!(epoch(&first.campaign().await), 2);
}

#[tokio::test]
async fn a_damaged_journal_is_not_decided_from() {
    let Some(server) = RedisServer::start().await else { return };
    let mut first = Coordinator::new("first", server.target(), LONG);
    first.campaign().await;
    first.append(&[decision(1), decision(2)]).await;
    first.log.resign().await;
    let mut entry: Vec<u8> = server.ask(&["LINDEX", "coordinator_journal", "2"]).await;
    let whole = entry.clone();
    *entry.last_mut().unwrap() ^= 1;
    set_entry(&server, &entry).await;
    let mut second = Coordinator::new("second", server.target(), LONG);
    let trouble = second.trouble("damaged").await;
    assert!(trouble.contains("the CRC of entry 3 is wrong"), "{trouble}");
    assert_ne!(second.described("data_lost"), "-");
    assert_eq!(server.ask::<Option<String>>(&["GET", "leader_lease"]).await, None, "it lets others look");

    set_entry(&server, &whole).await;
    assert_eq!(decisions(&second.campaign().await.records), [1, 2], "restored");
    second.log.resign().await;
    server.tell(&["RPOP", "coordinator_journal"]).await;
    let trouble = second.trouble("damaged").await;
    assert!(trouble.contains("its end is noted as"), "{trouble}");
}

async fn set_entry(server: &RedisServer, entry: &[u8]) {
    let client = redis::Client::open(("127.0.0.1", server.port)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd("LSET");
    let done: () =
        command.arg("coordinator_journal").arg(2).arg(entry).query_async(&mut connection).await.unwrap();
    done
}

#[tokio::test]
async fn what_is_not_ours_under_our_keys_is_left_alone() {
    let Some(server) = RedisServer::start().await else { return };
    server.tell(&["RPUSH", "coordinator_journal", "somebody", "else"]).await;
    let mut first = Coordinator::new("first", server.target(), LONG);
    let trouble = first.trouble("has something else").await;
    assert!(trouble.contains("?prefix="), "{trouble}");
    assert_eq!(server.ask::<u64>(&["LLEN", "coordinator_journal"]).await, 2);
}
