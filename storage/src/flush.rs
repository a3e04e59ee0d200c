//! The thread behind the write-ahead log: writes segments, makes checkpoints, gives files back.
//!
//! What it does to the segments' files is in `segment_writer`.

use crate::checkpoint::Checkpoints;
use crate::error::Fault;
use crate::layout::{self, TOPICS, TRASH};
use crate::segment_writer::SegmentWriter;
use crate::shared::{LogCell, Shared};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

pub(crate) struct Flusher {
    shared: Arc<Shared>,
    checkpoints: Checkpoints,
    segments: SegmentWriter,
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
        let segments = SegmentWriter::new(Arc::clone(&shared));
        Self { shared, checkpoints, segments }
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
                Err(Fault::Write(path, error)) if is_broken(&error) => {
                    self.shared.die(&format!("writing {} failed: {error}", path.display()));
                    return false;
                }
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
            self.segments.flush(log)?;
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
        // After a failure this comes only once that has been noted: it would refuse appends again that had just
        // been allowed.
        match outcome {
            Ok(()) => self.shared.space.check(true),
            Err(_) => self.shared.list_again(logs),
        }
        outcome
    }

    fn checkpoint_of(&mut self, logs: &[Arc<LogCell>], mark: u64, applied: u64) -> Result<(), Fault> {
        let mut vanished = false;
        for log in logs {
            let snapshot = self.segments.flush(log)?;
            vanished |= snapshot.gone;
            self.checkpoints.set(&snapshot);
        }
        self.flushed(mark, applied);
        self.segments.sync()?;
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

    fn empty_trash(&self) {
        // Whatever cannot be removed now is removed at the next start.
        let trash = self.shared.root.join(TRASH);
        for entry in self.shared.io.list(&trash).unwrap_or_default() {
            let _ = self.shared.io.remove_dir_all(&trash.join(entry.name));
        }
        remove_empty_topics(&self.shared);
    }
}

/// Removes the folders of topics that have no partition here any more, as far as that is possible now.
pub(crate) fn remove_empty_topics(shared: &Shared) {
    let topics = shared.root.join(TOPICS);
    for entry in shared.io.list(&topics).unwrap_or_default() {
        let dir = topics.join(&entry.name);
        let empty = layout::parse_topic(&entry.name).is_some()
            && shared.io.list(&dir).is_ok_and(|inside| inside.is_empty());
        if empty {
            let _ = shared.io.remove_dir_all(&dir);
        }
    }
}

/// Whether the error says that the disk itself fails: then trying again would only keep a replica alive that
/// can take nothing, where another one could lead.
fn is_broken(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.raw_os_error() == Some(EIO) || error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

impl Drop for Flusher {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.die("the flusher panicked");
        }
    }
}
