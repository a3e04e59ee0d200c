//! A coordinator's data dir: it is locked, formatted once, and opened.

use super::carry_over;
use super::error::QuorumError;
use super::log_store::{LOG, LogStore};
use super::machine::{Machine, SNAPSHOT};
use crate::data_dir::{self, LOCK};
use std::path::Path;
use std::sync::Arc;
use yak_core::cluster::Record;
use yak_protocol::ids::CoordinatorId;

/// Numbers have at most so many bits: every JSON reader keeps them.
const ID_BITS: u32 = 48;

/// What a data dir holds.
pub(crate) struct Opened {
    pub(crate) store: LogStore,
    pub(crate) machine: Machine,
    /// A single coordinator's journal that has not been carried over.
    pub(crate) journal: Option<Vec<Record>>,
}

/// Opens the dir; formats it if it is empty or has only a single coordinator's journal. Blocks.
pub(crate) fn open(dir: &Path) -> Result<Opened, QuorumError> {
    let lock = Arc::new(data_dir::take(dir)?);
    let journal = carry_over::read(dir)?;
    if !dir.join(LOG).exists() {
        refuse_foreign(dir, &[LOCK, "lost+found", carry_over::JOURNAL, "journal.new", "quorum.log.new"])?;
        LogStore::format(dir, CoordinatorId(random_id()))?;
    }
    let store = LogStore::open(dir, lock.clone())?;
    let machine = Machine::open(dir, store.id().0, lock)?;
    if store.purged() > machine.last() {
        let what = match machine.last() {
            None => "it is missing, and the log's beginning was replaced by it".to_owned(),
            Some(last) => format!("it ends at entry {}, before the log begins", last.index),
        };
        return Err(QuorumError::damaged(&dir.join(SNAPSHOT), 0, what));
    }
    Ok(Opened { store, machine, journal })
}

/// All of the last bits of a UUID are drawn; a number is never 0.
fn random_id() -> u64 {
    let drawn = uuid::Uuid::new_v4().as_u128() & ((1 << ID_BITS) - 1);
    u64::try_from(drawn).unwrap_or_default().max(1)
}

/// A dir is formatted only if it holds nothing else: a mistyped path must not become a coordinator beside a
/// broker's data.
pub(crate) fn refuse_foreign(dir: &Path, known: &[&str]) -> Result<(), QuorumError> {
    for entry in std::fs::read_dir(dir).map_err(QuorumError::io("list the data dir", dir))? {
        let name = entry.map_err(QuorumError::io("list the data dir", dir))?.file_name();
        if !known.iter().any(|known| name == *known) {
            let found = name.to_string_lossy().into_owned();
            return Err(QuorumError::Foreign { dir: dir.to_owned(), found });
        }
    }
    Ok(())
}
