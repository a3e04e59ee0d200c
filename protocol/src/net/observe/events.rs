use super::super::limits::EVENTS_MAX;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::broadcast;

/// Something that happened, worth a line to whoever looks later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Counts the events of the process, from 1.
    pub number: u64,
    /// When, in ms since 1970.
    pub at_ms: i64,
    /// What kind: one word, such as `election`.
    pub kind: &'static str,
    /// What happened, in one line.
    pub text: String,
}

/// The last events of a process. Clones share them.
#[derive(Clone)]
pub struct Events(Arc<State>);

struct State {
    ring: Mutex<Ring>,
    followers: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Ring {
    last: VecDeque<Event>,
    count: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(State { ring: Mutex::default(), followers: broadcast::Sender::new(EVENTS_MAX) }))
    }
}

impl Events {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing in here panics halfway through a change.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that something happened now. The oldest event is forgotten for it once there are
    /// [`EVENTS_MAX`].
    pub fn note(&self, kind: &'static str, text: String) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let mut ring = self.ring();
        ring.count += 1;
        let event = Event { number: ring.count, at_ms, kind, text };
        if ring.last.len() == EVENTS_MAX {
            ring.last.pop_front();
        }
        ring.last.push_back(event.clone());
        // Under the lock, so that followers see the order of the numbers. That nobody follows is no error.
        let _ = self.0.followers.send(event);
    }

    /// The last `count` events, oldest first.
    #[must_use]
    pub fn recent(&self, count: usize) -> Vec<Event> {
        let ring = self.ring();
        ring.last.iter().skip(ring.last.len().saturating_sub(count)).cloned().collect()
    }

    /// The events from now on. A follower that is slower than [`EVENTS_MAX`] events is told how many it
    /// missed.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Event> {
        self.0.followers.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_kept_in_order() {
        let events = Events::default();
        let mut follower = events.follow();
        for number in 1..=2 * EVENTS_MAX {
            events.note("test", format!("event {number}"));
        }
        let all = events.recent(usize::MAX);
        assert_eq!((all.len(), all[0].number), (EVENTS_MAX, EVENTS_MAX as u64 + 1));
        let last = events.recent(2);
        assert_eq!(last, all[EVENTS_MAX - 2..]);
        assert_eq!(last[1].text, format!("event {}", 2 * EVENTS_MAX));
        assert!(matches!(follower.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
        assert!(follower.try_recv().is_ok());
    }
}
