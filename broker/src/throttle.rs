//! Bounds how many bytes a second go to replicas that partitions move to (rule R18).

use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// One for all partitions that a broker leads.
#[derive(Default)]
pub(crate) struct Throttle {
    /// When something was last sent, and how many bytes it had.
    last: Mutex<Option<(Instant, u64)>>,
}

/// Nobody else sends meanwhile.
pub(crate) struct Turn<'a>(MutexGuard<'a, Option<(Instant, u64)>>);

impl Throttle {
    /// The turn to send something at this rate, or how long what was sent before still takes. The rate may be
    /// another one by then, so it is to be asked for again.
    pub(crate) async fn turn(&self, bytes_per_second: u64) -> Result<Turn<'_>, Duration> {
        let last = self.last.lock().await;
        let left = last.map_or(Duration::ZERO, |(at, bytes)| {
            let micros = u128::from(bytes) * 1_000_000 / u128::from(bytes_per_second.max(1));
            Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).saturating_sub(at.elapsed())
        });
        if left.is_zero() { Ok(Turn(last)) } else { Err(left) }
    }
}

impl Turn<'_> {
    /// So much was sent.
    pub(crate) fn sent(mut self, bytes: u64) {
        *self.0 = Some((Instant::now(), bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends at once, or says how long that has to wait.
    async fn send(throttle: &Throttle, bytes: u64, rate: u64) -> Result<(), Duration> {
        throttle.turn(rate).await.map(|turn| turn.sent(bytes))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_takes_its_time_at_the_rate_of_whoever_is_next() {
        let throttle = Throttle::default();
        assert_eq!(send(&throttle, 1000, 1000).await, Ok(()));
        assert_eq!(send(&throttle, 500, 1000).await, Err(Duration::from_secs(1)));
        assert_eq!(send(&throttle, 500, 1).await, Err(Duration::from_secs(1000)));
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(send(&throttle, 500, 1000).await, Err(Duration::from_millis(600)));
        assert_eq!(send(&throttle, 500, 2500).await, Ok(()));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(send(&throttle, 500, 1000).await, Ok(()));
        assert!(send(&throttle, 500, 1000).await.is_err(), "time that nobody used is not saved up");
    }
}
