//! The queue between everybody who sends on a connection and its one writer.

use crate::envelope::Encoded;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What can be sent on a connection.
pub(crate) enum Parcel {
    /// A message. Where people type, the writer makes a line of JSON of it.
    Frame(Encoded),
    /// Lines for people, their ends included.
    Text(Bytes),
}

impl Parcel {
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.size_bytes(),
            Self::Text(text) => text.len(),
        }
    }

    pub(crate) fn pieces(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.pieces(),
            Self::Text(_) => 1,
        }
    }

    pub(crate) fn piece(&self, index: usize) -> Option<&[u8]> {
        match self {
            Self::Frame(frame) => frame.piece(index),
            Self::Text(text) => (index == 0).then_some(&text[..]),
        }
    }
}

/// A parcel that waits to be written, and the request id that it carries (0 for text).
pub(crate) struct Queued {
    pub(crate) parcel: Parcel,
    pub(crate) id: u64,
}

/// Why a frame was not queued.
pub(crate) enum NotQueued {
    /// The connection is over or about to be.
    Closed,
    /// The peer does not read: so many bytes wait already.
    Full(usize),
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Stage {
    /// Frames are taken.
    Open,
    /// What is queued is still written; nothing more is taken.
    Finishing,
    /// Nothing is written any more.
    Closed,
}

struct Queue {
    frames: VecDeque<Queued>,
    /// Bytes queued and bytes being written.
    bytes: usize,
    /// Bytes that have been written in all.
    written: u64,
    stage: Stage,
}

/// Frames in order, with their bytes counted until they are written.
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    bytes_max: usize,
    /// Wakes the writer.
    filled: Notify,
    /// Wakes whoever waits for the queue to shrink.
    drained: Notify,
}

impl Outbox {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let queue = Queue { frames: VecDeque::new(), bytes: 0, written: 0, stage: Stage::Open };
        Self { queue: Mutex::new(queue), bytes_max, filled: Notify::new(), drained: Notify::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics halfway through a change, so a poisoned lock still guards a whole queue.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame behind all earlier ones. A single frame is taken whatever its size.
    pub(crate) fn push(&self, frame: Encoded, id: u64) -> Result<(), NotQueued> {
        self.push_parcel(Parcel::Frame(frame), id)
    }

    /// Queues lines behind all earlier parcels.
    pub(crate) fn push_text(&self, text: Bytes) -> Result<(), NotQueued> {
        self.push_parcel(Parcel::Text(text), 0)
    }

    fn push_parcel(&self, parcel: Parcel, id: u64) -> Result<(), NotQueued> {
        let mut queue = self.queue();
        if queue.stage != Stage::Open {
            return Err(NotQueued::Closed);
        }
        if queue.bytes > 0 && queue.bytes + parcel.size_bytes() > self.bytes_max {
            return Err(NotQueued::Full(queue.bytes));
        }
        queue.bytes += parcel.size_bytes();
        queue.frames.push_back(Queued { parcel, id });
        let first = queue.frames.len() == 1;
        drop(queue);
        if first {
            // The writer takes the whole queue at once: only the first frame has to wake it.
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Everything that is queued, as soon as there is something; `None` once there will be nothing more.
    pub(crate) async fn take(&self) -> Option<VecDeque<Queued>> {
        loop {
            {
                let mut queue = self.queue();
                if queue.stage != Stage::Closed && !queue.frames.is_empty() {
                    return Some(std::mem::take(&mut queue.frames));
                }
                if queue.stage != Stage::Open {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// So many bytes of what was taken are no longer held.
    pub(crate) fn release(&self, bytes: usize) {
        let mut queue = self.queue();
        queue.bytes -= bytes;
        queue.written += bytes as u64;
        drop(queue);
        self.drained.notify_waiters();
    }

    /// Bytes that have been written in all.
    pub(crate) fn written(&self) -> u64 {
        self.queue().written
    }

    /// Bytes queued or being written.
    pub(crate) fn bytes(&self) -> usize {
        self.queue().bytes
    }

    /// Waits until fewer than `bytes` are held, or the outbox is no longer open.
    pub(crate) async fn below(&self, bytes: usize) {
        loop {
            let drained = self.drained.notified();
            {
                let queue = self.queue();
                if queue.bytes < bytes || queue.stage != Stage::Open {
                    return;
                }
            }
            drained.await;
        }
    }

    /// Takes nothing more; what is queued is still written.
    pub(crate) fn finish(&self) {
        let mut queue = self.queue();
        if queue.stage == Stage::Open {
            queue.stage = Stage::Finishing;
        }
        drop(queue);
        self.filled.notify_one();
        self.drained.notify_waiters();
    }

    /// Ends it at once and returns what will never be written.
    pub(crate) fn close(&self) -> VecDeque<Queued> {
        let mut queue = self.queue();
        queue.stage = Stage::Closed;
        let frames = std::mem::take(&mut queue.frames);
        drop(queue);
        self.filled.notify_one();
        self.drained.notify_waiters();
        frames
    }
}
