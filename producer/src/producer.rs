use crate::config::ProducerConfig;
use crate::delivery::{Buffer, Delivery};
use crate::error::ProduceError;
use crate::event::{Event, EventHook};
use crate::intake::Intake;
use crate::sender::Sender;
use crate::topic::{PartitionHandle, Topic};
use crate::wait::{Backoff, Trouble};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};
use yak_protocol::batch::{MSG_ID_HEADER, RecordRef};
use yak_protocol::defaults::MSG_ID_BYTES_MAX;
use yak_protocol::error::{Action, ErrorCode, WireError};
use yak_protocol::ids::{PartitionIndex, ProducerEpoch, ProducerId};
use yak_protocol::message::{CreateTopic, RegisterProducer, TopicInfo};
use yak_protocol::net::{Cluster, ClusterError};
use yak_protocol::text::count;

/// A record to be published.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProducerRecord<'a> {
    /// The partition; `None` = chosen by the key, or any without one.
    pub partition: Option<PartitionIndex>,
    /// The key: records with the same key keep their order.
    pub key: Option<&'a [u8]>,
    /// The value; `None` = a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers: name and value, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Milliseconds since 1970; `None` = now.
    pub timestamp_ms: Option<i64>,
    /// Names the record, in 1 to 64 bytes. Whoever publishes the same name again within the topic's
    /// `dedupe_window_ms` stores nothing, and is told where the first one is. Without partition and key it chooses
    /// the partition. The record gets the time of its append instead of `timestamp_ms`.
    pub msg_id: Option<&'a [u8]>,
}

/// Publishes records. Clones share everything; when the last one is dropped, what is not acknowledged
/// yet is abandoned ([`Producer::close`] waits for it).
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    topics: Topics,
    opening: Arc<tokio::sync::Mutex<()>>,
    _stop: Arc<DropGuard>,
}

/// Why there is no id to publish with.
pub(crate) enum IdentityError {
    /// It may come.
    Later(String),
    /// It will not.
    Refused(WireError),
}

/// The topics that records were sent to, by name.
type Topics = Arc<RwLock<HashMap<String, Arc<Topic>>>>;

/// What the senders of all partitions share.
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) config: ProducerConfig,
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) stop: CancellationToken,
    hook: EventHook,
    identity: Mutex<Option<(ProducerId, ProducerEpoch)>>,
    /// Somebody else has this producer's name, as the first partition that said so put it.
    fenced: OnceLock<String>,
}

impl Shared {
    pub(crate) fn tell(&self, event: Event) {
        (self.hook)(event);
    }

    /// A refusal came; if it says that another one has this producer's name, there is no point in going on.
    pub(crate) fn heed(&self, refusal: &WireError) {
        if let Some(name) = &self.config.name
            && refusal.code == ErrorCode::ProducerFenced
        {
            let _ = self.fenced.set(format!("{refusal} (another producer has registered as {name})"));
        }
    }

    /// The producer's id and epoch, asked for once; `fresh` = others, for a lane that cannot go on with these. With a
    /// name only the epoch is another, and only as long as nobody else has taken the name.
    pub(crate) async fn identity(&self, fresh: bool) -> Result<(ProducerId, ProducerEpoch), IdentityError> {
        let mut known = self.identity.lock().await;
        if let Some(identity) = *known
            && !fresh
        {
            return Ok(identity);
        }
        let named = self.config.name.is_some();
        let identity = self.register(known.filter(|_| named)).await?;
        if known.is_none() || named {
            *known = Some(identity);
        }
        Ok(identity)
    }

    async fn register(
        &self,
        held: Option<(ProducerId, ProducerEpoch)>,
    ) -> Result<(ProducerId, ProducerEpoch), IdentityError> {
        let (client, name) = (self.config.client.clone(), self.config.name.clone());
        let request = RegisterProducer { client, name, held };
        let deadline = Instant::now() + self.config.publish_timeout;
        match self.cluster.request_any(&request, Vec::new(), deadline.into()).await {
            Ok(answer) => Ok((answer.body.producer_id, answer.body.producer_epoch)),
            Err(ClusterError::Refused(error)) if error.code.action() == Action::GiveUp => {
                Err(IdentityError::Refused(error))
            }
            Err(error) => Err(IdentityError::Later(error.to_string())),
        }
    }
}

impl Producer {
    /// A producer; needs a tokio runtime around it. Nothing is sent before the first record.
    #[must_use]
    pub fn new(cluster: Cluster, config: ProducerConfig, hook: EventHook) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            cluster,
            buffer: Buffer::new(config.buffer_bytes),
            config,
            stop: stop.clone(),
            hook,
            identity: Mutex::default(),
            fenced: OnceLock::new(),
        });
        let topics = Topics::default();
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow(shared.clone(), topics.clone())));
        Self { shared, topics, opening: Arc::default(), _stop: Arc::new(stop.drop_guard()) }
    }

    /// Takes a record; waits while the buffer is full. Records that are sent one after the other to one
    /// partition keep that order. The outcome comes out of the [`Delivery`].
    ///
    /// # Errors
    /// When the topic or partition does not exist (and is not made), its name is illegal, or the record
    /// is larger than the topic takes: nothing was sent.
    pub async fn send(&self, topic: &str, record: &ProducerRecord<'_>) -> Result<Delivery, ProduceError> {
        if self.shared.stop.is_cancelled() {
            return Err(ProduceError::Closed { place: topic.into() });
        }
        if let Some(why) = self.shared.fenced.get() {
            return Err(failed(topic, why.clone(), Some(ErrorCode::ProducerFenced)));
        }
        let topic = match self.known(topic) {
            Some(topic) => topic,
            None => self.open(topic).await?,
        };
        let partition = record.partition.unwrap_or_else(|| topic.choose(record.key.or(record.msg_id)));
        let Some(handle) = topic.partitions.get(partition.0 as usize) else {
            let why = format!("it has {}, from 0 on", count(topic.partitions.len() as u64, "partition"));
            return Err(failed(&format!("partition {partition}"), why, Some(ErrorCode::UnknownPartition)));
        };
        let id = record.msg_id.map(|id| (MSG_ID_HEADER, id));
        if id.is_some_and(|(_, id)| id.is_empty() || id.len() > MSG_ID_BYTES_MAX) {
            let why = format!("a msg_id has 1 to {MSG_ID_BYTES_MAX} bytes");
            return Err(failed(handle.intake.place(), why, Some(ErrorCode::BadBatch)));
        }
        // Only records with an id are copied.
        let with_id: Vec<(&str, &[u8])>;
        let headers = match id {
            None => record.headers,
            Some(id) => {
                with_id = std::iter::once(id).chain(record.headers.iter().copied()).collect();
                with_id.as_slice()
            }
        };
        let payload = record.key.map_or(0, <[u8]>::len)
            + record.value.map_or(0, <[u8]>::len)
            + headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
        if payload > topic.batch_bytes_max
            && self.shared.config.compression == yak_protocol::batch::Compression::None
        {
            let why = format!("the record has {payload} bytes, the topic takes {}", topic.batch_bytes_max);
            return Err(failed(handle.intake.place(), why, Some(ErrorCode::BatchTooLarge)));
        }
        let bytes = self.shared.buffer.take(payload + RECORD_OVERHEAD_BYTES).await;
        let timestamp_ms = record.timestamp_ms.unwrap_or_else(now_ms);
        if headers.iter().any(|(name, _)| *name == MSG_ID_HEADER) {
            handle.intake.note_ids();
        }
        let record = RecordRef { timestamp_ms, key: record.key, value: record.value, headers };
        Ok(handle.intake.append(&record, bytes, Instant::now()))
    }

    /// Sends what lingers and waits until everything sent so far has its outcome.
    pub async fn flush(&self) {
        let outstanding = self.shared.buffer.outstanding();
        let topics: Vec<_> =
            self.topics.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for topic in topics {
            for partition in &topic.partitions {
                partition.intake.hurry();
            }
        }
        for outcome in outstanding {
            outcome.settled().await;
        }
    }

    /// Waits for the outcome of everything sent so far, then stops, for all clones.
    pub async fn close(self) {
        self.flush().await;
        self.shared.stop.cancel();
    }

    /// How many partitions a topic has; makes it if need be, as `send` does.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn partitions(&self, topic: &str) -> Result<u32, ProduceError> {
        let topic = match self.known(topic) {
            Some(topic) => topic,
            None => self.open(topic).await?,
        };
        Ok(u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX))
    }

    fn known(&self, topic: &str) -> Option<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    /// Finds out about a topic, makes it if need be, and starts the senders of its partitions.
    async fn open(&self, name: &str) -> Result<Arc<Topic>, ProduceError> {
        let _one_at_a_time = self.opening.lock().await;
        if let Some(topic) = self.known(name) {
            return Ok(topic);
        }
        yak_protocol::names::check_topic(name).map_err(|error| refused(name, &error))?;
        let place: Arc<str> = name.into();
        let info = self.find_or_make(&place).await?;
        let partitions =
            (0..info.partitions).map(|index| start_partition(&self.shared, &place, PartitionIndex(index)));
        let topic = Arc::new(Topic::new(
            partitions.collect(),
            info.config.batch_bytes_max as usize,
            info.key_slots.clone(),
        ));
        self.topics
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), Arc::clone(&topic));
        Ok(topic)
    }

    /// Asks until the topic is known, made, or refused for good.
    async fn find_or_make(&self, topic: &Arc<str>) -> Result<TopicInfo, ProduceError> {
        let mut trouble = Trouble::new(Arc::clone(topic), None, Instant::now());
        let mut backoff = Backoff::default();
        let deadline = Instant::now() + self.shared.config.delivery_timeout;
        loop {
            let until = deadline.min(trouble.next_note());
            let why = match self.try_find_or_make(topic, until).await {
                Ok(info) => {
                    trouble.over(&self.shared, Instant::now());
                    return Ok(info);
                }
                Err(Refusal::ForGood(error)) => return Err(error),
                Err(Refusal::ForNow(why)) => why,
            };
            let now = Instant::now();
            if now >= deadline {
                return Err(failed(topic, why, None));
            }
            trouble.note(&self.shared, now, || why);
            backoff.pause().await;
        }
    }

    async fn try_find_or_make(&self, topic: &Arc<str>, deadline: Instant) -> Result<TopicInfo, Refusal> {
        let cluster = &self.shared.cluster;
        let unknown = match cluster.topic(topic, deadline.into()).await {
            Ok(info) => return Ok(info),
            Err(ClusterError::Refused(error)) if error.code == ErrorCode::UnknownTopic => error,
            Err(error) => return Err(Refusal::ForNow(error.to_string())),
        };
        if !self.shared.config.auto_create {
            return Err(Refusal::ForGood(refused(topic, &unknown)));
        }
        let request = CreateTopic {
            topic: topic.to_string(),
            if_not_exists: true,
            auto: true,
            ..CreateTopic::default()
        };
        match cluster.request_any(&request, Vec::new(), deadline.into()).await {
            Ok(made) => {
                cluster.expect_topic(topic);
                if made.body.created {
                    let partitions = made.body.topic.partitions;
                    self.shared.tell(Event::TopicMade { topic: Arc::clone(topic), partitions });
                }
                Ok(made.body.topic)
            }
            Err(ClusterError::Refused(error)) if error.code == ErrorCode::AutoCreateOff => {
                Err(Refusal::ForGood(refused(topic, &unknown)))
            }
            Err(ClusterError::Refused(error)) if error.code.action() == Action::GiveUp => {
                Err(Refusal::ForGood(refused(topic, &error)))
            }
            // It is made only if it does not exist, so asking again does nothing twice.
            Err(error) => Err(Refusal::ForNow(error.to_string())),
        }
    }
}

/// Keeps the topics as the newest metadata has them. One that it lacks stays: whoever said that may lag behind.
async fn follow(shared: Arc<Shared>, topics: Topics) {
    let mut newest = shared.cluster.watch();
    while newest.changed().await.is_ok() {
        let metadata = Arc::clone(&newest.borrow_and_update());
        let mut topics = topics.write().unwrap_or_else(PoisonError::into_inner);
        for info in &metadata.topics {
            let Some(topic) = topics.get_mut(&info.name) else { continue };
            let batch_bytes_max = info.config.batch_bytes_max as usize;
            let known = (topic.partitions.len(), topic.batch_bytes_max, &topic.key_slots);
            if known != (info.partitions as usize, batch_bytes_max, &info.key_slots) {
                let name: Arc<str> = info.name.as_str().into();
                let start = |partition| start_partition(&shared, &name, partition);
                *topic =
                    Arc::new(topic.resized(info.partitions, batch_bytes_max, info.key_slots.clone(), start));
            }
        }
    }
}

fn start_partition(shared: &Arc<Shared>, topic: &Arc<str>, partition: PartitionIndex) -> PartitionHandle {
    let config = &shared.config;
    let place: Arc<str> = format!("{topic}/{partition}").into();
    let intake = Arc::new(Intake::new(
        Arc::clone(&place),
        partition,
        config.compression,
        config.batch_bytes,
        config.linger,
        Arc::clone(&shared.buffer),
    ));
    let handle = PartitionHandle { intake, stalled: Arc::default() };
    let sender = Sender::new(shared, topic, partition, place, &handle);
    tokio::spawn(shared.stop.clone().run_until_cancelled_owned(sender.run()));
    handle
}

/// About what a record takes besides its key, value and headers.
const RECORD_OVERHEAD_BYTES: usize = 16;

enum Refusal {
    ForNow(String),
    ForGood(ProduceError),
}

fn failed(place: &str, why: String, code: Option<ErrorCode>) -> ProduceError {
    ProduceError::Failed { place: place.into(), why: why.into(), code }
}

fn refused(place: &str, error: &WireError) -> ProduceError {
    let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    failed(place, format!("{error}{hint}"), Some(error.code))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
