use std::time::Duration;
use yak_protocol::batch::Compression;
use yak_protocol::defaults;
use yak_protocol::message::Acks;

/// How a producer behaves.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// What it calls itself, for logs and `CLIENTS`.
    pub client: String,
    /// A name that outlives the process: whoever takes it next fences this producer, which is told so
    /// (`PRODUCER_FENCED`) where the other has written. `None` = nobody else ever has this producer's id.
    pub name: Option<String>,
    /// How much must have happened before a record counts as delivered.
    pub acks: Acks,
    /// Whether records carry sequence numbers so that a repeated batch is recognised. Off, a batch
    /// whose fate is unknown is never sent again. Without effect on `acks=0`, which has no repeats.
    pub idempotent: bool,
    /// How batches are compressed.
    pub compression: Compression,
    /// How long a batch that is not full waits for company.
    pub linger: Duration,
    /// About how many bytes a batch holds at most, before compression.
    pub batch_bytes: usize,
    /// How many unacknowledged bytes are held in all; then `send` waits.
    pub buffer_bytes: usize,
    /// How many batches of one partition are on their way at a time, 1 to 5.
    pub in_flight_max: usize,
    /// How long the broker may wait for the in-sync replicas.
    pub publish_timeout: Duration,
    /// How long a record is tried in all before its delivery is given up.
    pub delivery_timeout: Duration,
    /// Whether a topic that does not exist is made on the first publish (if the brokers allow it).
    pub auto_create: bool,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            client: "yak-producer".to_owned(),
            name: None,
            acks: Acks::All,
            idempotent: true,
            compression: Compression::None,
            linger: Duration::ZERO,
            batch_bytes: 128 << 10,
            buffer_bytes: 32 << 20,
            in_flight_max: defaults::PRODUCER_BATCHES,
            publish_timeout: defaults::PUBLISH_TIMEOUT,
            delivery_timeout: defaults::DELIVERY_TIMEOUT,
            auto_create: true,
        }
    }
}

impl ProducerConfig {
    /// Whether batches carry a producer id and sequence numbers.
    pub(crate) fn sequenced(&self) -> bool {
        self.idempotent && self.acks != Acks::None
    }
}
