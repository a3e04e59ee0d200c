use crate::data_dir::DataDirError;
use std::io;
use std::path::{Path, PathBuf};

/// Why the quorum's log cannot be used. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum QuorumError {
    /// The operating system refused.
    #[error("cannot {what} {path}: {cause}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        cause: io::Error,
    },
    /// The data dir cannot be had.
    #[error(transparent)]
    Dir(#[from] DataDirError),
    /// The data dir holds other things and no coordinator's data.
    #[error(
        "the data dir {dir} holds {found:?} but nothing of a coordinator; give an empty dir or the right one"
    )]
    Foreign {
        /// Which.
        dir: PathBuf,
        /// One of the things.
        found: String,
    },
    /// A file is damaged, or not what its name says.
    #[error(
        "{path} is damaged at byte {position}: {what}; if other coordinators of the quorum run, empty this data \
         dir and replace this coordinator by itself (`yak coordinator peers replace`), otherwise restore the dir \
         from a copy"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        position: u64,
        /// What was found.
        what: String,
    },
    /// A file was written by a newer version of the software.
    #[error("{path} has format {version}, this software reads format {known}; upgrade it")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        version: u32,
        /// The newest that is read here.
        known: u32,
    },
    /// The data dir has a single coordinator's journal and a quorum's log that does not come from it.
    #[error(
        "the data dir {dir} holds a journal of cluster {journal} and a quorum's log of cluster {quorum}; \
         move away the one that is not wanted"
    )]
    TwoHistories {
        /// Which.
        dir: PathBuf,
        /// The journal's cluster.
        journal: yak_protocol::ids::ClusterId,
        /// The log's.
        quorum: yak_protocol::ids::ClusterId,
    },
    /// The list of peers does not have this coordinator in it.
    #[error(
        "--peers {peers:?} does not name this coordinator itself, {address}; every one gets the same list"
    )]
    NotAmongPeers {
        /// The list.
        peers: Vec<String>,
        /// Where this one is reached.
        address: String,
    },
    /// Timers that cannot work together.
    #[error(
        "the quorum's heartbeat ({heartbeat:?}) must be at most a third of the election timeout's minimum \
         ({min:?}), and that less than its maximum ({max:?})"
    )]
    Timers {
        /// How often the leading one gives a sign of life.
        heartbeat: std::time::Duration,
        /// The least silence before an election.
        min: std::time::Duration,
        /// The most.
        max: std::time::Duration,
    },
    /// The log stopped: its disk failed, or a bug.
    #[error("the quorum's log stopped: {0}; start this coordinator again once the cause is gone")]
    Stopped(String),
}

impl QuorumError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { what, path, cause }
    }

    pub(crate) fn damaged(path: &Path, position: usize, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), position: position as u64, what: what.into() }
    }
}
