//! The thread that writes the write-ahead log: one round after the other, each with all that was queued
//! while the one before was being synced.

use super::pool::{Current, Take};
use super::round::{Draft, RoundAt, build, length_of};
use super::{FileHeader, ROUNDS_FROM, plan::Plan};
use crate::error::Fault;
use crate::io::write_all;
use crate::shared::{Job, RecentRound, Shared};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Instant;
use yak_protocol::error::{ErrorCode, WireError};

/// Where the log goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    /// The LSN of the next round.
    pub(crate) lsn: u64,
    /// The CRC of the last one.
    pub(crate) previous_crc: u32,
    /// The id of the next file.
    pub(crate) file_id: u64,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    at: Position,
    current: Option<Current>,
}

/// The store has stopped.
struct Stopped;

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, at: Position) -> Self {
        Self { shared, at, current: None }
    }

    /// Writes rounds until the store stops or closes.
    pub(crate) fn run(mut self) {
        let mut jobs = VecDeque::new();
        while self.take_jobs(&mut jobs) {
            if self.round(&mut jobs).is_err() {
                return;
            }
        }
    }

    /// Adds everything queued; waits while there is nothing to do. `false` = it is time to end.
    fn take_jobs(&self, jobs: &mut VecDeque<Job>) -> bool {
        let shared = &self.shared;
        let mut queue = shared.queue.get();
        loop {
            if shared.is_stopped() {
                return false;
            }
            if jobs.is_empty() {
                std::mem::swap(jobs, &mut queue.jobs);
            } else {
                jobs.append(&mut queue.jobs);
            }
            if !jobs.is_empty() {
                return true;
            }
            if queue.closing {
                return false;
            }
            queue.writer_asleep = true;
            queue = shared.queue_wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn round(&mut self, jobs: &mut VecDeque<Job>) -> Result<(), Stopped> {
        self.wait_for_flusher()?;
        let shared = Arc::clone(&self.shared);
        let mut plan = Plan::new(&shared);
        plan.fill(jobs);
        if !plan.drafts.is_empty() {
            match self.write(&mut plan.drafts)? {
                Ok(round) => self.commit(&mut plan, &round)?,
                Err(error) => plan.fail_all(&error),
            }
        }
        plan.report_failures();
        Ok(())
    }

    /// Memory is bounded: appends wait until earlier ones have reached their segments. Not when the disk
    /// is full: then they are to be refused, not to wait.
    fn wait_for_flusher(&self) -> Result<(), Stopped> {
        let shared = &self.shared;
        if shared.unflushed_bytes() <= shared.config.dirty_bytes_max {
            return Ok(());
        }
        let mut progress = shared.progress.get();
        while shared.unflushed_bytes() > shared.config.dirty_bytes_max && !shared.space.is_full() {
            if shared.is_stopped() {
                return Err(Stopped);
            }
            progress = shared.progress_wake.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Writes one round, not synced. The inner error is definite: nothing of it is there.
    fn write(&mut self, drafts: &mut [Draft]) -> Result<Result<Bytes, WireError>, Stopped> {
        let payload_bytes = drafts.iter().map(|draft| draft.batches.len()).sum();
        let length = length_of(drafts.len(), payload_bytes);
        if !self.current.as_ref().is_some_and(|current| current.fits(length)) {
            match self.next_file(length) {
                Ok(()) => {}
                Err(Fault::Write(path, error)) => {
                    let doing = format!("extending the write-ahead log by {}", path.display());
                    return Ok(Err(self.refuse(&doing, &error)));
                }
                Err(Fault::Sync(path, error)) => {
                    return Err(self.die(&format!("syncing {} failed: {error}", path.display())));
                }
                Err(Fault::Stopped) => return Err(Stopped),
            }
        }
        let Some(current) = self.current.as_mut() else { return Err(Stopped) };
        let at = RoundAt {
            seed: current.header.seed(),
            lsn: self.at.lsn,
            synced: self.at.lsn - 1,
            previous_crc: self.at.previous_crc,
        };
        let (round, crc) = build(&at, drafts);
        if let Err(error) = write_all(current.file.as_ref(), &round, current.position) {
            let path = current.path(&self.shared.root);
            // Without room the call says how many bytes it took, so the round is known to lack its end and
            // will never parse. After any other error all of it may be there: it must be made void.
            if !out_of_room(&error) {
                let voided =
                    write_all(current.file.as_ref(), &[0; super::round::HEADER_BYTES], current.position)
                        .and_then(|()| current.file.sync());
                if let Err(again) = voided {
                    let what = format!(
                        "{} can be neither written ({error}) nor rolled back ({again})",
                        path.display()
                    );
                    return Err(self.die(&what));
                }
            }
            return Ok(Err(self.refuse(&format!("writing {}", path.display()), &error)));
        }
        current.position += round.len() as u64;
        self.at.previous_crc = crc;
        Ok(Ok(round))
    }

    /// The round is written as a whole: from here on it cannot be rolled back.
    fn commit(&mut self, plan: &mut Plan<'_>, round: &Bytes) -> Result<(), Stopped> {
        let lsn = self.at.lsn;
        let Some(current) = self.current.as_ref() else { return Err(Stopped) };
        plan.apply(lsn, round);
        self.shared.progress.get().applied = lsn;
        self.shared.wal_counts.written(round.len());
        plan.report_written();
        let began = Instant::now();
        if let Err(error) = current.file.sync() {
            let path = current.path(&self.shared.root);
            return Err(self.die(&format!("syncing {} failed: {error}", path.display())));
        }
        self.shared.wal_counts.synced(began.elapsed());
        self.at.lsn += 1;
        self.shared.progress.get().synced = lsn;
        self.shared.progress_wake.notify_all();
        plan.report_synced();
        let wants_spare = current.half_full() && !self.shared.pool.has_spare();
        let logs = plan.logs();
        {
            let mut recent = self.shared.recent.get();
            recent.bytes += round.len() as u64;
            recent.rounds.push_back(RecentRound { lsn, bytes: round.len() as u64, logs });
        }
        self.shared.note_change(wants_spare);
        Ok(())
    }

    /// Goes on in another file, fit for a round of so many bytes.
    fn next_file(&mut self, round_bytes: usize) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        shared.space.check(true);
        let how = match (&self.current, shared.space.is_full()) {
            (_, true) => Take::Need,
            (None, false) => Take::First,
            (Some(_), false) => Take::Next,
        };
        let blank = match shared.pool.take(round_bytes, how) {
            Err(Fault::Write(path, error)) if out_of_room(&error) => {
                self.refuse(&format!("making {}", path.display()), &error);
                if !shared.space.drop_ballast() {
                    return Err(Fault::Write(path, error));
                }
                shared.pool.take(round_bytes, Take::Need)?
            }
            other => other?,
        };
        let header = FileHeader {
            id: self.at.file_id,
            salt: u64::from_be_bytes(uuid::Uuid::new_v4().as_bytes()[8..].try_into().unwrap_or_default()),
            first_lsn: self.at.lsn,
            previous_crc: self.at.previous_crc,
        };
        // Used up even if this fails: half of the header may be on the disk, and of two files with one id a
        // scan would take the other one's rounds for nothing.
        self.at.file_id += 1;
        let next = shared.pool.begin(blank, header)?;
        assert!(next.position == ROUNDS_FROM, "a file begins at its front");
        if let Some(before) = self.current.replace(next) {
            shared.pool.retire(&before, self.at.lsn - 1);
        }
        Ok(())
    }

    fn refuse(&self, doing: &str, error: &io::Error) -> WireError {
        self.shared.space.note(doing, error);
        // The flusher sees to it that appends are taken again.
        drop(self.shared.flush.get());
        self.shared.flush_wake.notify_all();
        storage_full(&self.shared.space.reason())
    }

    fn die(&self, what: &str) -> Stopped {
        self.shared.die(what);
        Stopped
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A panic in here must not leave publishers waiting for ever.
        if std::thread::panicking() {
            self.shared.die("the writer of the write-ahead log panicked");
        }
    }
}

/// Whether a write failed for lack of room, and hence took nothing.
pub(crate) fn out_of_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// The definite refusal of an append.
pub(crate) fn storage_full(reason: &str) -> WireError {
    WireError::new(ErrorCode::StorageFull, format!("nothing was written: {reason}"))
        .hint("free space on the broker's disk; publishing resumes by itself")
}
