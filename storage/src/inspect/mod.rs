//! Looking at files without a store: what `yak log` shows. Nothing is written, nothing is locked.
//!
//! ```text
//! What::of(path)                  what a path is
//! Pieces                          the batches of a segment's file, and what lies damaged between them
//! rounds                          the rounds of a write-ahead file
//! DataDir                         what a store would make of a data dir: checkpoint and write-ahead log
//! LogView -> Chain                one partition, segment by segment and then what is not in one yet
//! verify, diff                    what does not fit, and where
//! ```
//!
//! A file on its own says less than a data dir: how much of a segment counts is in the checkpoint and the
//! write-ahead log. Of a segment without them, a batch without its end is taken for what an unclean stop
//! leaves.

mod chain;
mod diff;
mod dir;
mod index;
mod pieces;
mod verify;
mod wal;
mod what;

pub use chain::{Chain, Link, LogView, SegmentView};
pub use diff::{Difference, Side, diff};
pub use dir::{DataDir, LogSummary, SegmentSummary, checkpoint_copy, identity_copy};
pub use index::{IndexLine, index_lines};
pub use pieces::{Bad, Batch, Piece, Pieces};
pub use verify::{Report, verify};
pub use wal::{Round, RoundEntry, WalEnd, WalHeader, rounds};
pub use what::{FileKind, What, files};

use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth to know; nothing is lost.
    Note,
    /// What an unclean stop leaves: nobody was told of it, and the next start cuts it or makes it anew.
    Torn,
    /// Bytes that count are not what was written.
    Damage,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Torn => "torn",
            Self::Damage => "DAMAGE",
        })
    }
}

/// Something that was found, and where.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// In which file.
    pub file: PathBuf,
    /// At which byte of it.
    pub at: u64,
    /// What it is.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, file, at, what } = self;
        write!(f, "{level}  {}  byte {at}: {what}", file.display())
    }
}
