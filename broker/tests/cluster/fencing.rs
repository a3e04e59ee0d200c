//! Stale epochs are refused, whoever sends them.

use crate::harness::{Client, Cluster, PATIENCE, eventually};
use tokio::sync::mpsc;
use yak_protocol::defaults::OPEN_PARK_MAX;
use yak_protocol::error::ErrorCode;
use yak_protocol::ids::{BrokerEpoch, BrokerId, ClusterId, LeaderEpoch, Offset, SessionId, TopicPartition};
use yak_protocol::message::{
    Heartbeat, Message, Open, OpenAnswer, ReadRange, RegisterBroker, Replicate, ReplicateReply,
};
use yak_protocol::net::{ConnectOptions, Connection, Incoming, RequestError};

/// A stream as a follower would open it, to send what no follower would.
struct Stream {
    connection: Connection,
    incoming: mpsc::UnboundedReceiver<Incoming>,
    cluster_id: ClusterId,
    follower: BrokerId,
}

impl Stream {
    async fn to(cluster: &Cluster, number: usize, follower: BrokerId) -> Self {
        let address = &cluster.brokers[number].address;
        let (connection, incoming) =
            Connection::connect(address, &ConnectOptions::default()).await.expect("it listens");
        let cluster_id = cluster.metadata(number, "").await.cluster_id.expect("it has joined");
        Self { connection, incoming, cluster_id, follower }
    }

    /// Asks until it is answered, as a follower does: an open of the real follower may displace this one
    /// while it is parked.
    async fn open(&mut self, mut open: Open) -> OpenAnswer {
        loop {
            let answered = tokio::time::timeout(OPEN_PARK_MAX * 2, self.ask(open));
            if let Ok(answer) = answered.await {
                return answer;
            }
            open.session = SessionId(open.session.0 + 1000);
        }
    }

    async fn ask(&mut self, open: Open) -> OpenAnswer {
        let frame = Replicate {
            cluster_id: self.cluster_id,
            broker_id: self.follower,
            broker_epoch: open.broker_epoch,
            open: vec![open],
            ..Replicate::default()
        };
        self.connection.send(0, Replicate::KIND, &frame, Vec::new()).expect("sent");
        loop {
            let frame = self.incoming.recv().await.expect("the stream stands");
            let reply: ReplicateReply = frame.parse_body().expect("a reply");
            if let Some(opened) = reply.opened.into_iter().find(|opened| opened.session == open.session) {
                return opened.answer;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opens_with_other_epochs_are_refused_each_in_its_way() {
    let cluster = Cluster::start(2).await;
    cluster.topic("orders", 1, 2).await;
    let info = cluster.partition_when("both are in sync", "orders", 0, |info| info.isr.len() == 2).await;
    let leader = cluster.leader("orders", 0).await;
    let follower = *info.replicas.iter().find(|id| Some(**id) != info.leader).expect("two");
    let brokers = cluster.metadata(leader, "").await.brokers;
    let epoch = brokers.iter().find(|broker| broker.id == follower).expect("known").broker_epoch;
    let mut stream = Stream::to(&cluster, leader, follower).await;
    let open = Open {
        id: info.id,
        session: SessionId(1 << 40),
        leader_epoch: info.leader_epoch,
        broker_epoch: epoch,
        end: Offset(0),
        last_epoch: LeaderEpoch(0),
    };
    let stale = Open { leader_epoch: LeaderEpoch(info.leader_epoch.0 - 1), ..open };
    assert_eq!(stream.open(stale).await, OpenAnswer::Fenced { leader_epoch: info.leader_epoch });
    let session = SessionId(open.session.0 + 1);
    let early = Open { leader_epoch: info.leader_epoch.next(), session, ..open };
    assert_eq!(stream.open(early).await, OpenAnswer::UnknownEpoch);
    let session = SessionId(open.session.0 + 2);
    let old_life = Open { broker_epoch: BrokerEpoch(epoch.0 - 1), session, ..open };
    assert_eq!(stream.open(old_life).await, OpenAnswer::StaleBrokerEpoch);
    let session = SessionId(open.session.0 + 3);
    let id = TopicPartition { topic: yak_protocol::ids::TopicId(7), ..open.id };
    assert_eq!(stream.open(Open { id, session, ..open }).await, OpenAnswer::UnknownEpoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_s_follower_and_misplaced_requests_are_refused_by_name() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let mut stream = Stream::to(&cluster, 0, BrokerId(9)).await;
    let frame = Replicate { cluster_id: ClusterId(42), ..Replicate::default() };
    stream.connection.send(0, Replicate::KIND, &frame, Vec::new()).expect("sent");
    let answer =
        tokio::time::timeout(PATIENCE, stream.incoming.recv()).await.expect("in time").expect("a word");
    assert_eq!(answer.refusal().expect("a refusal").code, ErrorCode::WrongCluster);
    tokio::time::timeout(PATIENCE, stream.connection.wait_closed()).await.expect("the stream ends");

    let client: Client = cluster.client(0).await;
    let heartbeat = Heartbeat {
        broker_id: BrokerId(1),
        broker_epoch: BrokerEpoch(1),
        metadata_version: Default::default(),
        draining: false,
        replicas: Vec::new(),
    };
    let Err(RequestError::Refused(error)) = client.request(&heartbeat).await else {
        panic!("not a coordinator")
    };
    assert_eq!(error.code, ErrorCode::WrongProcess);
    assert!(error.hint.expect("where to go").contains(&cluster.coordinator_address));
    assert_eq!(RegisterBroker::KIND, "register_broker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_given_only_to_who_acts_in_the_same_epoch() {
    let cluster = Cluster::start(1).await;
    cluster.topic("orders", 1, 1).await;
    let client = cluster.client(0).await;
    eventually("acknowledged", || async { client.publish("orders", 0, &["one", "two"]).await.ok() }).await;
    let info = cluster.partition("orders", 0).await;
    let range = ReadRange {
        id: info.id,
        broker_id: BrokerId(2),
        broker_epoch: BrokerEpoch(1),
        leader_epoch: info.leader_epoch,
        from: Offset(0),
        to: Offset(2),
    };
    let (reply, bin) = client.with_bin(&range, Vec::new()).await.expect("given");
    assert_eq!(reply.next, Offset(2));
    assert_eq!(crate::harness::values_of(&bin).len(), 2);
    assert_eq!(reply.epochs.last().map(|start| start.epoch), Some(info.leader_epoch));
    let stale = ReadRange { leader_epoch: LeaderEpoch(info.leader_epoch.0 - 1), ..range };
    let Err(RequestError::Refused(error)) = client.with_bin(&stale, Vec::new()).await else {
        panic!("stale")
    };
    assert_eq!(error.code, ErrorCode::Fenced);
}
