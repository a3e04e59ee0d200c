//! A coordinator's data dir: made durably, and held by one process at a time.

use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Held by whoever uses the dir.
pub(crate) const LOCK: &str = "lock";

/// Why a data dir cannot be had. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
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
    /// Another process uses it.
    #[error(
        "the data dir {0} is in use by another coordinator; stop that one, or give this one its own --data"
    )]
    Locked(PathBuf),
}

impl DataDirError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { what, path, cause }
    }
}

/// Makes the folder, and its name durable, and takes it for as long as the answer lives. Blocks.
pub(crate) fn take(dir: &Path) -> Result<File, DataDirError> {
    make(dir).map_err(DataDirError::io("make the data dir", dir))?;
    let path = dir.join(LOCK);
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(DataDirError::io("open the lock file", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Locked(dir.to_owned())),
        Err(cause) => Err(DataDirError::io("lock", &path)(cause.into())),
    }
}

fn make(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
