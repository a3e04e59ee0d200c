//! The files of the write-ahead log: the one being written, those still needed, those to be used again.

use super::{FileHeader, ROUNDS_FROM};
use crate::error::Fault;
use crate::io::{Io, RandomFile, write_all};
use crate::layout::{WAL, wal_file};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ready files that are kept; more are removed.
const SPARES: usize = 4;
/// The first file of an empty dir: small, so that the first publish does not wait for zeros.
const FIRST_FILE_BYTES: u64 = 4 << 20;
/// How much of a new file is written before it is synced.
const ZEROS_PER_SYNC: u64 = 8 << 20;
/// How much of it is written at once. The page cache keeps what one write brought in as one unit, and each
/// later sync of a small round walks all of the unit that it touches.
const ZEROS_PER_WRITE: usize = 64 << 10;
/// A file made when the disk is full, for what must be written even then.
const NEED_FILE_BYTES: u64 = 1 << 20;

/// A file with room reserved and nothing needed in it.
pub(crate) struct Blank {
    slot: u32,
    length: u64,
    file: Arc<dyn RandomFile>,
}

/// A file whose rounds may still be needed.
struct Used {
    slot: u32,
    length: u64,
    last_lsn: u64,
}

/// The file that takes rounds.
pub(crate) struct Current {
    slot: u32,
    length: u64,
    pub(crate) header: FileHeader,
    pub(crate) file: Arc<dyn RandomFile>,
    pub(crate) position: u64,
}

impl Current {
    pub(crate) fn fits(&self, round_bytes: usize) -> bool {
        self.position + round_bytes as u64 <= self.length
    }

    pub(crate) fn path(&self, root: &Path) -> PathBuf {
        wal_file(root, self.slot)
    }

    pub(crate) fn half_full(&self) -> bool {
        self.position > self.length / 2
    }
}

#[derive(Default)]
struct Files {
    used: VecDeque<Used>,
    spares: Vec<Blank>,
    next_slot: u32,
    /// Whether a file has been begun since the store was opened.
    begun: bool,
}

/// Shared by the writer, which takes files, and the flusher, which gives them back.
pub(crate) struct Pool {
    io: Arc<dyn Io>,
    root: PathBuf,
    file_bytes: u64,
    files: Mutex<Files>,
}

impl Pool {
    pub(crate) fn new(io: Arc<dyn Io>, root: PathBuf, file_bytes: u64) -> Self {
        Self { io, root, file_bytes: file_bytes.max(2 * ROUNDS_FROM), files: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a file found at start: `last_lsn` = the last of its rounds that may be needed.
    pub(crate) fn found(&self, slot: u32, length: u64, last_lsn: u64) {
        let mut files = self.lock();
        files.next_slot = files.next_slot.max(slot + 1);
        files.used.push_back(Used { slot, length, last_lsn });
    }

    pub(crate) fn has_spare(&self) -> bool {
        !self.lock().spares.is_empty()
    }

    /// How many files hold rounds that may still be needed, beside the one being written.
    pub(crate) fn used_files(&self) -> usize {
        self.lock().used.len()
    }

    /// Makes a file ready for later.
    pub(crate) fn make_spare(&self) -> Result<(), Fault> {
        let blank = self.make(self.file_bytes, self.file_bytes)?;
        self.lock().spares.push(blank);
        Ok(())
    }

    /// A file that is fit for a round of so many bytes: a spare one or a new one.
    pub(crate) fn take(&self, round_bytes: usize, how: Take) -> Result<Blank, Fault> {
        let least = ROUNDS_FROM + round_bytes as u64;
        {
            let mut files = self.lock();
            if let Some(index) = files.spares.iter().position(|blank| blank.length >= least) {
                return Ok(files.spares.swap_remove(index));
            }
        }
        let usual = match how {
            Take::First => self.file_bytes.min(FIRST_FILE_BYTES),
            Take::Next => self.file_bytes,
            Take::Need => self.file_bytes.min(NEED_FILE_BYTES),
        };
        let length = usual.max(least);
        self.make(length, if how == Take::Next { 0 } else { length })
    }

    // Zeros are written, not only reserved: a sync after a write into blocks that were never written has
    // to record that they now are, which costs more than the data. But when the log outruns the making of
    // spare files, rounds do not wait for zeros.
    fn make(&self, length: u64, zeros_to: u64) -> Result<Blank, Fault> {
        let slot = {
            let mut files = self.lock();
            files.next_slot += 1;
            files.next_slot - 1
        };
        let path = wal_file(&self.root, slot);
        let made = self.io.create(&path).and_then(|file| {
            file.allocate(length)?;
            let zeros = vec![0; ZEROS_PER_WRITE];
            let mut at = 0;
            while at < zeros_to {
                let step = (zeros_to - at).min(zeros.len() as u64);
                write_all(file.as_ref(), &zeros[..usize::try_from(step).map_err(io::Error::other)?], at)?;
                at += step;
                // A little at a time: a long sync would hold up those of the rounds.
                if at.is_multiple_of(ZEROS_PER_SYNC) {
                    let synced = file.sync();
                    if synced.is_err() {
                        return Ok((file, synced));
                    }
                }
            }
            let synced = file.sync();
            Ok((file, synced))
        });
        let (file, synced) = made.map_err(|error| {
            let _ = self.io.remove_file(&path);
            Fault::Write(path.clone(), error)
        })?;
        synced.map_err(|error| Fault::Sync(path, error))?;
        let dir = self.root.join(WAL);
        self.io.sync_dir(&dir).map_err(|error| Fault::Sync(dir, error))?;
        Ok(Blank { slot, length, file })
    }

    /// Begins to use a file. The header is written, and synced with the first round.
    pub(crate) fn begin(&self, blank: Blank, header: FileHeader) -> Result<Current, Fault> {
        if let Err(error) = header.write(blank.file.as_ref()) {
            let path = wal_file(&self.root, blank.slot);
            self.lock().spares.push(blank);
            return Err(Fault::Write(path, error));
        }
        self.lock().begun = true;
        Ok(Current {
            slot: blank.slot,
            length: blank.length,
            header,
            file: blank.file,
            position: ROUNDS_FROM,
        })
    }

    /// The writer has gone on to another file; this one ends with `last_lsn`.
    pub(crate) fn retire(&self, current: &Current, last_lsn: u64) {
        let used = Used { slot: current.slot, length: current.length, last_lsn };
        self.lock().used.push_back(used);
    }

    /// Nothing up to `lsn` is needed any more.
    pub(crate) fn trim(&self, lsn: u64) {
        loop {
            let used = {
                let mut files = self.lock();
                // Until there is a new one, the last file shows where the log ended.
                let last = !files.begun && files.used.len() == 1;
                match files.used.front() {
                    Some(first) if first.last_lsn <= lsn && !last => files.used.pop_front(),
                    _ => return,
                }
            };
            let Some(used) = used else { return };
            let path = wal_file(&self.root, used.slot);
            let keep = used.length == self.file_bytes && self.lock().spares.len() < SPARES;
            match self.io.open(&path) {
                Ok(file) if keep => {
                    self.lock().spares.push(Blank { slot: used.slot, length: used.length, file });
                }
                // A file that stays behind is found again, and given back, at the next start.
                _ => {
                    let _ = self.io.remove_file(&path);
                }
            }
        }
    }
}

/// How big a new file should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Take {
    /// As fast as possible.
    First,
    /// As configured, though without zeros.
    Next,
    /// As small as will do.
    Need,
}
