use super::message;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex};
use serde::{Deserialize, Serialize};

/// Deletes the committed records of a partition up to an offset or a time. Asked of its leader.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DeleteRecords {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first record that stays; at most the high watermark.
    #[serde(default)]
    pub before: Option<Offset>,
    /// The first record with this timestamp or a later one stays, in ms since 1970; if there is none, nothing
    /// does. Instead of `before`.
    #[serde(default)]
    pub before_ms: Option<i64>,
    /// Whether to say only what would be deleted.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether a broker that does not lead passes the request on (at most once) instead of refusing it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(DeleteRecords, "delete_records", Client, DeleteRecordsReply);

/// What is left. Unless it was a dry run, the leader has it on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeleteRecordsReply {
    /// The first offset before.
    pub was: Offset,
    /// The first offset that is still there.
    pub log_start: Offset,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
}
