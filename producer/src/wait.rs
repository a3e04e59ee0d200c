//! Waiting, and saying so.

use crate::event::Event;
use crate::producer::Shared;
use std::sync::Arc;
use std::time::{Duration, Instant};
use yak_protocol::ids::PartitionIndex;

/// After how long a wait is announced.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(1);
/// After how long it is announced again.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);

/// Pauses between attempts when nobody can be asked; who leads is paced by the cluster client.
#[derive(Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(200);

    /// The next pause, with jitter of a quarter.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = Self::FIRST.saturating_mul(1 << self.attempts.min(10)).min(Self::LONGEST);
        self.attempts += 1;
        pause.mul_f64(fastrand::f64().mul_add(0.25, 0.875))
    }

    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.next()).await;
    }

    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// A wait of one partition (or of a topic that is not known yet) from its beginning to its end.
pub(crate) struct Trouble {
    topic: Arc<str>,
    partition: Option<PartitionIndex>,
    since: Instant,
    announced: Option<Instant>,
}

impl Trouble {
    pub(crate) fn new(topic: Arc<str>, partition: Option<PartitionIndex>, since: Instant) -> Self {
        Self { topic, partition, since, announced: None }
    }

    /// When the next announcement is due if the wait goes on.
    pub(crate) fn next_note(&self) -> Instant {
        self.announced.map_or(self.since + ANNOUNCE_AFTER, |last| last + ANNOUNCE_AGAIN)
    }

    /// The wait goes on; it is announced if it is time.
    pub(crate) fn note(&mut self, shared: &Shared, now: Instant, why: impl FnOnce() -> String) {
        if now < self.next_note() {
            return;
        }
        self.announced = Some(now);
        shared.tell(Event::Waiting {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            since: now.duration_since(self.since),
            why: why(),
        });
    }

    /// There is progress again.
    pub(crate) fn over(&mut self, shared: &Shared, now: Instant) {
        if self.announced.take().is_some() {
            shared.tell(Event::Resumed {
                topic: Arc::clone(&self.topic),
                partition: self.partition,
                after: now.duration_since(self.since),
            });
        }
        self.since = now;
    }

    /// Nothing was waited for until now.
    pub(crate) fn restart(&mut self, now: Instant) {
        if self.announced.is_none() {
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_short_and_stay_bounded() {
        let mut backoff = Backoff::default();
        assert!(backoff.next() < Duration::from_millis(6));
        let longest = (0..50).map(|_| backoff.next()).max().expect("fifty pauses");
        assert!(longest <= Backoff::LONGEST.mul_f64(1.125));
        backoff.reset();
        assert!(backoff.next() < Duration::from_millis(6));
    }
}
