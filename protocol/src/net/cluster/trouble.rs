//! What stands in the way of each partition's requests, and how long to pause before the next attempt.

use super::backoff::Backoff;
use super::error::ClusterError;
use super::view::Leader;
use crate::ids::PartitionIndex;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What keeps requests waiting, and since when. Shown as `no leader for orders/2 since 4.1 s`.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The last real cause.
    pub cause: String,
    /// When this cause was seen first.
    pub since: Instant,
    /// Until when the same leader is not to be tried again.
    pub(super) not_before: Instant,
    /// The leader that failed.
    pub(super) failed: Option<Leader>,
    backoff: Backoff,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} since {:.1} s", self.cause, self.since.elapsed().as_secs_f64())
    }
}

/// The last real cause of a wait, and since when it is the cause.
#[derive(Default)]
pub(super) struct Cause(Option<(String, Instant)>);

impl Cause {
    pub(super) fn note(&mut self, text: String) {
        if self.0.as_ref().is_none_or(|(known, _)| *known != text) {
            self.0 = Some((text, Instant::now()));
        }
    }

    /// Notes it only if nothing more telling is known.
    pub(super) fn note_default(&mut self, text: &str) {
        if self.0.is_none() {
            self.note(text.to_owned());
        }
    }

    /// The error of a wait for `what` that began at `started`.
    pub(super) fn timeout(&self, what: &str, started: Instant) -> ClusterError {
        let cause = match &self.0 {
            Some((text, since)) => format!("{text} since {:.1} s", since.elapsed().as_secs_f64()),
            None => "no process answers".to_owned(),
        };
        ClusterError::Timeout { what: what.to_owned(), waited: started.elapsed(), cause }
    }
}

#[derive(Default)]
pub(super) struct Troubles {
    partitions: Mutex<HashMap<(String, PartitionIndex), Trouble>>,
    /// How many there are: the way without trouble takes no lock.
    count: AtomicUsize,
}

impl Troubles {
    fn partitions(&self) -> MutexGuard<'_, HashMap<(String, PartitionIndex), Trouble>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, topic: &str, partition: PartitionIndex, failed: Option<&Leader>, cause: &str) {
        let now = Instant::now();
        let mut partitions = self.partitions();
        let trouble = partitions.entry((topic.to_owned(), partition)).or_insert_with(|| Trouble {
            cause: cause.to_owned(),
            since: now,
            // The first time there is no pause: what is known may just be old.
            not_before: now,
            failed: None,
            backoff: Backoff::default(),
        });
        if trouble.cause != cause {
            (trouble.cause, trouble.since) = (cause.to_owned(), now);
        }
        // Many requests fail together when a leader dies; together they are one failure.
        if trouble.failed.as_ref() != failed || trouble.not_before <= now {
            trouble.not_before = now + trouble.backoff.next();
        }
        trouble.failed = failed.cloned();
        self.count.store(partitions.len(), Ordering::Release);
    }

    pub(super) fn get(&self, topic: &str, partition: PartitionIndex) -> Option<Trouble> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.partitions().get(&(topic.to_owned(), partition)).cloned()
    }

    pub(super) fn clear(&self, topic: &str, partition: PartitionIndex) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut partitions = self.partitions();
        partitions.remove(&(topic.to_owned(), partition));
        self.count.store(partitions.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BrokerId, LeaderEpoch};
    use std::time::Duration;

    const P0: PartitionIndex = PartitionIndex(0);

    fn leader(epoch: u32) -> Leader {
        Leader { broker: BrokerId(1), address: "kiwi:1".into(), epoch: LeaderEpoch(epoch) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_cause_is_shown_with_the_time_since_it_began() {
        let troubles = Troubles::default();
        troubles.note("orders", P0, None, "connection refused by kiwi:1");
        tokio::time::advance(Duration::from_secs(2)).await;
        troubles.note("orders", P0, None, "no leader for orders/0");
        tokio::time::advance(Duration::from_millis(4100)).await;
        troubles.note("orders", P0, None, "no leader for orders/0");
        let shown = troubles.get("orders", P0).expect("trouble").to_string();
        assert_eq!(shown, "no leader for orders/0 since 4.1 s");
        assert!(troubles.get("orders", PartitionIndex(1)).is_none());
        troubles.clear("orders", P0);
        assert!(troubles.get("orders", P0).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_fail_together_are_one_failure() {
        let troubles = Troubles::default();
        (0..100).for_each(|_| troubles.note("orders", P0, Some(&leader(1)), "reset"));
        let pause = troubles.get("orders", P0).expect("trouble").not_before - Instant::now();
        assert!(pause <= Duration::from_millis(5), "{pause:?}");
    }
}
