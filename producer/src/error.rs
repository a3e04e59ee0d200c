use std::sync::Arc;
use yak_protocol::error::ErrorCode;

/// Why a record has no acknowledgement. Cheap to clone: all records of a batch share it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProduceError {
    /// The record was not written and never will be.
    #[error("not written to {place}: {why}")]
    Failed {
        /// Topic and partition, `orders/2`, or only the topic.
        place: Arc<str>,
        /// The last real cause, and what to do about it.
        why: Arc<str>,
        /// The broker's code, if a broker said so.
        code: Option<ErrorCode>,
    },
    /// The record may or may not have been written: at least one attempt was never answered for good.
    #[error("outcome unknown on {place}: {why}; the record may or may not have been written")]
    OutcomeUnknown {
        /// Topic and partition, `orders/2`.
        place: Arc<str>,
        /// The last real cause.
        why: Arc<str>,
    },
    /// The producer was closed before the record was sent.
    #[error("the producer was closed before the record was sent to {place}")]
    Closed {
        /// Topic and partition, or only the topic.
        place: Arc<str>,
    },
}

impl ProduceError {
    /// Whether the record may have been written all the same.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }

    /// The broker's code, if a broker refused the record.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Failed { code, .. } => *code,
            Self::OutcomeUnknown { .. } | Self::Closed { .. } => None,
        }
    }
}
