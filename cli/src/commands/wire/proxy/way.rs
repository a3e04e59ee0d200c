//! One way of one connection: what comes in is cut into frames, judged, and passed on in its time.

use super::faults::{Cut, WayFaults};
use super::screen::Link;
use crate::text;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use yak_protocol::decode::Direction;
use yak_protocol::defaults::FRAME_BYTES_CEILING;
use yak_protocol::frame::FrameCodec;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 << 10;
/// How many pieces may be held back.
const HELD_BACK_MAX: usize = 4096;

/// One way of one connection.
pub(super) struct Way {
    pub(super) direction: Direction,
    pub(super) faults: WayFaults,
    pub(super) link: Arc<Link>,
    /// Ends the whole connection at once.
    pub(super) cut: CancellationToken,
}

/// What is passed on, and when.
struct Parcel {
    due: Instant,
    what: What,
}

enum What {
    Bytes(Bytes),
    End,
    Cut,
}

/// What a way speaks.
enum Mode {
    Undecided,
    Frames(FrameCodec),
    /// Text, or anything else: passed on as it comes.
    Other,
}

/// Nothing more is taken from this way.
struct Over;

impl Way {
    /// Passes everything on until its end, and the end itself.
    pub(super) async fn pass(self, read: OwnedReadHalf, write: OwnedWriteHalf) {
        let (sender, receiver) = mpsc::channel(HELD_BACK_MAX);
        let (direction, link, cut) = (self.direction, self.link.clone(), self.cut.clone());
        tokio::join!(self.take_in(read, sender), send_out(write, receiver, direction, link, cut));
    }

    async fn take_in(self, mut read: OwnedReadHalf, sender: mpsc::Sender<Parcel>) {
        let mut intake = Intake { way: self, sender, frames: 0, bytes: 0 };
        let mut buffer = BytesMut::new();
        let mut mode = Mode::Undecided;
        loop {
            buffer.reserve(READ_BYTES);
            let taken = match read.read_buf(&mut buffer).await {
                Ok(0) => intake.end(buffer.split().freeze()).await,
                Ok(_) => intake.cut_up(&mut mode, &mut buffer).await,
                Err(error) => intake.broken(buffer.split().freeze(), &error).await,
            };
            if taken.is_err() {
                return;
            }
        }
    }
}

struct Intake {
    way: Way,
    sender: mpsc::Sender<Parcel>,
    /// How many have come in.
    frames: u64,
    bytes: u64,
}

impl Intake {
    async fn cut_up(&mut self, mode: &mut Mode, buffer: &mut BytesMut) -> Result<(), Over> {
        if let Mode::Undecided = mode {
            // As every listener tells it: by the first byte.
            let frames = buffer.first().is_some_and(|first| *first <= FRAME_BYTES_CEILING.to_be_bytes()[0]);
            *mode = if frames { Mode::Frames(FrameCodec::new(FRAME_BYTES_CEILING)) } else { Mode::Other };
        }
        while let Mode::Frames(codec) = mode {
            match codec.next_frame(buffer) {
                Ok(Some(frame)) => self.frame(&frame).await?,
                Ok(None) => return Ok(()),
                Err(_) => *mode = Mode::Other,
            }
        }
        self.bytes(buffer.split().freeze()).await
    }

    async fn frame(&mut self, frame: &Bytes) -> Result<(), Over> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes();
        let whole = Bytes::from([&length, &frame[..]].concat());
        self.frames += 1;
        let last = self.way.faults.cut == Some(Cut::Frames(self.frames));
        if self.way.faults.drops() {
            self.way.link.saw(self.way.direction, &whole, Some("dropped"));
        } else {
            self.bytes(whole).await?;
        }
        if last {
            self.cut(&format!("cut after {}", text::count(self.frames, "frame"))).await
        } else {
            Ok(())
        }
    }

    /// Passes bytes on, or as many of them as come before the cut.
    async fn bytes(&mut self, mut bytes: Bytes) -> Result<(), Over> {
        if bytes.is_empty() {
            return Ok(());
        }
        let left = match self.way.faults.cut {
            Some(Cut::Bytes(limit)) => limit - self.bytes,
            _ => u64::MAX,
        };
        let cut = bytes.len() as u64 >= left;
        if cut {
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        self.bytes += bytes.len() as u64;
        self.way.link.saw(self.way.direction, &bytes, None);
        self.send(What::Bytes(bytes)).await?;
        if cut { self.cut(&format!("cut after {} bytes", self.bytes)).await } else { Ok(()) }
    }

    async fn cut(&mut self, why: &str) -> Result<(), Over> {
        self.way.link.saw_end(self.way.direction, Some(why));
        self.send(What::Cut).await?;
        Err(Over)
    }

    async fn end(&mut self, rest: Bytes) -> Result<(), Over> {
        self.bytes(rest).await?;
        self.way.link.saw_end(self.way.direction, None);
        self.send(What::End).await?;
        Err(Over)
    }

    async fn broken(&mut self, rest: Bytes, error: &std::io::Error) -> Result<(), Over> {
        self.bytes(rest).await?;
        self.cut(&format!("broken: {error}")).await
    }

    async fn send(&mut self, what: What) -> Result<(), Over> {
        let due = Instant::now() + self.way.faults.delay;
        self.sender.send(Parcel { due, what }).await.map_err(|_| Over)
    }
}

async fn send_out(
    mut write: OwnedWriteHalf,
    mut receiver: mpsc::Receiver<Parcel>,
    direction: Direction,
    link: Arc<Link>,
    cut: CancellationToken,
) {
    while let Some(Parcel { due, what }) = receiver.recv().await {
        sleep_until(due).await;
        match what {
            What::Bytes(bytes) => {
                if write.write_all(&bytes).await.is_err() {
                    cut.cancel();
                    return;
                }
                link.passed(direction, &bytes);
            }
            What::End => {
                let _ = write.shutdown().await;
                link.passed_end(direction);
                return;
            }
            What::Cut => {
                cut.cancel();
                return;
            }
        }
    }
}
