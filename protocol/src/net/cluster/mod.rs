//! The cluster as a client sees it: where things are, and connections to them.
//!
//! - [`Cluster::request_any`] asks any process, [`Cluster::request_leader`] the leader of a partition.
//!   Both try again until their deadline, and then say what the last real trouble was and since when.
//! - Clients that pipeline by themselves take [`Cluster::leader_of`] and [`Cluster::connection_to`], and
//!   tell the cluster how it went ([`Cluster::note_not_leader`], [`Cluster::note_failure`],
//!   [`Cluster::note_ok`]): that is what paces and directs the next [`Cluster::leader_of`].

mod addresses;
mod backoff;
mod error;
mod leaders;
mod links;
mod refresh;
mod request;
mod trouble;
mod view;

pub use addresses::{default_bootstrap, with_port};
pub use error::ClusterError;
pub use trouble::Trouble;
pub use view::Leader;

use super::connection::{ConnectOptions, Connection};
use crate::error::{ErrorCode, LeaderHint, WireError};
use crate::ids::{BrokerId, PartitionIndex};
use crate::message::{MetadataReply, TopicInfo};
use links::Links;
use refresh::Refreshing;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use trouble::Troubles;
use view::View;

/// How a cluster client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How connections are made.
    pub connect: ConnectOptions,
    /// How long calls without a deadline of their own may take.
    pub timeout: Duration,
    /// How long one process may take to answer a request that can be repeated elsewhere.
    pub attempt_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect: ConnectOptions::default(),
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(5),
        }
    }
}

/// A cluster client. Clones share its connections and what it knows.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    bootstrap: Vec<String>,
    /// Where coordinators that are not active said that the active one is; the newest last.
    pointed_to: Mutex<Vec<String>>,
    options: ClientOptions,
    links: Links,
    view: RwLock<View>,
    /// Topics that exist though a process that lags behind may not know them yet.
    expected: Mutex<Vec<(String, Instant)>>,
    troubles: Troubles,
    refreshing: Refreshing,
    newest: watch::Sender<Arc<MetadataReply>>,
}

/// How many addresses that others pointed to are remembered: more than a cluster has coordinators.
const POINTED_TO_MAX: usize = 8;

/// How long a topic that was just made may be unknown to a process that lags behind.
const EXPECTED_MAX: Duration = Duration::from_secs(5);

impl Cluster {
    /// A client that finds the cluster through any of these processes (`host` or `host:port`; without a
    /// port a broker's first one is meant). An empty list means [`default_bootstrap`]. Connects to
    /// nothing yet.
    #[must_use]
    pub fn new(bootstrap: Vec<String>, options: ClientOptions) -> Self {
        let mut addresses: Vec<String> = Vec::new();
        for address in if bootstrap.is_empty() { default_bootstrap() } else { bootstrap } {
            let address = with_port(&address);
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let (newest, _) = watch::channel(Arc::new(MetadataReply::default()));
        Self(Arc::new(Inner {
            bootstrap: addresses,
            pointed_to: Mutex::default(),
            links: Links::new(options.connect.clone()),
            options,
            view: RwLock::default(),
            expected: Mutex::default(),
            troubles: Troubles::default(),
            refreshing: Refreshing::default(),
            newest,
        }))
    }

    /// Where it looks for the cluster first.
    #[must_use]
    pub fn bootstrap(&self) -> &[String] {
        &self.0.bootstrap
    }

    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.0.options
    }

    /// What is known about the cluster: what was learned last, or, with `force`, what a process says now.
    ///
    /// # Errors
    /// [`ClusterError::Timeout`] after [`ClientOptions::timeout`], with the last cause.
    pub async fn metadata(&self, force: bool) -> Result<Arc<MetadataReply>, ClusterError> {
        if !force && let Some(known) = self.cached() {
            return Ok(known);
        }
        self.refresh_until("metadata", self.in_time()).await?;
        Ok(self.0.newest.borrow().clone())
    }

    /// What was learned last, if anything was.
    #[must_use]
    pub fn cached(&self) -> Option<Arc<MetadataReply>> {
        self.view(View::is_filled).then(|| self.0.newest.borrow().clone())
    }

    /// Sees every newer metadata as it is learned (the first value may be an empty default).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<MetadataReply>> {
        self.0.newest.subscribe()
    }

    /// The topic of this name.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC` with the nearest name once a process has said so just now, or a timeout.
    pub async fn topic(&self, name: &str, deadline: Instant) -> Result<TopicInfo, ClusterError> {
        let mut backoff = backoff::Backoff::default();
        let mut asked = false;
        loop {
            if let Some(topic) = self.view(|view| view.topic(name).cloned()) {
                return Ok(topic);
            }
            if asked && !self.is_expected(name) {
                return Err(ClusterError::Refused(self.unknown_topic(name)));
            }
            if asked {
                tokio::time::sleep_until((Instant::now() + backoff.next()).min(deadline)).await;
            }
            self.refresh_until(name, deadline).await?;
            asked = true;
        }
    }

    /// Says that this topic was just made, so that a process that does not know it yet is asked again
    /// instead of believed.
    pub fn expect_topic(&self, name: &str) {
        let mut expected = self.0.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        expected.retain(|(known, until)| *until > now && known != name);
        expected.push((name.to_owned(), now + EXPECTED_MAX));
    }

    /// Remembers where a coordinator that is not active says that the active one is.
    fn note_refusal(&self, error: &WireError) {
        let Some(address) = &error.coordinator else { return };
        let mut pointed_to = self.0.pointed_to.lock().unwrap_or_else(PoisonError::into_inner);
        pointed_to.retain(|known| known != address);
        if pointed_to.len() == POINTED_TO_MAX {
            pointed_to.remove(0);
        }
        pointed_to.push(address.clone());
    }

    /// Says that this broker does not lead the partition. A hint that is newer than what is known is
    /// followed by the next [`Self::leader_of`] without asking anybody.
    pub fn note_not_leader(&self, topic: &str, partition: PartitionIndex, hint: Option<&LeaderHint>) {
        if let Some(hint) = hint
            && self
                .0
                .view
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .learn_leader(topic, partition, hint)
        {
            // Its leader has not failed yet.
            return self.note_ok(topic, partition);
        }
        let known = self.view(|view| view.leader(topic, partition).ok());
        self.0.troubles.note(
            topic,
            partition,
            known.as_ref(),
            &format!("no broker says that it leads {topic}/{partition}"),
        );
    }

    /// Says that a request to this leader failed in a way that may pass: the next [`Self::leader_of`]
    /// asks for fresh metadata first, and the same leader is not given again before a growing pause.
    pub fn note_failure(&self, topic: &str, partition: PartitionIndex, leader: Option<&Leader>, cause: &str) {
        self.0.troubles.note(topic, partition, leader, cause);
    }

    /// Says that the leader answered as it should.
    pub fn note_ok(&self, topic: &str, partition: PartitionIndex) {
        self.0.troubles.clear(topic, partition);
    }

    /// What keeps requests to this partition waiting now, and since when.
    #[must_use]
    pub fn trouble(&self, topic: &str, partition: PartitionIndex) -> Option<Trouble> {
        self.0.troubles.get(topic, partition)
    }

    /// The shared connection to `host:port`, made if it is not there.
    ///
    /// # Errors
    /// Why there is none. After a failure the next attempt waits for a growing pause; until then this
    /// fails at once with the same cause.
    pub async fn connection_to(&self, address: &str) -> Result<Connection, super::ConnectError> {
        self.0.links.to(address).connect().await
    }

    /// The shared connection to a broker.
    ///
    /// # Errors
    /// [`ClusterError::Refused`] when the cluster has no such broker, [`ClusterError::Unreachable`] with
    /// why there is no connection, or a timeout.
    pub async fn connection_to_broker(&self, broker: BrokerId) -> Result<Connection, ClusterError> {
        let mut address = self.view(|view| view.address_of(broker));
        if address.is_none() {
            self.refresh_until("metadata", self.in_time()).await?;
            address = self.view(|view| view.address_of(broker));
        }
        let Some(address) = address else {
            let what = format!("the cluster has no broker {broker}");
            return Err(ClusterError::Refused(WireError::bad_request(what)));
        };
        self.connection_to(&address).await.map_err(|error| ClusterError::Unreachable(error.to_string()))
    }

    /// A connection to any process of the cluster, one that is open already if there is one.
    ///
    /// # Errors
    /// [`ClusterError::Timeout`] with the last causes.
    pub async fn any(&self, deadline: Instant) -> Result<Connection, ClusterError> {
        self.any_but(&[], "any process of the cluster", deadline).await
    }

    /// Closes every connection.
    pub fn close(&self) {
        self.0.links.close();
    }

    fn in_time(&self) -> Instant {
        Instant::now() + self.0.options.timeout
    }

    fn view<T>(&self, read: impl FnOnce(&View) -> T) -> T {
        read(&self.0.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_expected(&self, topic: &str) -> bool {
        let expected = self.0.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.iter().any(|(name, until)| name == topic && *until > Instant::now())
    }

    fn unknown_topic(&self, topic: &str) -> WireError {
        let error = WireError::new(ErrorCode::UnknownTopic, format!("there is no topic `{topic}`"));
        match self.view(|view| view.nearest_topic(topic)) {
            Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
            None => error,
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({})", self.0.bootstrap.join(","))
    }
}
