//! The open segment files: a bounded number, the least recently used one closed first.

use crate::io::{Io, RandomFile};
use crate::layout::{PartitionFile, partition_file};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use yak_protocol::ids::TopicPartition;

type Key = (TopicPartition, u64);

pub(crate) struct SegmentFiles {
    io: Arc<dyn Io>,
    root: PathBuf,
    limit: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    files: HashMap<Key, (Arc<dyn RandomFile>, u64)>,
    uses: u64,
}

impl SegmentFiles {
    pub(crate) fn new(io: Arc<dyn Io>, root: &Path, limit: usize) -> Self {
        Self { io, root: root.to_owned(), limit: limit.max(1), open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn path(&self, id: TopicPartition, segment: u64) -> PathBuf {
        partition_file(&self.root, id, PartitionFile::Segment(segment))
    }

    /// The segment's file, which must be there.
    pub(crate) fn open(&self, id: TopicPartition, segment: u64) -> io::Result<Arc<dyn RandomFile>> {
        self.get(id, segment, |path| self.io.open(path))
    }

    /// The segment's file, made if need be.
    pub(crate) fn create(&self, id: TopicPartition, segment: u64) -> io::Result<Arc<dyn RandomFile>> {
        self.get(id, segment, |path| self.io.create(path))
    }

    // Opening and removing happen under the lock: otherwise a handle of a removed file could enter the
    // cache after its removal, and later be taken for the new file of that name.
    fn get(
        &self,
        id: TopicPartition,
        segment: u64,
        how: impl FnOnce(&Path) -> io::Result<Arc<dyn RandomFile>>,
    ) -> io::Result<Arc<dyn RandomFile>> {
        let mut open = self.lock();
        open.uses += 1;
        let now = open.uses;
        if let Some((file, used)) = open.files.get_mut(&(id, segment)) {
            *used = now;
            return Ok(Arc::clone(file));
        }
        let file = how(&self.path(id, segment))?;
        if open.files.len() >= self.limit {
            let oldest = open.files.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                open.files.remove(&oldest);
            }
        }
        open.files.insert((id, segment), (Arc::clone(&file), now));
        Ok(file)
    }

    /// Closes the segment's file and does `what` (removing or moving it) before anybody can open it again.
    pub(crate) fn without<T>(&self, id: TopicPartition, segment: u64, what: impl FnOnce() -> T) -> T {
        let mut open = self.lock();
        open.files.remove(&(id, segment));
        what()
    }

    /// The same for all files of a partition.
    pub(crate) fn without_partition<T>(&self, id: TopicPartition, what: impl FnOnce() -> T) -> T {
        let mut open = self.lock();
        open.files.retain(|(of, _), _| *of != id);
        what()
    }
}
