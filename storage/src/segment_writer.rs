//! Brings the files of partitions up to what their logs hold.
//!
//! It touches a file only for rounds that are synced in the write-ahead log: a truncation that is not
//! on disk yet must not have cut anything, or a crash would leave neither the cut nor the bytes.

use crate::checkpoint::LogCheckpoint;
use crate::error::Fault;
use crate::io::{RandomFile, write_all};
use crate::layout::{self, ORPHAN, PartitionFile, TOPICS, TRASH, partition_dir, partition_file};
use crate::lookup::{entries_in_file, write_entries};
use crate::shared::{LogCell, Shared};
use crate::state::{FileOp, TailBatch};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use yak_protocol::ids::TopicPartition;

/// Files written since they were synced are kept open until then; at most so many.
const UNSYNCED_FILES_MAX: usize = 128;
/// Syncs are spread over so many threads at most, each with at least so many.
const SYNC_THREADS_MAX: usize = 16;
const SYNCS_PER_THREAD: usize = 4;
/// Small batches are gathered into writes of about this size.
const GATHER_BYTES: usize = 256 << 10;

/// Writes segments, and knows what of them is to be synced.
pub(crate) struct SegmentWriter {
    shared: Arc<Shared>,
    unsynced: BTreeMap<(TopicPartition, u64), Arc<dyn RandomFile>>,
    unsynced_dirs: BTreeSet<PathBuf>,
    /// Partitions whose folders this process has synced, or will with the next checkpoint.
    settled: BTreeSet<TopicPartition>,
}

impl SegmentWriter {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let (unsynced, unsynced_dirs, settled) = Default::default();
        Self { shared, unsynced, unsynced_dirs, settled }
    }

    /// Brings the files of one log up to what it holds, and returns what that is.
    pub(crate) fn flush(&mut self, log: &Arc<LogCell>) -> Result<LogCheckpoint, Fault> {
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
            let bytes = batches.iter().map(|batch| batch.bytes.len() as u64).sum();
            self.shared.flushed(bytes);
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
                let mut gathered = Vec::with_capacity(GATHER_BYTES);
                now.iter().for_each(|batch| gathered.extend_from_slice(&batch.bytes));
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
            self.sync()?;
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

    /// Makes everything that was written durable, names too.
    pub(crate) fn sync(&mut self) -> Result<(), Fault> {
        let files: Vec<_> = std::mem::take(&mut self.unsynced).into_iter().collect();
        let shared = &self.shared;
        at_once(&files, |((id, segment), file)| {
            file.sync().map_err(|error| Fault::Sync(shared.files.path(*id, *segment), error))
        })?;
        // Where things are moved to comes before where they were.
        let dirs: Vec<_> = std::mem::take(&mut self.unsynced_dirs).into_iter().collect();
        let (from, to): (Vec<_>, Vec<_>) = dirs.into_iter().partition(|dir| is_below_topics(shared, dir));
        let sync = |dir: &PathBuf| match shared.io.sync_dir(dir) {
            // Removed meanwhile, with all that was in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| Fault::Sync(dir.clone(), error)),
        };
        to.iter().try_for_each(sync)?;
        at_once(&from, sync)
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
        let (generation, work): (_, Vec<_>) = {
            let state = log.state.get();
            let last = state.segments.len().saturating_sub(1);
            let of = |(at, segment): (usize, &crate::segment::Segment)| {
                let index = &segment.index;
                let behind = !index.complete || index.persisted < index.entries.len();
                let leaves = at < last && index.complete;
                (!index.entries.is_empty() && behind || leaves)
                    .then(|| (segment.clone(), state.bytes_in_file(segment)))
            };
            (state.generation, state.segments.iter().enumerate().filter_map(of).collect())
        };
        let failed = |segment, error| Fault::Write(self.shared.files.path(log.id, segment), error);
        for (mut segment, in_file) in work {
            if !segment.index.complete {
                let first =
                    segment.index.entries.first().map_or(in_file, |entry| entry.position.min(in_file));
                let mut entries = entries_in_file(&self.shared, log.id, segment.base, first)
                    .map_err(|error| failed(segment.base, error))?;
                segment.index.persisted = entries.len();
                entries.append(&mut segment.index.entries);
                segment.index.entries = entries;
            }
            let (at, all) = (segment.index.persisted, &segment.index.entries);
            if at < all.len() {
                write_entries(&self.shared, log.id, segment.base, at, &all[at..])
                    .map_err(|error| failed(segment.base, error))?;
            }
            let mut state = log.state.get();
            if state.generation != generation {
                // Cut meanwhile: the next round writes what its index is now.
                return Ok(());
            }
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
}

fn is_below_topics(shared: &Shared, dir: &Path) -> bool {
    dir.starts_with(shared.root.join(TOPICS))
}

/// Does something for each item, several at a time when there are many: a file system takes syncs that come
/// together as one.
fn at_once<T: Sync>(items: &[T], what: impl Fn(&T) -> Result<(), Fault> + Sync) -> Result<(), Fault> {
    let threads = (items.len() / SYNCS_PER_THREAD).min(SYNC_THREADS_MAX);
    if threads < 2 {
        return items.iter().try_for_each(what);
    }
    let next = AtomicUsize::new(0);
    let some = || -> Result<(), Fault> {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            what(item)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Moves something out of the way. If its place is taken, that was done before a crash, and what is here
/// now has been written since: the write-ahead log brings it again.
fn set_aside(io: &dyn crate::io::Io, from: &Path, to: &Path) -> io::Result<()> {
    if !io.exists(to)? {
        return io.rename(from, to);
    }
    if io.list(from).is_ok() { io.remove_dir_all(from) } else { io.remove_file(from) }
}
