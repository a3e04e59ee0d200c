//! The store: one data dir, its write-ahead log, its logs.

use crate::config::SEGMENT_BYTES_CEILING;
use crate::error::{OpenError, StoreError};
use crate::files::SegmentFiles;
use crate::identity::{Identity, IdentityFile};
use crate::io::Io;
use crate::layout::{self, KNOWN, LOCK, ORPHAN, TOPICS, TRASH, WAL};
use crate::log::Log;
use crate::recovery::{Recovered, recover};
use crate::shared::{Job, Lock, LogCell, Shared};
use crate::space::{Space, SpaceGuard};
use crate::state::LogState;
use crate::wal::pool::Pool;
use crate::wal::round::Change;
use crate::wal::writer::Writer;
use crate::wal::{WalCounts, WalTotals};
use crate::{FatalHook, Observer, StoreConfig};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use yak_protocol::ids::{TopicId, TopicPartition};

/// How often somebody who waits for a checkpoint looks whether it has begun.
const CHECKPOINT_POLL: Duration = Duration::from_millis(2);

/// An open data dir. Dropping it is a crash: nothing is flushed that is not on its way already.
/// [`Store::close`] is the clean way.
pub struct Store {
    shared: Arc<Shared>,
    identity: Lock<IdentityFile>,
    recovered: Vec<(TopicPartition, Recovered)>,
    writer: Option<JoinHandle<()>>,
    flusher: Option<JoinHandle<bool>>,
    /// Released last: the fields above are dropped first.
    _lock: Box<dyn Send + Sync>,
}

impl Store {
    /// Opens a data dir, or makes one in an empty or missing folder, and recovers what is in it. Blocks.
    /// `fatal` is called, on any thread, when a sync has failed: see [`FatalHook`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        dir: &Path,
        config: StoreConfig,
        io: Arc<dyn Io>,
        fatal: FatalHook,
    ) -> Result<Self, OpenError> {
        check(&config)?;
        let unusable = |action, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Unusable { action, path, cause: source }
        };
        make_durable_dir(io.as_ref(), dir).map_err(unusable("make the folder", dir))?;
        let lock_path = dir.join(LOCK);
        let Some(lock) = io.lock(&lock_path).map_err(unusable("lock", &lock_path))? else {
            let holder = crate::io::read_whole(io.as_ref(), &lock_path).unwrap_or_default();
            let holder = String::from_utf8_lossy(&holder).trim().to_owned();
            let holder = if holder.is_empty() { holder } else { format!(" by process {holder}") };
            return Err(OpenError::Locked { dir: dir.to_owned(), holder });
        };
        let identity = IdentityFile::open(io.as_ref(), dir)?;
        for name in [WAL, TOPICS, ORPHAN, TRASH] {
            io.create_dir_all(&dir.join(name)).map_err(unusable("make the folder", &dir.join(name)))?;
        }
        for path in [dir, &dir.join(WAL)] {
            io.sync_dir(path).map_err(unusable("sync", path))?;
        }
        for entry in io.list(dir).map_err(unusable("list", dir))? {
            if !KNOWN.contains(&entry.name.as_str()) {
                let file = dir.join(&entry.name);
                tracing::warn!(file = %file.display(), "a file that the store did not write is ignored");
            }
        }
        let shared = Arc::new(Shared {
            root: dir.to_owned(),
            fatal,
            stopped: AtomicBool::new(false),
            queue: Lock::default(),
            queue_wake: Condvar::new(),
            progress: Lock::default(),
            progress_wake: Condvar::new(),
            flush: Lock::default(),
            flush_wake: Condvar::new(),
            logs: RwLock::new(BTreeMap::new()),
            changed: Lock::default(),
            recent: Lock::default(),
            wal_counts: WalCounts::default(),
            appended_bytes: AtomicU64::new(0),
            flushed_bytes: AtomicU64::new(0),
            space: SpaceGuard::new(Arc::clone(&io), dir, &config),
            files: SegmentFiles::new(Arc::clone(&io), dir, config.open_files_max),
            pool: Pool::new(Arc::clone(&io), dir.to_owned(), config.wal_file_bytes),
            io,
            config,
        });
        let (flusher, scanned) = recover(&shared)?;
        for (slot, length, last_lsn) in &scanned.files {
            shared.pool.found(*slot, *length, *last_lsn);
        }
        shared.space.check(true);
        let recovered = {
            let logs = shared.logs.read().unwrap_or_else(PoisonError::into_inner);
            logs.values().map(|log| (log.id, Recovered::of(log))).collect()
        };
        let writer = Writer::new(Arc::clone(&shared), scanned.next);
        let spawn =
            |source| OpenError::Unusable { action: "start threads for", path: dir.to_owned(), cause: source };
        let mut store = Self {
            shared,
            identity: Lock::new(identity),
            recovered,
            writer: None,
            flusher: None,
            _lock: lock,
        };
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        store.writer = Some(named("yak-wal").spawn(move || writer.run()).map_err(spawn)?);
        store.flusher = Some(named("yak-flush").spawn(move || flusher.run()).map_err(spawn)?);
        Ok(store)
    }

    /// Whose data dir it is, and how it was left.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.get().identity.clone()
    }

    /// Changes the identity; durable when this returns. Blocks. `data_dir`, `clean_shutdown` and `same_boot`
    /// are the store's own: changes to them are ignored. A new `broker_epoch` settles what was lost before.
    ///
    /// # Errors
    /// If it could not be written: then it counts as unchanged here, and what is on disk is one of the two.
    pub fn update_identity(&self, change: impl FnOnce(&mut Identity)) -> Result<(), StoreError> {
        if self.shared.is_stopped() {
            return Err(StoreError::Stopped);
        }
        let mut file = self.identity.get();
        let before = file.identity.clone();
        let unsettled = file.unsettled.clone();
        change(&mut file.identity);
        file.identity.data_dir = before.data_dir;
        file.identity.clean_shutdown = before.clean_shutdown;
        file.identity.same_boot = before.same_boot;
        if file.identity == before {
            return Ok(());
        }
        if file.identity.broker_epoch > before.broker_epoch {
            file.settle();
        }
        if let Err(source) = file.write(self.shared.io.as_ref(), &self.shared.root, false) {
            file.identity = before;
            file.unsettled = unsettled;
            return Err(StoreError::Io { path: self.shared.root.join(layout::IDENTITY[0]), source });
        }
        Ok(())
    }

    /// What was found at open, in the order of the ids.
    #[must_use]
    pub fn recovered(&self) -> &[(TopicPartition, Recovered)] {
        &self.recovered
    }

    /// The logs that there are now.
    #[must_use]
    pub fn logs(&self) -> Vec<TopicPartition> {
        self.shared.logs.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// The log of a partition, an empty one if there is none; `observer` hears of its changes from now on, in
    /// place of any earlier one. Nothing is written: a log comes to be on disk with its first change.
    #[must_use]
    pub fn log(&self, id: TopicPartition, observer: Arc<dyn Observer>) -> Log {
        let cell = {
            let mut logs = self.shared.logs.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(LogCell::new(id, LogState::default(), 0));
            Arc::clone(logs.entry(id).or_insert_with(new))
        };
        let log = Log::new(Arc::clone(&self.shared), cell);
        log.observe(observer);
        log
    }

    /// Deletes all logs of a topic, for ever: only for a deletion that the coordinator has recorded (rule R16).
    /// Durable when this returns. Blocks.
    ///
    /// # Errors
    /// If the store has stopped, or the disk takes nothing at all.
    pub fn delete(&self, topic: TopicId) -> Result<(), StoreError> {
        self.vanish(|id| id.topic == topic, Change::Delete)
    }

    /// Deletes one log, for ever: only when the coordinator has moved its partition elsewhere (rule R18). As
    /// [`Store::delete`].
    ///
    /// # Errors
    /// As [`Store::delete`].
    pub fn delete_log(&self, id: TopicPartition) -> Result<(), StoreError> {
        self.vanish(|of| of == id, Change::Delete)
    }

    /// Moves a log's folder to `orphan/`: for partitions that the metadata does not know (rule R16). Durable
    /// when this returns, though the folder moves a moment later. Blocks.
    ///
    /// # Errors
    /// As [`Store::delete`].
    pub fn set_aside(&self, id: TopicPartition) -> Result<(), StoreError> {
        self.bring_to_files(id)?;
        self.vanish(|of| of == id, Change::SetAside)
    }

    /// What is only in the write-ahead log and in memory goes to the files, synced: they are what is kept.
    fn bring_to_files(&self, id: TopicPartition) -> Result<(), StoreError> {
        let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = logs.get(&id).cloned() else { return Ok(()) };
        drop(logs);
        let in_files = || {
            let state = log.state.get();
            state.file_ops.is_empty() && state.flushed_end >= state.end
        };
        while !in_files() {
            self.checkpoint_taken_up()?;
        }
        // The flusher takes this one up only when it is through with those before.
        self.checkpoint_taken_up()
    }

    /// Asks for a checkpoint and waits until the flusher begins with it.
    fn checkpoint_taken_up(&self) -> Result<(), StoreError> {
        self.shared.flush.get().checkpoint = true;
        self.shared.flush_wake.notify_all();
        loop {
            if self.shared.is_stopped() {
                return Err(StoreError::Stopped);
            }
            if self.shared.space.is_full() {
                return Err(StoreError::Full(self.shared.space.reason()));
            }
            if !self.shared.flush.get().checkpoint {
                return Ok(());
            }
            let progress = self.shared.progress.get();
            let waited = self.shared.progress_wake.wait_timeout(progress, CHECKPOINT_POLL);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn vanish(&self, which: impl Fn(TopicPartition) -> bool, change: Change) -> Result<(), StoreError> {
        let logs: Vec<_> = {
            let logs = self.shared.logs.read().unwrap_or_else(PoisonError::into_inner);
            logs.values().filter(|log| which(log.id)).cloned().collect()
        };
        if logs.is_empty() {
            return Ok(());
        }
        let (done, answer) = sync_channel(1);
        self.shared.submit(Job::Vanish { logs, change, done });
        // The sender is dropped unused when the round could not be written, or the store stops.
        answer.recv().map_err(|_| {
            if self.shared.is_stopped() {
                StoreError::Stopped
            } else {
                StoreError::Full(self.shared.space.reason())
            }
        })
    }

    /// What the write-ahead log has done since the store was opened.
    #[must_use]
    pub fn wal(&self) -> WalTotals {
        self.shared.wal_counts.totals()
    }

    /// How much room there is, and whether appends are refused for lack of it.
    ///
    /// # Errors
    /// What the file system said.
    pub fn space(&self) -> Result<Space, StoreError> {
        let fault = |source| StoreError::Io { path: self.shared.root.clone(), source };
        self.shared.space.space().map_err(fault)
    }

    /// Whether appends are refused for lack of room; costs nothing.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.space.is_full()
    }

    /// Where logs go that are set aside.
    #[must_use]
    pub fn orphans(&self) -> std::path::PathBuf {
        self.shared.root.join(ORPHAN)
    }

    /// Writes what is queued, makes a last checkpoint and marks the dir as cleanly shut down. Blocks.
    ///
    /// # Errors
    /// If not everything could be written. Then it is as after a crash: nothing acknowledged is lost, the next
    /// open replays the write-ahead log.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.shared.queue.get().closing = true;
        self.shared.queue_wake.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
        self.shared.flush.get().closing = true;
        self.shared.flush_wake.notify_all();
        let whole = self.flusher.take().is_some_and(|flusher| flusher.join().unwrap_or(false));
        if self.shared.is_stopped() {
            return Err(StoreError::Stopped);
        }
        self.shared.stop();
        if !whole {
            return Err(StoreError::Full(self.shared.space.reason()));
        }
        let mut file = self.identity.get();
        let written = file.write(self.shared.io.as_ref(), &self.shared.root, true);
        written.map_err(|source| StoreError::Io { path: self.shared.root.join(layout::IDENTITY[0]), source })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.stop();
        let here = std::thread::current().id();
        let (writer, flusher) = (self.writer.take(), self.flusher.take());
        // An observer that drops the store does so on one of these threads, which then ends by itself.
        if let Some(writer) = writer.filter(|thread| thread.thread().id() != here) {
            let _ = writer.join();
        }
        if let Some(flusher) = flusher.filter(|thread| thread.thread().id() != here) {
            let _ = flusher.join();
        }
        // Handles may outlive the store; they must not keep its logs (and through them it) in memory.
        self.shared.logs.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.changed.get().clear();
        self.shared.recent.get().rounds.clear();
        self.shared.queue.get().jobs.clear();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.shared.root).finish_non_exhaustive()
    }
}

/// Makes a folder, and the names of all folders that were made for it durable.
fn make_durable_dir(io: &dyn Io, dir: &Path) -> std::io::Result<()> {
    let mut made = Vec::new();
    for ancestor in dir.ancestors().filter(|path| !path.as_os_str().is_empty()) {
        if io.exists(ancestor)? {
            break;
        }
        made.push(ancestor);
    }
    io.create_dir_all(dir)?;
    // The dir itself always: whoever made it may have stopped before its name was on disk.
    if made.is_empty() {
        made.push(dir);
    }
    for path in made {
        match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => io.sync_dir(Path::new("."))?,
            Some(parent) => io.sync_dir(parent)?,
            None => {}
        }
    }
    Ok(())
}

fn check(config: &StoreConfig) -> Result<(), OpenError> {
    let wrong = |name, value, reason| Err(OpenError::Config { name, value, reason });
    if config.segment_bytes == 0 || config.segment_bytes > SEGMENT_BYTES_CEILING {
        return wrong("segment_bytes", config.segment_bytes, "a segment holds from 1 byte to 2 GiB");
    }
    if config.index_interval_bytes == 0 {
        return wrong("index_interval_bytes", 0, "an index entry is made every so many bytes");
    }
    Ok(())
}
