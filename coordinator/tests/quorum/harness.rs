//! Coordinators of a quorum in one process, on real listeners and in real dirs. Messages between two of them
//! can be lost.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use yak_coordinator::DataDirError;
use yak_coordinator::metalog::{MetaLog, Standing, Term};
use yak_coordinator::quorum::{Quorum, QuorumConfig, QuorumError, QuorumService};
use yak_core::cluster::{Record, State};
use yak_protocol::error::WireError;
use yak_protocol::ids::{CoordinatorEpoch, CoordinatorId, MetadataVersion};
use yak_protocol::message::{
    ChangePeers, ChangePeersReply, CoordinatorHello, CoordinatorHelloReply, Message, RaftAppend,
    RaftSnapshot, RaftVote,
};
use yak_protocol::net::{
    ConnectOptions, Connection, Incoming, Listener, ListenerConfig, Peer, Replier, RequestError, Service,
    serve,
};
use yak_protocol::text::Value;

/// Longer than anything here takes; reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Who does not hear whom.
#[derive(Clone, Default)]
pub struct Cuts(Arc<Mutex<Lost>>);

#[derive(Default)]
struct Lost {
    /// From whom to whom nothing comes.
    pairs: BTreeSet<(u64, u64)>,
    /// Votes that were lost so far, by who asked for them.
    votes: Vec<u64>,
}

impl Cuts {
    /// From now on `one` and the others neither hear nor are heard by each other.
    pub fn isolate(&self, one: u64, others: &[u64]) {
        let mut lost = self.0.lock().unwrap();
        for other in others.iter().filter(|other| **other != one) {
            lost.pairs.extend([(one, *other), (*other, one)]);
        }
    }

    pub fn heal(&self) {
        self.0.lock().unwrap().pairs.clear();
    }

    /// How many votes that this one asked for were lost.
    pub fn votes_lost(&self, of: u64) -> usize {
        self.0.lock().unwrap().votes.iter().filter(|id| **id == of).count()
    }

    fn loses(&self, request: &Incoming, to: u64) -> bool {
        let from = match &*request.kind {
            RaftVote::KIND => request.parse::<RaftVote>().unwrap().ballot.id,
            RaftAppend::KIND => request.parse::<RaftAppend>().unwrap().ballot.id,
            RaftSnapshot::KIND => request.parse::<RaftSnapshot>().unwrap().ballot.id,
            CoordinatorHello::KIND => request.parse::<CoordinatorHello>().unwrap().coordinator_id,
            _ => return false,
        };
        let mut lost = self.0.lock().unwrap();
        let is_lost = lost.pairs.contains(&(from.0, to));
        if is_lost && &*request.kind == RaftVote::KIND {
            lost.votes.push(from.0);
        }
        is_lost
    }
}

struct Front {
    service: QuorumService,
    id: u64,
    cuts: Cuts,
}

impl Service for Front {
    async fn call(&self, _peer: &Peer, request: Incoming, reply: Replier) {
        assert!(QuorumService::answers(&request.kind), "{}", request.kind);
        if self.cuts.loses(&request, self.id) {
            reply.discard();
        } else {
            self.service.handle(request, reply);
        }
    }
}

/// One coordinator; stopped or running.
pub struct Coordinator {
    pub config: QuorumConfig,
    pub quorum: Quorum,
    cuts: Cuts,
    serving: JoinHandle<()>,
    dir: TempDir,
}

/// A coordinator that does not run; its data dir is as it left it.
pub struct Stopped {
    pub config: QuorumConfig,
    cuts: Cuts,
    pub dir: TempDir,
}

impl Stopped {
    pub async fn start(self) -> Coordinator {
        let address = self.config.address.clone();
        // The port was its own a moment ago.
        let listener =
            until("its port is free", || async { Listener::bind(&address, ListenerConfig::default()).ok() });
        let listener = listener.await;
        start(listener, self).await
    }

    /// On another port than before.
    pub async fn start_elsewhere(mut self) -> Coordinator {
        let (listener, address) = listener();
        self.config.address.clone_from(&address);
        self.config.peers.clear();
        start(listener, self).await
    }

    /// Its disk is replaced by an empty one.
    pub fn wiped(mut self) -> Self {
        self.dir = TempDir::new().unwrap();
        self.config.data = self.dir.path().to_owned();
        self
    }

    pub fn has(&self, file: &str) -> bool {
        self.dir.path().join(file).exists()
    }
}

async fn start(listener: Listener, stopped: Stopped) -> Coordinator {
    let Stopped { config, cuts, dir } = stopped;
    // One that was dropped keeps its dir locked for as long as a write is under way.
    let opened = until("the dir is not locked", || async {
        match Quorum::open(config.clone()).await {
            Err(QuorumError::Dir(DataDirError::Locked(_))) => None,
            other => Some(other.unwrap()),
        }
    });
    let (quorum, service) = opened.await;
    let front = Front { service, id: quorum.id(), cuts: cuts.clone() };
    let serving = tokio::spawn(serve(listener, Arc::new(front), CancellationToken::new()));
    Coordinator { config, quorum, cuts, serving, dir }
}

fn listener() -> (Listener, String) {
    let listener = Listener::bind("127.0.0.1:0", ListenerConfig::default()).unwrap();
    let address = listener.local_addr().to_string();
    (listener, address)
}

pub fn config(dir: &Path, address: &str) -> QuorumConfig {
    let mut config = QuorumConfig::new(dir, address);
    // Wider than the defaults: the machine may be busy.
    config.election_timeout_min = Duration::from_millis(1500);
    config.election_timeout_max = Duration::from_millis(2200);
    config
}

/// So many coordinators with empty dirs and the same list of peers.
pub async fn start_many(count: usize, change: impl Fn(usize, &mut QuorumConfig)) -> Vec<Coordinator> {
    let listeners: Vec<_> = (0..count).map(|_| listener()).collect();
    let peers: Vec<String> = listeners.iter().map(|(_, address)| address.clone()).collect();
    let cuts = Cuts::default();
    let mut started = Vec::new();
    for (index, (listener, address)) in listeners.into_iter().enumerate() {
        let dir = TempDir::new().unwrap();
        let mut config = config(dir.path(), &address);
        config.peers = peers.clone();
        change(index, &mut config);
        started.push(start(listener, Stopped { config, cuts: cuts.clone(), dir }).await);
    }
    started
}

/// Another one with an empty dir, which was told of these peers.
pub async fn start_beside(others: &[Coordinator], wants: &[&str]) -> Coordinator {
    let (listener, address) = listener();
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path(), &address);
    config.peers = wants.iter().map(|peer| (*peer).to_owned()).collect();
    config.peers.push(address);
    start(listener, Stopped { config, cuts: others[0].cuts.clone(), dir }).await
}

/// A single one on this dir.
pub async fn start_alone(dir: TempDir) -> Coordinator {
    let (listener, address) = listener();
    let config = config(dir.path(), &address);
    start(listener, Stopped { config, cuts: Cuts::default(), dir }).await
}

impl Coordinator {
    pub fn id(&self) -> u64 {
        self.quorum.id()
    }

    pub fn address(&self) -> &str {
        &self.config.address
    }

    pub fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// Ends it as `kill -9` would.
    pub async fn kill(self) -> Stopped {
        let Self { config, quorum, cuts, serving, dir } = self;
        drop(quorum);
        serving.abort();
        let _ = serving.await;
        Stopped { config, cuts, dir }
    }

    pub fn standing(&self) -> Standing {
        self.quorum.standing().borrow().clone()
    }

    /// One of the things that it says of itself.
    pub fn says(&self, name: &str) -> String {
        let said = self.quorum.look().describe();
        said.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{said:?}")).1.to_string()
    }

    pub fn applied(&self) -> u64 {
        self.says("applied").parse().unwrap_or(0)
    }

    /// What it says of another.
    pub fn says_of(&self, address: &str) -> String {
        let said = self.quorum.look().describe();
        let peers = said.into_iter().find(|(known, _)| *known == "peers");
        let Some((_, Value::List(peers))) = peers else { panic!("{peers:?}") };
        peers.iter().map(Value::to_string).find(|peer| peer.starts_with(address)).unwrap_or_default()
    }

    pub async fn hello(&self) -> CoordinatorHelloReply {
        let (connection, _) = Connection::connect(self.address(), &ConnectOptions::default()).await.unwrap();
        let hello =
            CoordinatorHello { coordinator_id: CoordinatorId(1), cluster_id: None, peers: Vec::new() };
        connection.request(&hello, Vec::new()).await.unwrap().body
    }

    pub async fn change(&self, change: ChangePeers) -> Result<ChangePeersReply, WireError> {
        let (connection, _) = Connection::connect(self.address(), &ConnectOptions::default()).await.unwrap();
        match connection.request(&change, Vec::new()).await {
            Ok(answer) => Ok(answer.body),
            Err(RequestError::Refused(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }
}

/// The first of these that campaigns with success.
pub async fn elect(coordinators: &mut [Coordinator]) -> (usize, Term) {
    let campaigns = coordinators.iter_mut().map(|one| Box::pin(one.quorum.campaign()));
    let mut campaigns: Vec<Pin<Box<_>>> = campaigns.collect();
    let first = poll_fn(|context| {
        for (index, campaign) in campaigns.iter_mut().enumerate() {
            if let Poll::Ready(term) = campaign.as_mut().poll(context) {
                return Poll::Ready((index, term.unwrap()));
            }
        }
        Poll::Pending
    });
    tokio::time::timeout(PATIENCE, first).await.expect("somebody is elected")
}

/// Waits for a condition.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut is: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = is().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until something is so.
pub async fn until_so(what: &str, mut is: impl FnMut() -> bool) {
    until(what, || std::future::ready(is().then_some(()))).await;
}

/// The n-th decision.
pub fn decision(n: u64) -> Vec<Record> {
    vec![
        Record::Version { version: MetadataVersion(n) },
        Record::ProducerIds { next: i64::try_from(n).unwrap() * 1000 },
    ]
}

/// What these records lead to.
pub fn state(records: &[Record]) -> State {
    State::replay(records)
}

/// The term that these records begin.
pub fn epoch(term: &Term) -> CoordinatorEpoch {
    match term.records.last() {
        Some(Record::CoordinatorEpoch { epoch }) => *epoch,
        other => panic!("{other:?} begins no term"),
    }
}

/// How many decisions these records hold.
pub fn decisions(records: &[Record]) -> u64 {
    state(records).version().0
}
