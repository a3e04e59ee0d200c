//! Where things lie in a data dir, and how their names are read back: strictly.
//!
//! ```text
//! lock                                   held while a store has the dir open
//! identity.a  identity.b                 two copies, see `identity`
//! checkpoint.a  checkpoint.b             written in turn, see `checkpoint`
//! ballast                                room for the necessary when the disk is full
//! wal/<slot, 4 digits>.wal               the write-ahead log, see `wal`
//! topics/<topic uuid>/<partition>/       one partition:
//!     meta                               whose folder this is, in words; never read by the store
//!     <base offset, 20 digits>.log       batches, one after the other, nothing else
//!     <base offset, 20 digits>.index     u32 offset - base, u32 position, ...   (rebuildable)
//!     <base offset, 20 digits>.timeindex i64 greatest timestamp before, u32 offset - base,
//!                                        u32 leader epoch, ...
//!     <offset, 20 digits>.producers      producer state at that offset
//! orphan/                                what was set aside, never deleted by the store (rule R16)
//! trash/                                 deleted topics on their way out
//! ```

use std::path::{Path, PathBuf};
use yak_protocol::ids::{PartitionIndex, TopicId, TopicPartition};

pub(crate) const LOCK: &str = "lock";
pub(crate) const IDENTITY: [&str; 2] = ["identity.a", "identity.b"];
pub(crate) const CHECKPOINT: [&str; 2] = ["checkpoint.a", "checkpoint.b"];
pub(crate) const BALLAST: &str = "ballast";
pub(crate) const WAL: &str = "wal";
pub(crate) const TOPICS: &str = "topics";
pub(crate) const ORPHAN: &str = "orphan";
pub(crate) const TRASH: &str = "trash";
pub(crate) const META: &str = "meta";

/// Everything that a store makes at the top of its dir.
pub(crate) const KNOWN: [&str; 10] =
    [LOCK, IDENTITY[0], IDENTITY[1], CHECKPOINT[0], CHECKPOINT[1], BALLAST, WAL, TOPICS, ORPHAN, TRASH];

/// What a file in a partition's folder is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PartitionFile {
    Segment(u64),
    Index(u64),
    TimeIndex(u64),
    Producers(u64),
    Meta,
}

impl PartitionFile {
    /// Reads a name; `None` for anything that the store would not have written itself.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if name == META {
            return Some(Self::Meta);
        }
        let (digits, extension) = name.split_once('.')?;
        if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let offset = digits.parse().ok()?;
        match extension {
            "log" => Some(Self::Segment(offset)),
            "index" => Some(Self::Index(offset)),
            "timeindex" => Some(Self::TimeIndex(offset)),
            "producers" => Some(Self::Producers(offset)),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Segment(offset) => format!("{offset:020}.log"),
            Self::Index(offset) => format!("{offset:020}.index"),
            Self::TimeIndex(offset) => format!("{offset:020}.timeindex"),
            Self::Producers(offset) => format!("{offset:020}.producers"),
            Self::Meta => META.to_owned(),
        }
    }
}

pub(crate) fn topic_dir(root: &Path, topic: TopicId) -> PathBuf {
    root.join(TOPICS).join(topic.to_string())
}

pub(crate) fn partition_dir(root: &Path, id: TopicPartition) -> PathBuf {
    topic_dir(root, id.topic).join(id.partition.to_string())
}

pub(crate) fn partition_file(root: &Path, id: TopicPartition, file: PartitionFile) -> PathBuf {
    partition_dir(root, id).join(file.name())
}

/// Where something of a partition goes when it is set aside at a point of the write-ahead log.
pub(crate) fn aside_name(id: TopicPartition, lsn: u64) -> String {
    format!("{}.{}.{lsn}", id.topic, id.partition)
}

pub(crate) fn parse_topic(name: &str) -> Option<TopicId> {
    let topic: TopicId = name.parse().ok()?;
    (topic.to_string() == name).then_some(topic)
}

pub(crate) fn parse_partition(name: &str) -> Option<PartitionIndex> {
    let index: u32 = name.parse().ok()?;
    (index.to_string() == name).then_some(PartitionIndex(index))
}

pub(crate) fn wal_file(root: &Path, slot: u32) -> PathBuf {
    root.join(WAL).join(format!("{slot:04}.wal"))
}

pub(crate) fn parse_wal(name: &str) -> Option<u32> {
    let slot = name.strip_suffix(".wal")?;
    if slot.len() < 4 || !slot.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    slot.parse().ok().filter(|n: &u32| format!("{n:04}") == slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_strictly() {
        for file in [
            PartitionFile::Segment(0),
            PartitionFile::Index(7),
            PartitionFile::TimeIndex(u64::MAX),
            PartitionFile::Producers(12),
            PartitionFile::Meta,
        ] {
            assert_eq!(PartitionFile::parse(&file.name()), Some(file));
        }
        for name in ["0.log", "0000000000000000000x.log", "99999999999999999999.log", "", ".log", "../x"] {
            assert_eq!(PartitionFile::parse(name), None, "{name}");
        }
        assert_eq!(parse_partition("7"), Some(PartitionIndex(7)));
        assert_eq!(parse_partition("07"), None);
        assert_eq!(parse_partition("+7"), None);
        assert_eq!(parse_wal("0003.wal"), Some(3));
        assert_eq!(parse_wal("3.wal"), None);
        assert_eq!(parse_wal("00003.wal"), None);
        let topic = TopicId(5);
        assert_eq!(parse_topic(&topic.to_string()), Some(topic));
        assert_eq!(parse_topic("00000000000000000000000000000005"), None);
    }
}
