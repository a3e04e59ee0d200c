//! A write-ahead file on its own: its rounds, and what each of them changes.

use crate::io::{Io, read_whole};
use crate::wal::FileHeader;
use crate::wal::round::{Change, Entry, Found};
use crate::wal::scan::look_at_file;
use bytes::Bytes;
use serde::Serialize;
use std::io;
use std::path::Path;

/// What the head of a write-ahead file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct WalHeader {
    /// Files are in the order of their ids.
    pub id: u64,
    /// What its checksums are seeded with, beside the id.
    pub salt: u64,
    /// Its first round.
    pub first_lsn: u64,
}

/// A round.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Round {
    /// The byte of the file where it begins.
    pub at: u64,
    /// Its number.
    pub lsn: u64,
    /// Its length.
    pub bytes: u32,
    /// The last round that was synced when it was written.
    pub synced_lsn: u64,
    /// Whether every byte that matters is as it was written.
    pub whole: bool,
    /// What it changes.
    pub entries: Vec<RoundEntry>,
}

/// One change of one partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RoundEntry {
    /// The partition, or the topic with any partition; `None` if not even that can be read.
    pub partition: Option<String>,
    /// What it is, in words.
    pub change: String,
    /// Whether the entry and its batches are as they were written.
    pub sound: bool,
    /// The byte of the file where its batches begin.
    #[serde(skip)]
    pub batches_at: u64,
    /// The batches of an append.
    #[serde(skip)]
    pub batches: Bytes,
}

/// How a file ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WalEnd {
    /// After its last round nothing was written.
    Clean,
    /// A round was begun at this byte and not finished.
    Torn(u64),
    /// Bytes from here on belong to no round of this file: an unfinished one, or an earlier use of the file.
    LeftOver(u64),
    /// Rounds in the middle cannot be read.
    Damaged(String),
    /// The head of the file cannot be read; a file that has not been used yet has none.
    NoHeader {
        /// Whether it is all zeros.
        unused: bool,
    },
}

/// Hands every round of a write-ahead file to `sink`, and tells how it ends. Alone, a file cannot tell which
/// of its last rounds a later file has overtaken.
///
/// # Errors
/// When it cannot be read, or `sink` says so.
pub fn rounds(
    io: &dyn Io,
    path: &Path,
    mut sink: impl FnMut(Round) -> io::Result<()>,
) -> io::Result<(Option<WalHeader>, WalEnd)> {
    let bytes = Bytes::from(read_whole(io, path)?);
    let Some(header) = FileHeader::find(&bytes) else {
        let unused = bytes.iter().all(|byte| *byte == 0);
        return Ok((None, WalEnd::NoHeader { unused }));
    };
    let mut outcome = Ok(());
    let end = look_at_file(&bytes, &header, |found, round, at| {
        if outcome.is_ok() {
            outcome = sink(seen(found, &round, at));
        }
    });
    outcome?;
    let FileHeader { id, salt, first_lsn, .. } = header;
    let end = match end {
        Ok(None) => WalEnd::Clean,
        Ok(Some(rest)) if rest.begun => WalEnd::Torn(rest.at),
        Ok(Some(rest)) => WalEnd::LeftOver(rest.at),
        Err(what) => WalEnd::Damaged(what),
    };
    Ok((Some(WalHeader { id, salt, first_lsn }), end))
}

fn seen(found: &Found, round: &Bytes, at: u64) -> Round {
    let entry = |entry: &Option<(Entry, bool)>| {
        let Some((entry, sound)) = entry else {
            return RoundEntry {
                partition: None,
                change: "an entry that cannot be read".to_owned(),
                sound: false,
                batches_at: 0,
                batches: Bytes::new(),
            };
        };
        let range = match entry.change {
            Change::Append { payload, .. } => payload.range(),
            _ => 0..0,
        };
        let batches =
            if round.get(range.clone()).is_some() { round.slice(range.clone()) } else { Bytes::new() };
        RoundEntry {
            partition: Some(entry.id.to_string()),
            change: words(&entry.change),
            sound: *sound,
            batches_at: at + range.start as u64,
            batches,
        }
    };
    Round {
        at,
        lsn: found.header.lsn,
        bytes: found.header.length,
        synced_lsn: found.header.synced,
        whole: found.whole,
        entries: found.entries.iter().map(entry).collect(),
    }
}

fn words(change: &Change) -> String {
    match change {
        Change::Append { base, end, epoch, roll, .. } => {
            let segment = if *roll { ", a new segment" } else { "" };
            format!("append offsets {base} to {end} in leader epoch {epoch}{segment}")
        }
        Change::Truncate { to, segment, position } => {
            format!("truncate to {to}, byte {position} of segment {segment}")
        }
        Change::Lose { from, to } => {
            format!("offsets {from} to {to} went with what was cut; the log ends at {to}")
        }
        Change::Reset { start } => format!("begin again at {start}"),
        Change::Epoch(start) => format!("leader epoch {} starts at {}", start.epoch, start.start),
        Change::MoveLogStart { to } => format!("move the log start to {to}"),
        Change::Promise { epoch, leader } => format!("promise: leader epoch {epoch} under broker {leader}"),
        Change::Delete => "delete the topic".to_owned(),
        Change::SetAside => "set the partition aside".to_owned(),
    }
}
