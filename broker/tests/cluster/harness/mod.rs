//! A cluster to do things to.

mod client;
mod gate;
mod records;
mod typist;

pub use client::Client;
pub use gate::Gate;
pub use records::{Kept, batch, end_of, stamped, values_of};
pub use typist::{Typist, typed, word};

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use yak_broker::{BrokerConfig, BrokerError};
use yak_coordinator::CoordinatorConfig;
use yak_protocol::ids::{BrokerId, PartitionIndex};
use yak_protocol::message::{CreateTopic, Metadata, MetadataReply, PartitionInfo};
use yak_protocol::net::{ConnectOptions, Connection, Listener, ListenerConfig};
use yak_storage::StoreConfig;
use yak_storage::io::sim::SimDisk;

/// How long a condition may take to come true before the test fails. Far longer than any should take.
pub const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// Returns what `look` finds, as soon as it finds something.
///
/// # Panics
/// When it finds nothing in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}

/// A coordinator and brokers, all in this process.
pub struct Cluster {
    dir: TempDir,
    coordinator: Option<Running>,
    pub coordinator_address: String,
    pub brokers: Vec<Node>,
    /// Applied to every broker's configuration before it starts.
    configure: Box<dyn Fn(usize, BrokerConfig) -> BrokerConfig + Send + Sync>,
}

/// One broker, running or not.
pub struct Node {
    pub data: PathBuf,
    pub address: String,
    running: Option<RunningBroker>,
}

struct Running {
    task: JoinHandle<()>,
    shutdown: CancellationToken,
}

struct RunningBroker {
    task: JoinHandle<Result<(), BrokerError>>,
    shutdown: CancellationToken,
    crash: CancellationToken,
    ready: CancellationToken,
}

fn log_to_stderr() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("RUST_LOG").is_some() {
            let filter = tracing_subscriber::EnvFilter::from_default_env();
            tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().init();
        }
    });
}

/// A log on a simulated disk: small files, and no room kept free.
pub fn on_disk(disk: &SimDisk, config: BrokerConfig) -> BrokerConfig {
    let store = StoreConfig {
        wal_file_bytes: 1 << 20,
        checkpoint: Duration::from_millis(20),
        reserve_bytes: Some(64 << 10),
        ballast_bytes: 64 << 10,
        ..StoreConfig::default()
    };
    BrokerConfig { io: Arc::new(disk.clone()), store, ..config }
}

impl Cluster {
    /// A cluster whose brokers have simulated disks.
    pub async fn on_disks(brokers: usize, disks: &[SimDisk]) -> Self {
        let disks = disks.to_vec();
        Self::start_with(brokers, move |number, config| {
            let lag = Duration::from_millis(300);
            BrokerConfig { replica_lag_max: lag, ..on_disk(&disks[number], config) }
        })
        .await
    }

    /// Two brokers that others reach only through their gates, a topic `orders` on both, in sync; which one
    /// leads, and a client of it. The coordinator is reached past the gates.
    pub async fn behind_gates() -> (Self, [Gate; 2], usize, Client) {
        let gates = [Gate::open().await, Gate::open().await];
        let through = gates.clone();
        let cluster = Self::start_with(2, move |number, config| BrokerConfig {
            advertise: Some(through[number].lead_to(&config.advertise.clone().expect("set by the harness"))),
            replica_lag_max: Duration::from_millis(500),
            ..config
        })
        .await;
        cluster.topic("orders", 1, 2).await;
        cluster.partition_when("both are in sync", "orders", 0, |info| info.isr.len() == 2).await;
        let leader = cluster.leader("orders", 0).await;
        let client = cluster.client(leader).await;
        (cluster, gates, leader, client)
    }

    /// A coordinator and so many brokers, all registered.
    pub async fn start(brokers: usize) -> Self {
        Self::start_with(brokers, |_, config| config).await
    }

    /// The same, with changed configurations.
    pub async fn start_with(
        brokers: usize,
        configure: impl Fn(usize, BrokerConfig) -> BrokerConfig + Send + Sync + 'static,
    ) -> Self {
        let mut cluster = Self::without_coordinator(brokers, configure);
        cluster.start_coordinator().await;
        for number in 0..brokers {
            cluster.start_broker(number).await;
        }
        cluster
    }

    /// Nothing runs yet; the coordinator's address is settled.
    pub fn without_coordinator(
        brokers: usize,
        configure: impl Fn(usize, BrokerConfig) -> BrokerConfig + Send + Sync + 'static,
    ) -> Self {
        log_to_stderr();
        let dir = tempfile::tempdir().expect("a folder for the test");
        let node = |number: usize| Node {
            data: dir.path().join(format!("broker-{number}")),
            address: String::new(),
            running: None,
        };
        // The port stays free for the coordinator: nobody is given the same one again so soon.
        let reserved = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let coordinator_address = reserved.local_addr().expect("bound").to_string();
        Self {
            brokers: (0..brokers).map(node).collect(),
            coordinator: None,
            coordinator_address,
            configure: Box::new(configure),
            dir,
        }
    }

    pub async fn start_coordinator(&mut self) {
        let address = self.coordinator_address.clone();
        let listener = eventually("the coordinator's port is free", || {
            let bound = Listener::bind(&address, ListenerConfig::default()).ok();
            async move { bound }
        })
        .await;
        let config = CoordinatorConfig::new(self.coordinator_dir());
        let shutdown = CancellationToken::new();
        let run = yak_coordinator::run(listener, config, shutdown.clone());
        let task = tokio::spawn(async move {
            run.await.expect("the coordinator runs until it is told to stop");
        });
        self.coordinator = Some(Running { task, shutdown });
        eventually("the coordinator answers", || async { self.coordinator_answers().await.then_some(()) })
            .await;
    }

    /// Where the coordinator keeps its journal.
    pub fn coordinator_dir(&self) -> PathBuf {
        self.dir.path().join("coordinator")
    }

    /// As `kill -9` would.
    pub async fn kill_coordinator(&mut self) {
        let running = self.coordinator.take().expect("the coordinator runs");
        running.task.abort();
        let _ = running.task.await;
        // A journal entry that was being written keeps the dir locked until it is; a killed process has no
        // such afterlife.
        let lock = std::fs::File::open(self.coordinator_dir().join("lock")).expect("the journal has a lock");
        eventually("the journal is free", || async { lock.try_lock().ok() }).await;
    }

    /// Starts a broker and waits until it is registered and serves.
    pub async fn start_broker(&mut self, number: usize) {
        self.launch_broker(number);
        let running = self.brokers[number].running.as_ref().expect("just started");
        let ready = tokio::time::timeout(PATIENCE, running.ready.cancelled());
        ready.await.unwrap_or_else(|_| panic!("broker {number} is ready"));
    }

    /// A place for one more broker.
    pub fn another_node(&self) -> Node {
        let data = self.dir.path().join(format!("broker-{}", self.brokers.len()));
        Node { data, address: String::new(), running: None }
    }

    /// Starts a broker, and waits for nothing.
    pub fn launch_broker(&mut self, number: usize) {
        let listener = Listener::bind("127.0.0.1:0", ListenerConfig::default()).expect("a free port");
        let node = &mut self.brokers[number];
        assert!(node.running.is_none(), "broker {number} runs already");
        node.address = listener.local_addr().to_string();
        let mut config =
            BrokerConfig::new(format!("broker-{number}"), &node.data, vec![self.coordinator_address.clone()]);
        config.advertise = Some(node.address.clone());
        config.drain_timeout = PATIENCE;
        let config = (self.configure)(number, config).crash_alone();
        let shutdown = CancellationToken::new();
        let (crash, ready) = (config.crash.clone(), config.ready.clone());
        let task = tokio::spawn(yak_broker::run(listener, config, shutdown.clone()));
        node.running = Some(RunningBroker { task, shutdown, crash, ready });
    }

    /// As `kill -9` would: nothing is flushed, nobody is told.
    pub async fn kill_broker(&mut self, number: usize) {
        let running = self.brokers[number].running.take().expect("it runs");
        running.crash.cancel();
        let ended = running.task.await.expect("a crash is no panic");
        assert!(matches!(ended, Err(BrokerError::Crashed)), "{ended:?}");
    }

    /// As SIGTERM would.
    pub async fn stop_broker(&mut self, number: usize) {
        let running = self.brokers[number].running.take().expect("it runs");
        running.shutdown.cancel();
        running.task.await.expect("no panic").expect("it stops cleanly");
    }

    /// Waits until the broker ends by itself; returns why.
    pub async fn broker_ends(&mut self, number: usize) -> BrokerError {
        let running = self.brokers[number].running.take().expect("it runs");
        let ended = tokio::time::timeout(PATIENCE, running.task).await.expect("it ends in time");
        ended.expect("no panic").expect_err("nobody told it to stop")
    }

    /// Whether the broker has not ended.
    pub fn runs(&self, number: usize) -> bool {
        self.brokers[number].running.as_ref().is_some_and(|running| !running.task.is_finished())
    }

    pub fn data_of(&self, number: usize) -> &Path {
        &self.brokers[number].data
    }

    /// A client of one broker.
    pub async fn client(&self, number: usize) -> Client {
        Client::to(&self.brokers[number].address).await
    }

    /// Whether the coordinator takes requests.
    async fn coordinator_answers(&self) -> bool {
        let Ok((connection, _)) =
            Connection::connect(&self.coordinator_address, &ConnectOptions::default()).await
        else {
            return false;
        };
        connection.request(&Metadata::default(), Vec::new()).await.is_ok()
    }

    /// The first broker that runs.
    pub fn any(&self) -> usize {
        (0..self.brokers.len()).find(|number| self.runs(*number)).expect("a broker runs")
    }

    /// Makes a topic and waits until every running broker knows it, its leaders lead and their followers
    /// have joined.
    pub async fn topic(&self, topic: &str, partitions: u32, replicas: u32) {
        self.topic_with(CreateTopic {
            topic: topic.to_owned(),
            partitions: Some(partitions),
            replicas: Some(replicas),
            ..CreateTopic::default()
        })
        .await;
    }

    pub async fn topic_with(&self, create: CreateTopic) {
        let topic = create.topic.clone();
        self.client(self.any()).await.request(&create).await.expect("the topic is made");
        for number in (0..self.brokers.len()).filter(|number| self.runs(*number)) {
            eventually("every broker knows the topic", || async {
                let found = self.metadata(number, &topic).await;
                (found.topics.len() == 1).then_some(())
            })
            .await;
        }
    }

    /// What a broker knows of one topic.
    pub async fn metadata(&self, number: usize, topic: &str) -> MetadataReply {
        let request = Metadata { topics: Some(vec![topic.to_owned()]) };
        self.client(number).await.request(&request).await.expect("metadata is always answered")
    }

    /// The record of a partition, as a running broker knows it.
    pub async fn partition(&self, topic: &str, partition: u32) -> PartitionInfo {
        let found = self.metadata(self.any(), topic).await;
        let index = PartitionIndex(partition);
        found.partitions.into_iter().find(|info| info.id.partition == index).expect("the partition exists")
    }

    /// Waits until the partition's record is as wanted.
    pub async fn partition_when(
        &self,
        what: &str,
        topic: &str,
        partition: u32,
        wanted: impl Fn(&PartitionInfo) -> bool,
    ) -> PartitionInfo {
        eventually(what, || async { Some(self.partition(topic, partition).await).filter(&wanted) }).await
    }

    /// Which of the test's brokers has that number in the cluster.
    pub async fn number_of(&self, id: BrokerId) -> usize {
        let found = self.metadata(self.any(), "").await;
        let broker = found.brokers.into_iter().find(|broker| broker.id == id).expect("the broker is known");
        let named = |number: &usize| broker.name == format!("broker-{number}");
        (0..self.brokers.len()).find(named).expect("it is one of the test's")
    }

    /// Which of the test's brokers leads the partition.
    pub async fn leader(&self, topic: &str, partition: u32) -> usize {
        eventually("there is a live leader", || async {
            let leader = self.partition(topic, partition).await.leader?;
            Some(self.number_of(leader).await).filter(|number| self.runs(*number))
        })
        .await
    }

    /// A client of the partition's leader.
    pub async fn leader_client(&self, topic: &str, partition: u32) -> Client {
        self.client(self.leader(topic, partition).await).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for running in self.brokers.iter().filter_map(|node| node.running.as_ref()) {
            running.crash.cancel();
        }
        if let Some(coordinator) = &self.coordinator {
            coordinator.shutdown.cancel();
            coordinator.task.abort();
        }
    }
}
