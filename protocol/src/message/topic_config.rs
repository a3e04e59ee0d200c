use crate::defaults;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When a record counts as kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Synced to disk by every in-sync replica.
    #[default]
    Fsync,
    /// Written by every in-sync replica, synced in the background.
    Replicated,
}

/// How much of a compressed batch a broker looks at before it appends it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validate {
    /// The header and its checksum; the records of an uncompressed batch are walked.
    #[default]
    Header,
    /// Compressed batches are opened too.
    Deep,
}

/// What becomes of old records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleanup {
    /// Whole segments go by `retention_ms` and `retention_bytes`.
    #[default]
    Delete,
    /// The last record of each key stays. Nothing is compacted yet: everything stays.
    Compact,
    /// Both: the last record of each key stays, until it is too old.
    Both,
}

impl Cleanup {
    /// Whether segments go by their age and the size of the log.
    #[must_use]
    pub fn deletes(self) -> bool {
        self != Self::Compact
    }

    /// Whether only the last record of each key stays.
    #[must_use]
    pub fn compacts(self) -> bool {
        self != Self::Delete
    }
}

/// A topic's settings; each has a default.
///
/// Times are in milliseconds, sizes in bytes and of one partition; -1 means without a limit.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicConfig {
    /// When a record counts as kept.
    pub durability: Durability,
    /// How deeply batches are checked.
    pub validate: Validate,
    /// The largest batch in bytes.
    pub batch_bytes_max: u32,
    /// What becomes of old records.
    pub cleanup: Cleanup,
    /// How old a segment's newest record gets before the segment is deleted; -1 = as old as it likes.
    pub retention_ms: i64,
    /// How many bytes a partition keeps before its oldest segment is deleted; -1 = as many as there are.
    pub retention_bytes: i64,
    /// The size at which a segment is closed, in bytes.
    pub segment_bytes: u64,
    /// The age at which a segment that has records is closed: only closed segments are deleted or compacted.
    pub segment_ms: u64,
    /// How long compaction keeps a tombstone, so that every consumer can see it.
    pub delete_retention_ms: u64,
    /// How old a record is before compaction may remove it.
    pub min_compaction_lag_ms: u64,
    /// For how long a repeated message id is recognised; 0 = never.
    pub dedupe_window_ms: u64,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            validate: Validate::Header,
            batch_bytes_max: defaults::BATCH_BYTES_MAX,
            cleanup: Cleanup::Delete,
            retention_ms: millis(defaults::RETENTION).cast_signed(),
            retention_bytes: -1,
            segment_bytes: defaults::SEGMENT_BYTES,
            segment_ms: millis(defaults::SEGMENT_AGE),
            delete_retention_ms: millis(defaults::DELETE_RETENTION),
            min_compaction_lag_ms: 0,
            dedupe_window_ms: millis(defaults::DEDUPE_WINDOW),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl TopicConfig {
    /// How old a segment's newest record gets; `None` = no limit, or nothing is deleted by age.
    #[must_use]
    pub fn retention_ms(&self) -> Option<u64> {
        self.cleanup.deletes().then(|| u64::try_from(self.retention_ms).ok()).flatten()
    }

    /// How many bytes a partition keeps; `None` = no limit, or nothing is deleted by size.
    #[must_use]
    pub fn retention_bytes(&self) -> Option<u64> {
        self.cleanup.deletes().then(|| u64::try_from(self.retention_bytes).ok()).flatten()
    }
}
