//! Fake brokers that serve the batches of one topic, `orders`, and do as the test says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use yak_consumer::{Consumer, ConsumerConfig};
use yak_protocol::batch::{BatchBuilder, BatchHeader, Compression, RecordRef, patch};
use yak_protocol::error::{ErrorCode, LeaderHint, WireError};
use yak_protocol::ids::{
    BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, Offset, PartitionEpoch, PartitionIndex, TopicId,
    TopicPartition,
};
use yak_protocol::message::{
    BrokerInfo, Consume, ConsumeReply, Consumed, KeySlots, Message, Metadata, MetadataReply, Offsets,
    OffsetsReply, PartitionInfo, TopicConfig, TopicInfo,
};
use yak_protocol::net::{
    ClientOptions, Cluster, Incoming, Listener, ListenerConfig, Peer, Replier, Service, serve,
};

/// What a broker does with one request for records instead of answering it.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers this for every partition.
    Refuse(ErrorCode),
    /// Says that this broker leads (its number).
    Hint(u32),
    /// Cuts the connection.
    Cut,
    /// Answers nothing at all.
    Silence,
}

#[derive(Default)]
pub struct World {
    /// The log of each partition, and where it starts.
    pub logs: BTreeMap<u32, Vec<Bytes>>,
    pub log_start: u64,
    /// Who leads each partition; broker 1 unless it is named here.
    pub leaders: BTreeMap<u32, u32>,
    pub leader_epoch: u32,
    pub script: BTreeMap<u32, VecDeque<Act>>,
    /// Which partitions each request for records was about.
    pub asked: Vec<Vec<(u32, u64)>>,
}

pub struct Fakes {
    world: Arc<Mutex<World>>,
    addresses: Vec<String>,
    changed: watch::Sender<usize>,
    _stop: DropGuard,
}

#[derive(Clone)]
struct FakeBroker {
    id: u32,
    world: Arc<Mutex<World>>,
    addresses: Arc<Mutex<Vec<String>>>,
    changed: watch::Sender<usize>,
}

/// A batch of these values.
pub fn batch(compression: Compression, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(compression);
    for value in values {
        builder.push(&RecordRef { timestamp_ms: 1, key: None, value: Some(value.as_bytes()), headers: &[] });
    }
    builder.build().unwrap().to_vec()
}

impl Fakes {
    /// Starts brokers 1 to `count` for a topic of `partitions` empty partitions.
    pub async fn start(count: u32, partitions: u32) -> Self {
        let world = World {
            logs: (0..partitions).map(|partition| (partition, Vec::new())).collect(),
            leader_epoch: 1,
            ..World::default()
        };
        let (world, addresses) = (Arc::new(Mutex::new(world)), Arc::new(Mutex::new(Vec::new())));
        let (stop, changed) = (CancellationToken::new(), watch::Sender::new(0));
        for id in 1..=count {
            let listener = Listener::bind("127.0.0.1:0", ListenerConfig::default()).unwrap();
            addresses.lock().unwrap().push(listener.local_addr().to_string());
            let broker = FakeBroker {
                id,
                world: world.clone(),
                addresses: addresses.clone(),
                changed: changed.clone(),
            };
            tokio::spawn(serve(listener, Arc::new(broker), stop.clone()));
        }
        let addresses = addresses.lock().unwrap().clone();
        Self { world, addresses, changed, _stop: stop.drop_guard() }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn script(&self, broker: u32, acts: impl IntoIterator<Item = Act>) {
        self.world().script.entry(broker).or_default().extend(acts);
    }

    /// Appends a batch to a partition, damaged by `change` after it got its offsets.
    pub fn append_changed(&self, partition: u32, mut batch: Vec<u8>, change: impl FnOnce(&mut [u8])) {
        let mut world = self.world();
        let (start, epoch) = (world.log_start, world.leader_epoch);
        let log = world.logs.get_mut(&partition).unwrap();
        let base = log.last().map_or(start, |last| BatchHeader::parse(last).unwrap().next_offset().0);
        patch(&mut batch, Offset(base), LeaderEpoch(epoch));
        change(&mut batch);
        log.push(batch.into());
        drop(world);
        self.changed.send_modify(|count| *count += 1);
    }

    pub fn append(&self, partition: u32, values: &[&str]) {
        self.append_changed(partition, batch(Compression::None, values), |_| {});
    }

    /// Makes another broker the leader of a partition.
    pub fn elect(&self, partition: u32, broker: u32) {
        let mut world = self.world();
        world.leaders.insert(partition, broker);
        world.leader_epoch += 1;
    }

    pub fn consumer(&self, config: ConsumerConfig) -> Consumer {
        Consumer::new(
            Cluster::new(self.addresses.clone(), ClientOptions::default()),
            config,
            Arc::new(|_| {}),
        )
    }

    /// Waits until a request makes the condition true.
    pub async fn until(&self, mut condition: impl FnMut(&World) -> bool) {
        let mut changes = self.changed.subscribe();
        let waiting = async {
            loop {
                if condition(&self.world()) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the condition never came true");
    }
}

impl World {
    fn leader(&self, partition: u32) -> u32 {
        self.leaders.get(&partition).copied().unwrap_or(1)
    }

    fn end(&self, partition: u32) -> u64 {
        let last = self.logs[&partition].last();
        last.map_or(self.log_start, |last| BatchHeader::parse(last).unwrap().next_offset().0)
    }

    fn metadata(&self, addresses: &[String]) -> MetadataReply {
        let brokers = addresses.iter().zip(1u32..).map(|(address, id)| BrokerInfo {
            id: BrokerId(id),
            name: format!("b{id}"),
            address: address.clone(),
            rack: String::new(),
            broker_epoch: BrokerEpoch(1),
            fenced: false,
            draining: false,
        });
        let partitions = self.logs.keys().map(|partition| PartitionInfo {
            id: TopicPartition { topic: TopicId(1), partition: PartitionIndex(*partition) },
            replicas: vec![BrokerId(1)],
            leader: Some(BrokerId(self.leader(*partition))),
            leader_epoch: LeaderEpoch(self.leader_epoch),
            partition_epoch: PartitionEpoch(1),
            isr: vec![BrokerId(1)],
            elr: Vec::new(),
            min_isr: 1,
            recovering: false,
            moving: None,
            unclean: None,
        });
        let topic = TopicInfo {
            id: TopicId(1),
            name: "orders".to_owned(),
            partitions: u32::try_from(self.logs.len()).unwrap(),
            wanted_replicas: 1,
            min_isr: 1,
            config: TopicConfig::default(),
            key_slots: KeySlots::default(),
        };
        MetadataReply {
            version: MetadataVersion(u64::from(self.leader_epoch)),
            brokers: brokers.collect(),
            partitions: partitions.collect(),
            topics: vec![topic],
            ..MetadataReply::default()
        }
    }

    /// The answer for one partition, and its batches.
    fn read(&self, me: u32, topic: &str, partition: PartitionIndex, from: Offset) -> (Consumed, Vec<Bytes>) {
        let end = self.end(partition.0);
        let mut found = Consumed {
            topic: topic.to_owned(),
            partition,
            log_start: Offset(self.log_start),
            high_watermark: Offset(end),
            leader_epoch: LeaderEpoch(self.leader_epoch),
            bytes: 0,
            records: Vec::new(),
            next: None,
            error: None,
        };
        if self.leader(partition.0) != me {
            found.error = Some(WireError::new(ErrorCode::NotLeader, "another leads"));
            return (found, Vec::new());
        }
        if from.0 < self.log_start || from.0 > end {
            found.error = Some(WireError::new(ErrorCode::OffsetOutOfRange, "there is no such offset"));
            return (found, Vec::new());
        }
        let wanted = self.logs[&partition.0].iter();
        let wanted = wanted.filter(|batch| BatchHeader::parse(batch).unwrap().next_offset() > from);
        // Two batches at a time, so that there is always a next question.
        let batches: Vec<_> = wanted.take(2).cloned().collect();
        found.bytes = u32::try_from(batches.iter().map(Bytes::len).sum::<usize>()).unwrap();
        (found, batches)
    }
}

impl FakeBroker {
    /// The answer, once there is anything to say or the time is up.
    async fn consume(self, request: Consume, reply: Replier) {
        let mut changes = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + Duration::from_millis(request.wait_ms);
        loop {
            let (mut answer, mut bin) = (ConsumeReply::default(), Vec::new());
            for from in &request.partitions {
                let (found, batches) =
                    self.world.lock().unwrap().read(self.id, &from.topic, from.partition, from.offset);
                answer.partitions.push(found);
                bin.extend(batches);
            }
            let something = !bin.is_empty() || answer.partitions.iter().any(|found| found.error.is_some());
            if something || tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return reply.reply::<Consume>(Ok(&answer), bin);
            }
        }
    }

    fn act(&self, act: &Act, request: &Consume, peer: &Peer, reply: Replier) {
        let error = match act {
            Act::Cut => {
                peer.cut("as the test says");
                return reply.discard();
            }
            Act::Silence => return reply.discard(),
            Act::Refuse(code) => WireError::new(*code, "as the test says"),
            Act::Hint(leader) => {
                let hint = LeaderHint {
                    leader: BrokerId(*leader),
                    address: self.addresses.lock().unwrap()[*leader as usize - 1].clone(),
                    leader_epoch: LeaderEpoch(self.world.lock().unwrap().leader_epoch + 1),
                };
                WireError::new(ErrorCode::NotLeader, "another leads").leader(hint)
            }
        };
        let world = self.world.lock().unwrap();
        let partitions = request.partitions.iter().map(|from| {
            let (found, _) = world.read(self.id, &from.topic, from.partition, from.offset);
            Consumed { bytes: 0, error: Some(error.clone()), ..found }
        });
        let answer = ConsumeReply { partitions: partitions.collect() };
        reply.reply::<Consume>(Ok(&answer), Vec::new());
    }
}

impl Service for FakeBroker {
    async fn call(&self, peer: &Peer, request: Incoming, reply: Replier) {
        match request.kind.as_str() {
            Consume::KIND => {
                let consume: Consume = request.parse().unwrap();
                let act = {
                    let mut world = self.world.lock().unwrap();
                    let asked = consume.partitions.iter().map(|from| (from.partition.0, from.offset.0));
                    world.asked.push(asked.collect());
                    world.script.get_mut(&self.id).and_then(VecDeque::pop_front)
                };
                match act {
                    Some(act) => self.act(&act, &consume, peer, reply),
                    None => {
                        tokio::spawn(self.clone().consume(consume, reply));
                    }
                }
            }
            Offsets::KIND => {
                let asked: Offsets = request.parse().unwrap();
                let world = self.world.lock().unwrap();
                let end = Offset(world.end(asked.partition.0));
                let answer = OffsetsReply {
                    log_start: Offset(world.log_start),
                    high_watermark: end,
                    log_end: end,
                    at: None,
                    leader_epoch: LeaderEpoch(world.leader_epoch),
                };
                reply.reply::<Offsets>(Ok(&answer), Vec::new());
            }
            Metadata::KIND => {
                let answer = self.world.lock().unwrap().metadata(&self.addresses.lock().unwrap());
                reply.reply::<Metadata>(Ok(&answer), Vec::new());
            }
            other => panic!("{other} is not expected here"),
        }
        self.changed.send_modify(|count| *count += 1);
    }
}
