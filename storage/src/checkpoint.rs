//! Where every log stands at a point of the write-ahead log, so that only what came after is replayed.
//!
//! ```text
//!  checkpoint.a, checkpoint.b: written in turn, over what the file held before
//!
//!  byte 0       8     12       16           24    32      40           48         52
//!       +-------+-----+--------+------------+-----+-------+------------+----------+------+
//!       | magic | crc | format | generation | LSN | count | body bytes | body crc | zero |   to 64
//!       +-------+-----+--------+------------+-----+-------+------------+----------+------+
//!       then count times: u32 length, a MessagePack map with the state of one log
//! ```
//!
//! Big-endian; `crc` covers the header after it. The write-ahead log is kept back to the older of the two,
//! so that each of them alone is enough.

use crate::damage::Damages;
use crate::error::Fault;
use crate::io::{read_whole, write_all};
use crate::layout::CHECKPOINT;
use crate::segment::{Index, Segment};
use crate::shared::{LogCell, Shared};
use crate::state::LogState;
use crate::wal::{u32_at, u64_at};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"YAKCKP\r\n";
const FORMAT: u32 = 1;

/// One log in a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LogCheckpoint {
    topic: TopicId,
    partition: PartitionIndex,
    lsn: u64,
    start: Offset,
    end: Offset,
    hint: Offset,
    epochs: Vec<EpochStart>,
    promise: Option<(LeaderEpoch, BrokerId)>,
    segments: Vec<Segment>,
    damaged: Damages,
    /// It was deleted or set aside in round `lsn`; kept until no replay can meet what came before.
    #[serde(default)]
    pub(crate) gone: bool,
}

impl LogCheckpoint {
    pub(crate) fn of(log: &LogCell, state: &LogState) -> Self {
        Self {
            topic: log.id.topic,
            partition: log.id.partition,
            lsn: state.lsn,
            start: state.start,
            end: state.end,
            hint: Offset(log.hint.load(Ordering::Relaxed)).min(state.end),
            epochs: state.epochs.clone(),
            promise: state.promise,
            segments: state
                .segments
                .iter()
                .map(|segment| Segment { index: Index::default(), ..*segment })
                .collect(),
            damaged: state.damaged.clone(),
            gone: state.gone,
        }
    }

    pub(crate) fn into_cell(self) -> Arc<LogCell> {
        let mut segments = self.segments;
        for segment in &mut segments {
            // The index is in its file; new entries begin one interval from here.
            segment.index.covered = segment.bytes;
        }
        let state = LogState {
            lsn: self.lsn,
            start: self.start,
            end: self.end,
            epochs: self.epochs,
            promise: self.promise,
            segments,
            damaged: self.damaged,
            flushed_end: self.end,
            gone: self.gone,
            ..LogState::default()
        };
        let id = TopicPartition { topic: self.topic, partition: self.partition };
        Arc::new(LogCell::new(id, state, self.hint.0))
    }
}

/// A checkpoint as read back.
pub(crate) struct Loaded {
    pub(crate) lsn: u64,
    pub(crate) logs: Vec<Arc<LogCell>>,
    pub(crate) checkpoints: Checkpoints,
    /// Whether a copy was there and could not be read.
    pub(crate) damaged: bool,
}

/// The newest checkpoint in a form that the next one can be made from.
#[derive(Default)]
pub(crate) struct Checkpoints {
    generation: u64,
    /// The LSN of the newest, which the next one leaves in place.
    lsn: u64,
    logs: BTreeMap<TopicPartition, Vec<u8>>,
    /// Those among them that are gone, with the round in which they went.
    gone: Vec<(TopicPartition, u64)>,
}

impl Checkpoints {
    /// Takes over where a log stands.
    pub(crate) fn set(&mut self, log: &LogCheckpoint) {
        let id = TopicPartition { topic: log.topic, partition: log.partition };
        let encoded = rmp_serde::to_vec_named(log).expect("plain numbers and lists always encode");
        self.logs.insert(id, encoded);
        if log.gone {
            self.gone.push((id, log.lsn));
        } else {
            self.gone.retain(|(gone, _)| *gone != id);
        }
    }

    /// Writes the next checkpoint. Returns the LSN up to which the write-ahead log is not needed.
    pub(crate) fn write(&mut self, shared: &Shared, lsn: u64) -> Result<u64, Fault> {
        // What went before this checkpoint's round will not be met by a replay.
        let (logs, gone) = (&mut self.logs, &mut self.gone);
        gone.retain(|(id, went)| {
            if *went <= lsn {
                logs.remove(id);
            }
            *went > lsn
        });
        let generation = self.generation + 1;
        let path = shared.root.join(CHECKPOINT[usize::from(generation.is_multiple_of(2))]);
        let mut out = vec![0; HEADER_BYTES];
        for log in self.logs.values() {
            let length = u32::try_from(log.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(log);
        }
        let body_crc = crc32c::crc32c(&out[HEADER_BYTES..]);
        let body_bytes = (out.len() - HEADER_BYTES) as u64;
        out[..8].copy_from_slice(&MAGIC);
        out[12..16].copy_from_slice(&FORMAT.to_be_bytes());
        out[16..24].copy_from_slice(&generation.to_be_bytes());
        out[24..32].copy_from_slice(&lsn.to_be_bytes());
        out[32..40].copy_from_slice(&(self.logs.len() as u64).to_be_bytes());
        out[40..48].copy_from_slice(&body_bytes.to_be_bytes());
        out[48..52].copy_from_slice(&body_crc.to_be_bytes());
        let crc = crc32c::crc32c(&out[12..HEADER_BYTES]);
        out[8..12].copy_from_slice(&crc.to_be_bytes());

        let file = shared.io.create(&path).map_err(|error| Fault::Write(path.clone(), error))?;
        if let Err(error) = write_all(file.as_ref(), &out, 0) {
            if !crate::wal::writer::out_of_room(&error) || !shared.space.drop_ballast() {
                return Err(Fault::Write(path, error));
            }
            write_all(file.as_ref(), &out, 0).map_err(|error| Fault::Write(path.clone(), error))?;
        }
        file.sync().map_err(|error| Fault::Sync(path, error))?;
        if generation <= 2 {
            let sync = shared.io.sync_dir(&shared.root);
            sync.map_err(|error| Fault::Sync(shared.root.clone(), error))?;
        }
        self.generation = generation;
        Ok(std::mem::replace(&mut self.lsn, lsn))
    }
}

pub(crate) struct Copy {
    pub(crate) generation: u64,
    pub(crate) lsn: u64,
    pub(crate) logs: Vec<(LogCheckpoint, Vec<u8>)>,
}

/// What a checkpoint's file holds, if it is whole.
pub(crate) fn decode(bytes: &[u8]) -> Option<Copy> {
    let header = bytes.get(..HEADER_BYTES)?;
    if header[..8] != MAGIC
        || u32_at(header, 8) != crc32c::crc32c(&header[12..])
        || u32_at(header, 12) != FORMAT
    {
        return None;
    }
    let length = usize::try_from(u64_at(header, 40)).ok()?;
    let mut body = bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(length)?)?;
    if crc32c::crc32c(body) != u32_at(header, 48) {
        return None;
    }
    let mut logs = Vec::new();
    while !body.is_empty() {
        let length = u32_at(body.get(..4)?, 0) as usize;
        let encoded = body.get(4..4 + length)?;
        logs.push((rmp_serde::from_slice(encoded).ok()?, encoded.to_vec()));
        body = &body[4 + length..];
    }
    Some(Copy { generation: u64_at(header, 16), lsn: u64_at(header, 24), logs })
}

/// Reads the newest checkpoint that is whole; an empty one if there has never been any. It is written again
/// and synced: the process that wrote it may have stopped before, and the next one overwrites the other.
///
/// # Errors
/// What the file system said, or that copies are there and none can be read.
pub(crate) fn load(io: &dyn crate::io::Io, root: &Path) -> Result<Option<Loaded>, (String, std::io::Error)> {
    let (loaded, newest) = look(io, root)?;
    if let Some((path, bytes)) = newest {
        io.open(&path)
            .and_then(|file| write_all(file.as_ref(), &bytes, 0).and_then(|()| file.sync()))
            .map_err(|error| (path.display().to_string(), error))?;
    }
    Ok(loaded)
}

/// A file's path and what is in it.
type Whole = (PathBuf, Vec<u8>);

/// The same, and nothing is written; the file that it is from comes with it.
pub(crate) fn look(
    io: &dyn crate::io::Io,
    root: &Path,
) -> Result<(Option<Loaded>, Option<Whole>), (String, std::io::Error)> {
    let mut newest: Option<(Copy, PathBuf, Vec<u8>)> = None;
    let (mut found, mut bad) = (0, 0);
    for name in CHECKPOINT {
        let path = root.join(name);
        let bytes = match read_whole(io, &path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err((path.display().to_string(), error)),
        };
        found += 1;
        match decode(&bytes) {
            Some(copy) if newest.as_ref().is_none_or(|(newest, ..)| newest.generation < copy.generation) => {
                newest = Some((copy, path, bytes));
            }
            Some(_) => {}
            None => bad += 1,
        }
    }
    let Some((copy, path, bytes)) = newest else {
        // The very first one may have been cut short: then the write-ahead log is still there in full.
        let none = Loaded { lsn: 0, logs: Vec::new(), checkpoints: Checkpoints::default(), damaged: bad > 0 };
        return Ok(((found < 2).then_some(none), None));
    };
    let mut checkpoints =
        Checkpoints { generation: copy.generation, lsn: copy.lsn, logs: BTreeMap::new(), gone: Vec::new() };
    let mut logs = Vec::with_capacity(copy.logs.len());
    for (log, encoded) in copy.logs {
        let cell = log.into_cell();
        checkpoints.logs.insert(cell.id, encoded);
        let state = cell.state.get();
        if state.gone {
            checkpoints.gone.push((cell.id, state.lsn));
        }
        drop(state);
        logs.push(cell);
    }
    Ok((Some(Loaded { lsn: copy.lsn, logs, checkpoints, damaged: bad > 0 }), Some((path, bytes))))
}
