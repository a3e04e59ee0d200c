//! A coordinator on port 0 and brokers that are no more than their control connection.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use yak_coordinator::{CoordinatorConfig, RunError};
use yak_protocol::error::WireError;
use yak_protocol::ids::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorEpoch, DataDirId, Incarnation, MetadataVersion,
};
use yak_protocol::message::{
    Heartbeat, HeartbeatReply, LeaderInfo, LeaderInfoRequest, Message, Metadata, MetadataReply, Probe,
    ProbeReply, RegisterBroker, RegisterBrokerReply,
};
use yak_protocol::net::{
    Answer, ConnectOptions, Connection, Incoming, Listener, ListenerConfig, RequestError,
};

/// Longer than anything here takes; reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running coordinator, its data dir and its address.
pub struct Harness {
    dir: TempDir,
    config: CoordinatorConfig,
    pub address: String,
    running: Option<JoinHandle<Result<(), RunError>>>,
    /// Where it runs, if not on the test's own runtime.
    runtime: Option<Runtime>,
}

/// A coordinator that stands still until it is thawed.
pub struct Frozen(std::sync::mpsc::Sender<()>);

impl Frozen {
    pub fn thaw(self) {
        self.0.send(()).unwrap();
    }
}

impl Harness {
    /// On a thread of its own, which can be frozen.
    pub async fn start_on_own_thread(change: impl FnOnce(&mut CoordinatorConfig)) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self::start_in(Some(runtime), change).await
    }

    /// Stops the coordinator's thread between two of its steps; its sockets fill up.
    pub async fn freeze(&self) -> Frozen {
        let (thaw, wait) = std::sync::mpsc::channel();
        let (frozen, standing) = tokio::sync::oneshot::channel();
        self.runtime.as_ref().unwrap().spawn(async move {
            frozen.send(()).unwrap();
            let _ = wait.recv();
        });
        standing.await.unwrap();
        Frozen(thaw)
    }

    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut CoordinatorConfig)) -> Self {
        Self::start_in(None, change).await
    }

    async fn start_in(runtime: Option<Runtime>, change: impl FnOnce(&mut CoordinatorConfig)) -> Self {
        let dir = TempDir::new().unwrap();
        let mut config = CoordinatorConfig::new(dir.path());
        change(&mut config);
        let mut harness = Self { dir, config, address: String::new(), running: None, runtime };
        harness.restart().await;
        harness
    }

    /// Why a coordinator with this configuration does not run.
    pub async fn refused_start(change: impl FnOnce(&mut CoordinatorConfig)) -> RunError {
        let dir = TempDir::new().unwrap();
        let mut config = CoordinatorConfig::new(dir.path());
        change(&mut config);
        let listener = Listener::bind("127.0.0.1:0", ListenerConfig::default()).unwrap();
        yak_coordinator::run(listener, config, CancellationToken::new()).await.unwrap_err()
    }

    /// Starts it on its data dir, on a port of its own.
    pub async fn restart(&mut self) {
        let listener = Listener::bind("127.0.0.1:0", ListenerConfig::default()).unwrap();
        self.address = listener.local_addr().to_string();
        let run = yak_coordinator::run(listener, self.config.clone(), CancellationToken::new());
        self.running = Some(match &self.runtime {
            Some(runtime) => runtime.spawn(run),
            None => tokio::spawn(run),
        });
        let client = self.client().await;
        eventually("it is active", async || client.request(&Metadata::default(), Vec::new()).await.ok())
            .await;
    }

    /// Ends it as `kill -9` would: nothing is flushed or said any more.
    pub async fn crash(&mut self) {
        let running = self.running.take().unwrap();
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        // A write that was under way on another thread holds the lock until it is done.
        let lock = std::fs::File::open(self.dir.path().join("lock")).unwrap();
        eventually("it has let go of its data dir", async || lock.try_lock().ok()).await;
    }

    pub async fn client(&self) -> Connection {
        Connection::connect(&self.address, &ConnectOptions::default()).await.unwrap().0
    }

    pub async fn metadata(&self) -> MetadataReply {
        self.client().await.request(&Metadata::default(), Vec::new()).await.unwrap().body
    }

    /// Somebody who types.
    pub async fn typist(&self) -> Typist {
        Typist(BufReader::new(TcpStream::connect(&self.address).await.unwrap()))
    }

    /// What a word alone on a connection is answered, until the coordinator closes it.
    pub async fn word(&self, word: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("{word}\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an end").unwrap();
        answer
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("quorum.log")
    }

    pub fn log(&self) -> Vec<u8> {
        std::fs::read(self.log_path()).unwrap()
    }

    pub fn set_log(&self, bytes: &[u8]) {
        std::fs::write(self.log_path(), bytes).unwrap();
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        // A runtime must not wait for its threads from within a test's.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A text session.
pub struct Typist(BufReader<TcpStream>);

impl Typist {
    /// The lines that answer a command: data, and the status line as the last one.
    pub async fn says(&mut self, line: &str) -> Vec<String> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            let last = line.starts_with("+OK") || line.starts_with("-ERR");
            lines.push(line);
            if last {
                return lines;
            }
        }
    }

    /// The status line alone.
    pub async fn status(&mut self, line: &str) -> String {
        self.says(line).await.pop().unwrap()
    }

    /// The rows of a table, as `name=value` pairs.
    pub async fn rows(&mut self, line: &str) -> Vec<String> {
        let mut lines = self.says(&format!("{line} format=kv")).await;
        let status = lines.pop().unwrap();
        assert!(status.starts_with("+OK"), "{line}: {status}");
        assert_eq!(lines.pop().as_deref(), Some("."));
        lines
    }

    /// Sends a message as a line of JSON; returns its answer, past everything that is pushed.
    pub async fn json(&mut self, message: &str) -> String {
        self.0.get_mut().write_all(format!("{message}\n").as_bytes()).await.unwrap();
        loop {
            let line = self.line().await;
            if line.contains("\"ok\":") {
                return line;
            }
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read =
            tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("a line").unwrap();
        assert!(read > 0, "the coordinator closed the session");
        line.trim_end().to_owned()
    }
}

/// Returns what `look` finds, as soon as it finds something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}

/// The error of a refused request.
pub fn refused<R: std::fmt::Debug>(outcome: Result<Answer<R>, RequestError>) -> WireError {
    match outcome {
        Err(RequestError::Refused(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

/// A broker as the coordinator sees it: what its data dir remembers, and a control connection.
pub struct Broker {
    pub name: String,
    pub address: String,
    pub data_dir: DataDirId,
    pub cluster_id: Option<ClusterId>,
    incarnation: Incarnation,
    broker_id: Option<BrokerId>,
    broker_epoch: BrokerEpoch,
    session: Option<BrokerEpoch>,
    coordinator_epoch: CoordinatorEpoch,
    version: MetadataVersion,
    connection: Option<(Connection, mpsc::UnboundedReceiver<Incoming>)>,
}

impl Broker {
    pub fn new(name: &str, seed: u16) -> Self {
        Self {
            name: name.to_owned(),
            address: format!("127.0.0.1:{}", 20_000 + seed),
            data_dir: DataDirId(u128::from(seed)),
            cluster_id: None,
            incarnation: Incarnation(u128::from(seed) << 64),
            broker_id: None,
            broker_epoch: BrokerEpoch::ZERO,
            session: None,
            coordinator_epoch: CoordinatorEpoch::ZERO,
            version: MetadataVersion::ZERO,
            connection: None,
        }
    }

    /// Registers, or resumes what it holds, on a new connection.
    pub async fn register(&mut self, coordinator: &Harness) -> Result<RegisterBrokerReply, WireError> {
        let opened = Connection::connect(&coordinator.address, &ConnectOptions::default()).await.unwrap();
        let request = RegisterBroker {
            name: self.name.clone(),
            incarnation: self.incarnation,
            data_dir: self.data_dir,
            cluster_id: self.cluster_id,
            broker_id: self.broker_id,
            stored_broker_epoch: self.broker_epoch,
            resume: self.session,
            coordinator_epoch: self.coordinator_epoch,
            clean_shutdown: false,
            same_boot: true,
            advertise: self.address.clone(),
            rack: String::new(),
            replicas: Vec::new(),
        };
        let reply = match opened.0.request(&request, Vec::new()).await {
            Ok(answer) => answer.body,
            Err(RequestError::Refused(error)) => return Err(error),
            Err(other) => panic!("{other}"),
        };
        self.cluster_id = Some(reply.cluster_id);
        self.broker_id = Some(reply.broker_id);
        self.broker_epoch = reply.broker_epoch;
        self.session = Some(reply.broker_epoch);
        self.coordinator_epoch = reply.coordinator_epoch;
        self.version = reply.leader_info.version;
        self.connection = Some(opened);
        Ok(reply)
    }

    /// Its number and session.
    pub fn identity(&self) -> (BrokerId, BrokerEpoch) {
        (self.broker_id.unwrap(), self.broker_epoch)
    }

    /// Registers and is unfenced.
    pub async fn join(&mut self, coordinator: &Harness) -> RegisterBrokerReply {
        let reply = self.register(coordinator).await.unwrap();
        assert!(!self.heartbeat().await.unwrap().fenced);
        reply
    }

    /// The process ends and another one starts on the same data dir.
    pub fn restart_process(&mut self) {
        self.hang_up();
        self.incarnation = Incarnation(self.incarnation.0 + 1);
        self.session = None;
    }

    pub fn hang_up(&mut self) {
        self.connection.take().unwrap().0.close();
    }

    pub async fn request<M: Message>(&self, message: &M) -> Result<M::Reply, RequestError> {
        let (connection, _) = self.connection.as_ref().unwrap();
        Ok(connection.request(message, Vec::new()).await?.body)
    }

    /// A heartbeat that confirms everything that was pushed so far.
    pub async fn heartbeat(&mut self) -> Result<HeartbeatReply, RequestError> {
        while let Ok(frame) = self.connection.as_mut().unwrap().1.try_recv() {
            self.note(&frame);
        }
        self.request(&self.heartbeat_message()).await
    }

    fn heartbeat_message(&self) -> Heartbeat {
        Heartbeat {
            broker_id: self.broker_id.unwrap(),
            broker_epoch: self.broker_epoch,
            metadata_version: self.version,
            draining: false,
            replicas: Vec::new(),
        }
    }

    /// A heartbeat that nobody answers for so long.
    pub async fn heartbeat_in_vain(&self, limit: Duration) {
        let (connection, _) = self.connection.as_ref().unwrap();
        let pending = connection.start(&self.heartbeat_message(), Vec::new()).unwrap();
        assert_eq!(pending.within(limit).await.unwrap_err(), RequestError::Timeout(limit));
    }

    /// Waits for a push like that; every push on the way follows the one before without a gap.
    pub async fn pushed_until(&mut self, wanted: impl Fn(&LeaderInfo) -> bool) -> LeaderInfo {
        loop {
            let frame = self.next_frame().await;
            if let Some(info) = self.note(&frame).filter(&wanted) {
                return info;
            }
        }
    }

    pub async fn answer_probe(&mut self) {
        loop {
            let frame = self.next_frame().await;
            self.note(&frame);
            if &*frame.kind == Probe::KIND {
                let (connection, _) = self.connection.as_ref().unwrap();
                connection.send(frame.id, Probe::KIND, &ProbeReply {}, Vec::new()).unwrap();
                return;
            }
        }
    }

    async fn next_frame(&mut self) -> Incoming {
        let (_, frames) = self.connection.as_mut().unwrap();
        tokio::time::timeout(PATIENCE, frames.recv()).await.expect("a frame").expect("an open connection")
    }

    fn note(&mut self, frame: &Incoming) -> Option<LeaderInfo> {
        if &*frame.kind != LeaderInfoRequest::KIND {
            return None;
        }
        let info: LeaderInfo = frame.parse_body().unwrap();
        assert!(
            info.full || info.version == self.version.next(),
            "{:?} after {:?}",
            info.version,
            self.version
        );
        self.version = info.version;
        Some(info)
    }
}
