//! Consumer groups over the wire: any broker takes a request, the coordinator moves with its partition, and what
//! it has answered is known to the next one.

use crate::harness::{Client, Cluster, eventually};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{Generation, Offset, PartitionIndex};
use yak_protocol::message::{
    CommitOffset, CreateTopic, DeleteTopic, GroupCommit, GroupDelete, GroupDescribe, GroupFetch,
    GroupHeartbeat, GroupHeartbeatReply, GroupList, GroupState, GroupTopic, Leave, Message,
};
use yak_protocol::net::RequestError;

const GROUPS: &str = "__consumer_offsets";

async fn ask<M: Message>(client: &Client, message: &M) -> Result<M::Reply, WireError> {
    match client.request(message).await {
        Ok(reply) => Ok(reply),
        Err(RequestError::Refused(error)) => Err(error),
        Err(other) => panic!("the connection was lost: {other}"),
    }
}

/// Asks until the coordinator is there.
async fn asked<M: Message>(client: &Client, message: &M) -> M::Reply {
    let coming = [ErrorCode::NotCoordinator, ErrorCode::NotReady, ErrorCode::NoLeader, ErrorCode::Timeout];
    eventually("the group has a coordinator", || async {
        match ask(client, message).await {
            Ok(reply) => Some(reply),
            Err(error) if coming.contains(&error.code) || error.code == ErrorCode::NotEnoughReplicas => None,
            Err(error) => panic!("{error}"),
        }
    })
    .await
}

fn beat(member: &str, generation: u32, owned: &[u32]) -> GroupHeartbeat {
    let partitions = owned.iter().copied().map(PartitionIndex).collect();
    GroupHeartbeat {
        group: "billing".to_owned(),
        member: member.to_owned(),
        generation: Generation(generation),
        topics: vec!["orders".to_owned()],
        owned: Some(vec![GroupTopic { topic: "orders".to_owned(), topic_id: None, partitions }]),
        forward: true,
        ..GroupHeartbeat::default()
    }
}

fn numbers(reply: &GroupHeartbeatReply) -> Option<Vec<u32>> {
    let topics = reply.assignment.as_ref()?;
    Some(topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.0).collect())
}

fn commit(member: Option<&str>, generation: u32, offset: u64) -> GroupCommit {
    GroupCommit {
        group: "billing".to_owned(),
        member: member.map(str::to_owned),
        generation: Generation(generation),
        offsets: vec![CommitOffset {
            topic: "orders".to_owned(),
            offset: Offset(offset),
            metadata: "mine".to_owned(),
            ..CommitOffset::default()
        }],
        forward: true,
        ..GroupCommit::default()
    }
}

async fn committed(client: &Client) -> Option<(Offset, String)> {
    let fetch = GroupFetch { group: "billing".to_owned(), forward: true, ..GroupFetch::default() };
    let found = asked(client, &fetch).await.offsets.into_iter().next()?;
    Some((found.offset?, found.metadata))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_broker_takes_requests_of_groups_and_the_next_coordinator_knows_what_was_answered() {
    let mut cluster = Cluster::start(3).await;
    cluster.topic("orders", 2, 3).await;
    let mut generation = 0;
    for number in 0..3 {
        let client = cluster.client(number).await;
        let reply = asked(&client, &beat("a", generation, &[0, 1])).await;
        generation = reply.generation.0;
        assert!(reply.coordinator.is_some(), "it says whom to ask");
    }
    assert_eq!(generation, 1);
    let client = cluster.client(0).await;
    let reply = asked(&client, &commit(Some("a"), 1, 7)).await;
    assert_eq!(reply.results[0].error, None);
    assert_eq!(committed(&client).await, Some((Offset(7), "mine".to_owned())));
    let coordinator = reply.coordinator.expect("named");
    let old = cluster.number_of(coordinator.leader).await;
    let other = cluster.client((old + 1) % 3).await;
    let direct = ask(&other, &GroupHeartbeat { forward: false, ..beat("a", 1, &[0, 1]) }).await;
    let refused = direct.expect_err("it is not the coordinator");
    assert_eq!(refused.code, ErrorCode::NotCoordinator);
    assert_eq!(refused.leader.expect("it says who is").leader, coordinator.leader);

    cluster.kill_broker(old).await;
    let next = asked(&other, &beat("a", 1, &[0, 1])).await;
    assert_eq!((next.generation.0, numbers(&next)), (2, None), "it is a member as before, nothing has moved");
    assert_ne!(next.coordinator.expect("named").leader, coordinator.leader);
    assert_eq!(committed(&other).await, Some((Offset(7), "mine".to_owned())));
    let reply = asked(&other, &commit(Some("a"), 2, 6)).await;
    assert_eq!(reply.results[0].error.as_ref().map(|error| error.code), Some(ErrorCode::CommitBehind));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_and_a_group_can_be_seen_and_deleted() {
    let cluster = Cluster::start(2).await;
    cluster.topic("orders", 2, 2).await;
    let client = cluster.client(0).await;
    assert_eq!(asked(&client, &GroupList { forward: true }).await.groups, []);
    let describe = GroupDescribe { group: "billing".to_owned(), forward: true };
    assert_eq!(ask(&client, &describe).await.expect_err("none yet").code, ErrorCode::UnknownGroup);
    let first = asked(&client, &beat("a", 0, &[])).await;
    assert_eq!(numbers(&first), Some(vec![0, 1]));
    asked(&client, &beat("b", 0, &[])).await;
    asked(&client, &beat("a", 1, &[0])).await;
    let second = asked(&client, &beat("b", 2, &[])).await;
    assert_eq!(numbers(&second), Some(vec![1]));
    let seen = asked(&client, &describe).await;
    assert_eq!((seen.state, seen.members.len()), (GroupState::Stable, 2));
    assert_eq!(seen.members[0].host, "127.0.0.1");
    let all = asked(&cluster.client(1).await, &GroupList { forward: true }).await;
    assert_eq!(all.groups.iter().map(|group| group.members).collect::<Vec<_>>(), [2]);
    let delete = GroupDelete { group: "billing".to_owned(), forward: true };
    assert_eq!(ask(&client, &delete).await.expect_err("in use").code, ErrorCode::GroupNotEmpty);
    let stranger = ask(&client, &commit(None, 0, 3)).await.expect_err("it has members");
    assert_eq!(stranger.code, ErrorCode::GroupNotEmpty);
    for member in ["a", "b"] {
        asked(&client, &GroupHeartbeat { leave: Some(Leave::ForGood), ..beat(member, 2, &[]) }).await;
    }
    assert_eq!(asked(&client, &commit(None, 0, 3)).await.results[0].error, None);
    assert_eq!(asked(&client, &delete).await.offsets, 1);
    assert_eq!(ask(&client, &describe).await.expect_err("gone").code, ErrorCode::UnknownGroup);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_a_deleted_topic_go_with_it() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let client = cluster.client(0).await;
    asked(&client, &commit(None, 0, 3)).await;
    assert_eq!(committed(&client).await, Some((Offset(3), "mine".to_owned())));
    ask(&client, &DeleteTopic { topic: "orders".to_owned() }).await.expect("deleted");
    cluster.topic("orders", 1, 1).await;
    eventually("the offset is gone", || async { committed(&client).await.is_none().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topic_of_groups_is_the_brokers_own() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let client = cluster.client(0).await;
    asked(&client, &commit(None, 0, 3)).await;
    let refused = client.publish(GROUPS, 0, &["no"]).await.expect_err("not for clients");
    assert_eq!(refused.code, ErrorCode::InternalTopic);
    let delete = DeleteTopic { topic: GROUPS.to_owned() };
    assert_eq!(ask(&client, &delete).await.expect_err("nor this").code, ErrorCode::InternalTopic);
    let create = CreateTopic { topic: "__mine".to_owned(), ..CreateTopic::default() };
    assert_eq!(ask(&client, &create).await.expect_err("reserved").code, ErrorCode::IllegalTopicName);
    let (found, _) = client.consume(GROUPS, 0, 0, 0).await;
    assert_eq!(found.error, None, "anybody may read it");
}
