//! The thread behind the write-ahead log: writes segments, makes checkpoints, gives files back.
//!
//! It touches a file only for rounds that are synced in the write-ahead log: a truncation that is not
//! on disk yet must not have cut anything, or a crash would leave neither the cut nor the bytes.

use crate::checkpoint::{Checkpoints, LogCheckpoint};
use crate::error::Fault;
use crate::io::{RandomFile, write_all};
use crate::layout::{self, ORPHAN, PartitionFile, TOPICS, TRASH, partition_dir, partition_file};
use crate::lookup::{entries_in_file, write_entries};
use crate::shared::{LogCell, Shared};
use crate::state::{FileOp, TailBatch};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;
use yak_protocol::ids::TopicPartition;

/// Files written since they were synced are kept open until then; at most so many.
const UNSYNCED_FILES_MAX: usize = 128;
/// Small batches are gathered into writes of about this size.
const GATHER_BYTES: usize = 256 << 10;

pub(crate) struct Flusher {
    shared: Arc<Shared>,
    checkpoints: Checkpoints,
    unsynced: BTreeMap<(TopicPartition, u64), Arc<dyn RandomFile>>,
    unsynced_dirs: BTreeSet<PathBuf>,
    /// Partitions whose folders this process has synced.
    settled: BTreeSet<TopicPartition>,
}

/// What the flusher is to do.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    write_behind: bool,
    checkpoint: bool,
    spare: bool,
    end: bool,
}

impl Flusher {
    pub(crate) fn new(shared: Arc<Shared>, checkpoints: Checkpoints) -> Self {
        let (unsynced, unsynced_dirs, settled) = Default::default();
        Self { shared, checkpoints, unsynced, unsynced_dirs, settled }
    }

    /// Works until the store stops or closes. Returns whether the last checkpoint covers everything.
    pub(crate) fn run(mut self) -> bool {
        loop {
            let Some(work) = self.wait() else { return false };
            if self.shared.space.is_full() {
                self.shared.space.check(true);
            }
            let outcome = self.work(work);
            let done = outcome.is_ok();
            match outcome {
                Ok(()) => {}
                Err(Fault::Write(path, error)) => {
                    // Nothing is lost: the write-ahead log has it all, and it is tried again.
                    self.shared.space.note(&format!("writing {}", path.display()), &error);
                    self.shared.flush.get().changed.get_or_insert_with(Instant::now);
                }
                Err(Fault::Sync(path, error)) => {
                    self.shared.die(&format!("syncing {} failed: {error}", path.display()));
                    return false;
                }
                Err(Fault::Stopped) => return false,
            }
            drop(self.shared.progress.get());
            self.shared.progress_wake.notify_all();
            if work.end {
                return done;
            }
        }
    }

    /// Sleeps until there is work. Without any change since the last checkpoint there is no timer.
    fn wait(&self) -> Option<Work> {
        let shared = &self.shared;
        let mut signal = shared.flush.get();
        loop {
            if shared.is_stopped() {
                return None;
            }
            let due = signal.changed.map(|at| at + shared.config.checkpoint);
            let now = Instant::now();
            let work = Work {
                write_behind: signal.write_behind,
                checkpoint: signal.checkpoint || signal.closing || due.is_some_and(|due| due <= now),
                spare: signal.spare,
                end: signal.closing,
            };
            if work.write_behind || work.checkpoint || work.spare {
                signal.write_behind = false;
                signal.spare = false;
                if work.checkpoint {
                    signal.checkpoint = false;
                    signal.changed = None;
                }
                return Some(work);
            }
            let full = shared.space.is_full();
            let pause = match due {
                Some(due) if full => Some((due - now).min(shared.config.full_recheck)),
                Some(due) => Some(due - now),
                None if full => Some(shared.config.full_recheck),
                None => None,
            };
            signal = match pause {
                None => shared.flush_wake.wait(signal).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => {
                    let woken = shared.flush_wake.wait_timeout(signal, pause);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            if full && shared.space.is_full() {
                shared.space.check(false);
            }
        }
    }

    fn work(&mut self, work: Work) -> Result<(), Fault> {
        if work.checkpoint {
            self.checkpoint()?;
        } else if work.write_behind {
            self.write_behind()?;
        }
        if work.spare && !self.shared.pool.has_spare() && !self.shared.space.is_full() {
            self.shared.pool.make_spare()?;
        }
        Ok(())
    }

    /// Writes what waits to the segments, and lets go of batches in memory.
    pub(crate) fn write_behind(&mut self) -> Result<(), Fault> {
        let (mark, applied) = self.marks();
        let logs: Vec<_> = self.shared.changed.get().clone();
        for log in &logs {
            self.flush_log(log)?;
        }
        self.flushed(mark, applied);
        Ok(())
    }

    /// Writes what waits, syncs it, and records where every log stands.
    pub(crate) fn checkpoint(&mut self) -> Result<(), Fault> {
        let (mark, applied) = self.marks();
        let logs = std::mem::take(&mut *self.shared.changed.get());
        for log in &logs {
            log.listed.store(false, Ordering::Release);
        }
        let outcome = self.checkpoint_of(&logs, mark, applied);
        if outcome.is_err() {
            self.shared.list_again(logs);
        }
        self.shared.space.check(true);
        outcome
    }

    fn checkpoint_of(&mut self, logs: &[Arc<LogCell>], mark: u64, applied: u64) -> Result<(), Fault> {
        let mut vanished = false;
        for log in logs {
            let snapshot = self.flush_log(log)?;
            vanished |= snapshot.gone;
            self.checkpoints.set(&snapshot);
        }
        self.flushed(mark, applied);
        self.sync_files()?;
        let covered = self.checkpoints.write(&self.shared, applied)?;
        self.shared.pool.trim(covered);
        if vanished {
            self.empty_trash();
        }
        self.shared.space.load_ballast();
        Ok(())
    }

    fn marks(&self) -> (u64, u64) {
        // Before the list of changed logs is taken: what is counted by now belongs to rounds whose logs are
        // all on it.
        let mark = self.shared.appended_bytes.load(Ordering::Acquire);
        (mark, self.shared.progress.get().applied)
    }

    fn flushed(&self, mark: u64, applied: u64) {
        self.shared.flushed_bytes.fetch_max(mark, Ordering::AcqRel);
        let limit = self.shared.config.tail_bytes;
        let mut freed = Vec::new();
        {
            let mut recent = self.shared.recent.get();
            while recent.bytes > limit && recent.rounds.front().is_some_and(|round| round.lsn <= applied) {
                let Some(round) = recent.rounds.pop_front() else { break };
                recent.bytes -= round.bytes;
                freed.push(round);
            }
        }
        for round in freed {
            for log in &round.logs {
                log.state.get().evict(round.lsn);
            }
        }
    }

    /// Brings the files of one log up to what it holds, and returns what that is.
    fn flush_log(&mut self, log: &Arc<LogCell>) -> Result<LogCheckpoint, Fault> {
        let _files = log.files.get();
        loop {
            let (ops, batches, snapshot, generation, end, lsn) = {
                let mut state = log.state.get();
                let ops = std::mem::take(&mut state.file_ops);
                let batches: Vec<TailBatch> = state.unflushed().cloned().collect();
                let snapshot = LogCheckpoint::of(log, &state);
                (ops, batches, snapshot, state.generation, state.end, state.lsn)
            };
            let written = if self.shared.wait_synced(lsn) {
                self.change_files(log, &ops, &batches)
            } else {
                Err(Fault::Stopped)
            };
            let mut state = log.state.get();
            if let Err(fault) = written {
                // All of them again: each is harmless when it has been done before.
                state.file_ops.splice(0..0, ops);
                return Err(fault);
            }
            if state.generation != generation {
                // Cut meanwhile: what was written is not what it holds now.
                continue;
            }
            state.flushed_end = end;
            drop(state);
            if !snapshot.gone {
                self.write_index(log)?;
            }
            return Ok(snapshot);
        }
    }

    fn change_files(&mut self, log: &LogCell, ops: &[FileOp], batches: &[TailBatch]) -> Result<(), Fault> {
        for op in ops {
            self.file_op(log.id, *op)?;
        }
        let mut rest = batches;
        while let Some(first) = rest.first() {
            // One write for what lies side by side.
            let mut bytes = 0;
            let count = rest
                .iter()
                .take_while(|batch| {
                    let beside =
                        batch.segment == first.segment && batch.position == first.position + bytes as u64;
                    let fits = bytes == 0 || bytes + batch.bytes.len() <= GATHER_BYTES;
                    bytes += batch.bytes.len();
                    beside && fits
                })
                .count();
            let (now, later) = rest.split_at(count);
            let file = self.segment(log.id, first.segment)?;
            let path = || self.shared.files.path(log.id, first.segment);
            let written = if let [one] = now {
                write_all(file.as_ref(), &one.bytes, first.position)
            } else {
                let gathered: Vec<u8> = now.iter().flat_map(|batch| batch.bytes.iter().copied()).collect();
                write_all(file.as_ref(), &gathered, first.position)
            };
            written.map_err(|error| Fault::Write(path(), error))?;
            rest = later;
        }
        Ok(())
    }

    /// The file of a segment, for writing; it will be synced with the next checkpoint.
    fn segment(&mut self, id: TopicPartition, segment: u64) -> Result<Arc<dyn RandomFile>, Fault> {
        if let Some(file) = self.unsynced.get(&(id, segment)) {
            return Ok(Arc::clone(file));
        }
        if self.unsynced.len() >= UNSYNCED_FILES_MAX {
            self.sync_files()?;
        }
        let dir = partition_dir(&self.shared.root, id);
        let fault = |error| Fault::Write(dir.clone(), error);
        let mut made = false;
        let file = match self.shared.files.open(id, segment) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                made = true;
                self.make_dir(id, &dir).map_err(fault)?;
                self.shared.files.create(id, segment).map_err(fault)?
            }
            Err(error) => return Err(fault(error)),
        };
        self.track(id, segment, &file, made);
        Ok(file)
    }

    /// The file is synced with the next checkpoint, and its name, if that may not be on disk yet.
    fn track(&mut self, id: TopicPartition, segment: u64, file: &Arc<dyn RandomFile>, made: bool) {
        // What an earlier process made may never have been synced.
        let first = self.settled.insert(id);
        if first {
            self.unsynced_dirs.insert(layout::topic_dir(&self.shared.root, id.topic));
            self.unsynced_dirs.insert(self.shared.root.join(TOPICS));
        }
        if first || made {
            self.unsynced_dirs.insert(partition_dir(&self.shared.root, id));
        }
        self.unsynced.insert((id, segment), Arc::clone(file));
    }

    fn make_dir(&self, id: TopicPartition, dir: &Path) -> io::Result<()> {
        let io = &self.shared.io;
        if io.exists(dir)? {
            return Ok(());
        }
        io.create_dir_all(dir)?;
        let meta =
            format!("yak partition folder, format 1\ntopic {}\npartition {}\n", id.topic, id.partition);
        let file = io.create(&dir.join(layout::META))?;
        write_all(file.as_ref(), meta.as_bytes(), 0)
    }

    fn sync_files(&mut self) -> Result<(), Fault> {
        while let Some(((id, segment), file)) = self.unsynced.pop_first() {
            file.sync().map_err(|error| Fault::Sync(self.shared.files.path(id, segment), error))?;
        }
        // Where things are moved to comes before where they were: "orphan" sorts before "topics". And a
        // folder comes before what is in it.
        while let Some(dir) = self.unsynced_dirs.pop_first() {
            match self.shared.io.sync_dir(&dir) {
                // Removed meanwhile, with all that was in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|error| Fault::Sync(dir, error))?,
            }
        }
        Ok(())
    }

    fn file_op(&mut self, id: TopicPartition, op: FileOp) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        let (io, root) = (&shared.io, &shared.root);
        let dir = partition_dir(root, id);
        let outcome = match op {
            FileOp::Cut { segment, to } => match shared.files.open(id, segment) {
                Ok(file) if file.len().is_ok_and(|length| length > to) => {
                    self.track(id, segment, &file, false);
                    file.set_len(to)
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            },
            FileOp::Remove { segment } => {
                self.unsynced.remove(&(id, segment));
                for file in [PartitionFile::Index(segment), PartitionFile::TimeIndex(segment)] {
                    let _ = io.remove_file(&partition_file(root, id, file));
                }
                shared.files.without(id, segment, || io.remove_file(&shared.files.path(id, segment)))
            }
            FileOp::Aside { segment, lsn } => {
                self.unsynced.remove(&(id, segment));
                for file in [PartitionFile::Index(segment), PartitionFile::TimeIndex(segment)] {
                    let _ = io.remove_file(&partition_file(root, id, file));
                }
                let to = root.join(ORPHAN).join(layout::aside_name(id, lsn));
                let path = shared.files.path(id, segment);
                let target = to.join(PartitionFile::Segment(segment).name());
                self.unsynced_dirs.insert(root.join(ORPHAN));
                self.unsynced_dirs.insert(to.clone());
                io.create_dir_all(&to).and_then(|()| {
                    shared.files.without(id, segment, || set_aside(io.as_ref(), &path, &target))
                })
            }
            FileOp::DropProducers { above } => crate::producers::drop_above(&shared, id, above),
            FileOp::Orphan { lsn } => {
                self.leave(id);
                let to = root.join(ORPHAN).join(layout::aside_name(id, lsn));
                self.unsynced_dirs.insert(root.join(ORPHAN));
                shared.files.without_partition(id, || set_aside(io.as_ref(), &dir, &to))
            }
            FileOp::Delete { lsn } => {
                self.leave(id);
                let to = root.join(TRASH).join(layout::aside_name(id, lsn));
                shared.files.without_partition(id, || set_aside(io.as_ref(), &dir, &to))
            }
        };
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::Write(dir, error)),
            _ => Ok(()),
        }
    }

    fn leave(&mut self, id: TopicPartition) {
        self.unsynced.retain(|(of, _), _| *of != id);
        self.settled.remove(&id);
    }

    /// Writes index entries that are not in their files yet; those of closed segments leave memory.
    fn write_index(&mut self, log: &LogCell) -> Result<(), Fault> {
        let work: Vec<_> = {
            let state = log.state.get();
            let last = state.segments.len().saturating_sub(1);
            let of = |(at, segment): (usize, &crate::segment::Segment)| {
                let index = &segment.index;
                let behind = !index.complete || index.persisted < index.entries.len();
                let leaves = at < last && index.complete;
                (!index.entries.is_empty() && behind || leaves).then(|| segment.clone())
            };
            state.segments.iter().enumerate().filter_map(of).collect()
        };
        for mut segment in work {
            if !segment.index.complete {
                let first = segment.index.entries.first().map_or(segment.bytes, |entry| entry.position);
                let mut entries = entries_in_file(&self.shared, log.id, segment.base, first);
                segment.index.persisted = entries.len();
                entries.append(&mut segment.index.entries);
                segment.index.entries = entries;
            }
            let (at, all) = (segment.index.persisted, &segment.index.entries);
            if at < all.len() {
                write_entries(&self.shared, log.id, segment.base, at, &all[at..])
                    .map_err(|error| Fault::Write(self.shared.files.path(log.id, segment.base), error))?;
            }
            let mut state = log.state.get();
            let last = state.segments.last().map(|last| last.base);
            let Some(now) = state.segments.iter_mut().find(|now| now.base == segment.base) else { continue };
            if now.index.entries.len() > all.len() || now.bytes < segment.bytes {
                continue;
            }
            now.index.persisted = all.len();
            now.index.complete = Some(segment.base) == last;
            now.index.entries = if now.index.complete { segment.index.entries } else { Vec::new() };
        }
        Ok(())
    }

    fn empty_trash(&self) {
        // Whatever cannot be removed now is removed at the next start.
        let trash = self.shared.root.join(TRASH);
        for entry in self.shared.io.list(&trash).unwrap_or_default() {
            let _ = self.shared.io.remove_dir_all(&trash.join(entry.name));
        }
        let topics = self.shared.root.join(TOPICS);
        for entry in self.shared.io.list(&topics).unwrap_or_default() {
            let dir = topics.join(&entry.name);
            let empty = layout::parse_topic(&entry.name).is_some()
                && self.shared.io.list(&dir).is_ok_and(|inside| inside.is_empty());
            if empty {
                let _ = self.shared.io.remove_dir_all(&dir);
            }
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.die("the flusher panicked");
        }
    }
}

/// Moves something out of the way. If its place is taken, that was done before a crash, and what is here
/// now has been written since: the write-ahead log brings it again.
fn set_aside(io: &dyn crate::io::Io, from: &Path, to: &Path) -> io::Result<()> {
    if !io.exists(to)? {
        return io.rename(from, to);
    }
    if io.list(from).is_ok() { io.remove_dir_all(from) } else { io.remove_file(from) }
}
