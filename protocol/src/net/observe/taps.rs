//! Copies of frames for whoever watches. While nobody does, a frame costs one relaxed load.

use super::super::limits::{TAP_BYTES_MAX, TAP_FRAMES_MAX, TAP_REQUESTS_MAX};
use crate::envelope;
use bytes::Bytes;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Which way a frame went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// From the peer to this process.
    In,
    /// From this process to the peer.
    Out,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

/// Which frames are shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TapFilter {
    /// All of them.
    All,
    /// Those of one connection.
    Connection(u64),
    /// Those that carry one of these strings in their body (a topic's name, or its id), and the answers to
    /// them.
    Topic(Vec<String>),
}

/// A frame that went over a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tapped {
    /// When.
    pub at: SystemTime,
    /// Over which connection.
    pub connection: u64,
    /// Which way.
    pub direction: Direction,
    /// The frame without its length.
    pub frame: Bytes,
    /// How many frames were dropped since the one before, because there were too many.
    pub dropped: u64,
}

/// Who is shown copies of the frames of a process. Clones share the list.
#[derive(Clone, Default)]
pub struct Taps(Arc<State>);

#[derive(Default)]
struct State {
    active: AtomicUsize,
    taps: Mutex<Vec<Arc<Shared>>>,
}

struct Shared {
    filter: Filter,
    per_second: u32,
    sender: mpsc::Sender<Tapped>,
    waiting_bytes: AtomicUsize,
    progress: Mutex<Progress>,
}

enum Filter {
    All,
    Connection(u64),
    /// As MessagePack strings.
    Topic(Vec<Vec<u8>>),
}

struct Progress {
    second: Instant,
    in_second: u32,
    dropped: u64,
    /// The requests that matched, by connection and id, and in which order they came.
    asked: HashSet<(u64, u64)>,
    order: VecDeque<(u64, u64)>,
}

impl Taps {
    fn taps(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        // Each change is one call; a poisoned lock still guards a whole list.
        self.0.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the frames that match from now on: `per_second` at most, and none while
    /// [`TAP_FRAMES_MAX`] or [`TAP_BYTES_MAX`] wait to be read. What is dropped is counted.
    #[must_use]
    pub fn subscribe(&self, filter: TapFilter, per_second: u32) -> Tap {
        let (sender, receiver) = mpsc::channel(TAP_FRAMES_MAX);
        let filter = match filter {
            TapFilter::All => Filter::All,
            TapFilter::Connection(id) => Filter::Connection(id),
            TapFilter::Topic(names) => Filter::Topic(names.iter().map(|name| packed(name)).collect()),
        };
        let progress = Progress {
            second: Instant::now(),
            in_second: 0,
            dropped: 0,
            asked: HashSet::new(),
            order: VecDeque::new(),
        };
        let waiting_bytes = AtomicUsize::new(0);
        let progress = Mutex::new(progress);
        let shared = Arc::new(Shared { filter, per_second, sender, waiting_bytes, progress });
        self.taps().push(shared.clone());
        self.0.active.fetch_add(1, Ordering::Relaxed);
        Tap { taps: self.clone(), shared, receiver }
    }

    /// Whether anybody watches.
    pub(crate) fn active(&self) -> bool {
        self.0.active.load(Ordering::Relaxed) > 0
    }

    /// Shows a frame, without its length, to those who want it.
    #[cold]
    pub(crate) fn show(&self, connection: u64, direction: Direction, frame: &Bytes) {
        let taps = self.taps().clone();
        for tap in taps {
            tap.show(connection, direction, frame);
        }
    }
}

/// The text as the MessagePack string that every encoder writes that takes the shortest form.
fn packed(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a Vec cannot fail.
    let _ = rmp::encode::write_str(&mut bytes, text);
    bytes
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, connection: u64, direction: Direction, frame: &Bytes) {
        let mut progress = self.progress();
        if !self.wants(&mut progress, connection, direction, frame) {
            return;
        }
        let now = Instant::now();
        if now.duration_since(progress.second) >= Duration::from_secs(1) {
            (progress.second, progress.in_second) = (now, 0);
        }
        let waiting = self.waiting_bytes.load(Ordering::Relaxed);
        let room = waiting == 0 || waiting + frame.len() <= TAP_BYTES_MAX;
        if progress.in_second >= self.per_second || !room {
            progress.dropped += 1;
            return;
        }
        let dropped = progress.dropped;
        let tapped = Tapped { at: SystemTime::now(), connection, direction, frame: frame.clone(), dropped };
        // Before it can be taken out.
        self.waiting_bytes.fetch_add(frame.len(), Ordering::Relaxed);
        if self.sender.try_send(tapped).is_ok() {
            progress.in_second += 1;
            progress.dropped = 0;
        } else {
            self.waiting_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
            progress.dropped += 1;
        }
    }

    fn wants(&self, progress: &mut Progress, connection: u64, direction: Direction, frame: &Bytes) -> bool {
        let names = match &self.filter {
            Filter::All => return true,
            Filter::Connection(id) => return *id == connection,
            Filter::Topic(names) => names,
        };
        let Ok(envelope) = envelope::decode(frame.clone()) else { return false };
        let request = (connection, envelope.id);
        if direction == Direction::Out && progress.asked.contains(&request) {
            return true;
        }
        let body = &envelope.body;
        let found = names.iter().any(|name| body.windows(name.len()).any(|window| window == name));
        if found && direction == Direction::In && progress.asked.insert(request) {
            progress.order.push_back(request);
            if progress.order.len() > TAP_REQUESTS_MAX
                && let Some(oldest) = progress.order.pop_front()
            {
                progress.asked.remove(&oldest);
            }
        }
        found
    }
}

/// Copies of frames, until it is dropped.
pub struct Tap {
    taps: Taps,
    shared: Arc<Shared>,
    receiver: mpsc::Receiver<Tapped>,
}

impl Tap {
    /// The next frame. Safe to cancel.
    pub async fn next(&mut self) -> Tapped {
        match self.receiver.recv().await {
            Some(tapped) => {
                self.shared.waiting_bytes.fetch_sub(tapped.frame.len(), Ordering::Relaxed);
                tapped
            }
            // The sender lives as long as `shared`.
            None => std::future::pending().await,
        }
    }

    /// How many frames were dropped since the last one that was shown.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.progress().dropped
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.taps.taps().retain(|tap| !Arc::ptr_eq(tap, &self.shared));
        self.taps.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Hello, Message, Metadata};

    fn frame(id: u64, topic: Option<&str>) -> Bytes {
        let encoded = match topic {
            Some(topic) => {
                let body = Metadata { topics: Some(vec![topic.to_owned()]) };
                envelope::encode(1, id, Metadata::KIND, &body, vec![])
            }
            None => envelope::encode(1, id, Hello::KIND, &Hello::default(), vec![]),
        };
        encoded.expect("a frame").to_bytes().slice(4..)
    }

    fn taken(tap: &mut Tap) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        while let Ok(tapped) = tap.receiver.try_recv() {
            all.push((tapped.connection, envelope::decode_head(&tapped.frame).expect("a head").id));
        }
        all
    }

    #[test]
    fn each_sees_what_it_asked_for() {
        let taps = Taps::default();
        assert!(!taps.active());
        let mut all = taps.subscribe(TapFilter::All, 100);
        let mut one = taps.subscribe(TapFilter::Connection(2), 100);
        let mut topic = taps.subscribe(TapFilter::Topic(vec!["orders".into()]), 100);
        assert!(taps.active());
        taps.show(1, Direction::In, &frame(7, Some("orders")));
        taps.show(1, Direction::In, &frame(8, Some("orders2")));
        taps.show(1, Direction::Out, &frame(8, None));
        taps.show(2, Direction::Out, &frame(7, None));
        taps.show(1, Direction::Out, &frame(7, None));
        assert_eq!(taken(&mut all).len(), 5);
        assert_eq!(taken(&mut one), [(2, 7)]);
        assert_eq!(taken(&mut topic), [(1, 7), (1, 7)], "the request and its answer");
        drop((all, one, topic));
        assert!(!taps.active());
    }

    #[tokio::test]
    async fn what_is_too_much_is_dropped_and_counted() {
        let taps = Taps::default();
        let mut slow = taps.subscribe(TapFilter::All, 3);
        for id in 1..=10 {
            taps.show(1, Direction::In, &frame(id, None));
        }
        assert_eq!(slow.dropped(), 7);
        assert_eq!(slow.next().await.dropped, 0);
        let mut full = taps.subscribe(TapFilter::All, u32::MAX);
        let large = Bytes::from(vec![0; TAP_BYTES_MAX / 2 + 1]);
        taps.show(1, Direction::In, &large);
        taps.show(1, Direction::In, &large);
        taps.show(1, Direction::In, &frame(3, None));
        assert_eq!(full.next().await.dropped, 0);
        assert_eq!(full.next().await.dropped, 1);
    }
}
