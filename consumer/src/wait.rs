//! Waiting, and saying so.

use crate::event::{Event, EventHook};
use std::sync::Arc;
use std::time::{Duration, Instant};
use yak_protocol::ids::PartitionIndex;

/// After how long a wait is announced.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(1);
/// After how long it is announced again.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);

/// A partition's time without a good answer.
#[derive(Debug)]
pub(crate) struct Trouble {
    since: Instant,
    announced: Option<Instant>,
}

impl Trouble {
    pub(crate) fn new(since: Instant) -> Self {
        Self { since, announced: None }
    }

    /// When the next announcement is due if nothing changes.
    pub(crate) fn next_note(&self) -> Instant {
        self.announced.map_or(self.since + ANNOUNCE_AFTER, |last| last + ANNOUNCE_AGAIN)
    }

    /// The wait goes on; it is announced if it is time.
    pub(crate) fn note(
        &mut self,
        hook: &EventHook,
        topic: &Arc<str>,
        partition: PartitionIndex,
        now: Instant,
        why: impl FnOnce() -> String,
    ) {
        if now >= self.next_note() {
            self.announced = Some(now);
            let since = now.duration_since(self.since);
            hook(Event::Waiting { topic: Arc::clone(topic), partition, since, why: why() });
        }
    }

    /// A good answer came.
    pub(crate) fn over(
        &mut self,
        hook: &EventHook,
        topic: &Arc<str>,
        partition: PartitionIndex,
        now: Instant,
    ) {
        if self.announced.take().is_some() {
            let after = now.duration_since(self.since);
            hook(Event::Resumed { topic: Arc::clone(topic), partition, after });
        }
        self.since = now;
    }
}
