//! A request that has been sent and what becomes of it.

use super::connection::Connection;
use super::loss::Loss;
use crate::envelope::{self, EncodeError};
use crate::error::WireError;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<R> {
    /// Its body.
    pub body: R,
    /// The frame's byte string; empty if absent.
    pub bin: Bytes,
}

/// Why a request has no answer to use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The peer refused it (or this side did before anything was sent, because too much is queued).
    #[error("{0}")]
    Refused(WireError),
    /// The connection was lost first.
    #[error("{cause}")]
    Lost {
        /// Why.
        cause: Loss,
        /// Whether any of its bytes may have reached the peer. If not, it certainly had no effect.
        sent: bool,
    },
    /// No answer came in time. The request may still take effect.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The request cannot be written.
    #[error("{0}")]
    Encode(#[from] EncodeError),
}

impl From<WireError> for RequestError {
    fn from(error: WireError) -> Self {
        Self::Refused(error)
    }
}

/// How a request ended, before its body is read.
pub(crate) type Ended = Result<(Bytes, Bytes), RequestError>;

/// An answer to come. Dropping it forgets the request; its answer is then thrown away.
#[must_use = "the answer, or why there is none, comes out of this future"]
pub struct PendingAnswer<R> {
    pub(crate) answer: oneshot::Receiver<Ended>,
    pub(crate) id: u64,
    /// Whether it has ended, so that there is nothing to forget.
    pub(crate) ended: bool,
    /// Keeps the connection open while somebody waits.
    pub(crate) connection: Connection,
    pub(crate) reply: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> PendingAnswer<R> {
    /// Waits no longer than `limit`.
    ///
    /// # Errors
    /// As the future itself, and [`RequestError::Timeout`].
    pub async fn within(self, limit: Duration) -> Result<Answer<R>, RequestError> {
        tokio::time::timeout(limit, self).await.unwrap_or(Err(RequestError::Timeout(limit)))
    }
}

impl<R: DeserializeOwned> Future for PendingAnswer<R> {
    type Output = Result<Answer<R>, RequestError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = match Pin::new(&mut self.answer).poll(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(ended)) => ended,
            // Every request is ended before its sender goes away, so this is a connection torn down whole.
            Poll::Ready(Err(_)) => Err(self.connection.lost_error(true)),
        };
        self.ended = true;
        Poll::Ready(ended.and_then(|(body, bin)| Ok(Answer { body: envelope::outcome(&body)?, bin })))
    }
}

impl<R> Drop for PendingAnswer<R> {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.forget(self.id);
        }
    }
}
