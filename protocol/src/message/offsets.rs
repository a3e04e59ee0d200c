use super::message;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex};
use serde::{Deserialize, Serialize};

/// Asks a partition's leader for offsets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offsets {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// Also the offset of the first record with a timestamp at or after this, in ms since 1970.
    #[serde(default)]
    pub at_ms: Option<i64>,
    /// Whether a leader whose lease has run out may answer too. It may have been deposed, and then its
    /// high watermark may be behind: good enough for anything but "latest".
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale_ok: bool,
    /// Whether a broker that does not lead passes the request on (at most once) instead of refusing it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(Offsets, "offsets", Client, OffsetsReply);

/// A partition's offsets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OffsetsReply {
    /// The first offset that is still there.
    pub log_start: Offset,
    /// Everything below is committed; consumers start here for "latest".
    pub high_watermark: Offset,
    /// The end of the leader's log, uncommitted records included.
    pub log_end: Offset,
    /// The answer to `at_ms`; absent when no committed record is that new.
    #[serde(default)]
    pub at: Option<Offset>,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
}
