//! Fake brokers that share one log for each partition and do as the test's script says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use yak_producer::{Event, EventHook, Producer, ProducerConfig};
use yak_protocol::batch::{BatchHeader, OwnedRecords, verify};
use yak_protocol::error::{ErrorCode, LeaderHint, WireError};
use yak_protocol::ids::{
    BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, Offset, PartitionEpoch, PartitionIndex,
    ProducerEpoch, ProducerId, TopicId, TopicPartition,
};
use yak_protocol::message::{
    Acked, BrokerInfo, CreateTopic, CreateTopicReply, KeySlots, Message, Metadata, MetadataReply,
    PartitionInfo, Publish, PublishReply, PublishResult, RegisterProducer, RegisterProducerReply,
    TopicConfig, TopicInfo, UnknownTopic,
};
use yak_protocol::net::{
    ClientOptions, Cluster, Incoming, Listener, ListenerConfig, Peer, Replier, Service, serve,
};

/// What a broker does with one publish instead of appending and acknowledging it.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers this, nothing is appended.
    Refuse(ErrorCode),
    /// Appends, then answers this.
    AppendThenRefuse(ErrorCode),
    /// Appends, then cuts the connection without an answer.
    AppendThenCut,
    /// Cuts the connection, nothing is appended.
    Cut,
    /// Answers nothing at all.
    Silence,
    /// Says that this broker leads (its number), whoever that is by the metadata.
    Hint(u32),
    /// Appends, but answers only once `release` is called.
    Hold,
}

/// A batch in the log: its header and values.
type Appended = (BatchHeader, Vec<String>);

#[derive(Default)]
pub struct World {
    pub topics: Vec<(String, u32)>,
    pub leader: u32,
    pub leader_epoch: u32,
    pub isr: u32,
    pub auto_create_off: bool,
    /// What comes next, for each broker; acknowledging when there is nothing.
    pub script: HashMap<u32, VecDeque<Act>>,
    /// What comes when the script has run out.
    pub otherwise: Option<Act>,
    /// Everything that was appended: place, stamp and values.
    pub log: HashMap<(String, u32), Vec<Appended>>,
    pub next_producer_id: i64,
    pub metadata_asked: usize,
    pub publishes: usize,
    held: Vec<(Replier, PublishReply)>,
}

pub struct Fakes {
    pub world: Arc<Mutex<World>>,
    pub addresses: Vec<String>,
    changed: watch::Sender<usize>,
    _stop: DropGuard,
}

struct FakeBroker {
    id: u32,
    world: Arc<Mutex<World>>,
    addresses: Arc<Mutex<Vec<String>>>,
    changed: watch::Sender<usize>,
}

impl Fakes {
    /// Starts brokers 1 to `count`; broker 1 leads every partition of `orders` (one of them).
    pub async fn start(count: u32) -> Self {
        let world = Arc::new(Mutex::new(World {
            topics: vec![("orders".to_owned(), 1)],
            leader: 1,
            leader_epoch: 1,
            isr: 3,
            next_producer_id: 100,
            ..World::default()
        }));
        let addresses = Arc::new(Mutex::new(Vec::new()));
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

    pub fn producer(&self, config: ProducerConfig) -> Producer {
        self.producer_with(config, Arc::new(|_| {}))
    }

    pub fn producer_with(&self, config: ProducerConfig, hook: EventHook) -> Producer {
        Producer::new(Cluster::new(self.addresses.clone(), ClientOptions::default()), config, hook)
    }

    /// A hook that keeps what it hears.
    pub fn ears() -> (EventHook, Arc<Mutex<Vec<Event>>>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let keep = heard.clone();
        (Arc::new(move |event| keep.lock().unwrap().push(event)), heard)
    }

    /// Waits until something has come that makes the condition true.
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

    /// Answers everything that was held.
    pub fn release(&self) {
        let held = std::mem::take(&mut self.world().held);
        for (reply, answer) in held {
            reply.reply::<Publish>(Ok(&answer), Vec::new());
        }
    }

    /// The values in a partition, in the order of the log.
    pub fn values(&self, topic: &str, partition: u32) -> Vec<String> {
        let world = self.world();
        let log = world.log.get(&(topic.to_owned(), partition));
        log.into_iter().flatten().flat_map(|(_, values)| values.clone()).collect()
    }
}

impl World {
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
        let topics =
            self.topics.iter().zip(1u128..).map(|((name, partitions), id)| topic_info(name, *partitions, id));
        let partitions = self.topics.iter().zip(1u128..).flat_map(|((_, partitions), id)| {
            (0..*partitions).map(move |partition| PartitionInfo {
                id: TopicPartition { topic: TopicId(id), partition: PartitionIndex(partition) },
                replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
                leader: Some(BrokerId(self.leader)).filter(|id| id.0 > 0),
                leader_epoch: LeaderEpoch(self.leader_epoch),
                partition_epoch: PartitionEpoch(self.leader_epoch),
                isr: (1..=self.isr).map(BrokerId).collect(),
                elr: Vec::new(),
                min_isr: 2,
                recovering: false,
                moving: None,
                unclean: None,
            })
        });
        MetadataReply {
            version: MetadataVersion(u64::from(self.leader_epoch)),
            brokers: brokers.collect(),
            partitions: partitions.collect(),
            topics: topics.collect(),
            ..MetadataReply::default()
        }
    }

    /// Appends as a broker does: what is there already is not appended again, a gap is refused.
    fn append(&mut self, topic: &str, partition: u32, bytes: &Bytes) -> Result<Acked, WireError> {
        let mut header = verify(bytes).expect("a whole batch");
        let records = OwnedRecords::open(bytes, 1 << 24).expect("it opens");
        let values = records.iter().map(|record| {
            String::from_utf8_lossy(record.expect("whole").value.unwrap_or_default()).into_owned()
        });
        let values: Vec<_> = values.collect();
        let log = self.log.entry((topic.to_owned(), partition)).or_default();
        let acked = |offset| Acked {
            offset: Some(offset),
            replicas: 3,
            durable: true,
            leader_epoch: LeaderEpoch(self.leader_epoch),
            firsts: Vec::new(),
        };
        if header.producer_id.is_some() {
            let mine = log.iter().filter(|(old, _)| old.producer_id == header.producer_id);
            let last = mine.clone().next_back().map(|(old, _)| *old);
            let same_epoch = last.filter(|last| last.producer_epoch == header.producer_epoch);
            let expected = same_epoch.map_or(0, |last| last.base_sequence + last.record_count.cast_signed());
            let known = mine.clone().find(|(old, _)| {
                (old.producer_epoch, old.base_sequence) == (header.producer_epoch, header.base_sequence)
            });
            if let Some((known, _)) = known {
                return Ok(acked(known.base_offset));
            }
            if header.base_sequence != expected {
                let code =
                    if last.is_none() { ErrorCode::UnknownProducerId } else { ErrorCode::OutOfOrderSequence };
                return Err(WireError::new(
                    code,
                    format!("expected {expected}, got {}", header.base_sequence),
                ));
            }
        }
        header.base_offset = log.last().map_or(Offset(0), |(last, _)| last.next_offset());
        log.push((header, values));
        Ok(acked(header.base_offset))
    }
}

fn topic_info(name: &str, partitions: u32, id: u128) -> TopicInfo {
    TopicInfo {
        id: TopicId(id),
        name: name.to_owned(),
        partitions,
        wanted_replicas: 3,
        min_isr: 2,
        config: TopicConfig::default(),
        key_slots: KeySlots::default(),
    }
}

impl FakeBroker {
    fn publish(&self, peer: &Peer, request: &Incoming, reply: Replier) {
        let publish: Publish = request.parse().unwrap();
        let place = &publish.batches[0];
        let (topic, partition, bytes) = (place.0.clone(), place.1, request.bin.clone());
        let mut world = self.world.lock().unwrap();
        world.publishes += 1;
        let scripted = world.script.get_mut(&self.id).and_then(VecDeque::pop_front);
        let act = scripted.or_else(|| world.otherwise.clone());
        let answer = |outcome: Result<Acked, WireError>| PublishReply {
            results: vec![PublishResult {
                topic: topic.clone(),
                partition,
                ack: outcome.clone().ok(),
                error: outcome.err(),
            }],
        };
        let refusal = |code: ErrorCode| Err(WireError::new(code, "as the test says"));
        let answer = match act {
            Some(Act::Refuse(code)) => answer(refusal(code)),
            Some(Act::AppendThenRefuse(code)) => {
                answer(world.append(&topic, partition.0, &bytes).and_then(|_| refusal(code)))
            }
            Some(Act::AppendThenCut) => {
                // What was pipelined behind a batch that was lost is refused, and nobody hears of that either.
                let _ = world.append(&topic, partition.0, &bytes);
                peer.cut("as the test says");
                return reply.discard();
            }
            Some(Act::Cut) => {
                peer.cut("as the test says");
                return reply.discard();
            }
            Some(Act::Silence) => return reply.discard(),
            Some(Act::Hint(leader)) => {
                let hint = LeaderHint {
                    leader: BrokerId(leader),
                    address: self.addresses.lock().unwrap()[leader as usize - 1].clone(),
                    leader_epoch: LeaderEpoch(world.leader_epoch + 1),
                };
                answer(Err(WireError::new(ErrorCode::NotLeader, "another leads").leader(hint)))
            }
            Some(Act::Hold) => {
                let held = answer(world.append(&topic, partition.0, &bytes));
                world.held.push((reply, held));
                return;
            }
            None => answer(world.append(&topic, partition.0, &bytes)),
        };
        if publish.acks == yak_protocol::message::Acks::None {
            return reply.discard();
        }
        reply.reply::<Publish>(Ok(&answer), Vec::new());
    }

    fn create(&self, request: &Incoming, reply: Replier) {
        let create: CreateTopic = request.parse().unwrap();
        let mut world = self.world.lock().unwrap();
        if create.auto && world.auto_create_off {
            return reply.refuse(&WireError::new(ErrorCode::AutoCreateOff, "topics are made by hand here"));
        }
        world.topics.push((create.topic.clone(), 3));
        world.leader_epoch += 1;
        let topic = topic_info(&create.topic, 3, world.topics.len() as u128);
        reply.reply::<CreateTopic>(Ok(&CreateTopicReply { topic, replicas: 3, created: true }), Vec::new());
    }

    fn metadata(&self, request: &Incoming, reply: Replier) {
        let asked: Metadata = request.parse().unwrap();
        let mut world = self.world.lock().unwrap();
        world.metadata_asked += 1;
        let mut answer = world.metadata(&self.addresses.lock().unwrap());
        for name in asked.topics.unwrap_or_default() {
            if !answer.topics.iter().any(|topic| topic.name == name) {
                answer.unknown.push(UnknownTopic { topic: name, nearest: None });
            }
        }
        reply.reply::<Metadata>(Ok(&answer), Vec::new());
    }
}

impl Service for FakeBroker {
    async fn call(&self, peer: &Peer, request: Incoming, reply: Replier) {
        match request.kind.as_str() {
            Publish::KIND => self.publish(peer, &request, reply),
            CreateTopic::KIND => self.create(&request, reply),
            Metadata::KIND => self.metadata(&request, reply),
            RegisterProducer::KIND => {
                let mut world = self.world.lock().unwrap();
                world.next_producer_id += 1;
                let producer_id = ProducerId(world.next_producer_id);
                let answer = RegisterProducerReply { producer_id, producer_epoch: ProducerEpoch(0) };
                reply.reply::<RegisterProducer>(Ok(&answer), Vec::new());
            }
            other => panic!("{other} is not expected here"),
        }
        self.changed.send_modify(|count| *count += 1);
    }
}
