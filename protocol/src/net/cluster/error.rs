use crate::envelope::EncodeError;
use crate::error::{ErrorCode, WireError};
use std::time::Duration;

/// Why a request to the cluster has no answer to use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClusterError {
    /// A process refused it for good.
    #[error("{0}")]
    Refused(WireError),
    /// It could not be done in time; it had no effect, or none that matters.
    #[error("{what}: gave up after {:.1} s: {cause}", waited.as_secs_f64())]
    Timeout {
        /// What was wanted.
        what: String,
        /// For how long.
        waited: Duration,
        /// What was in the way last, and since when.
        cause: String,
    },
    /// A request that must not be repeated blindly was sent, and no answer came: it may have taken effect.
    #[error("{what}: the outcome is unknown: {cause}")]
    OutcomeUnknown {
        /// What was wanted.
        what: String,
        /// What became of it.
        cause: String,
    },
    /// The one process that was asked for cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// The request cannot be written.
    #[error("{0}")]
    Encode(#[from] EncodeError),
}

impl ClusterError {
    /// The code of the error table that says the same.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(error) => error.code,
            Self::Timeout { .. } | Self::Unreachable(_) => ErrorCode::Timeout,
            Self::OutcomeUnknown { .. } => ErrorCode::OutcomeUnknown,
            Self::Encode(_) => ErrorCode::BadRequest,
        }
    }
}
