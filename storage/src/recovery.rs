//! From a data dir to the logs that are in it: checkpoint, write-ahead log, and what the files say.

use crate::checkpoint;
use crate::error::{Fault, OpenError};
use crate::flush::{Flusher, remove_empty_topics};
use crate::io::Io;
use crate::layout::{self, ORPHAN, PartitionFile, TOPICS, TRASH, partition_dir};
use crate::read::snapshot;
use crate::shared::{LogCell, Shared};
use crate::state::LogState;
use crate::survey::survey;
use crate::wal::round::{Change, Entry, Found};
use crate::wal::scan::{ScanError, Scanned, scan};
use crate::wal::writer::out_of_room;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset, TopicPartition};

/// Takes the checkpoint and replays the write-ahead log over it. What comes of it is in memory, and in the
/// segments as far as memory would not hold it; the flusher that is returned writes the rest.
pub(crate) fn recover(shared: &Arc<Shared>) -> Result<(Flusher, Scanned), OpenError> {
    let corrupt = |what: String| OpenError::Corrupt { dir: shared.root.clone(), what };
    let loaded = checkpoint::load(shared.io.as_ref(), &shared.root)
        .map_err(|(path, source)| OpenError::Unusable { action: "read", path: path.into(), cause: source })?
        .ok_or_else(|| corrupt("neither checkpoint can be read".to_owned()))?;
    if loaded.damaged {
        tracing::warn!(lsn = loaded.lsn, "one checkpoint cannot be read; the other one is used");
    }
    {
        let mut logs = shared.logs.write().unwrap_or_else(PoisonError::into_inner);
        logs.extend(loaded.logs.into_iter().map(|log| (log.id, log)));
    }
    let mut flusher = Flusher::new(Arc::clone(shared), loaded.checkpoints);
    let mut rounds = 0_u64;
    let scanned = scan(shared.io.as_ref(), &shared.root, loaded.lsn, |found, round| {
        rounds += 1;
        if shared.unflushed_bytes() > shared.config.dirty_bytes_max {
            // All rounds before this one were synced before it was written.
            reached(shared, found.header.lsn - 1);
            write_out(shared, &mut flusher)?;
        }
        replay(shared, found, &round).map_err(ScanError::Corrupt)
    });
    let scanned = scanned.map_err(|error| match error {
        ScanError::Io(path, source) => {
            OpenError::Unusable { action: "recover", path: path.into(), cause: source }
        }
        ScanError::Corrupt(what) => corrupt(what),
    })?;
    if rounds > 0 || scanned.torn {
        tracing::info!(rounds, torn = scanned.torn, "replayed the write-ahead log");
    }
    reached(shared, scanned.next.lsn - 1);
    let mut logs = shared.logs.write().unwrap_or_else(PoisonError::into_inner);
    logs.retain(|_, log| !log.state.get().gone);
    drop(logs);
    lengths(shared)?;
    if rounds > 0 {
        match write_out(shared, &mut flusher) {
            Ok(()) => {}
            Err(ScanError::Io(path, source)) if out_of_room(&source) => {
                shared.space.note(&format!("writing {path}"), &source);
            }
            Err(ScanError::Io(path, source)) => {
                return Err(OpenError::Unusable { action: "write", path: path.into(), cause: source });
            }
            Err(ScanError::Corrupt(what)) => return Err(corrupt(what)),
        }
    }
    strays(shared)?;
    if loaded.damaged || rounds > 0 {
        shared.note_change(false);
    }
    Ok((flusher, scanned))
}

fn reached(shared: &Shared, lsn: u64) {
    let mut progress = shared.progress.get();
    (progress.applied, progress.synced) = (lsn, lsn);
}

/// Writes what was replayed to the segments and lets go of it.
fn write_out(shared: &Shared, flusher: &mut Flusher) -> Result<(), ScanError> {
    flusher.write_behind().map_err(|fault| match fault {
        Fault::Write(path, error) | Fault::Sync(path, error) => {
            ScanError::Io(path.display().to_string(), error)
        }
        Fault::Stopped => ScanError::Corrupt("the store stopped while it was being opened".to_owned()),
    })?;
    for log in shared.changed.get().iter() {
        log.state.get().evict(u64::MAX);
    }
    Ok(())
}

/// Applies one round, but for logs that the checkpoint took in at a later one.
fn replay(shared: &Shared, found: &Found, round: &Bytes) -> Result<(), String> {
    let lsn = found.header.lsn;
    if !found.whole {
        tracing::error!(lsn, "a synced round of the write-ahead log is damaged");
    }
    let mut begun: BTreeMap<TopicPartition, Option<Arc<LogCell>>> = BTreeMap::new();
    for entry in &found.entries {
        let Some((entry, good)) = entry else {
            return Err(format!("round {lsn} is damaged, and with it the note of what it held"));
        };
        let log = begun.entry(entry.id).or_insert_with(|| {
            let log = cell(shared, entry.id, lsn);
            let news = log.state.get().lsn < lsn;
            news.then_some(log)
        });
        let Some(log) = log else { continue };
        let mut state = log.state.get();
        apply(shared, &mut state, lsn, entry, round, *good)?;
        let gone = state.gone;
        drop(state);
        if gone {
            shared.logs.write().unwrap_or_else(PoisonError::into_inner).remove(&entry.id);
        }
        shared.list(log);
    }
    Ok(())
}

/// The log that round `lsn` is about: a new one if the one of that name was gone before.
fn cell(shared: &Shared, id: TopicPartition, lsn: u64) -> Arc<LogCell> {
    let mut logs = shared.logs.write().unwrap_or_else(PoisonError::into_inner);
    let over = logs.get(&id).is_some_and(|log| {
        let state = log.state.get();
        state.gone && state.lsn < lsn
    });
    if over {
        logs.remove(&id);
    }
    let new = || Arc::new(LogCell::new(id, LogState::default(), 0));
    Arc::clone(logs.entry(id).or_insert_with(new))
}

/// Whether the change can be applied to the log as it is.
pub(crate) fn check(state: &LogState, lsn: u64, entry: &Entry, round: &Bytes) -> Result<(), String> {
    let Change::Append { base, payload, .. } = entry.change else { return Ok(()) };
    if base != state.end {
        return Err(format!("round {lsn} appends at {base} to {}, which ends at {}", entry.id, state.end));
    }
    if round.get(payload.range()).is_none() {
        return Err(format!("round {lsn} ends before what it appends to {}", entry.id));
    }
    Ok(())
}

fn apply(
    shared: &Shared,
    state: &mut LogState,
    lsn: u64,
    entry: &Entry,
    round: &Bytes,
    good: bool,
) -> Result<(), String> {
    let interval = shared.config.index_interval_bytes;
    check(state, lsn, entry, round)?;
    let appended = state.apply(lsn, &entry.change, round, good, interval);
    shared.appended_bytes.fetch_add(appended, Ordering::AcqRel);
    Ok(())
}

/// Segments whose files are shorter than they were: what is missing is damaged.
fn lengths(shared: &Shared) -> Result<(), OpenError> {
    each_log(shared, |log| {
        let bases: Vec<u64> = log.state.get().segments.iter().map(|segment| segment.base).collect();
        for base in bases {
            let Some(snapshot) = snapshot(&log.state.get(), Offset(base)) else { continue };
            let path = shared.files.path(log.id, base);
            let length = match shared.io.open(&path) {
                Ok(file) => file.len()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(error),
            };
            if length < snapshot.bytes {
                tracing::error!(file = %path.display(), length, expected = snapshot.bytes, "a segment is too short");
                survey(shared, log, &snapshot)?.settle(shared, log, &snapshot);
            }
        }
        Ok(())
    })
}

/// Does something for every log, on all cores when there are many.
fn each_log(shared: &Shared, what: impl Fn(&Arc<LogCell>) -> io::Result<()> + Sync) -> Result<(), OpenError> {
    let logs: Vec<Arc<LogCell>> = {
        let logs = shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.values().cloned().collect()
    };
    let next = AtomicUsize::new(0);
    let some = || -> Result<(), OpenError> {
        while let Some(log) = logs.get(next.fetch_add(1, Ordering::Relaxed)) {
            what(log).map_err(|source| {
                let path = partition_dir(&shared.root, log.id);
                OpenError::Unusable { action: "look through", path, cause: source }
            })?;
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    if logs.len() < 64 || threads == 1 {
        return some();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// What lies in the folders and belongs to no log: set aside if the store may have written it, else left
/// alone. Nothing is deleted.
fn strays(shared: &Shared) -> Result<(), OpenError> {
    each_log(shared, |log| {
        let dir = partition_dir(&shared.root, log.id);
        for entry in list(shared.io.as_ref(), &dir)? {
            match PartitionFile::parse(&entry.name) {
                Some(PartitionFile::Segment(base)) => {
                    let known = log.state.get().segments.iter().any(|segment| segment.base == base);
                    if !known {
                        set_aside(shared, log.id, &dir.join(&entry.name), Some(&entry.name))?;
                    }
                }
                Some(_) => {}
                None => ignored(&dir.join(&entry.name)),
            }
        }
        Ok(())
    })?;
    stray_folders(shared).map_err(|source| OpenError::Unusable {
        action: "look through",
        path: shared.root.join(TOPICS),
        cause: source,
    })
}

fn ignored(path: &Path) {
    tracing::warn!(file = %path.display(), "a file that the store did not write is ignored");
}

fn set_aside(shared: &Shared, id: TopicPartition, path: &Path, name: Option<&str>) -> io::Result<()> {
    tracing::warn!(file = %path.display(), "something that no log knows of is set aside");
    let orphan = shared.root.join(ORPHAN);
    let to = orphan.join(format!("{}.stray", layout::aside_name(id, shared.progress.get().synced)));
    match name {
        Some(name) => {
            shared.io.create_dir_all(&to)?;
            shared.io.rename(path, &to.join(name))
        }
        None => shared.io.rename(path, &to),
    }
}

fn list(io: &dyn Io, dir: &Path) -> io::Result<Vec<crate::io::DirEntry>> {
    match io.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Folders that no log knows: left by a crash between a log's removal and its folder's, or foreign.
fn stray_folders(shared: &Shared) -> io::Result<()> {
    let topics = shared.root.join(TOPICS);
    for topic in list(shared.io.as_ref(), &topics)? {
        let dir = topics.join(&topic.name);
        let Some(id) = layout::parse_topic(&topic.name) else {
            ignored(&dir);
            continue;
        };
        for partition in list(shared.io.as_ref(), &dir)? {
            let path = dir.join(&partition.name);
            let Some(index) = layout::parse_partition(&partition.name) else {
                ignored(&path);
                continue;
            };
            let id = TopicPartition { topic: id, partition: index };
            if !shared.logs.read().unwrap_or_else(PoisonError::into_inner).contains_key(&id) {
                set_aside(shared, id, &path, None)?;
            }
        }
    }
    // A crash may have come between the last partition of a topic and its folder.
    remove_empty_topics(shared);
    let trash = shared.root.join(TRASH);
    for entry in shared.io.list(&trash)? {
        shared.io.remove_dir_all(&trash.join(entry.name))?;
    }
    Ok(())
}

/// What recovery found of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// The first offset that is still there.
    pub log_start: Offset,
    /// The end; everything below is synced.
    pub log_end: Offset,
    /// The epoch history, ascending in both fields.
    pub epochs: Vec<EpochStart>,
    /// The promise (rule R14).
    pub promise: Option<(LeaderEpoch, BrokerId)>,
    /// The last checkpointed lower bound of the high watermark.
    pub high_watermark_hint: Offset,
    /// Damaged ranges `[from, to)`, ascending, disjoint (rule R17).
    pub damaged: Vec<(Offset, Offset)>,
}

impl Recovered {
    /// The epoch of the last record; zero without one.
    #[must_use]
    pub fn last_epoch(&self) -> LeaderEpoch {
        let below = self.epochs.iter().rev().find(|entry| entry.start < self.log_end);
        below.map_or(LeaderEpoch::ZERO, |entry| entry.epoch)
    }

    pub(crate) fn of(log: &LogCell) -> Self {
        let state = log.state.get();
        Self {
            log_start: state.start,
            log_end: state.end,
            epochs: state.epochs.clone(),
            promise: state.promise,
            high_watermark_hint: Offset(log.hint.load(Ordering::Relaxed)).min(state.end),
            damaged: state.damaged.ranges().to_vec(),
        }
    }
}
