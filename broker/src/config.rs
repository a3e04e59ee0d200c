//! What a broker is told, and every limit of its own, with its unit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use yak_protocol::defaults;
use yak_protocol::text::Sources;
use yak_storage::io::{Io, RealIo};
use yak_storage::{FatalHook, StoreConfig};

/// How many publishes may wait in one partition for their answer before more are refused.
pub(crate) const PUBLISHES_PENDING_MAX: usize = 16_384;
/// How many bytes of publishes may wait to be written, over all partitions; connections stop reading beyond.
pub(crate) const PUBLISH_MEMORY_BYTES: usize = 256 << 20;
/// The least that a publish counts as, so that tiny ones are bounded in number too.
pub(crate) const PUBLISH_BYTES_MIN: usize = 512;
/// How many commands a partition takes in one go before it looks at the clock again.
pub(crate) const COMMANDS_AT_ONCE: usize = 256;
/// The longest time that a publish may ask to wait.
pub(crate) const PUBLISH_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// How many bytes a consume returns when it does not say.
pub(crate) const CONSUME_BYTES: u32 = 1 << 20;
/// How many bytes a consume may ask for.
pub(crate) const CONSUME_BYTES_MAX: u32 = 32 << 20;
/// The longest time that a consume may ask to wait.
pub(crate) const CONSUME_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a consume over several leaders waits, when this broker passes parts of it on.
pub(crate) const CONSUME_WAIT_MIXED: Duration = Duration::from_millis(250);
/// The most memory that the records of one compressed batch may take when they are opened, in bytes.
pub(crate) const RECORDS_BYTES_MAX: usize = 64 << 20;
/// How many bytes one frame to a follower carries at most, a single larger batch aside.
pub(crate) const STREAM_FRAME_BYTES: usize = 8 << 20;
/// How many bytes may wait in one replication stream before reads for it are put off.
pub(crate) const STREAM_QUEUE_BYTES: usize = 32 << 20;
/// How long news of the high watermark wait for batches to go with: followers need them only to take over.
pub(crate) const HIGH_WATERMARK_LINGER: Duration = Duration::from_millis(5);
/// How many bytes one push reads at most.
pub(crate) const PUSH_BYTES: usize = 1 << 20;
/// How many reads from files for catching-up followers run at a time: the bound of their share.
pub(crate) const CATCH_UP_READS: usize = 2;
/// How many reads from files for consumers run at a time.
pub(crate) const CONSUMER_READS: usize = 32;
/// How long a leader keeps a stream whose follower says nothing.
pub(crate) const STREAM_ABANDONED: Duration = Duration::from_secs(10);
/// The first pause before connecting again, and the longest one.
pub(crate) const RECONNECT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// The same for the coordinator, whose successor is to be found at once.
pub(crate) const REGISTER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// How long a connection attempt may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request to the coordinator waits for a connection to it and for the answer.
pub(crate) const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request passed on to another broker may take beyond its own timeout.
pub(crate) const FORWARD_SLACK: Duration = Duration::from_secs(1);
/// How many bytes of a damaged range one request asks for.
pub(crate) const REPAIR_BYTES: usize = 4 << 20;
/// How long to wait before a repair that failed is tried again.
pub(crate) const REPAIR_RETRY: Duration = Duration::from_millis(500);
/// How long a leader waits for the repair of a range before it folds its producers without it.
pub(crate) const DAMAGE_PATIENCE: Duration = Duration::from_secs(2);
/// After how many appended bytes a partition leaves a snapshot of its producers.
pub(crate) const PRODUCERS_SNAPSHOT_BYTES: usize = 64 << 20;
/// After how many it does when it stops.
pub(crate) const PRODUCERS_SNAPSHOT_BYTES_STOP: usize = 1 << 20;
/// Fewer producer ids than this left = ask for another block.
pub(crate) const PRODUCER_IDS_LOW: i64 = 200;
/// How often partitions are looked at for what they need no longer keep.
pub(crate) const RETENTION_CHECK: Duration = Duration::from_secs(30);
/// How long a stopping broker waits for others to take over what it leads.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stopping broker waits for publishes to be answered.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = assert!(PUSH_BYTES <= STREAM_FRAME_BYTES && STREAM_FRAME_BYTES <= STREAM_QUEUE_BYTES);
const _: () = assert!(CONSUME_BYTES <= CONSUME_BYTES_MAX && CONSUME_BYTES_MAX < defaults::FRAME_BYTES_MAX);
const _: () = assert!(STREAM_FRAME_BYTES < defaults::FRAME_BYTES_MAX as usize);
const _: () = assert!(PRODUCER_IDS_LOW < defaults::PRODUCER_ID_BLOCK as i64);

/// Topics that are made by the first publish to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AutoCreate {
    /// Whether that happens at all.
    pub enabled: bool,
    /// How many partitions they get; `None` = the coordinator's default.
    pub partitions: Option<u32>,
    /// How many replicas they want; `None` = the coordinator's default.
    pub replicas: Option<u32>,
}

impl Default for AutoCreate {
    fn default() -> Self {
        Self { enabled: true, partitions: None, replicas: None }
    }
}

/// What a broker is told.
#[derive(Clone)]
pub struct BrokerConfig {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Where the coordinators are, `host:port`.
    pub coordinator: Vec<String>,
    /// Where clients and other brokers reach it, `host:port`; `None` = where the listener is bound.
    pub advertise: Option<String>,
    /// The data dir.
    pub data: PathBuf,
    /// Where it stands, for spreading replicas; empty = unknown.
    pub rack: String,
    /// Topics made by the first publish.
    pub auto_create: AutoCreate,
    /// How the log is kept.
    pub store: StoreConfig,
    /// The disk: the real one, or one that fails as a test wants.
    pub io: Arc<dyn Io>,
    /// How long an in-sync replica may be behind (rule R8).
    pub replica_lag_max: Duration,
    /// How often partitions are looked at for what they need no longer keep.
    pub retention_check: Duration,
    /// What time it is, in ms since 1970, where ages of records are counted; tests have their own.
    pub wall_clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Whether to serve nothing once the lease is over, also where the coordinator does not ask for it.
    pub step_down: bool,
    /// How long a stopping broker waits for others to take over.
    pub drain_timeout: Duration,
    /// What to do when nothing can be promised any more (a failed sync, a bug). `None` = abort the process;
    /// several brokers in one process crash alone with [`BrokerConfig::crash_alone`].
    pub fatal: Option<FatalHook>,
    /// Cancel it to crash the broker: tasks dropped, sockets closed, nothing flushed.
    pub crash: CancellationToken,
    /// Cancelled by the broker once it is registered and serves.
    pub ready: CancellationToken,
    /// Which of its settings were given, and where: for `CONF`.
    pub sources: Sources,
}

impl BrokerConfig {
    /// The defaults for a broker of this name, on this data dir, of this cluster.
    #[must_use]
    pub fn new(name: impl Into<String>, data: impl Into<PathBuf>, coordinator: Vec<String>) -> Self {
        Self {
            name: name.into(),
            coordinator,
            advertise: None,
            data: data.into(),
            rack: String::new(),
            auto_create: AutoCreate::default(),
            store: StoreConfig::default(),
            io: Arc::new(RealIo),
            replica_lag_max: defaults::REPLICA_LAG_MAX,
            retention_check: RETENTION_CHECK,
            wall_clock: Arc::new(crate::clock::wall_ms),
            step_down: false,
            drain_timeout: DRAIN_TIMEOUT,
            fatal: None,
            crash: CancellationToken::new(),
            ready: CancellationToken::new(),
            sources: Sources::new(),
        }
    }

    /// A fatal error crashes this broker only, not the process: for several brokers in one process.
    #[must_use]
    pub fn crash_alone(mut self) -> Self {
        let crash = self.crash.clone();
        let name = self.name.clone();
        self.fatal = Some(Arc::new(move |reason: &str| {
            tracing::error!(broker = %name, reason, "this broker crashes");
            crash.cancel();
        }));
        self
    }

    /// The hook that storage and panicking tasks call.
    pub(crate) fn fatal_hook(&self) -> FatalHook {
        self.fatal.clone().unwrap_or_else(|| {
            Arc::new(|reason: &str| {
                tracing::error!(reason, "nothing can be promised any more: aborting");
                eprintln!("yak broker: {reason}: aborting");
                std::process::abort();
            })
        })
    }
}
