//! The two halves of a socket: frames in, frames out.

use super::limits::{
    KEEP_ALIVE, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_PROBES, LINE_READ_BYTES, READ_BYTES, READ_STALL_MAX,
    WRITE_PIECES_MAX, WRITE_STALL_MAX,
};
use super::outbox::{Outbox, Queued};
use crate::frame::{FrameCodec, FrameError};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, IoSlice};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What every connection is set to: no delay for small frames, and a dead machine is noticed.
pub(crate) fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keep_alive = socket2::TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE_INTERVAL)
        .with_retries(KEEP_ALIVE_PROBES);
    let socket = socket2::SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(super::limits::UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_keepalive(&keep_alive)
}

/// Frames as they arrive.
pub(crate) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
    codec: FrameCodec,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(io: R, max_frame_bytes: u32) -> Self {
        Self { io, buffer: BytesMut::new(), codec: FrameCodec::new(max_frame_bytes) }
    }

    /// The first byte of the stream, without taking it; `None` if the stream ends before it.
    pub(crate) async fn first_byte(&mut self) -> std::io::Result<Option<u8>> {
        if self.buffer.is_empty() {
            self.buffer.reserve(READ_BYTES);
            self.io.read_buf(&mut self.buffer).await?;
        }
        Ok(self.buffer.first().copied())
    }

    /// What has been read and not been taken yet.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads on; 0 at the end of the stream. Safe to cancel.
    pub(crate) async fn more(&mut self) -> std::io::Result<usize> {
        self.buffer.reserve(LINE_READ_BYTES);
        self.io.read_buf(&mut self.buffer).await
    }

    /// Passes bytes at the front, which are of another layer.
    pub(crate) fn skip(&mut self, count: usize) {
        self.buffer.advance(count);
    }

    /// The stream and what has been read of it, for whoever reads something else than frames.
    pub(crate) fn into_parts(self) -> (R, BytesMut) {
        (self.io, self.buffer)
    }

    /// The next frame if it has arrived already.
    pub(crate) fn arrived(&mut self) -> Result<Option<Bytes>, FrameError> {
        self.codec.next_frame(&mut self.buffer)
    }

    /// The next frame; `None` at the end of the stream. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.arrived()? {
                return Ok(Some(frame));
            }
            let within = !self.buffer.is_empty();
            self.make_room();
            let read = self.io.read_buf(&mut self.buffer);
            // Between frames a connection may be silent for ever; within one it may not.
            let count = if within { unless_stalled(READ_STALL_MAX, read).await? } else { read.await? };
            if count == 0 {
                return self.codec.end(&self.buffer).map_or(Ok(None), Err);
            }
        }
    }

    /// Room for the next read. The codec has already made it if it knows what the frame lacks.
    fn make_room(&mut self) {
        let room = self.buffer.capacity() - self.buffer.len();
        let knows = self.buffer.len() >= crate::defaults::FRAME_PREFIX_BYTES;
        if room == 0 || (!knows && room < READ_BYTES / 8) {
            self.buffer.reserve(READ_BYTES);
        }
    }

    /// Reads and throws away what still comes, up to `bytes_max`.
    pub(crate) async fn drain(&mut self, bytes_max: usize) {
        drain(&mut self.io, &mut self.buffer, bytes_max).await;
    }
}

/// Reads and throws away what still comes, up to `bytes_max`.
pub(crate) async fn drain<R: AsyncRead + Unpin>(io: &mut R, buffer: &mut BytesMut, bytes_max: usize) {
    let mut left = bytes_max;
    while left > 0 {
        buffer.clear();
        buffer.reserve(LINE_READ_BYTES);
        match io.read_buf(buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => left = left.saturating_sub(count),
        }
    }
}

pub(crate) async fn unless_stalled<T>(
    limit: Duration,
    io: impl Future<Output = std::io::Result<T>>,
) -> std::io::Result<T> {
    match timeout(limit, io).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(ErrorKind::TimedOut, format!("no progress within {} s", limit.as_secs()))),
    }
}

/// Writes what the outbox holds until it ends: everything that is queued goes into one vectored write.
///
/// # Errors
/// What broke the stream, and the ids of the frames of which not one byte was written.
pub(crate) async fn write_frames<W: AsyncWrite + Unpin>(
    outbox: &Outbox,
    io: &mut W,
) -> Result<(), (Error, Vec<u64>)> {
    while let Some(batch) = outbox.take().await {
        let mut unwritten = Unwritten { frames: batch, piece: 0, offset: 0, outbox };
        while !unwritten.frames.is_empty() {
            if let Err(error) = unwritten.write_some(io).await {
                let ids = unwritten.untouched_ids();
                return Err((error, ids));
            }
        }
    }
    io.shutdown().await.map_err(|error| (error, Vec::new()))
}

/// Frames that are being written, and how far the first of them is.
struct Unwritten<'a> {
    frames: VecDeque<Queued>,
    piece: usize,
    offset: usize,
    outbox: &'a Outbox,
}

impl Unwritten<'_> {
    async fn write_some<W: AsyncWrite + Unpin>(&mut self, io: &mut W) -> std::io::Result<()> {
        let mut slices = [IoSlice::new(&[]); WRITE_PIECES_MAX];
        let mut count = 0;
        let mut skip = (self.piece, self.offset);
        'full: for queued in &self.frames {
            for index in skip.0..queued.parcel.pieces() {
                let piece = queued.parcel.piece(index).unwrap_or(&[]);
                slices[count] = IoSlice::new(&piece[skip.1..]);
                skip.1 = 0;
                count += 1;
                if count == WRITE_PIECES_MAX {
                    break 'full;
                }
            }
            skip = (0, 0);
        }
        let written = unless_stalled(WRITE_STALL_MAX, io.write_vectored(&slices[..count])).await?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        self.advance(written);
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        let mut released = 0;
        while let Some(first) = self.frames.front() {
            let Some(piece) = first.parcel.piece(self.piece) else {
                released += first.parcel.size_bytes();
                self.frames.pop_front();
                (self.piece, self.offset) = (0, 0);
                continue;
            };
            let left = piece.len() - self.offset;
            if written < left {
                self.offset += written;
                break;
            }
            written -= left;
            (self.piece, self.offset) = (self.piece + 1, 0);
        }
        if released > 0 {
            self.outbox.release(released);
        }
    }

    /// The frames that have not been begun.
    fn untouched_ids(&self) -> Vec<u64> {
        let begun = usize::from(self.piece > 0 || self.offset > 0);
        self.frames.iter().skip(begun).map(|queued| queued.id).collect()
    }
}
