//! The coordinator's journal: what the cluster machine decided, durable before anybody hears of it.
//!
//! One file, `journal`, only ever appended to:
//!
//! ```text
//! +----------------+------------------+      +------------+------------+--------------+--------------+
//! | "YAKJ" 4 bytes | u32 LE version 1 | then | u32 LE     | u32 LE     | u64 LE       | payload      |
//! +----------------+------------------+      | payload    | CRC32C of  | sequence     | MessagePack: |
//!                                            | length     | the rest   | number       | list of      |
//!                                            |            | + length   | (no gaps)    | records      |
//!                                            +------------+------------+--------------+--------------+
//! ```
//!
//! An entry is one decision of the machine: all of its records or none. A snapshot is a journal, too, with
//! the state's shortest history as its only entry; it is written beside the old one and renamed over it.
//!
//! At start an invalid entry with nothing valid behind it is a write that never finished: nobody heard of
//! it, and it is cut. An invalid entry before a valid one is damage, and the coordinator refuses to start:
//! deciding from less than was promised could undo what was acknowledged.

use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use yak_core::cluster::Record;

const MAGIC: [u8; 4] = *b"YAKJ";
const VERSION: u32 = 1;
const FILE_HEADER_BYTES: usize = 8;
const ENTRY_HEADER_BYTES: usize = 16;
/// How much of the journal's end is written again at start: more than one round of decisions takes.
const REWRITTEN_BYTES: usize = 4 << 20;
/// A journal shorter than this is not worth a snapshot.
const SNAPSHOT_BYTES_MIN: u64 = 1 << 20;
/// A journal is replaced by a snapshot when it has grown to so many times the last one.
const SNAPSHOT_GROWTH: u64 = 4;

const JOURNAL: &str = "journal";
const UNFINISHED: &str = "journal.new";
const LOCK: &str = "lock";

/// Why the journal cannot be used. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("cannot {what} {path}: {cause}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        cause: io::Error,
    },
    /// Another process uses the data dir.
    #[error(
        "the data dir {0} is in use by another coordinator; stop that one, or give this one its own --data"
    )]
    Locked(PathBuf),
    /// The data dir holds other things and no journal.
    #[error(
        "the data dir {dir} holds {found:?} but no coordinator journal; give an empty dir or the right one"
    )]
    Foreign {
        /// Which.
        dir: PathBuf,
        /// One of the things.
        found: String,
    },
    /// The file is damaged, or not a journal.
    #[error(
        "the journal {path} is damaged at byte {position}: {what}; restore it from a copy of the data dir"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        position: u64,
        /// What was found.
        what: String,
    },
    /// The file was written by a newer version of the software.
    #[error("the journal {path} has format {version}, this software reads format {VERSION}; upgrade it")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
}

/// What a journal held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// All records, in order.
    pub records: Vec<Record>,
    /// Whether the data dir was empty, so that the journal was made just now.
    pub created: bool,
    /// How many bytes of an unfinished entry were cut off the end.
    pub cut_bytes: u64,
}

/// What was written since the journal was opened, and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Records that it holds behind its first entry, the last snapshot.
    pub records_since_snapshot: u64,
    /// Snapshots since it was opened.
    pub snapshots: u64,
    /// Syncs since it was opened, and how long all of them took.
    pub syncs: u64,
    /// How long all of them took.
    pub sync_time: Duration,
    /// When the last one was done and how long it took.
    pub last_sync: Option<(SystemTime, Duration)>,
}

/// For looking at the file without the journal.
#[derive(Debug)]
pub struct Look {
    path: PathBuf,
    file: io::Result<File>,
}

impl Look {
    /// Why the next entry could not be kept, as far as that can be told without writing it. Blocks.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let path = self.path.display();
        let found = self.file.as_ref().map_err(ToString::to_string).and_then(|file| {
            let open = file.metadata().map_err(|error| error.to_string())?;
            let named = std::fs::metadata(&self.path).map_err(|error| error.to_string())?;
            let space = rustix::fs::fstatvfs(file).map_err(|error| error.to_string())?;
            Ok(((open.dev(), open.ino()) == (named.dev(), named.ino()), space.f_bavail))
        });
        match found {
            Err(error) => Some(format!("the journal {path}: {error}")),
            Ok((false, _)) => Some(format!("the journal {path} was replaced while it was in use")),
            Ok((true, 0)) => Some(format!("the disk of the journal {path} is full")),
            Ok((true, _)) => None,
        }
    }
}

/// An open journal. Blocking; one owner.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    file: File,
    next_sequence: u64,
    bytes: u64,
    snapshot_bytes: u64,
    totals: Totals,
    /// Held as long as the journal is open.
    _lock: File,
}

impl Journal {
    /// Opens the journal in `dir`, or makes one with the records of `format` if the dir is empty.
    ///
    /// # Errors
    /// When the dir is locked, foreign or unwritable, or the journal is damaged.
    pub fn open(dir: &Path, format: impl FnOnce() -> Vec<Record>) -> Result<(Self, Recovered), JournalError> {
        make_dir(dir).map_err(io_error("make the data dir", dir))?;
        let lock = lock(dir)?;
        let path = dir.join(JOURNAL);
        let unfinished = dir.join(UNFINISHED);
        if unfinished.exists() {
            // A snapshot that was not finished; the journal beside it is complete.
            std::fs::remove_file(&unfinished).map_err(io_error("remove", &unfinished))?;
        }
        let created = !path.exists();
        if created {
            refuse_foreign(dir)?;
            write_whole(dir, 1, &format())?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io_error("open the journal", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error("read the journal", &path))?;
        let found = parse(&path, &bytes)?;
        let cut_bytes = (bytes.len() - found.end) as u64;
        let end = found.end as u64;
        if cut_bytes > 0 {
            file.set_len(end).map_err(io_error("cut the unfinished end of", &path))?;
        }
        // What an earlier process wrote and could not sync reads as if it had been kept: it is written again.
        let from = found.end.saturating_sub(REWRITTEN_BYTES);
        file.seek(SeekFrom::Start(from as u64)).map_err(io_error("seek in", &path))?;
        file.write_all(&bytes[from..found.end]).map_err(io_error("write again", &path))?;
        file.sync_all().map_err(io_error("sync", &path))?;
        let journal = Self {
            dir: dir.to_owned(),
            file,
            next_sequence: found.next_sequence,
            bytes: end,
            snapshot_bytes: found.first_entry_end as u64,
            totals: Totals {
                records_since_snapshot: (found.records.len() - found.first_entry_records) as u64,
                ..Totals::default()
            },
            _lock: lock,
        };
        Ok((journal, Recovered { records: found.records, created, cut_bytes }))
    }

    /// Appends decisions, each as one entry, with one write and one sync. When this returns they are kept.
    ///
    /// # Errors
    /// When the disk refuses. The journal's end is then unknown, and it must not be used any more: a
    /// failed sync is never retried, because the kernel may have dropped what it could not write.
    pub fn append(&mut self, decisions: &[Vec<Record>]) -> Result<(), JournalError> {
        let path = self.dir.join(JOURNAL);
        let mut bytes = Vec::new();
        for records in decisions {
            encode(self.next_sequence, records, &mut bytes)
                .map_err(io_error("encode an entry for", &path))?;
            self.next_sequence += 1;
        }
        self.file.write_all(&bytes).map_err(io_error("write", &path))?;
        let began = Instant::now();
        self.file.sync_data().map_err(io_error("sync", &path))?;
        self.bytes += bytes.len() as u64;
        let (totals, took) = (&mut self.totals, began.elapsed());
        totals.records_since_snapshot += decisions.iter().map(|records| records.len() as u64).sum::<u64>();
        totals.syncs += 1;
        totals.sync_time += took;
        totals.last_sync = Some((SystemTime::now(), took));
        Ok(())
    }

    /// Whether a snapshot would make the journal much shorter.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.bytes >= SNAPSHOT_BYTES_MIN && self.bytes >= self.snapshot_bytes.saturating_mul(SNAPSHOT_GROWTH)
    }

    /// Replaces the journal by the shortest one that leads to the same state.
    ///
    /// # Errors
    /// When the disk refuses; the journal must not be used any more.
    pub fn replace(&mut self, snapshot: &[Record]) -> Result<(), JournalError> {
        write_whole(&self.dir, self.next_sequence, snapshot)?;
        let path = self.dir.join(JOURNAL);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io_error("open the journal", &path))?;
        self.bytes = file.seek(SeekFrom::End(0)).map_err(io_error("seek in", &path))?;
        self.file = file;
        self.snapshot_bytes = self.bytes;
        self.next_sequence += 1;
        self.totals.records_since_snapshot = 0;
        self.totals.snapshots += 1;
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(JOURNAL)
    }

    /// How long its first entry is, the last snapshot, in bytes.
    #[must_use]
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes
    }

    /// The number of its last entry.
    #[must_use]
    pub fn last_entry(&self) -> u64 {
        self.next_sequence.saturating_sub(1)
    }

    /// What was written.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// For looking at the file from elsewhere.
    #[must_use]
    pub fn look(&self) -> Look {
        Look { path: self.path(), file: self.file.try_clone() }
    }

    /// How long the file is, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |cause| JournalError::Io { what, path, cause }
}

/// Makes the folder, and its name durable.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Takes the data dir for this process.
pub(crate) fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error("open the lock file", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::Locked(dir.to_owned())),
        Err(cause) => Err(io_error("lock", &path)(cause.into())),
    }
}

/// A new cluster is made only in an empty dir: a mistyped path must not make one beside a broker's data.
fn refuse_foreign(dir: &Path) -> Result<(), JournalError> {
    for entry in std::fs::read_dir(dir).map_err(io_error("list the data dir", dir))? {
        let name = entry.map_err(io_error("list the data dir", dir))?.file_name();
        if name != LOCK && name != "lost+found" {
            return Err(JournalError::Foreign {
                dir: dir.to_owned(),
                found: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

/// Writes a whole journal beside the current one and renames it into place.
fn write_whole(dir: &Path, sequence: u64, records: &[Record]) -> Result<(), JournalError> {
    let unfinished = dir.join(UNFINISHED);
    let mut bytes = Vec::from(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    encode(sequence, records, &mut bytes).map_err(io_error("encode a snapshot for", &unfinished))?;
    let mut file = File::create(&unfinished).map_err(io_error("make", &unfinished))?;
    file.write_all(&bytes).map_err(io_error("write", &unfinished))?;
    file.sync_all().map_err(io_error("sync", &unfinished))?;
    let path = dir.join(JOURNAL);
    std::fs::rename(&unfinished, &path).map_err(io_error("rename a snapshot to", &path))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync the data dir", dir))
}

fn encode(sequence: u64, records: &[Record], bytes: &mut Vec<u8>) -> io::Result<()> {
    let payload = rmp_serde::to_vec_named(records).map_err(io::Error::other)?;
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(checksum(sequence, &payload).to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(payload);
    Ok(())
}

fn checksum(sequence: u64, payload: &[u8]) -> u32 {
    // The length counts too: a damaged one must not pass for a shorter entry.
    let crc = crc32c::crc32c(&(payload.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &sequence.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

struct Found {
    records: Vec<Record>,
    /// Where the last valid entry ends.
    end: usize,
    first_entry_end: usize,
    first_entry_records: usize,
    next_sequence: u64,
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Found, JournalError> {
    let damaged = |position: usize, what: String| JournalError::Damaged {
        path: path.to_owned(),
        position: position as u64,
        what,
    };
    if bytes.get(..4) != Some(&MAGIC) {
        return Err(damaged(0, "it does not begin as a journal does".to_owned()));
    }
    let Some(version) = u32_at(bytes, 4) else {
        return Err(damaged(4, "it ends within its header".to_owned()));
    };
    if version != VERSION {
        return Err(JournalError::Newer { path: path.to_owned(), version });
    }
    let mut found = Found {
        records: Vec::new(),
        end: FILE_HEADER_BYTES,
        first_entry_end: 0,
        first_entry_records: 0,
        next_sequence: 0,
    };
    while let Some((sequence, payload)) = entry_at(bytes, found.end) {
        if found.first_entry_end > 0 && sequence != found.next_sequence {
            let what = format!("entry {} is missing, entry {sequence} follows", found.next_sequence);
            return Err(damaged(found.end, what));
        }
        let records: Vec<Record> = rmp_serde::from_slice(payload).map_err(|cause| {
            damaged(found.end, format!("entry {sequence} is valid but not understood ({cause})"))
        })?;
        found.records.extend(records);
        found.end += ENTRY_HEADER_BYTES + payload.len();
        found.next_sequence = sequence + 1;
        if found.first_entry_end == 0 {
            found.first_entry_end = found.end;
            found.first_entry_records = found.records.len();
        }
    }
    // The first entry came with a rename: it is never unfinished.
    if found.first_entry_end == 0 {
        return Err(damaged(found.end, "its first entry is invalid".to_owned()));
    }
    if let Some(later) = later_entry(bytes, found.end, found.next_sequence) {
        let what =
            format!("entry {} is invalid, but a later one at byte {later} is not", found.next_sequence);
        return Err(damaged(found.end, what));
    }
    Ok(found)
}

fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    let field = bytes.get(position..position.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

fn u64_at(bytes: &[u8], position: usize) -> Option<u64> {
    let field = bytes.get(position..position.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

/// The valid entry at that byte: its sequence number and payload.
fn entry_at(bytes: &[u8], position: usize) -> Option<(u64, &[u8])> {
    let length = u32_at(bytes, position)? as usize;
    let crc = u32_at(bytes, position + 4)?;
    let sequence = u64_at(bytes, position + 8)?;
    let start = position + ENTRY_HEADER_BYTES;
    let payload = bytes.get(start..start.checked_add(length)?)?;
    (checksum(sequence, payload) == crc).then_some((sequence, payload))
}

/// Where behind an invalid entry a valid one with a later number is; none = the end was never finished.
fn later_entry(bytes: &[u8], invalid: usize, sequence: u64) -> Option<usize> {
    let possible = sequence..=sequence + (bytes.len() / ENTRY_HEADER_BYTES) as u64;
    (invalid + 1..bytes.len()).find(|position| {
        // The number first: it rules out nearly every byte without a checksum.
        u64_at(bytes, position + 8).is_some_and(|number| possible.contains(&number))
            && entry_at(bytes, *position).is_some()
    })
}
