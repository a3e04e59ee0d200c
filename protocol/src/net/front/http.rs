use crate::net::limits::{LINGER, LINGER_BYTES_MAX};
use crate::net::peer::Peer;
use crate::net::stream::drain;
use bytes::{Buf, Bytes, BytesMut};
use std::io::{Error, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// What a connection is told whose HTTP nobody serves.
const NOT_SERVED: &str = "YAK: no HTTP is served on this port; it takes frames, text (HELP) and JSON lines\n";

/// A connection that speaks HTTP, from its first byte on: what was read to recognise it is read again.
pub struct HttpStream {
    peer: Peer,
    begun: Bytes,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
}

impl HttpStream {
    pub(super) fn new(peer: Peer, begun: Bytes, read: OwnedReadHalf, write: OwnedWriteHalf) -> Self {
        Self { peer, begun, read, write }
    }

    /// Who connected.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Answers any request with 400 and a line that says what this port takes, and closes.
    pub async fn not_served(mut self) {
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{NOT_SERVED}",
            NOT_SERVED.len()
        );
        let _ = timeout(LINGER, async {
            self.write.write_all(answer.as_bytes()).await?;
            self.write.shutdown().await?;
            drain(&mut self.read, &mut BytesMut::new(), LINGER_BYTES_MAX).await;
            std::io::Result::Ok(())
        })
        .await;
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        if self.begun.is_empty() {
            return Pin::new(&mut self.read).poll_read(cx, buffer);
        }
        let count = self.begun.len().min(buffer.remaining());
        buffer.put_slice(&self.begun[..count]);
        self.begun.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.write).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.write).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}
