use std::fmt;
use std::io::{Error, ErrorKind};
use std::sync::Arc;

/// Why a connection is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loss {
    by_peer: bool,
    text: Arc<str>,
}

impl Loss {
    /// The peer closed the connection or died: end of file or reset.
    pub(crate) fn by_peer(text: impl Into<Arc<str>>) -> Self {
        Self { by_peer: true, text: text.into() }
    }

    /// Anything else: closed from this side, a stalled or unreachable peer, a broken frame.
    pub(crate) fn other(text: impl Into<Arc<str>>) -> Self {
        Self { by_peer: false, text: text.into() }
    }

    pub(crate) fn from_io(error: &Error, doing: &str) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                Self::by_peer("connection reset by the peer")
            }
            ErrorKind::UnexpectedEof => Self::by_peer("connection closed by the peer"),
            _ => Self::other(format!("{doing}: {error}")),
        }
    }

    /// Whether the peer's end of file or reset ended it, as happens when its process dies.
    #[must_use]
    pub fn is_by_peer(&self) -> bool {
        self.by_peer
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The connection is over; nothing was sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectionLost(pub Loss);
