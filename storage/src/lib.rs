//! The disk: partitioned logs in one data dir behind one write-ahead log. Blocking; no tokio, no sockets,
//! and no notion of who leads or which record is committed.
//!
//! ```text
//!   Log::submit --> queue --> writer thread: one round = one write + one fdatasync, however many logs
//!                                |  written ---> Observer::written   (may be pushed to followers)
//!                                |  synced ----> Observer::synced    (may be acknowledged)
//!                                v
//!                     batches in memory  --> flusher thread: segments, indexes, checkpoint, recycling
//! ```
//!
//! What a caller relies on:
//! - Changes of one log happen in the order of submission, and each as a whole or not at all.
//! - [`Observer::written`] comes only when the whole round is written: from then on the change is not
//!   rolled back while the process lives. [`Observer::synced`] comes when it survives a power cut.
//! - [`Observer::failed`] is definite: nothing of it will ever appear. See [`Log::submit`] and
//!   [`Log::resume`] for what becomes of operations queued behind it.
//! - A failed sync ends the store through [`FatalHook`]; it is never retried, and nothing is promised
//!   about what it covered.
//! - Below its synced end a log loses nothing silently: damage is marked, reads of it fail loudly, and
//!   [`Log::repair`] puts refetched bytes in its place.
//!
//! Docs of the formats are with their codecs: `layout`, `wal`, `wal::round`, `checkpoint`, `identity`.

mod bytime;
mod checkpoint;
mod config;
mod damage;
mod error;
mod files;
mod flush;
mod identity;
pub mod inspect;
pub mod io;
mod layout;
mod log;
mod lookup;
mod producers;
mod read;
mod recovery;
mod repair;
mod segment;
mod segment_writer;
mod shared;
mod space;
mod state;
mod store;
mod survey;
mod wal;

pub use config::{SEGMENT_BYTES_CEILING, StoreConfig};
pub use error::{OpenError, ReadError, RepairError, StoreError};
pub use identity::Identity;
pub use log::{Log, LogOp, SegmentInfo};
pub use recovery::Recovered;
pub use space::Space;
pub use store::Store;
pub use wal::WalTotals;

use yak_protocol::error::WireError;

/// Hears what became of the changes of one log. Called on the writer's thread, in order, at most once per
/// round each: it should only pass the word on. Numbers are those given to [`Log::submit`], cumulative.
pub trait Observer: Send + Sync {
    /// Everything up to `seq` is in the log as a whole, and can be read and pushed; not synced yet.
    fn written(&self, seq: u64);
    /// Everything up to `seq` is on disk.
    fn synced(&self, seq: u64);
    /// `seq` and everything submitted after it, until [`Log::resume`], is not in the log and never will be.
    /// [`yak_protocol::error::ErrorCode::StorageFull`] when there was no room (or the write could not be
    /// made); anything else is an operation that did not fit its log: a bug of the submitter.
    fn failed(&self, seq: u64, error: WireError);
}

/// Called with what happened when a sync has failed, or the disk does. The binary aborts the process; a test that runs several
/// brokers in one process drops that one only. The store has stopped by then: it reports nothing more.
pub type FatalHook = std::sync::Arc<dyn Fn(&str) + Send + Sync>;
