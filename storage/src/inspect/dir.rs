//! A data dir as the next start would find it: the newest checkpoint, and the write-ahead log over it.

use super::{Finding, Level};
use crate::checkpoint;
use crate::io::{Io, read_whole};
use crate::layout::{CHECKPOINT, IDENTITY, WAL, wal_file};
use crate::recovery::check;
use crate::state::LogState;
use crate::wal::round::{Change, Entry, Found};
use crate::wal::scan::{Place, ScanError, look};
use crate::{Identity, StoreConfig, identity};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use yak_protocol::batch;
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset, TopicPartition};

/// How often a dir is looked at again because it changed meanwhile.
const LOOKS_MAX: usize = 5;

/// A data dir.
#[derive(Debug)]
pub struct DataDir {
    /// Where it is.
    pub root: PathBuf,
    /// The round up to which the checkpoint goes.
    pub checkpoint_lsn: u64,
    /// The last round of the write-ahead log; that of the checkpoint if it holds no later one.
    pub last_lsn: u64,
    /// What is wrong with identity, checkpoints and write-ahead log.
    pub findings: Vec<Finding>,
    pub(super) logs: BTreeMap<TopicPartition, Log>,
}

#[derive(Debug)]
pub(super) struct Log {
    pub(super) state: LogState,
    hint: u64,
}

/// One segment, as the checkpoint and the write-ahead log have it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SegmentSummary {
    /// The offset that names its file.
    pub base: u64,
    /// The offset after its last record.
    pub end: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// How many of them are in its file for certain.
    pub bytes_in_file: u64,
}

/// Where one log stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LogSummary {
    /// The topic's id.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The last round that changed it.
    pub lsn: u64,
    /// The first offset.
    pub log_start: Offset,
    /// The offset after the last record.
    pub log_end: Offset,
    /// A lower bound of the high watermark.
    pub high_watermark_hint: Offset,
    /// The epoch history.
    pub epochs: Vec<EpochStart>,
    /// The promise (rule R14).
    pub promise: Option<(LeaderEpoch, BrokerId)>,
    /// Its segments.
    pub segments: Vec<SegmentSummary>,
    /// Offsets that the store knows to be damaged.
    pub damaged: Vec<(Offset, Offset)>,
}

impl DataDir {
    /// Looks at a data dir. One that a broker writes to is looked at again until nothing moved meanwhile.
    ///
    /// # Errors
    /// When it cannot be read, or never stood still.
    pub fn look(io: &dyn Io, root: &Path) -> io::Result<Self> {
        for _ in 0..LOOKS_MAX {
            let before = generation(io, root)?;
            let looked = Self::once(io, root);
            if generation(io, root)? == before {
                return looked;
            }
        }
        Err(io::Error::other("a broker writes to this data dir; stop it, or look at a copy"))
    }

    fn once(io: &dyn Io, root: &Path) -> io::Result<Self> {
        let mut dir = Self {
            root: root.to_owned(),
            checkpoint_lsn: 0,
            last_lsn: 0,
            findings: Vec::new(),
            logs: BTreeMap::new(),
        };
        dir.copies(io, IDENTITY, |bytes| identity::decode(bytes).is_ok())?;
        dir.copies(io, CHECKPOINT, |bytes| checkpoint::decode(bytes).is_some())?;
        let loaded = checkpoint::look(io, root).map_err(|(path, error)| within(Path::new(&path), &error))?;
        let Some(loaded) = loaded.0 else { return Ok(dir) };
        (dir.checkpoint_lsn, dir.last_lsn) = (loaded.lsn, loaded.lsn);
        for log in loaded.logs {
            let state = std::mem::take(&mut *log.state.get());
            dir.logs.insert(log.id, Log { state, hint: log.hint.load(Ordering::Relaxed) });
        }
        if io.exists(&root.join(WAL))? {
            let outcome = look(io, root, loaded.lsn, |found, round, place| {
                dir.replay(found, &round, place).map_err(ScanError::Corrupt)
            });
            match outcome {
                Ok(_) => {}
                Err(ScanError::Corrupt(what)) => dir.damage(root.join(WAL), 0, what),
                Err(ScanError::Io(path, error)) => return Err(within(Path::new(&path), &error)),
            }
        }
        dir.logs.retain(|_, log| !log.state.gone);
        Ok(dir)
    }

    fn damage(&mut self, file: PathBuf, at: u64, what: String) {
        self.findings.push(Finding { level: Level::Damage, file, at, what });
    }

    /// Two copies are written one after the other: one that is not whole may be a stop between them.
    fn copies(&mut self, io: &dyn Io, names: [&str; 2], is_sound: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        let mut bad = Vec::new();
        let mut sound = 0;
        for name in names {
            let path = self.root.join(name);
            match read_whole(io, &path) {
                Ok(bytes) if is_sound(&bytes) => sound += 1,
                Ok(_) => bad.push(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(within(&path, &error)),
            }
        }
        let (level, what) = match sound {
            0 => (Level::Damage, "it is not whole, and there is no other copy"),
            _ => (Level::Torn, "it is not whole; the other copy counts"),
        };
        let found = bad.into_iter().map(|file| Finding { level, file, at: 0, what: what.to_owned() });
        self.findings.extend(found);
        Ok(())
    }

    fn replay(&mut self, found: &Found, round: &Bytes, place: Place) -> Result<(), String> {
        let lsn = found.header.lsn;
        self.last_lsn = lsn;
        let file = wal_file(&self.root, place.slot);
        if !found.whole {
            self.damage(file.clone(), place.at, format!("round {lsn} was synced and is damaged"));
        }
        let interval = StoreConfig::default().index_interval_bytes;
        let mut begun = BTreeMap::new();
        for entry in &found.entries {
            let Some((entry, good)) = entry else {
                return Err(format!("round {lsn} is damaged, and with it the note of what it held"));
            };
            let log = self.logs.entry(entry.id).or_insert_with(Log::new);
            if log.state.gone && log.state.lsn < lsn {
                *log = Log::new();
            }
            let news = *begun.entry(entry.id).or_insert(log.state.lsn < lsn);
            if news {
                check(&log.state, lsn, entry, round)?;
                are_batches(lsn, entry, round, *good)?;
                log.state.apply(lsn, &entry.change, round, *good, interval);
            }
        }
        Ok(())
    }

    /// Where each log stands.
    #[must_use]
    pub fn summaries(&self) -> Vec<LogSummary> {
        self.logs.iter().map(|(id, log)| log.summary(*id)).collect()
    }
}

/// A store has walked the batches of an append before it wrote them. These bytes may be anybody's.
fn are_batches(lsn: u64, entry: &Entry, round: &Bytes, good: bool) -> Result<(), String> {
    let Change::Append { base, end, payload, .. } = entry.change else { return Ok(()) };
    let mut next = base;
    for found in batch::batches(&round[payload.range()]).take_while(|_| good) {
        let header = found.ok().map(|(header, _)| header).filter(|header| header.base_offset == next);
        let Some(header) = header else {
            return Err(format!("round {lsn} appends to {} what are no batches from {next} on", entry.id));
        };
        next = header.next_offset();
    }
    if good && next != end {
        return Err(format!("round {lsn} appends to {} batches up to {next}, not {end}", entry.id));
    }
    Ok(())
}

impl Log {
    fn new() -> Self {
        Self { state: LogState::default(), hint: 0 }
    }

    fn summary(&self, id: TopicPartition) -> LogSummary {
        let state = &self.state;
        let segment = |segment: &crate::segment::Segment| SegmentSummary {
            bytes_in_file: state.bytes_in_file(segment),
            base: segment.base,
            end: segment.end,
            bytes: segment.bytes,
        };
        LogSummary {
            topic: id.topic.to_string(),
            partition: id.partition.0,
            lsn: state.lsn,
            log_start: state.start,
            log_end: state.end,
            high_watermark_hint: Offset(self.hint).min(state.end),
            epochs: state.epochs.clone(),
            promise: state.promise,
            segments: state.segments.iter().map(segment).collect(),
            damaged: state.damaged.ranges().to_vec(),
        }
    }
}

/// What a checkpoint's file holds: its generation, the round up to which it goes, and where each log stands;
/// `None` if it is not whole.
///
/// # Errors
/// When it cannot be read.
pub fn checkpoint_copy(io: &dyn Io, path: &Path) -> io::Result<Option<(u64, u64, Vec<LogSummary>)>> {
    let Some(copy) = checkpoint::decode(&read_whole(io, path)?) else { return Ok(None) };
    let summary = |(log, _): (checkpoint::LogCheckpoint, Vec<u8>)| {
        let cell = log.into_cell();
        let state = std::mem::take(&mut *cell.state.get());
        Log { state, hint: cell.hint.load(Ordering::Relaxed) }.summary(cell.id)
    };
    Ok(Some((copy.generation, copy.lsn, copy.logs.into_iter().map(summary).collect())))
}

/// What a copy of the identity says, with its generation; `None` if it is not whole.
///
/// # Errors
/// When it cannot be read.
pub fn identity_copy(io: &dyn Io, path: &Path) -> io::Result<Option<(u64, Identity)>> {
    let copy = identity::decode(&read_whole(io, path)?).ok();
    Ok(copy.map(|(generation, stored)| (generation, stored.identity(&io.boot_id()))))
}

fn generation(io: &dyn Io, root: &Path) -> io::Result<Option<u64>> {
    let mut newest = None;
    for name in CHECKPOINT {
        match read_whole(io, &root.join(name)) {
            Ok(bytes) => newest = newest.max(checkpoint::decode(&bytes).map(|copy| copy.generation)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(within(&root.join(name), &error)),
        }
    }
    Ok(newest)
}

/// The error with the path that it is about.
pub(super) fn within(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
