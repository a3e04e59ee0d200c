//! The metadata log of a quorum of coordinators: a majority of them has every entry on disk before anybody
//! hears of it (Raft, by openraft). A single coordinator is a quorum of one: the same code.
//!
//! ```text
//!   coordinator's task --MetaLog--> Quorum ---client_write---> openraft --append--> LogStore (quorum.log)
//!                                                  |                --apply---> Machine (quorum.snapshot)
//!   others, operators ---frames---> QuorumService -'                --request-> Network --> Links
//! ```
//!
//! Raft decides who leads the log, and that all coordinators carry out the same entries in the same order. It is
//! not what fences: every entry carries the coordinator epoch in which it was decided, and has an effect only
//! in that term (`machine`). So a leader that lost and regained the log, or that slept through another one's
//! term, changes nothing by what it still has under way.
//!
//! What openraft 0.9 gives against a coordinator that comes back after having been cut off: votes are withheld
//! while the leading one is heard (leader lease). It has no Pre-Vote, without which the higher term of the
//! returning one would still end the leadership; `keeper` adds that. It has no transfer of leadership: a clean
//! stop costs the others one election timeout, as a crash does.

mod bootstrap;
mod carry_over;
mod config;
mod convert;
mod describe;
mod dir;
mod error;
mod file;
mod keeper;
mod lease;
mod links;
mod log_store;
mod machine;
mod network;
mod node;
mod peers;
mod service;
#[cfg(test)]
mod store_tests;
mod types;

pub use carry_over::write_journal;
pub use config::QuorumConfig;
pub use error::QuorumError;
pub use service::QuorumService;

use crate::RunError;
use crate::metalog::{Look, Lost, MetaLog, Standing, Term};
use lease::Lease;
use links::Links;
use network::Network;
use node::Node;
use openraft::error::RaftError;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use types::{Begun, Outcome, Proposal, Raft};
use yak_core::cluster::Record;
use yak_protocol::ids::{ClusterId, CoordinatorEpoch};

/// One coordinator's end of the log. Dropping it ends it as a crash would.
pub struct Quorum {
    node: Arc<Node>,
    term: Option<Held>,
}

/// The term that this coordinator holds.
#[derive(Clone, Copy)]
struct Held {
    epoch: CoordinatorEpoch,
    /// In which term of the Raft log it began.
    raft_term: u64,
}

impl Quorum {
    /// Opens the data dir, and begins to answer the others and to vote.
    ///
    /// # Errors
    /// [`QuorumError`]: each says what to do.
    pub async fn open(config: QuorumConfig) -> Result<(Self, QuorumService), QuorumError> {
        config.check()?;
        let data = config.data.clone();
        let opened = tokio::task::spawn_blocking(move || dir::open(&data)).await;
        let dir::Opened { store, machine, journal } =
            opened.unwrap_or_else(|error| Err(QuorumError::Stopped(error.to_string())))?;
        let (id, links, lease) = (store.id().0, Arc::<Links>::default(), Arc::<Lease>::default());
        let network = Network { links: links.clone(), lease: lease.clone(), machine: machine.clone() };
        let raft = Raft::new(id, Arc::new(config.raft()), network, store.clone(), machine.clone()).await;
        let raft = raft.map_err(|error| QuorumError::Stopped(error.to_string()))?;
        let node = Arc::new(Node {
            id,
            config,
            raft,
            store,
            machine,
            links,
            lease,
            standing: watch::Sender::default(),
            waits_for: Mutex::default(),
            journal: Mutex::new(journal),
            changing: tokio::sync::Mutex::default(),
            over: tokio_util::sync::CancellationToken::new(),
        });
        tokio::spawn(keeper::run(node.clone()));
        let service = QuorumService(Arc::downgrade(&node));
        Ok((Self { node, term: None }, service))
    }

    /// This coordinator's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.node.id
    }

    /// The cluster; `None` before its first term.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.node.machine.cluster_id()
    }

    /// Waits until this coordinator leads the log and a majority says so.
    async fn leads(&self) -> Result<(), QuorumError> {
        let node = &self.node;
        let mut metrics = node.raft.metrics();
        loop {
            if let Err(error) = &metrics.borrow_and_update().running_state {
                return Err(QuorumError::Stopped(error.to_string()));
            }
            if node.leads_within(node.config.election_timeout_min) {
                return Ok(());
            }
            tokio::select! {
                changed = metrics.changed() => {
                    changed.map_err(|_| QuorumError::Stopped("it was shut down".to_owned()))?;
                }
                () = tokio::time::sleep(node.config.heartbeat) => {}
            }
        }
    }

    /// Ends when this coordinator does not lead the log any more, or no majority hears it; says why.
    async fn leads_no_more(&self, raft_term: u64) -> String {
        let node = &self.node;
        let mut metrics = node.raft.metrics();
        loop {
            if let Some(why) = self.lost(raft_term) {
                return why;
            }
            tokio::select! {
                _ = metrics.changed() => {}
                () = tokio::time::sleep(node.config.heartbeat) => {}
            }
        }
    }

    fn lost(&self, raft_term: u64) -> Option<String> {
        let node = &self.node;
        let metrics = node.metrics();
        let limit = node.config.election_timeout_max;
        if let Err(error) = &metrics.running_state {
            return Some(format!("the quorum's log has stopped: {error}"));
        }
        if !metrics.state.is_leader() || metrics.current_term != raft_term {
            return Some(format!(
                "another coordinator is elected, or will be (term {})",
                metrics.current_term
            ));
        }
        if !node.leads_within(limit) {
            return Some(format!("no majority of the quorum has answered for {} ms", limit.as_millis()));
        }
        None
    }

    /// Writes one entry and waits until it is carried out here.
    async fn propose(&self, raft_term: u64, proposal: Proposal) -> Result<Outcome, Lost> {
        tokio::select! {
            biased;
            written = self.node.raft.client_write(proposal) => match written {
                Ok(written) => Ok(written.data),
                Err(RaftError::APIError(error)) => Err(Lost::Deposed(error.to_string())),
                Err(RaftError::Fatal(error)) => {
                    Err(Lost::Fatal(QuorumError::Stopped(error.to_string()).into()))
                }
            },
            why = self.leads_no_more(raft_term) => Err(Lost::Deposed(why)),
        }
    }

    /// Begins a term; `None` = leadership was lost, or another one's term came first.
    async fn begin(&mut self) -> Result<Option<Term>, RunError> {
        let raft_term = self.node.metrics().current_term;
        self.carry_over(raft_term).await?;
        let epoch = self.node.machine.epoch().next();
        let new_cluster = ClusterId(uuid::Uuid::new_v4().as_u128());
        let begin = Proposal::Begin { epoch, by: self.node.id, new_cluster };
        match self.propose(raft_term, begin).await {
            Ok(Outcome::Begun(begun)) => {
                let Begun { records, created } = *begun;
                self.term = Some(Held { epoch, raft_term });
                self.tidy();
                let voters = self.node.metrics().membership_config.membership().voter_ids().count();
                Ok(Some(Term { records, created, newest: voters > 1 }))
            }
            Ok(Outcome::Done | Outcome::Fenced(_)) | Err(Lost::Deposed(_)) => Ok(None),
            Err(Lost::Fatal(error)) => Err(error),
        }
    }

    /// What a new leader sees to, beside everything else: that a change of the quorum which was begun is
    /// completed, and that the others know where this one is reached.
    fn tidy(&self) {
        let node = self.node.clone();
        tokio::spawn(async move {
            let work = async {
                let _one = node.changing.lock().await;
                peers::finish(&node).await?;
                peers::rename(&node, node.id, node.member()).await
            };
            tokio::select! {
                done = work => if let Err(error) = done {
                    tracing::warn!("the quorum is not as it should be yet: {error}");
                },
                () = node.over.cancelled() => {}
            }
        });
    }

    /// Writes a single coordinator's journal into the log, once.
    async fn carry_over(&self, raft_term: u64) -> Result<(), RunError> {
        let journal = self.node.journal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(records) = journal else { return Ok(()) };
        let cluster_id = carry_over::cluster_of(&records);
        match self.propose(raft_term, Proposal::CarryOver { records }).await {
            Ok(_) => {}
            Err(Lost::Deposed(_)) => return Ok(()),
            Err(Lost::Fatal(error)) => return Err(error),
        }
        let dir = self.node.config.data.clone();
        let quorum = self.node.cluster_id();
        if quorum != cluster_id {
            return Err(QuorumError::TwoHistories { dir, journal: cluster_id, quorum }.into());
        }
        let renamed = tokio::task::spawn_blocking(move || carry_over::done(&dir)).await;
        renamed.unwrap_or_else(|error| Err(QuorumError::Stopped(error.to_string())))?;
        *self.node.journal.lock().unwrap_or_else(PoisonError::into_inner) = None;
        tracing::info!(%cluster_id, "the journal of a single coordinator was carried over");
        Ok(())
    }
}

impl MetaLog for Quorum {
    async fn campaign(&mut self) -> Result<Term, RunError> {
        self.term = None;
        loop {
            self.leads().await?;
            if let Some(term) = self.begin().await? {
                return Ok(term);
            }
            // Whoever came first is given the time to say so.
            tokio::time::sleep(self.node.config.heartbeat).await;
        }
    }

    async fn append(&mut self, decisions: Vec<Vec<Record>>) -> Result<(), Lost> {
        let Some(Held { epoch, raft_term }) = self.term else {
            return Err(Lost::Deposed("no term has begun".to_owned()));
        };
        let kept = match self.propose(raft_term, Proposal::Decisions { epoch, decisions }).await {
            Ok(Outcome::Fenced(current)) => {
                Err(Lost::Deposed(format!("coordinator epoch {current} has begun, this was {epoch}")))
            }
            other => other.map(drop),
        };
        if kept.is_err() {
            self.term = None;
        }
        kept
    }

    fn held(&self) -> bool {
        self.term.is_some_and(|term| {
            self.node.metrics().current_term == term.raft_term
                && self.node.machine.epoch() == term.epoch
                && self.node.leads_within(self.node.config.election_timeout_min)
        })
    }

    async fn deposed(&mut self) -> Lost {
        let Some(term) = self.term else { return Lost::Deposed("no term has begun".to_owned()) };
        let why = self.leads_no_more(term.raft_term).await;
        self.term = None;
        match &self.node.metrics().running_state {
            Err(error) => Lost::Fatal(QuorumError::Stopped(error.to_string()).into()),
            Ok(()) => Lost::Deposed(why),
        }
    }

    async fn resign(&mut self) {
        self.term = None;
        self.node.over.cancel();
        self.node.links.close();
        // It fails only if the task that is to end has panicked: it has ended.
        let _ = self.node.raft.shutdown().await;
    }

    fn standing(&self) -> watch::Receiver<Standing> {
        self.node.standing.subscribe()
    }

    fn look(&self) -> Arc<dyn Look> {
        Arc::new(describe::View(Arc::downgrade(&self.node)))
    }
}

impl Drop for Quorum {
    fn drop(&mut self) {
        self.node.over.cancel();
        self.node.links.close();
        let node = self.node.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { drop(node.raft.shutdown().await) });
        }
    }
}
