//! What is said of every trouble there is: `tests/why/causes.txt`. `UPDATE=1` writes what is said now into the
//! file; the difference is then to be read as a user would read it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use yak_core::why::{
    BrokerFacts, FollowerFacts, LeaderFacts, Own, PartitionFacts, Past, Trouble, broker, merge, paragraph,
    partition, well,
};
use yak_protocol::ids::*;
use yak_protocol::message::{Cause, Moving, PartitionInfo};

/// 2026-11-20T20:31:05Z, and 40 s before.
const NOW: i64 = 1_795_206_665_000;
const BEFORE: i64 = NOW - 40_000;

fn past(why: &str) -> Option<Past> {
    Some(Past { at_ms: BEFORE, why: why.to_owned() })
}

fn replica(id: u32) -> BrokerFacts {
    BrokerFacts {
        id: BrokerId(id),
        name: format!("b{id}"),
        address: format!("10.0.0.{id}:9701"),
        replicas: 12,
        leads: 4,
        ..BrokerFacts::default()
    }
}

fn fenced(id: u32, why: &str) -> BrokerFacts {
    BrokerFacts { fenced: true, fenced_past: past(why), ..replica(id) }
}

fn ids(ids: &[u32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

/// `orders/2` as the coordinator knows it: three replicas, all well.
fn orders() -> PartitionFacts {
    PartitionFacts {
        title: "orders/2".to_owned(),
        info: PartitionInfo {
            id: TopicPartition { topic: TopicId(1), partition: PartitionIndex(2) },
            replicas: ids(&[1, 2, 3]),
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(9),
            isr: ids(&[1, 2, 3]),
            elr: Vec::new(),
            min_isr: 2,
            recovering: false,
            moving: None,
            unclean: None,
        },
        wanted_replicas: 3,
        brokers: vec![replica(1), replica(2), replica(3)],
        spare: 0,
        leaderless: None,
        damaged: Vec::new(),
        halted: Vec::new(),
        moving: None,
        leader: None,
        not_following: None,
        own: None,
    }
}

fn isr(isr: &[u32]) -> PartitionFacts {
    let mut facts = orders();
    facts.info.isr = ids(isr);
    facts
}

fn follower(id: u32, acked: Option<u64>) -> FollowerFacts {
    FollowerFacts {
        id: BrokerId(id),
        acked: acked.map(Offset),
        streams: acked.is_some(),
        ..FollowerFacts::default()
    }
}

/// What broker 1 knows as leader.
fn led(followers: Vec<FollowerFacts>) -> Option<LeaderFacts> {
    let (high_watermark, log_end) = (Offset(5000), Offset(5000));
    Some(LeaderFacts { high_watermark, high_watermark_known: true, log_end, damaged: Vec::new(), followers })
}

fn own(change: impl FnOnce(&mut Own)) -> Own {
    let mut own = Own { coordinator: "10.0.0.9:9700".to_owned(), ..Own::default() };
    change(&mut own);
    own
}

fn of(facts: &PartitionFacts) -> (String, Vec<Cause>) {
    let causes = partition(facts, NOW);
    (paragraph(&facts.title, &well(facts), &causes), causes)
}

fn of_broker(facts: &BrokerFacts) -> (String, Vec<Cause>) {
    let causes = broker(facts, NOW);
    let lease = Some((Duration::from_millis(2600), Duration::from_millis(400)));
    (paragraph(&format!("broker {}", facts.id), &facts.well(lease), &causes), causes)
}

fn of_partitions() -> Vec<(&'static str, (String, Vec<Cause>))> {
    let behind = FollowerFacts {
        bytes_behind: 14_000_000,
        behind: Some(Duration::from_secs(12)),
        late: true,
        ..follower(2, Some(1200))
    };
    let mut broken = isr(&[1, 3]);
    broken.brokers[1].broken_links = vec![(BrokerId(2), BrokerId(1))];
    let nobody = PartitionInfo { leader: None, isr: vec![], elr: ids(&[1, 2]), ..orders().info };
    let only = PartitionInfo { elr: ids(&[2]), ..nobody.clone() };
    let dead =
        vec![fenced(1, "its process closed the connection"), fenced(2, "its lease has run out"), replica(3)];
    let mut damaged_leader = led(vec![follower(2, Some(5000)), follower(3, Some(5000))]);
    damaged_leader.as_mut().unwrap().damaged = vec![(Offset(10), Offset(25))];
    let mut unknown = led(vec![follower(2, Some(5000)), follower(3, Some(5000))]);
    unknown.as_mut().unwrap().high_watermark_known = false;
    let below = PartitionFacts {
        brokers: vec![replica(1), fenced(2, "its lease has run out"), fenced(3, "it did not answer a probe")],
        ..isr(&[1])
    };
    let short = PartitionInfo { replicas: ids(&[1, 2]), isr: ids(&[1, 2]), ..orders().info };
    let short = PartitionFacts { info: short, brokers: vec![replica(1), replica(2)], ..orders() };
    let lost =
        own(|own| own.coordinator_lost = Some("10.0.0.9:9700: connection refused (for 12.3 s)".into()));
    let silent = PartitionFacts {
        not_following: Some((BrokerId(1), "the stream is down".to_owned())),
        own: Some((BrokerId(2), own(|_| {}))),
        ..isr(&[1, 3])
    };
    let full = own(|own| own.disk_full = true);
    let halted =
        own(|own| own.halted = vec![("orders/2".into(), "it was asked to cut what is committed".into())]);
    let moving = Moving { from: ids(&[1, 2, 3]), to: ids(&[4, 2, 3]), bytes_per_second: None };
    let stopping = BrokerFacts { draining: true, drain_requested: Some(false), ..replica(1) };
    let made_again =
        PartitionInfo { recovering: true, leader: None, isr: ids(&[]), elr: ids(&[]), ..orders().info };
    vec![
        ("all is well, as the coordinator knows it", of(&orders())),
        ("all is well, as the leader knows it", of(&PartitionFacts { leader: led(vec![]), ..orders() })),
        (
            "nobody leads",
            of(&PartitionFacts {
                info: nobody.clone(),
                brokers: dead,
                leaderless: past("broker 2 is fenced: its lease has run out"),
                ..orders()
            }),
        ),
        (
            "nobody leads and nobody can",
            of(&PartitionFacts { info: PartitionInfo { elr: vec![], ..nobody }, ..orders() }),
        ),
        ("too few are in sync", of(&below)),
        ("a follower is behind, as the coordinator knows it", of(&isr(&[1, 3]))),
        (
            "a follower is behind, as the leader knows it",
            of(&PartitionFacts {
                leader: led(vec![behind.clone(), follower(3, Some(5000))]),
                ..isr(&[1, 3])
            }),
        ),
        (
            "a member of the ISR has not been seen",
            of(&PartitionFacts { leader: led(vec![follower(2, None), follower(3, Some(5000))]), ..orders() }),
        ),
        ("one bad link", of(&broken)),
        (
            "one bad link, as the leader adds to it",
            of(&PartitionFacts { leader: led(vec![FollowerFacts { streams: false, ..behind }]), ..broken }),
        ),
        ("this broker does not hear the leader", of(&silent)),
        ("a damaged follower", of(&PartitionFacts { damaged: ids(&[3]), ..isr(&[1, 2]) })),
        ("a damaged leader", of(&PartitionFacts { leader: damaged_leader, ..orders() })),
        ("fewer replicas than wanted, and no broker", of(&short)),
        ("fewer replicas than wanted, and a broker", of(&PartitionFacts { spare: 1, ..short })),
        ("right after an election", of(&PartitionFacts { leader: unknown, ..orders() })),
        (
            "the journal is old",
            of(&PartitionFacts { info: PartitionInfo { recovering: true, ..orders().info }, ..orders() }),
        ),
        (
            "the journal was made again without its leader",
            of(&PartitionFacts { info: made_again, ..orders() }),
        ),
        ("the coordinator is lost", of(&PartitionFacts { own: Some((BrokerId(1), lost)), ..orders() })),
        ("the disk is full", of(&PartitionFacts { own: Some((BrokerId(1), full)), ..orders() })),
        (
            "the lease is over",
            of(&PartitionFacts { own: Some((BrokerId(1), own(|own| own.lease_over = true))), ..orders() }),
        ),
        (
            "a replica has stopped itself",
            of(&PartitionFacts { own: Some((BrokerId(1), halted)), ..orders() }),
        ),
        (
            "a follower has stopped itself, as the coordinator knows it",
            of(&PartitionFacts { halted: ids(&[3]), ..isr(&[1, 2]) }),
        ),
        (
            "the last replica that may lead has stopped itself",
            of(&PartitionFacts { info: only.clone(), halted: ids(&[2]), ..orders() }),
        ),
        (
            "it moves",
            of(&PartitionFacts {
                info: PartitionInfo { moving: Some(moving), ..orders().info },
                moving: Some("waits for broker 4 to be in sync".to_owned()),
                ..orders()
            }),
        ),
        (
            "the leader stops",
            of(&PartitionFacts { brokers: vec![stopping, replica(2), replica(3)], ..orders() }),
        ),
    ]
}

fn of_brokers() -> Vec<(&'static str, (String, Vec<Cause>))> {
    let link = vec![(BrokerId(3), BrokerId(1))];
    let damaged = vec!["orders/2".to_owned()];
    vec![
        ("a broker is well", of_broker(&replica(3))),
        ("a broker is fenced", of_broker(&fenced(3, "it did not answer a probe"))),
        ("a broker is fenced since before the start", of_broker(&BrokerFacts { fenced: true, ..replica(3) })),
        (
            "a broker drains by request",
            of_broker(&BrokerFacts { draining: true, drain_requested: Some(true), ..replica(3) }),
        ),
        (
            "a broker is decommissioned",
            of_broker(&BrokerFacts {
                decommission: Some(
                    "2 of 5 partitions left; orders/2 waits for broker 4 to be in sync; no broker left that does \
                     not hold orders/1"
                        .to_owned(),
                ),
                ..replica(3)
            }),
        ),
        ("a broker is behind", of_broker(&BrokerFacts { out_of_sync: 4, ..replica(3) })),
        (
            "a broker has a bad link and damage",
            of_broker(&BrokerFacts { broken_links: link, damaged, ..replica(3) }),
        ),
        (
            "a broker has lost the coordinator",
            of_broker(&BrokerFacts {
                own: Some(own(|own| {
                    own.coordinator_lost = Some("10.0.0.9:9700: timed out (for 3.0 s)".into());
                    own.lease_over = true;
                })),
                ..replica(3)
            }),
        ),
    ]
}

#[test]
fn every_trouble_is_told_with_what_to_do() {
    let mut said = String::new();
    let mut seen: Vec<String> = vec![Trouble::Unreachable.name().to_owned()]; // the shells say it
    for (case, (text, causes)) in of_partitions().into_iter().chain(of_brokers()) {
        let names: Vec<_> = causes.iter().map(|cause| cause.cause.clone()).collect();
        writeln!(said, "# {case}\n{text}\n[{}]\n", names.join(" ")).unwrap();
        seen.extend(names);
    }
    for trouble in Trouble::ALL {
        assert!(seen.iter().any(|name| name == trouble.name()), "nothing shows {trouble:?}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/why/causes.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    for (said, written) in said.lines().zip(written.lines()) {
        assert_eq!(said, written);
    }
    assert_eq!(said, written);
}

#[test]
fn of_two_that_say_the_same_the_one_that_knows_more_is_told() {
    let cause = |trouble: Trouble, text: &str| trouble.cause("it", text, "");
    let leader = vec![cause(Trouble::OutOfSync, "14 MB"), cause(Trouble::Fenced, "since ever")];
    let coordinator = vec![cause(Trouble::Fenced, "since noon"), cause(Trouble::OutOfSync, "somehow")];
    let merged = merge(leader, coordinator);
    let told: Vec<_> = merged.iter().map(|cause| cause.text.as_str()).collect();
    assert_eq!(told, ["since noon", "14 MB"]);
    // What a newer version says comes last and is kept.
    let newer = Cause { cause: "eclipse".into(), subject: "sun".into(), ..Cause::default() };
    assert_eq!(merge(vec![newer.clone()], merged).last(), Some(&newer));
}

#[test]
fn many_causes_are_counted() {
    let causes: Vec<Cause> = (0..9)
        .map(|n| Trouble::Fenced.cause(format!("broker {n}"), format!("broker {n} is fenced"), "start it"))
        .collect();
    let text = paragraph("the cluster", "", &causes);
    assert!(text.ends_with("broker 5 is fenced. And 3 more. Next: start it."), "{text}");
}
