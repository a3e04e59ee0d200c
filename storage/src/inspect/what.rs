//! What a path is, told by its name and by what is in it.

use crate::io::{Io, read_up_to};
use crate::layout::{CHECKPOINT, IDENTITY, META, PartitionFile, TOPICS, WAL, parse_wal};
use std::io;
use std::path::{Path, PathBuf};
use yak_protocol::batch::{BatchHeader, HEADER_BYTES};

/// What a path is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A broker's data dir.
    DataDir,
    /// The folder of a partition, or segments on their own.
    Partition,
    /// The folder of the write-ahead log.
    Wal,
    /// A folder of folders: all topics, one topic, what was set aside.
    Folder,
    /// One file.
    File(FileKind),
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// Batches.
    Segment,
    /// Where batches lie, by offset.
    Index,
    /// Where batches lie, by time.
    TimeIndex,
    /// A snapshot of producer state.
    Producers,
    /// A part of the write-ahead log.
    Wal,
    /// One of the two checkpoints.
    Checkpoint,
    /// One of the two copies of the identity.
    Identity,
    /// None of these.
    Other,
}

impl FileKind {
    fn by_name(name: &str) -> Option<Self> {
        if IDENTITY.contains(&name) {
            return Some(Self::Identity);
        }
        if CHECKPOINT.contains(&name) {
            return Some(Self::Checkpoint);
        }
        if parse_wal(name).is_some() {
            return Some(Self::Wal);
        }
        match name.rsplit_once('.')?.1 {
            "log" => Some(Self::Segment),
            "index" => Some(Self::Index),
            "timeindex" => Some(Self::TimeIndex),
            "producers" => Some(Self::Producers),
            "wal" => Some(Self::Wal),
            _ => None,
        }
    }

    fn by_content(head: &[u8]) -> Self {
        match head.get(..6) {
            Some(b"YAKWAL") => Self::Wal,
            Some(b"YAKCKP") => Self::Checkpoint,
            Some(b"YAKIDY") => Self::Identity,
            Some(b"YAKPRD") => Self::Producers,
            _ if BatchHeader::parse(head).is_ok() => Self::Segment,
            _ => Self::Other,
        }
    }
}

impl What {
    /// Tells what a path is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(io: &dyn Io, path: &Path) -> io::Result<Self> {
        let Ok(entries) = io.list(path) else {
            let named = path.file_name().and_then(|name| FileKind::by_name(&name.to_string_lossy()));
            let mut head = [0; HEADER_BYTES];
            let there = read_up_to(io.open(path)?.as_ref(), &mut head, 0)?;
            return Ok(Self::File(named.unwrap_or_else(|| FileKind::by_content(&head[..there]))));
        };
        let has = |what: &dyn Fn(&str) -> bool| entries.iter().any(|entry| what(&entry.name));
        let is_own = |name: &str| IDENTITY.contains(&name) || CHECKPOINT.contains(&name);
        Ok(if has(&is_own) || has(&|name| name == TOPICS) && has(&|name| name == WAL) {
            Self::DataDir
        } else if has(&|name| parse_wal(name).is_some()) || path.file_name().is_some_and(|name| name == WAL) {
            Self::Wal
        } else if has(&|name| name == META || PartitionFile::parse(name).is_some()) {
            Self::Partition
        } else {
            Self::Folder
        })
    }
}

/// The files below a path that a store may have written, in order; the path itself if it is one.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(io: &dyn Io, path: &Path) -> io::Result<Vec<(PathBuf, FileKind)>> {
    if let What::File(kind) = What::of(io, path)? {
        return Ok(vec![(path.to_owned(), kind)]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut inner = Vec::new();
        for entry in io.list(&folder)? {
            let at = folder.join(&entry.name);
            match FileKind::by_name(&entry.name) {
                _ if entry.is_dir => inner.push(at),
                Some(kind) => found.push((at, kind)),
                None => {}
            }
        }
        folders.extend(inner.into_iter().rev());
    }
    Ok(found)
}
