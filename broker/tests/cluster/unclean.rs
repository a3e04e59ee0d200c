//! Nobody who has everything is left, and an operator lets somebody lead: only by name, knowing what is lost.

use crate::harness::{Cluster, eventually};
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{BrokerId, PartitionIndex};
use yak_protocol::message::{CreateTopic, Elect, ElectReply, Metadata};
use yak_protocol::net::RequestError;

fn elect(confirm: Option<&str>, dry_run: bool) -> Elect {
    Elect {
        topic: "orders".to_owned(),
        partition: PartitionIndex(0),
        to: None,
        unclean: true,
        confirm: confirm.map(ToOwned::to_owned),
        dry_run,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lacks_records_leads_only_by_name_and_the_others_follow() {
    let mut cluster = Cluster::start(3).await;
    let (topic, min_isr) = ("orders".to_owned(), Some(1));
    let create =
        CreateTopic { topic, partitions: Some(1), replicas: Some(3), min_isr, ..CreateTopic::default() };
    cluster.topic_with(create).await;
    let before = cluster.partition_when("all are in sync", "orders", 0, |info| info.isr.len() == 3).await;
    let leader = before.leader.expect("a leader");
    let number = |id: BrokerId| id.0 as usize - 1;
    let others: Vec<BrokerId> = before.replicas.iter().copied().filter(|id| *id != leader).collect();
    let client = cluster.client(number(leader)).await;
    client.publish("orders", 0, &["everybody has it"]).await.expect("acknowledged");
    for id in &others {
        cluster.kill_broker(number(*id)).await;
    }
    cluster.partition_when("only the leader is in sync", "orders", 0, |info| info.isr == [leader]).await;
    client.publish("orders", 0, &["only one has it"]).await.expect("acknowledged with min_isr 1");
    cluster.kill_broker(number(leader)).await;
    for id in &others {
        cluster.launch_broker(number(*id));
    }
    // Those that were just started have to hear from the coordinator first.
    let topics = Metadata { topics: Some(Vec::new()) };
    eventually("a broker answers", || async {
        cluster.client(cluster.any()).await.request(&topics).await.ok()
    })
    .await;
    cluster.partition_when("nobody leads", "orders", 0, |info| info.leader.is_none()).await;

    // Without the name it is refused, and says what would be lost.
    let client = cluster.client(cluster.any()).await;
    let reply: ElectReply = eventually("both have said how far their copies go", || async {
        client.request(&elect(None, true)).await.ok()
    })
    .await;
    let loss = reply.may_lose.clone().expect("what may be lost");
    assert!(loss.contains("has the records of orders/0 below 1"), "{loss}");
    let refused = client.request(&elect(None, false)).await;
    let refused_for = |outcome: &Result<ElectReply, RequestError>, part: &str| {
        matches!(outcome, Err(RequestError::Refused(error))
            if error.code == ErrorCode::BadRequest && error.message.contains(part))
    };
    assert!(refused_for(&refused, "needs the partition's name as confirmation"), "{refused:?}");
    let refused = client.request(&elect(Some("orders/1"), false)).await;
    assert!(refused_for(&refused, "this is about orders/0"), "{refused:?}");
    assert_eq!(cluster.partition("orders", 0).await.leader, None);

    let done = client.request(&elect(Some("orders/0"), false)).await.expect("it is elected");
    assert_eq!((done.leader, done.moved), (reply.leader, true));
    let again = client.request(&elect(Some("orders/0"), false)).await.expect("it leads already");
    assert!(!again.moved, "{again:?}");

    // The one that had more comes back as a follower, and drops what nobody else has.
    cluster.start_broker(number(leader)).await;
    cluster.partition_when("all are in sync again", "orders", 0, |info| info.isr.len() == 3).await;
    let client = cluster.leader_client("orders", 0).await;
    client.publish("orders", 0, &["new"]).await.expect("acknowledged");
    let values: Vec<String> =
        client.read_all("orders", 0).await.into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["everybody has it", "new"]);
}
