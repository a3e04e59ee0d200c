use super::Compression;
use crate::error::{ErrorCode, WireError};

/// What is wrong with a batch, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("batch at byte {position}: {problem}")]
pub struct BatchError {
    /// Where the batch starts in the bytes that were looked at.
    pub position: usize,
    /// What is wrong with it.
    pub problem: BatchProblem,
}

/// What can be wrong with a batch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchProblem {
    /// The bytes end before the batch does.
    #[error("it needs {needed} bytes, there are {found}")]
    Truncated {
        /// Bytes needed, as far as that is known.
        needed: usize,
        /// Bytes there.
        found: usize,
    },
    /// The batch ends before the bytes do.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    /// The batch length cannot hold the header, or is negative.
    #[error("its length field says {0}, which no batch can have")]
    Length(i32),
    /// Not a batch of this format.
    #[error("its magic is {0}, not 2")]
    Magic(u8),
    /// The bytes are not those that were written.
    #[error("its checksum says {stored:#010x}, its bytes {computed:#010x}")]
    Checksum {
        /// In the header.
        stored: u32,
        /// Over the bytes.
        computed: u32,
    },
    /// An unknown compression.
    #[error("its codec is {0}, beyond the known ones (0 to 4)")]
    Codec(u16),
    /// Attributes that the sender may not set.
    #[error("its attributes {attributes:#06x} are not for the sender to set: {what}")]
    Attributes {
        /// All of them.
        attributes: u16,
        /// Which is wrong.
        what: &'static str,
    },
    /// The counts do not fit each other.
    #[error("it counts {record_count} records over {offsets} offsets")]
    Counts {
        /// The record count.
        record_count: i64,
        /// Last offset delta + 1.
        offsets: i64,
    },
    /// Its last offset would not be a legal offset.
    #[error("its base offset {0} is out of bounds")]
    BaseOffset(u64),
    /// Producer id, epoch and sequence do not belong together.
    #[error("its producer fields do not fit: id {id}, epoch {epoch}, sequence {sequence}")]
    Producer {
        /// Producer id.
        id: i64,
        /// Producer epoch.
        epoch: i16,
        /// Base sequence.
        sequence: i32,
    },
    /// The header's largest timestamp is not the largest of the records.
    #[error("its header says {header} as the largest timestamp, its records say {records}")]
    MaxTimestamp {
        /// In the header.
        header: i64,
        /// Over the records.
        records: i64,
    },
    /// A record breaks the format.
    #[error("record {record}: {what}")]
    Record {
        /// Which one, from 0.
        record: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Bytes follow the last record.
    #[error("{0} bytes follow its last record")]
    TrailingRecords(usize),
    /// The compressed block cannot be opened.
    #[error("its {codec} block cannot be opened: {what}")]
    Compressed {
        /// The compression.
        codec: Compression,
        /// What the decompressor says.
        what: String,
    },
    /// The records are larger than the reader takes.
    #[error("its records take more than {limit} bytes")]
    TooLarge {
        /// The reader's limit, in bytes.
        limit: usize,
    },
    /// A batch cannot be built from nothing.
    #[error("it has no records")]
    Empty,
}

impl BatchError {
    /// An error of a batch that starts where the bytes start.
    pub(super) fn here(problem: BatchProblem) -> Self {
        Self { position: 0, problem }
    }

    /// The same error of a batch that starts at `position`.
    #[must_use]
    pub fn at(mut self, position: usize) -> Self {
        self.position = position;
        self
    }
}

impl From<BatchError> for WireError {
    fn from(error: BatchError) -> Self {
        let code = match error.problem {
            BatchProblem::TooLarge { .. } => ErrorCode::BatchTooLarge,
            _ => ErrorCode::BadBatch,
        };
        Self::new(code, error.to_string())
    }
}
