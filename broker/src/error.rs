//! Why a broker did not start, or ended by itself.

use yak_protocol::error::WireError;
use yak_storage::{OpenError, StoreError};

/// Why a broker ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The configuration cannot work.
    #[error("{0}")]
    Config(String),
    /// The data dir could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data dir could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The coordinator refuses this broker for good: another cluster, a name in use, and the like.
    #[error("the coordinator refuses this broker: {}{}", .0, hint(.0))]
    Refused(WireError),
    /// It crashed: by request, or because nothing could be promised any more.
    #[error("the broker crashed; its log is recovered at the next start")]
    Crashed,
}

fn hint(error: &WireError) -> String {
    error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default()
}
