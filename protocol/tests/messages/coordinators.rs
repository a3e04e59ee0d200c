//! What coordinators of a quorum send to each other, and what changes the quorum.

use crate::check::{check, check_kind};
use yak_protocol::ids::*;
use yak_protocol::message::*;

const A: CoordinatorId = CoordinatorId(5_300_000_000_001);
const B: CoordinatorId = CoordinatorId(5_300_000_000_002);

fn ballot() -> Ballot {
    Ballot { term: 4, id: A, elected: true }
}

fn position(index: u64) -> LogPosition {
    LogPosition { term: 4, id: A, index }
}

fn coordinator() -> CoordinatorInfo {
    CoordinatorInfo { id: B, name: "coordinator-b".to_owned(), address: "10.0.0.2:9700".to_owned() }
}

fn peers() -> Peers {
    Peers { voters: vec![vec![A], vec![A, B]], all: vec![coordinator()] }
}

#[test]
fn coordinators_elect_and_append() {
    check_kind(
        "raft_vote",
        Role::Control,
        &RaftVote { cluster_id: ClusterId(3), to: B, ballot: ballot(), last: Some(position(96)), pre: true },
        &["to", "ballot"],
        &RaftVoteReply { granted: true, ballot: ballot(), last: Some(position(95)) },
        &["granted", "ballot"],
    );
    check_kind(
        "raft_append",
        Role::Control,
        &RaftAppend {
            cluster_id: ClusterId(3),
            to: B,
            ballot: ballot(),
            previous: Some(position(96)),
            committed: Some(position(95)),
            entries: vec![RaftEntry { position: position(97), peers: Some(peers()), bytes: 90 }],
        },
        &["to", "ballot"],
        &RaftAppendReply { conflict: true, higher: Some(ballot()) },
        &[],
    );
    check(&RaftEntry { position: position(97), peers: Some(peers()), bytes: 90 }, &["position"]);
    check(&coordinator(), &["id", "address"]);
    check(&peers(), &["voters", "all"]);
}

#[test]
fn coordinators_send_snapshots() {
    check_kind(
        "raft_snapshot",
        Role::Control,
        &RaftSnapshot {
            cluster_id: ClusterId(3),
            to: B,
            ballot: ballot(),
            snapshot: "4-5300000000001-96-1".to_owned(),
            last: Some(position(96)),
            peers: peers(),
            peers_since: Some(position(2)),
            from: 1 << 20,
            done: true,
        },
        &["to", "ballot", "snapshot", "peers", "from"],
        &RaftSnapshotReply { ballot: ballot(), restart: true },
        &["ballot"],
    );
}

#[test]
fn coordinators_meet() {
    let peers = vec!["10.0.0.1:9700".to_owned(), "10.0.0.2:9700".to_owned()];
    check_kind(
        "coordinator_hello",
        Role::Control,
        &CoordinatorHello { coordinator_id: A, cluster_id: Some(ClusterId(3)), peers: peers.clone() },
        &["coordinator_id"],
        &CoordinatorHelloReply {
            coordinator: coordinator(),
            cluster_id: Some(ClusterId(3)),
            member: true,
            peers,
        },
        &["coordinator"],
    );
    check_kind(
        "change_peers",
        Role::Client,
        &ChangePeers {
            add: Some("10.0.0.4:9700".to_owned()),
            remove: Some("coordinator-b".to_owned()),
            force: true,
            dry_run: true,
        },
        &[],
        &ChangePeersReply {
            changed: true,
            voters: vec![coordinator()],
            active: coordinator().id,
            silent: vec![coordinator().id],
        },
        &["changed", "voters"],
    );
}
