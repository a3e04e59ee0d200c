//! A journal, as single coordinators of versions before the quorum kept it, and as it is rebuilt from what brokers
//! know, becomes the first entry of the quorum's log.
//!
//! It is read here and written into the log once this coordinator leads it; then the file is renamed. A crash
//! in between leaves both: the entry has an effect only in an empty log, so doing it again is harmless.

use super::error::QuorumError;
use super::file;
use std::path::{Path, PathBuf};
use yak_core::cluster::Record;
use yak_protocol::ids::ClusterId;

const MAGIC: [u8; 4] = *b"YAKJ";
pub(crate) const JOURNAL: &str = "journal";
pub(crate) const CARRIED: &str = "journal.carried";

/// All records of the journal in the dir, if there is one. Blocks.
pub(crate) fn read(dir: &Path) -> Result<Option<Vec<Record>>, QuorumError> {
    let path = dir.join(JOURNAL);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).map_err(QuorumError::io("read the journal", &path))?;
    let found = file::parse(&path, MAGIC, &bytes)?;
    let mut records = Vec::new();
    for block in &found.blocks {
        records.extend(file::read::<Vec<Record>>(&path, &bytes, block)?);
    }
    Ok(Some(records))
}

/// Puts a journal into an empty dir, for the coordinator that is started on it. Blocks.
///
/// # Errors
/// When the dir holds anything, or cannot be written.
pub fn write_journal(dir: &Path, records: &[Record]) -> Result<(), QuorumError> {
    std::fs::create_dir_all(dir).map_err(QuorumError::io("make the data dir", dir))?;
    super::dir::refuse_foreign(dir, &["lost+found"])?;
    let mut bytes = file::header(MAGIC);
    file::encode(0, &records, &mut bytes).map_err(QuorumError::io("write", &dir.join(JOURNAL)))?;
    file::replace(dir, JOURNAL, &bytes).map(drop)
}

/// Whose journal it is.
pub(crate) fn cluster_of(records: &[Record]) -> ClusterId {
    let id = records.iter().find_map(|record| match record {
        Record::Cluster { cluster_id } => Some(*cluster_id),
        _ => None,
    });
    id.unwrap_or_default()
}

/// Marks the journal as carried over. Blocks.
pub(crate) fn done(dir: &Path) -> Result<(), QuorumError> {
    let (from, to): (PathBuf, PathBuf) = (dir.join(JOURNAL), dir.join(CARRIED));
    std::fs::rename(&from, &to).map_err(QuorumError::io("rename the journal to", &to))?;
    file::sync_dir(dir)
}
