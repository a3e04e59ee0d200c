use super::foreign::Foreign;
use crate::defaults::{FRAME_BYTES_CEILING, PROTOCOL_VERSION};

/// Something that could not be read, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("byte {at}: {problem}")]
pub struct Found {
    /// Where in the stream, in bytes from its beginning.
    pub at: u64,
    /// What it is.
    pub problem: Problem,
}

/// What could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Bytes after the last frame that begin no further one.
    #[error("trailing {bytes} bytes: {what}")]
    Trailing {
        /// How many.
        bytes: u64,
        /// Why they begin no frame.
        what: String,
    },
    /// The stream ended within a frame.
    #[error("truncated: need {need} have {have}")]
    Truncated {
        /// How many bytes the frame has, its length included.
        need: u64,
        /// How many are there.
        have: u64,
    },
    /// The stream is none of this protocol.
    #[error("this is not YAK: {0}")]
    Foreign(Foreign),
    /// The stream begins with nothing that is known.
    #[error("the first byte 0x{0:02x} begins neither a frame (0x00 to 0x07) nor text")]
    NeitherFrameNorText(u8),
    /// Bytes of the stream were not captured.
    #[error("{bytes} bytes are missing in the capture")]
    Gap {
        /// How many.
        bytes: u64,
    },
    /// A frame's bytes are not the value that they should be.
    #[error("{what}")]
    Malformed {
        /// What was found, and what should have been there.
        what: String,
    },
    /// A kind that this version does not have.
    #[error("unknown kind `{kind}`{}", newer(*version))]
    UnknownKind {
        /// The kind.
        kind: String,
        /// The frame's version.
        version: u8,
    },
    /// A frame of another version.
    #[error("version {version} is unknown{}", newer(*version))]
    UnknownVersion {
        /// The frame's version.
        version: u8,
    },
    /// A body that is not what its kind says.
    #[error("body: {what}")]
    Body {
        /// Which key, and what is wrong.
        what: String,
    },
    /// A key that its kind does not have.
    #[error("body: unknown key {path}")]
    UnknownKey {
        /// Where it stands.
        path: String,
    },
    /// An error code that this version does not have.
    #[error("body: unknown error code {0}")]
    UnknownErrorCode(u64),
    /// A damaged batch.
    #[error("batch {place}: {what}")]
    Batch {
        /// Of which partition.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The body says that there are more bytes of batches than there are, or fewer.
    #[error("the body speaks of {said} bytes of batches, there are {there}")]
    BatchBytes {
        /// By the body.
        said: u64,
        /// In the frame.
        there: u64,
    },
}

fn newer(version: u8) -> String {
    if version > PROTOCOL_VERSION {
        return format!(" (protocol newer than this tool: v{version} vs v{PROTOCOL_VERSION})");
    }
    String::new()
}

impl Problem {
    pub(super) fn trailing(bytes: &[u8]) -> Self {
        let what = match bytes.first_chunk::<4>() {
            None => "too few for the length of a frame".to_owned(),
            Some(prefix) => format!(
                "0x{:08x} is no length of a frame (1 to {FRAME_BYTES_CEILING})",
                u32::from_be_bytes(*prefix)
            ),
        };
        Self::Trailing { bytes: bytes.len() as u64, what }
    }

    pub(super) fn at(self, at: u64) -> Found {
        Found { at, problem: self }
    }
}
