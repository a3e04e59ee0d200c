//! The quorum's log on disk, `quorum.log`: everything that a coordinator has promised to the others.
//!
//! A file of checked blocks, each one of [`Kept`]; replayed it gives the log, the vote and the rest. All of it
//! is in memory, too: it is short, because snapshots replace its beginning. When they do, the file is written
//! anew, beside the old one.

use super::convert;
use super::error::QuorumError;
use super::file;
use super::types::{Entry, LogId, Proposal, StorageError, TypeConfig, Vote};
use crate::metalog::Totals;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, EntryPayload, LogState, RaftLogReader, StorageIOError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use yak_protocol::defaults::QUORUM_APPEND_BYTES_MAX;
use yak_protocol::ids::CoordinatorId;
use yak_protocol::message::{Ballot, LogPosition, Peers};

pub(crate) const LOG: &str = "quorum.log";
const MAGIC: [u8; 4] = *b"YAKQ";
/// How much of the file's end is written again at start: more than one append takes.
const REWRITTEN_BYTES: usize = 16 << 20;

/// A block of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    /// The first one: whose file it is.
    Coordinator { id: CoordinatorId },
    /// The newest ballot that was promised or heard of.
    Vote(Ballot),
    /// An entry of the log.
    Entry { position: LogPosition, peers: Option<Peers>, proposal: Option<Proposal> },
    /// Entries from this index on are gone: another coordinator led, and wrote others.
    Truncated { from: u64 },
    /// Entries up to this one are gone: a snapshot has them.
    Purged { upto: LogPosition },
    /// Entries up to this one are known to be on a majority's disks. A hint, never synced by itself.
    Committed { upto: LogPosition },
}

/// Clones are the same log.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    id: CoordinatorId,
    log: Mutex<Log>,
    /// Only held on threads that may block.
    file: Mutex<LogFile>,
    /// For looking at it while it is being written.
    look: io::Result<File>,
    written: Mutex<Totals>,
    /// Held as long as something may be written.
    _lock: Arc<File>,
}

/// What the file says.
#[derive(Default)]
struct Log {
    id: Option<CoordinatorId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// With about how many bytes each has.
    entries: BTreeMap<u64, (Entry, u64)>,
}

struct LogFile {
    file: File,
    next_sequence: u64,
}

impl Log {
    fn take(&mut self, kept: Kept, bytes: u64) {
        match kept {
            Kept::Coordinator { id } => self.id = Some(id),
            Kept::Vote(ballot) => self.vote = Some(convert::vote(&ballot)),
            Kept::Entry { position, peers, proposal } => {
                let entry = convert::entry(&position, peers.as_ref(), proposal);
                self.entries.insert(position.index, (entry, bytes));
            }
            Kept::Truncated { from } => drop(self.entries.split_off(&from)),
            Kept::Purged { upto } => self.purge(convert::log_id(&upto)),
            Kept::Committed { upto } => self.committed = Some(convert::log_id(&upto)),
        }
    }

    fn purge(&mut self, upto: LogId) {
        self.entries = self.entries.split_off(&(upto.index + 1));
        self.purged = Some(upto);
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, (entry, _))| entry.log_id).or(self.purged)
    }

    /// The shortest file that says the same.
    fn encode(&self, id: CoordinatorId) -> io::Result<(Vec<u8>, u64)> {
        let mut blocks = vec![Kept::Coordinator { id }];
        blocks.extend(self.vote.as_ref().map(|vote| Kept::Vote(convert::ballot(vote))));
        blocks.extend(self.purged.as_ref().map(|upto| Kept::Purged { upto: convert::position(upto) }));
        blocks.extend(self.committed.as_ref().map(|upto| Kept::Committed { upto: convert::position(upto) }));
        blocks.extend(self.entries.values().map(|(entry, _)| kept(entry)));
        let mut bytes = file::header(MAGIC);
        for (sequence, block) in (1..).zip(&blocks) {
            file::encode(sequence, block, &mut bytes)?;
        }
        Ok((bytes, blocks.len() as u64 + 1))
    }
}

fn kept(entry: &Entry) -> Kept {
    let (peers, proposal) = match &entry.payload {
        EntryPayload::Blank => (None, None),
        EntryPayload::Normal(proposal) => (None, Some(proposal.clone())),
        EntryPayload::Membership(membership) => (Some(convert::peers(membership)), None),
    };
    Kept::Entry { position: convert::position(&entry.log_id), peers, proposal }
}

impl LogStore {
    /// Makes an empty log for a new coordinator.
    pub(crate) fn format(dir: &Path, id: CoordinatorId) -> Result<(), QuorumError> {
        let path = dir.join(LOG);
        let (bytes, _) = Log::default().encode(id).map_err(QuorumError::io("encode", &path))?;
        file::replace(dir, LOG, &bytes).map(drop)
    }

    /// Opens the log in a dir that the caller has locked. Blocks.
    pub(crate) fn open(dir: &Path, lock: Arc<File>) -> Result<Self, QuorumError> {
        let path = dir.join(LOG);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(QuorumError::io("open the quorum's log", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(QuorumError::io("read the quorum's log", &path))?;
        let found = file::parse(&path, MAGIC, &bytes)?;
        let mut log = Log::default();
        for block in &found.blocks {
            log.take(file::read(&path, &bytes, block)?, block.1.len() as u64);
        }
        let Some(id) = log.id else {
            return Err(QuorumError::damaged(&path, 0, "it does not say which coordinator's it is"));
        };
        if found.end < bytes.len() {
            tracing::warn!(bytes = bytes.len() - found.end, "an unfinished entry at the log's end was cut");
            file.set_len(found.end as u64).map_err(QuorumError::io("cut the unfinished end of", &path))?;
        }
        // What an earlier process wrote and could not sync reads as if it had been kept: it is written again.
        let from = found.end.saturating_sub(REWRITTEN_BYTES);
        file.seek(SeekFrom::Start(from as u64)).map_err(QuorumError::io("seek in", &path))?;
        file.write_all(&bytes[from..found.end]).map_err(QuorumError::io("write again", &path))?;
        file.sync_all().map_err(QuorumError::io("sync", &path))?;
        Ok(Self(Arc::new(Shared {
            dir: dir.to_owned(),
            id,
            log: Mutex::new(log),
            look: file.try_clone(),
            written: Mutex::new(Totals { bytes: found.end as u64, ..Totals::default() }),
            file: Mutex::new(LogFile { file, next_sequence: found.next_sequence }),
            _lock: lock,
        })))
    }

    /// Whose it is.
    pub(crate) fn id(&self) -> CoordinatorId {
        self.0.id
    }

    /// Its last entry's place.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.0.log().last()
    }

    /// The newest ballot.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.0.log().vote
    }

    /// The last entry that is known to be on a majority's disks.
    pub(crate) fn committed(&self) -> Option<LogId> {
        self.0.log().committed
    }

    /// Up to which entry a snapshot has replaced it.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.0.log().purged
    }

    /// What was written since it was opened, and how long it is.
    pub(crate) fn totals(&self) -> Totals {
        *self.0.totals()
    }

    /// Why the next entry could not be kept, as far as that can be told without writing it. Blocks.
    pub(crate) fn trouble(&self) -> Option<String> {
        let path = self.0.dir.join(LOG);
        let found = self.0.look.as_ref().map_err(ToString::to_string).and_then(|file| {
            std::fs::metadata(&path).map_err(|error| error.to_string())?;
            rustix::fs::fstatvfs(file).map_err(|error| error.to_string())
        });
        match found {
            Err(error) => Some(format!("the quorum's log {}: {error}", path.display())),
            Ok(space) if space.f_bavail == 0 => {
                Some(format!("the disk of the quorum's log {} is full", path.display()))
            }
            Ok(_) => None,
        }
    }

    /// Writes blocks, on a thread that may block; synced ones are durable when this returns.
    async fn keep(&self, blocks: Vec<Kept>, synced: bool) -> Result<(), QuorumError> {
        let shared = self.0.clone();
        let written = tokio::task::spawn_blocking(move || shared.write(&blocks, synced));
        written.await.unwrap_or_else(|error| Err(QuorumError::Stopped(error.to_string())))
    }

    async fn rewrite(&self) -> Result<(), QuorumError> {
        let shared = self.0.clone();
        let written = tokio::task::spawn_blocking(move || shared.rewrite());
        written.await.unwrap_or_else(|error| Err(QuorumError::Stopped(error.to_string())))
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> MutexGuard<'_, LogFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, blocks: &[Kept], synced: bool) -> Result<(), QuorumError> {
        let path = self.dir.join(LOG);
        let mut file = self.file();
        let mut bytes = Vec::new();
        for block in blocks {
            file::encode(file.next_sequence, block, &mut bytes)
                .map_err(QuorumError::io("encode an entry for", &path))?;
            file.next_sequence += 1;
        }
        file.file.write_all(&bytes).map_err(QuorumError::io("write", &path))?;
        let began = Instant::now();
        if synced {
            file.file.sync_data().map_err(QuorumError::io("sync", &path))?;
        }
        let mut totals = self.totals();
        totals.bytes += bytes.len() as u64;
        if synced {
            totals.syncs += 1;
            totals.sync_time += began.elapsed();
        }
        Ok(())
    }

    fn rewrite(&self) -> Result<(), QuorumError> {
        let mut file = self.file();
        let encoded = self.log().encode(self.id);
        let (bytes, next_sequence) = encoded.map_err(QuorumError::io("encode", &self.dir.join(LOG)))?;
        *file = LogFile { file: file::replace(&self.dir, LOG, &bytes)?, next_sequence };
        self.totals().bytes = bytes.len() as u64;
        Ok(())
    }
}

fn failed(error: &QuorumError) -> StorageError {
    StorageIOError::write_logs(AnyError::new(error)).into()
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        Ok(self.0.log().entries.range(range).map(|(_, (entry, _))| entry.clone()).collect())
    }

    /// No more than fits well into a frame.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let log = self.0.log();
        let mut total = 0;
        let within = log.entries.range(start..end).take_while(|(index, (_, bytes))| {
            total += bytes;
            **index == start || total <= QUORUM_APPEND_BYTES_MAX
        });
        Ok(within.map(|(_, (entry, _))| entry.clone()).collect())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let log = self.0.log();
        Ok(LogState { last_purged_log_id: log.purged, last_log_id: log.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.keep(vec![Kept::Vote(convert::ballot(vote))], true).await.map_err(|error| failed(&error))?;
        self.0.log().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.0.log().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        if let Some(upto) = &committed {
            let block = Kept::Committed { upto: convert::position(upto) };
            self.keep(vec![block], false).await.map_err(|error| failed(&error))?;
        }
        self.0.log().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.0.log().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let sizes: Result<Vec<u64>, _> =
            entries.iter().map(|entry| rmp_serde::to_vec(entry).map(|bytes| bytes.len() as u64)).collect();
        let sizes = sizes.map_err(|error| StorageIOError::write_logs(AnyError::new(&error)))?;
        self.keep(entries.iter().map(kept).collect(), true).await.map_err(|error| failed(&error))?;
        {
            let mut log = self.0.log();
            for (entry, bytes) in entries.into_iter().zip(sizes) {
                log.entries.insert(entry.log_id.index, (entry, bytes));
            }
        }
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let block = Kept::Truncated { from: log_id.index };
        self.keep(vec![block], true).await.map_err(|error| failed(&error))?;
        drop(self.0.log().entries.split_off(&log_id.index));
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.0.log().purge(log_id);
        self.rewrite().await.map_err(|error| failed(&error))
    }
}
