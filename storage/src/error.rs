//! Errors, by what the caller must do.

use std::io;
use std::path::PathBuf;
use yak_protocol::ids::Offset;

/// Why a data dir could not be opened. The texts are for the operator: what was tried, what was found,
/// what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process or store uses it.
    #[error(
        "the data dir {dir} is in use{holder}; stop that process, or start this one with another --data dir"
    )]
    Locked {
        /// The dir.
        dir: PathBuf,
        /// Who holds it, as far as known (" by process 42").
        holder: String,
    },
    /// It holds something that no store wrote.
    #[error(
        "{dir} is not a data dir of yak: it has no identity, but holds {found}; \
         choose an empty dir, or move those files away"
    )]
    Foreign {
        /// The dir.
        dir: PathBuf,
        /// What was found in it.
        found: String,
    },
    /// It was written by a version that this one does not understand.
    #[error(
        "the data dir {dir} has format {found}, this version reads up to {known}; \
         start the version that wrote it, or a newer one"
    )]
    Unsupported {
        /// The dir.
        dir: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// It cannot be made, read or written.
    #[error("cannot {action} {path}: {cause}; check that it is a folder which this user may write")]
    Unusable {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Both copies of something that the store cannot do without are damaged.
    #[error(
        "the data dir {dir} is damaged: {what}; move the dir away and start with an empty one: \
         the broker then fetches everything from the other replicas"
    )]
    Corrupt {
        /// The dir.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// A setting that cannot work.
    #[error("the setting {name} cannot be {value}: {reason}")]
    Config {
        /// Which.
        name: &'static str,
        /// Its value.
        value: u64,
        /// Why not.
        reason: &'static str,
    },
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset lies outside the log.
    #[error("offset {from} is outside the log, which holds {start} to {end}")]
    OutOfRange {
        /// The offset asked for.
        from: Offset,
        /// The first offset of the log.
        start: Offset,
        /// The log's end.
        end: Offset,
    },
    /// What was asked for is damaged (rule R17). The range is marked; it stays so until it is repaired.
    #[error("offsets {from} to {to} are damaged on this replica")]
    Damaged {
        /// First damaged offset.
        from: Offset,
        /// Exclusive end of the damage.
        to: Offset,
    },
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store has stopped, or the log has been deleted.
    #[error("the log is gone: {0}")]
    Gone(&'static str),
}

/// Why a change of the whole store was not made.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store has stopped; nothing more will be written.
    #[error("the store has stopped")]
    Stopped,
    /// There is no room.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The file could not be written.
    #[error("cannot write {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a damaged range was not repaired. It stays marked.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// No damaged range begins and ends there.
    #[error("offsets {from} to {to} are not a damaged range of this log")]
    NotDamaged {
        /// As asked.
        from: Offset,
        /// As asked.
        to: Offset,
    },
    /// The bytes are not what belongs there.
    #[error("the replacement does not fit: {0}")]
    Unfit(String),
    /// They could not be written.
    #[error("cannot write {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store has stopped, or the log has been deleted or cut meanwhile.
    #[error("the log is gone: {0}")]
    Gone(&'static str),
}

/// What went wrong with a write in the background: whether it may be tried again.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The write was not made; nothing is lost, it can be made again later.
    Write(PathBuf, io::Error),
    /// The sync failed: what is on disk is no longer known, and asking again would say "all is well".
    Sync(PathBuf, io::Error),
    /// The store has stopped meanwhile.
    Stopped,
}
