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

mod any;

pub(crate) use any::AnyLog;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use yak_core::cluster::Record;
use yak_protocol::text::Value;

/// A term that has begun.
#[derive(Debug)]
pub struct Term {
    /// Everything that is kept, in order: a history that leads to the state in which the term begins. Its last
    /// record is the `CoordinatorEpoch` that numbers the term.
    pub records: Vec<Record>,
    /// Whether there was nothing before, so that a new cluster was made just now.
    pub created: bool,
    /// Whether it cannot be an old copy: others, or a server that syncs every write, say what is the newest.
    pub newest: bool,
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
    /// Where all coordinators are reached, as far as known: brokers and clients try those.
    pub peers: Vec<String>,
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

    /// For looking at the log from elsewhere, at any time.
    fn look(&self) -> Arc<dyn Look>;
}

/// What can be seen of a log without disturbing who uses it.
pub trait Look: Send + Sync {
    /// For `BACKEND`: names and values, what it is called (`backend`) first.
    fn describe(&self) -> Vec<(&'static str, Value)>;

    /// For `METRICS`.
    fn totals(&self) -> Totals;

    /// Why the next entry could not be kept, as far as that can be told without writing one. May block.
    fn trouble(&self) -> Option<String>;
}

/// What was written since the process was started, and what is kept. Zero where a log does not know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// How much is kept, in bytes.
    pub bytes: u64,
    /// Entries or records behind the last snapshot.
    pub since_snapshot: u64,
    /// Snapshots that were taken.
    pub snapshots: u64,
    /// Writes that were made durable.
    pub syncs: u64,
    /// How long all of those took.
    pub sync_time: Duration,
}
