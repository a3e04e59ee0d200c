//! The metadata log: where the decisions of coordinators are kept, and what decides which one is active.
//!
//! Coordinators take turns. A turn is a *term* and has a number of its own, the coordinator epoch, greater
//! than that of every term before it. Only the coordinator of the newest term adds to the log: an entry that
//! an earlier one wrote is refused, or has no effect, wherever it comes late (fencing, not clocks).
//!
//! ```text
//! standby --campaign--> active in term e --append, append, ...--> deposed --> standby
//!                            '--resign (clean stop)---------------------------> standby
//! ```
//!
//! The idea of a log with one writer per term, read to its end before the first write, is that of
//! Viewstamped Replication and Raft; which records there are and what they mean is `yak-core`'s alone.

use std::future::Future;
use tokio::sync::watch;
use yak_core::cluster::Record;
use yak_protocol::ids::CoordinatorEpoch;

/// A term that has begun.
#[derive(Debug)]
pub struct Term {
    /// Its number; its record is the last one of `records` and is kept.
    pub epoch: CoordinatorEpoch,
    /// Everything that is kept, in order: a history that leads to the state in which the term begins.
    pub records: Vec<Record>,
    /// Whether there was nothing before, so that a new cluster was made just now.
    pub created: bool,
}

/// Why a coordinator is not, or no longer, the active one.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another may be active, or will be. Whether the last entries were kept is not known; the state that they
    /// were decided from must be dropped. Campaigning again is right.
    #[error("{0}")]
    Deposed(String),
    /// The log cannot be used any more: this process must end.
    #[error(transparent)]
    Fatal(#[from] crate::RunError),
}

/// Who is active, as far as this process knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// The active coordinator.
    pub active: Option<Active>,
    /// Why nobody is, in words, where that is known: "2 of 3 peers cannot be reached: ...".
    pub trouble: Option<String>,
}

/// The active coordinator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Active {
    /// What it calls itself.
    pub name: String,
    /// Where brokers and clients reach it, `host:port`.
    pub address: String,
    /// Whether it is this process.
    pub myself: bool,
}

/// A metadata log, as one coordinator uses it.
pub trait MetaLog: Send + 'static {
    /// Waits until this process is the active one and its term has begun: every entry before it is known, and
    /// none of an earlier term can follow. A new log gets the records of `Cluster::format` first. Waits for as
    /// long as it takes; may be dropped at any await.
    ///
    /// # Errors
    /// Only what this process cannot recover from.
    fn campaign(&mut self) -> impl Future<Output = Result<Term, crate::RunError>> + Send;

    /// Keeps decisions, in order, each all or nothing. When it returns they are durable.
    ///
    /// # Errors
    /// [`Lost`]; the term is over then.
    fn append(&mut self, decisions: Vec<Vec<Record>>) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Whether the term may still count as held, without asking anybody: by a lease on this machine's clock
    /// where the log has one. What would be sent must not be once it is `false`.
    fn held(&self) -> bool;

    /// Ends when the term is over; says why. Ends also for a term that nobody appends in.
    fn deposed(&mut self) -> impl Future<Output = Lost> + Send;

    /// Called after rounds: gives a log that does not shorten itself the occasion to.
    ///
    /// # Errors
    /// [`Lost`], as [`Self::append`].
    fn compact(
        &mut self,
        _snapshot: impl FnOnce() -> Vec<Record> + Send,
    ) -> impl Future<Output = Result<(), Lost>> + Send {
        async { Ok(()) }
    }

    /// Gives the term up, so that another need not wait for it to run out.
    fn resign(&mut self) -> impl Future<Output = ()> + Send;

    /// Who is active; changes as this process learns of it.
    fn standing(&self) -> watch::Receiver<Standing>;

    /// For `BACKEND`, `stat` and health: names and values, most important first.
    fn describe(&self) -> Vec<(String, String)>;

    /// Why the next entry could not be kept, as far as that can be told without writing one.
    fn trouble(&self) -> Option<String>;
}
