//! What all parts of one broker share.

use crate::cluster_map::ClusterMap;
use crate::config::{BrokerConfig, CATCH_UP_READS, CONSUMER_READS, PUBLISH_MEMORY_BYTES};
use crate::coordinator_link::CoordinatorLink;
use crate::data_dir::DataDir;
use crate::groups::Groups;
use crate::metrics::Counters;
use crate::partition::PartitionHandle;
use crate::peers::Peers;
use crate::requests::Creations;
use crate::streams::{FollowerStreams, LeaderStreams, wrong_cluster};
use crate::tasks::Tasks;
use crate::throttle::Throttle;
use dashmap::DashMap;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::task::task_tracker::TaskTrackerToken;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerEpoch, BrokerId, ClusterId, Incarnation, TopicPartition};
use yak_protocol::net::Observer;
use yak_protocol::text::count;
use yak_storage::{Identity, Recovered, StoreError};

/// One running broker.
pub(crate) struct Broker {
    pub(crate) config: BrokerConfig,
    /// Where clients and brokers reach it.
    pub(crate) address: String,
    /// Where it listens.
    pub(crate) listen: String,
    /// Whether it answers beyond loopback without authentication.
    pub(crate) insecure: bool,
    /// The longest frame that its listener takes, in bytes.
    pub(crate) max_frame_bytes: u32,
    /// This process: a new one for every start.
    pub(crate) incarnation: Incarnation,
    pub(crate) store: Arc<DataDir>,
    pub(crate) tasks: Tasks,
    /// What the coordinator said.
    pub(crate) cluster: ClusterMap,
    pub(crate) link: CoordinatorLink,
    /// Partitions that run here.
    pub(crate) partitions: DashMap<TopicPartition, Arc<PartitionHandle>>,
    /// Logs that were found in the data dir and whose partitions do not run (yet).
    pub(crate) recovered: Mutex<BTreeMap<TopicPartition, Recovered>>,
    pub(crate) leader_streams: LeaderStreams,
    pub(crate) follower_streams: FollowerStreams,
    /// Connections to other brokers, for what is passed on.
    pub(crate) peers: Peers,
    /// Bounds the reads from files for catching-up followers.
    pub(crate) catch_up_reads: Semaphore,
    /// Bounds what replicas get that partitions move to.
    pub(crate) throttle: Throttle,
    /// Numbers the replicas that this process has made (rule R18).
    pub(crate) replicas_made: AtomicU64,
    /// Bounds the reads from files for consumers.
    pub(crate) consumer_reads: Semaphore,
    /// Bytes of publishes that may wait to be written, over all partitions.
    pub(crate) publish_memory: Arc<Semaphore>,
    /// Topics that are being made by their first publish.
    pub(crate) creations: Creations,
    /// The consumer groups that this broker coordinates.
    pub(crate) groups: Groups,
    /// Numbers consumer sessions.
    pub(crate) consumers: AtomicU64,
    /// Turns keyless plain records round the partitions.
    pub(crate) keyless: AtomicU64,
    /// It has been told to stop.
    pub(crate) stopping: AtomicBool,
    /// What can be watched from outside.
    pub(crate) observer: Observer,
    pub(crate) counters: Counters,
    /// What was found when the data dir was opened.
    pub(crate) recovery: Recovery,
    /// Whether the disk was full when somebody last looked.
    disk_full: AtomicBool,
    session: RwLock<Option<Session>>,
    /// Dropped last: tells when nobody holds the broker any more.
    _alive: TaskTrackerToken,
}

/// What opening the data dir was like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Recovery {
    /// How many logs were in it.
    pub(crate) partitions: usize,
    /// Whether it had been closed.
    pub(crate) clean: bool,
    /// Whether the machine has run since.
    pub(crate) same_boot: bool,
    /// How long it took.
    pub(crate) took: Duration,
}

/// The session with the coordinator that this broker acts in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Session {
    pub(crate) cluster_id: ClusterId,
    pub(crate) broker_id: BrokerId,
    pub(crate) broker_epoch: BrokerEpoch,
}

/// What [`Broker::new`] is made of, beyond its configuration.
pub(crate) struct Parts {
    pub(crate) address: String,
    pub(crate) listen: String,
    pub(crate) opened_in: Duration,
    pub(crate) insecure: bool,
    pub(crate) max_frame_bytes: u32,
    pub(crate) store: DataDir,
    pub(crate) tasks: Tasks,
    pub(crate) link: CoordinatorLink,
    /// Waited for by whoever wants to know that the broker is gone.
    pub(crate) alive: TaskTrackerToken,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match (self.clean, self.same_boot) {
            (true, _) => "closed cleanly",
            (false, true) => "not closed: its process ended early",
            (false, false) => "not closed: its machine went down",
        };
        let (partitions, seconds) = (count(self.partitions as u64, "partition"), self.took.as_secs_f64());
        write!(f, "the data dir was {how}; {partitions} opened in {seconds:.3} s")
    }
}

impl Broker {
    pub(crate) fn new(config: BrokerConfig, parts: Parts) -> Self {
        let Parts { address, listen, opened_in, insecure, max_frame_bytes, store, tasks, link, alive } =
            parts;
        let recovered: BTreeMap<_, _> = store.recovered().into_iter().collect();
        let identity = store.identity();
        let recovery = Recovery {
            partitions: recovered.len(),
            clean: identity.clean_shutdown,
            same_boot: identity.same_boot,
            took: opened_in,
        };
        let observer = Observer::default();
        observer.events.note("recovery", recovery.to_string());
        Self {
            config,
            address,
            listen,
            insecure,
            max_frame_bytes,
            incarnation: Incarnation(uuid::Uuid::new_v4().as_u128()),
            store: Arc::new(store),
            tasks,
            cluster: ClusterMap::new(),
            link,
            partitions: DashMap::new(),
            recovered: Mutex::new(recovered),
            leader_streams: LeaderStreams::default(),
            follower_streams: FollowerStreams::default(),
            peers: Peers::default(),
            catch_up_reads: Semaphore::new(CATCH_UP_READS),
            throttle: Throttle::default(),
            replicas_made: AtomicU64::new(0),
            consumer_reads: Semaphore::new(CONSUMER_READS),
            publish_memory: Arc::new(Semaphore::new(PUBLISH_MEMORY_BYTES)),
            creations: Creations::default(),
            groups: Groups::default(),
            consumers: AtomicU64::new(0),
            keyless: AtomicU64::new(fastrand::u64(..)),
            stopping: AtomicBool::new(false),
            observer,
            counters: Counters::default(),
            recovery,
            disk_full: AtomicBool::new(false),
            session: RwLock::new(None),
            _alive: alive,
        }
    }

    /// The partition, if it runs here. Never holds the map across an await.
    pub(crate) fn partition(&self, id: TopicPartition) -> Option<Arc<PartitionHandle>> {
        self.partitions.get(&id).map(|found| found.clone())
    }

    /// The session that partitions act in; `None` before the first registration.
    pub(crate) fn session(&self) -> Option<Session> {
        *self.session.read().expect("nobody panics while holding it")
    }

    /// This broker's number, once it has one.
    pub(crate) fn id(&self) -> Option<BrokerId> {
        self.session().map(|session| session.broker_id)
    }

    /// Takes over a session; returns whether it is another one than before.
    pub(crate) fn set_session(&self, session: Session) -> bool {
        let before = self.session.write().expect("nobody panics while holding it").replace(session);
        before != Some(session)
    }

    /// Whether the coordinator holds this broker fenced, as far as is known here.
    pub(crate) fn fenced(&self) -> bool {
        let me = self.id().and_then(|id| self.cluster.broker(id));
        me.is_none_or(|me| me.fenced)
    }

    /// Refuses a sender of another cluster.
    pub(crate) fn check_cluster(&self, theirs: ClusterId) -> Result<(), WireError> {
        match self.session() {
            Some(session) if session.cluster_id != theirs => Err(wrong_cluster(session.cluster_id, theirs)),
            _ => Ok(()),
        }
    }

    /// Changes the identity in the data dir; durable when it returns.
    pub(crate) async fn update_identity<F>(&self, change: F) -> Result<(), StoreError>
    where
        F: FnOnce(&mut Identity) + Send + 'static,
    {
        let store = self.store.clone();
        let updated = self.tasks.blocking("identity", move || store.update_identity(change)).await;
        updated.unwrap_or(Err(StoreError::Stopped))
    }

    /// What was found of a partition's log when the broker started, if it does not run yet.
    pub(crate) fn recovered_log(&self, id: TopicPartition) -> Option<Recovered> {
        self.recovered.lock().expect("nobody panics while holding it").get(&id).cloned()
    }

    /// Forgets the recovered logs that `matches`; returns their partitions.
    pub(crate) fn forget_recovered(&self, matches: impl Fn(TopicPartition) -> bool) -> Vec<TopicPartition> {
        let mut recovered = self.recovered.lock().expect("nobody panics while holding it");
        let ids: Vec<_> = recovered.keys().copied().filter(|id| matches(*id)).collect();
        for id in &ids {
            recovered.remove(id);
        }
        ids
    }

    /// The error for a request that only the partition's leader can serve.
    pub(crate) fn not_leader(&self, id: TopicPartition) -> WireError {
        let error = self.cluster.not_leader(id, self.id());
        if error.leader.is_none() && self.stopping.load(Ordering::Relaxed) {
            return WireError::new(ErrorCode::ShuttingDown, "this broker stops")
                .hint("ask another broker who leads");
        }
        error
    }

    /// Notes why the coordinator cannot be reached, or that it can be again.
    pub(crate) fn set_coordinator_lost(&self, reason: Option<String>) {
        let text = match &reason {
            Some(reason) => format!("lost: {reason}"),
            None => "found".to_owned(),
        };
        let lost = reason.is_some();
        if self.link.set_lost(reason) {
            if lost {
                self.counters.coordinator_losses.add(1);
            }
            self.observer.events.note("coordinator", text);
        }
    }

    /// Notes it if the disk has become full, or has room again.
    pub(crate) fn look_at_disk(&self) {
        let full = self.store.is_full();
        if self.disk_full.swap(full, Ordering::Relaxed) == full {
            return;
        }
        if full {
            self.counters.disk_full.add(1);
        }
        let text = if full { "full: appends are refused" } else { "has room again: appends are taken" };
        self.observer.events.note("disk", text.to_owned());
    }

    /// Why the broker cannot do its job now, if it cannot.
    pub(crate) fn unhealthy(&self) -> Option<String> {
        if self.stopping.load(Ordering::Relaxed) {
            return Some("it stops".to_owned());
        }
        if self.store.is_full() {
            return Some("the disk is full; publishes are refused until there is room".to_owned());
        }
        if let Some(lost) = self.link.lost() {
            return Some(format!("the coordinator cannot be reached: {lost}"));
        }
        if self.fenced() {
            return Some(
                "the coordinator has fenced this broker; it leads nothing until it has caught up".to_owned(),
            );
        }
        None
    }
}
