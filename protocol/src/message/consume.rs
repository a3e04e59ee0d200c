use super::{PlainRecord, message};
use crate::error::WireError;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex};
use serde::{Deserialize, Serialize};

/// In which form records are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Ready batches in the frame's `bin`, as they lie in the log.
    Batch,
    /// Plain maps in the body.
    #[default]
    Records,
}

/// Reads committed records of one or more partitions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Consume {
    /// Which partitions, from where.
    pub partitions: Vec<ConsumeFrom>,
    /// In which form.
    #[serde(default)]
    pub format: Format,
    /// About how many bytes at most in all; a first batch is returned even if it is larger. 0 = 1 MiB.
    #[serde(default)]
    pub bytes_max: u32,
    /// How long to wait for the first record, in milliseconds; 0 = do not wait.
    #[serde(default)]
    pub wait_ms: u64,
    /// Whether a broker that does not lead passes the request on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(Consume, "consume", Client, ConsumeReply);

/// One partition to read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConsumeFrom {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset wanted. A batch that holds it is returned whole; the client skips.
    pub offset: Offset,
}

/// What was found. `bytes` of each partition add up to the frame's `bin`, in this order.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ConsumeReply {
    /// One entry for each partition that was asked for, in that order.
    pub partitions: Vec<Consumed>,
}

/// What was found in one partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Consumed {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset that is still there.
    #[serde(default)]
    pub log_start: Offset,
    /// Everything below is committed.
    #[serde(default)]
    pub high_watermark: Offset,
    /// The leader's term.
    #[serde(default)]
    pub leader_epoch: LeaderEpoch,
    /// How many bytes of the `bin` are this partition's batches.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u32,
    /// The records, when plain ones were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<PlainRecord>,
    /// Where to go on, when plain records were asked for: behind all that was looked at, which may hold fewer records
    /// than offsets, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Offset>,
    /// Why nothing can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireError>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
