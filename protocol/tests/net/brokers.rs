//! Small brokers for tests of the cluster client: they answer `metadata` from one shared table, and
//! `offsets` if they lead.

use super::Server;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use yak_protocol::error::{ErrorCode, LeaderHint, WireError};
use yak_protocol::ids::{
    BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, Offset, PartitionEpoch, PartitionIndex, TopicId,
    TopicPartition,
};
use yak_protocol::message::{
    BrokerInfo, KeySlots, Message, Metadata, MetadataReply, Offsets, OffsetsReply, PartitionInfo, Publish,
    TopicConfig, TopicInfo,
};
use yak_protocol::net::{Incoming, Peer, Replier, Service};

/// What the metadata says; all brokers of a test share one.
pub struct Table {
    pub metadata: Mutex<MetadataReply>,
    pub metadata_requests: AtomicUsize,
    /// While set, `metadata` is not answered.
    pub silent: AtomicBool,
    /// While set, `metadata` is answered only when [`Table::go`] is notified.
    pub hold: AtomicBool,
    pub go: Notify,
    /// Notified at each metadata request.
    news: Notify,
}

pub const ORDERS: TopicId = TopicId(77);

/// A table with the topic `orders` of one partition, led by broker 1 in epoch 1.
pub fn table() -> Arc<Table> {
    let id = TopicPartition { topic: ORDERS, partition: PartitionIndex(0) };
    let partition = PartitionInfo {
        id,
        replicas: vec![BrokerId(1), BrokerId(2)],
        leader: Some(BrokerId(1)),
        leader_epoch: LeaderEpoch(1),
        partition_epoch: PartitionEpoch(1),
        isr: vec![BrokerId(1), BrokerId(2)],
        elr: vec![],
        min_isr: 1,
        recovering: false,
        moving: None,
        unclean: None,
    };
    let topic = TopicInfo {
        id: ORDERS,
        name: "orders".into(),
        partitions: 1,
        wanted_replicas: 2,
        min_isr: 1,
        config: TopicConfig::default(),
        key_slots: KeySlots::default(),
    };
    let metadata = MetadataReply {
        version: MetadataVersion(1),
        topics: vec![topic],
        partitions: vec![partition],
        ..MetadataReply::default()
    };
    Arc::new(Table {
        metadata: Mutex::new(metadata),
        metadata_requests: AtomicUsize::new(0),
        silent: AtomicBool::new(false),
        hold: AtomicBool::new(false),
        go: Notify::new(),
        news: Notify::new(),
    })
}

impl Table {
    pub fn add_broker(&self, id: u32, address: &str) {
        self.metadata.lock().unwrap().brokers.push(BrokerInfo {
            id: BrokerId(id),
            name: format!("broker-{id}"),
            address: address.to_owned(),
            rack: String::new(),
            broker_epoch: BrokerEpoch(1),
            fenced: false,
            draining: false,
        });
    }

    /// The partition moves; nobody is told.
    pub fn lead(&self, leader: Option<u32>) {
        let mut metadata = self.metadata.lock().unwrap();
        metadata.version = metadata.version.next();
        let partition = &mut metadata.partitions[0];
        partition.leader = leader.map(BrokerId);
        partition.leader_epoch = partition.leader_epoch.next();
    }

    pub fn asked(&self) -> usize {
        self.metadata_requests.load(Ordering::SeqCst)
    }

    pub async fn asked_at_least(&self, count: usize) {
        while self.asked() < count {
            self.news.notified().await;
        }
    }
}

pub struct Broker {
    id: BrokerId,
    table: Arc<Table>,
    /// What it answers to `offsets` instead of an answer; taken one by one.
    pub refusals: Mutex<Vec<WireError>>,
    pub offsets_requests: AtomicUsize,
    /// While set, `offsets` and `publish` are not answered at all.
    pub mute: AtomicBool,
    pub hints: AtomicBool,
}

impl Service for Broker {
    async fn call(&self, peer: &Peer, request: Incoming, reply: Replier) {
        match &*request.kind {
            Metadata::KIND => {
                self.table.metadata_requests.fetch_add(1, Ordering::SeqCst);
                self.table.news.notify_one();
                if self.table.silent.load(Ordering::SeqCst) {
                    return reply.discard();
                }
                let table = self.table.clone();
                tokio::spawn(async move {
                    if table.hold.load(Ordering::SeqCst) {
                        table.go.notified().await;
                    }
                    let answer = table.metadata.lock().unwrap().clone();
                    reply.reply::<Metadata>(Ok(&answer), vec![]);
                });
            }
            Offsets::KIND => self.offsets(reply),
            Publish::KIND => {
                reply.discard();
                peer.cut("the test's broker dies");
            }
            other => panic!("unexpected {other}"),
        }
    }
}

impl Broker {
    fn offsets(&self, reply: Replier) {
        self.offsets_requests.fetch_add(1, Ordering::SeqCst);
        if self.mute.load(Ordering::SeqCst) {
            return reply.discard();
        }
        let refusal = self.refusals.lock().unwrap().pop();
        if let Some(error) = refusal {
            return reply.refuse(&error);
        }
        let (leader, epoch, address) = {
            let metadata = self.table.metadata.lock().unwrap();
            let partition = &metadata.partitions[0];
            let address = metadata.brokers.iter().find(|broker| Some(broker.id) == partition.leader);
            (partition.leader, partition.leader_epoch, address.map(|broker| broker.address.clone()))
        };
        if leader == Some(self.id) {
            let offsets = OffsetsReply {
                log_start: Offset(0),
                high_watermark: Offset(u64::from(self.id.0)),
                log_end: Offset(9),
                at: None,
                leader_epoch: epoch,
            };
            return reply.reply::<Offsets>(Ok(&offsets), vec![]);
        }
        let mut error = WireError::new(ErrorCode::NotLeader, "another broker leads");
        if let (Some(leader), Some(address)) = (leader, address)
            && self.hints.load(Ordering::SeqCst)
        {
            error = error.leader(LeaderHint { leader, address, leader_epoch: epoch });
        }
        reply.refuse(&error);
    }
}

/// Starts a broker and enters it into the table.
pub async fn broker(id: u32, table: &Arc<Table>) -> Server<Broker> {
    let service = Broker {
        id: BrokerId(id),
        table: table.clone(),
        refusals: Mutex::default(),
        offsets_requests: AtomicUsize::new(0),
        mute: AtomicBool::new(false),
        hints: AtomicBool::new(true),
    };
    let server = Server::start(service).await;
    table.add_broker(id, &server.address);
    server
}
