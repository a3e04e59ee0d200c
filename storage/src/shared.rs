//! What the threads of a store share.
//!
//! Lock order: a cell's `files`, then its `state`, then anything of [`Shared`]; none of the latter is held
//! while another is taken.

use crate::StoreConfig;
use crate::files::SegmentFiles;
use crate::io::Io;
use crate::space::SpaceGuard;
use crate::state::LogState;
use crate::wal::WalCounts;
use crate::wal::pool::Pool;
use crate::wal::round::Change;
use crate::{FatalHook, LogOp, Observer};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;
use yak_protocol::ids::TopicPartition;

/// A checkpoint is made early once so many files of the write-ahead log wait for it.
const WAL_FILES_MAX: usize = 6;

/// A mutex whose poison is ignored: a thread that panics while it holds one has stopped the store anyway.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn get(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One log.
pub(crate) struct LogCell {
    pub(crate) id: TopicPartition,
    pub(crate) state: Lock<LogState>,
    pub(crate) observer: Lock<Arc<dyn Observer>>,
    /// A lower bound of the high watermark, for the next checkpoint.
    pub(crate) hint: AtomicU64,
    /// The size at which its segments are closed, in bytes; 0 = the store's.
    pub(crate) segment_bytes: AtomicU64,
    /// A segment that begins before this takes no more appends.
    pub(crate) close_before: AtomicU64,
    /// Whether it is among [`Shared::changed`].
    pub(crate) listed: AtomicBool,
    /// Held by whoever changes the partition's files.
    pub(crate) files: Lock<()>,
    /// Where readers of files went on last.
    pub(crate) cursors: Lock<crate::read::Cursors>,
}

impl LogCell {
    pub(crate) fn new(id: TopicPartition, state: LogState, hint: u64) -> Self {
        Self {
            id,
            state: Lock::new(state),
            observer: Lock::new(Arc::new(Unobserved)),
            hint: AtomicU64::new(hint),
            segment_bytes: AtomicU64::new(0),
            close_before: AtomicU64::new(0),
            listed: AtomicBool::new(false),
            files: Lock::default(),
            cursors: Lock::default(),
        }
    }
}

/// Until somebody asks for the log.
struct Unobserved;

impl Observer for Unobserved {
    fn written(&self, _: u64) {}
    fn synced(&self, _: u64) {}
    fn failed(&self, _: u64, _: yak_protocol::error::WireError) {}
}

/// Something for the writer.
pub(crate) enum Job {
    Op {
        log: Arc<LogCell>,
        seq: u64,
        op: LogOp,
    },
    /// The submitter knows of the failure; what it submits from here on counts again.
    Resume(Arc<LogCell>),
    /// Delete or set aside these logs; answered when synced.
    Vanish {
        logs: Vec<Arc<LogCell>>,
        change: Change,
        done: SyncSender<()>,
    },
}

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) jobs: VecDeque<Job>,
    /// The writer waits for a job; whoever brings one takes this back and wakes it.
    pub(crate) writer_asleep: bool,
    /// Write what is queued, then end.
    pub(crate) closing: bool,
}

#[derive(Default)]
pub(crate) struct Progress {
    /// Every log has taken over the rounds up to here.
    pub(crate) applied: u64,
    /// The rounds up to here are on disk.
    pub(crate) synced: u64,
}

/// What the flusher is woken for.
#[derive(Default)]
pub(crate) struct FlushSignal {
    /// When the first change since the last checkpoint happened.
    pub(crate) changed: Option<Instant>,
    pub(crate) write_behind: bool,
    pub(crate) checkpoint: bool,
    pub(crate) spare: bool,
    /// Make a last checkpoint, then end.
    pub(crate) closing: bool,
}

/// A round whose batches are in memory.
pub(crate) struct RecentRound {
    pub(crate) lsn: u64,
    pub(crate) bytes: u64,
    pub(crate) logs: Vec<Arc<LogCell>>,
}

#[derive(Default)]
pub(crate) struct Recent {
    pub(crate) rounds: VecDeque<RecentRound>,
    pub(crate) bytes: u64,
}

pub(crate) struct Shared {
    pub(crate) root: PathBuf,
    pub(crate) config: StoreConfig,
    pub(crate) io: Arc<dyn Io>,
    pub(crate) fatal: FatalHook,
    pub(crate) stopped: AtomicBool,
    pub(crate) queue: Lock<Queue>,
    pub(crate) queue_wake: Condvar,
    pub(crate) progress: Lock<Progress>,
    pub(crate) progress_wake: Condvar,
    pub(crate) flush: Lock<FlushSignal>,
    pub(crate) flush_wake: Condvar,
    pub(crate) logs: RwLock<BTreeMap<TopicPartition, Arc<LogCell>>>,
    /// Logs that changed since the last checkpoint, in the order in which they began to.
    pub(crate) changed: Lock<Vec<Arc<LogCell>>>,
    pub(crate) recent: Lock<Recent>,
    pub(crate) wal_counts: WalCounts,
    /// Bytes of batches ever appended.
    pub(crate) appended_bytes: AtomicU64,
    /// How many of them have reached their segments (or were cut before).
    pub(crate) flushed_bytes: AtomicU64,
    pub(crate) space: SpaceGuard,
    pub(crate) files: SegmentFiles,
    pub(crate) pool: Pool,
}

impl Shared {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Ends both threads without writing anything more.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Taking each lock once makes sure that nobody is between looking at the flag and falling asleep.
        // Whoever waits for an answer to something queued hears that there will be none.
        let never = std::mem::take(&mut self.queue.get().jobs);
        drop(never);
        self.queue_wake.notify_all();
        drop(self.progress.get());
        self.progress_wake.notify_all();
        drop(self.flush.get());
        self.flush_wake.notify_all();
    }

    /// What is on disk is no longer known: nothing more may be promised.
    pub(crate) fn die(&self, what: &str) {
        if !self.is_stopped() {
            tracing::error!(what, "the disk failed; nothing more can be promised");
            self.stop();
            (self.fatal)(what);
        }
    }

    pub(crate) fn submit(&self, job: Job) {
        let mut queue = self.queue.get();
        if self.is_stopped() {
            return;
        }
        queue.jobs.push_back(job);
        let asleep = std::mem::take(&mut queue.writer_asleep);
        // The writer wants the lock first thing: it would wake only to wait for it.
        drop(queue);
        if asleep {
            self.queue_wake.notify_one();
        }
    }

    /// Takes note that the log differs from its last checkpoint.
    pub(crate) fn list(&self, log: &Arc<LogCell>) {
        if !log.listed.swap(true, Ordering::AcqRel) {
            self.changed.get().push(Arc::clone(log));
        }
    }

    /// Lists logs whose checkpoint failed, in front of what changed since: what a log that was set aside does
    /// to its folder comes before anything that the next log of that name puts there.
    pub(crate) fn list_again(&self, logs: Vec<Arc<LogCell>>) {
        let mut changed = self.changed.get();
        for log in &logs {
            log.listed.store(true, Ordering::Release);
        }
        let newer = std::mem::replace(&mut *changed, logs);
        let known = changed.len();
        for log in newer {
            if !changed[..known].iter().any(|listed| Arc::ptr_eq(listed, &log)) {
                changed.push(log);
            }
        }
    }

    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Acquire).saturating_sub(self.flushed_bytes.load(Ordering::Acquire))
    }

    /// So many more bytes are in their segments: appends that wait for that may go on.
    pub(crate) fn flushed(&self, bytes: u64) {
        let before = self.unflushed_bytes();
        self.flushed_bytes.fetch_add(bytes, Ordering::AcqRel);
        if bytes > 0 && before > self.config.dirty_bytes_max {
            drop(self.progress.get());
            self.progress_wake.notify_all();
        }
    }

    /// Wakes the flusher: something changed, and a checkpoint is due in a while.
    pub(crate) fn note_change(&self, wants_spare: bool) {
        let much = self.unflushed_bytes() >= self.config.write_behind_bytes;
        let long = self.pool.used_files() > WAL_FILES_MAX;
        let mut signal = self.flush.get();
        let news = signal.changed.is_none()
            || much && !signal.write_behind
            || long && !signal.checkpoint
            || wants_spare && !signal.spare;
        signal.changed.get_or_insert_with(Instant::now);
        signal.write_behind |= much;
        signal.checkpoint |= long;
        signal.spare |= wants_spare;
        if news {
            self.flush_wake.notify_one();
        }
    }

    /// Waits until round `lsn` is on disk; `false` if the store stops first.
    pub(crate) fn wait_synced(&self, lsn: u64) -> bool {
        let mut progress = self.progress.get();
        while progress.synced < lsn && !self.is_stopped() {
            progress = self.progress_wake.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress.synced >= lsn && !self.is_stopped()
    }
}
