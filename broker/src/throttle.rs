//! Bounds how many bytes a second go to replicas that partitions move to (rule R18).

use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How often what is throttled asks whether it still is.
const THROTTLE_LOOK: Duration = Duration::from_secs(1);

/// Where what is read goes, and what may be full.
pub(crate) trait Room {
    /// Whether there is room now.
    fn has_room(&self) -> bool;

    /// Waits until there is; `false` = there will be none.
    fn room(&self) -> impl Future<Output = bool> + Send;
}

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

    /// Waits until something may be read: there is room for it, a read is free, and it is its turn if `rate` says
    /// that it is throttled. `None` = nobody takes it any more.
    pub(crate) async fn wait<'a>(
        &'a self,
        to: &impl Room,
        reads: &'a Semaphore,
        rate: impl Fn() -> Option<u64>,
    ) -> Option<(SemaphorePermit<'a>, Option<Turn<'a>>)> {
        while to.room().await {
            let permit = reads.acquire().await.ok()?;
            // The rate may have changed meanwhile, or the move ended.
            let Some(rate) = rate() else { return Some((permit, None)) };
            match self.turn(rate).await {
                // Whoever waits with the turn in hand holds up everybody else who is throttled.
                Ok(turn) if to.has_room() => return Some((permit, Some(turn))),
                Ok(_) => {}
                Err(left) => {
                    drop(permit);
                    tokio::time::sleep(left.min(THROTTLE_LOOK)).await;
                }
            }
        }
        None
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
    use std::sync::Arc;
    use std::task::Poll;
    use tokio::sync::watch;

    /// A stream that takes something, or is full.
    #[derive(Clone)]
    struct Stream(watch::Sender<bool>);

    impl Default for Stream {
        fn default() -> Self {
            Self(watch::Sender::new(false))
        }
    }

    impl Room for Stream {
        fn has_room(&self) -> bool {
            !*self.0.borrow()
        }

        async fn room(&self) -> bool {
            self.0.subscribe().wait_for(|full| !full).await.is_ok()
        }
    }

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

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_fills_up_while_it_waits_for_its_turn_holds_up_nobody() {
        const LONG: Duration = Duration::from_secs(1000);
        let (throttle, reads) = (Arc::new(Throttle::default()), Arc::new(Semaphore::new(1)));
        let (full, free) = (Stream::default(), Stream::default());
        let turn = throttle.turn(1).await.expect("nothing was sent");
        let waits = tokio::spawn({
            let (throttle, reads, full) = (throttle.clone(), reads.clone(), full.clone());
            async move { throttle.wait(&full, &reads, || Some(1)).await.map(|_| ()) }
        });
        while reads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        full.0.send_replace(true);
        drop(turn);
        let other = tokio::time::timeout(LONG, throttle.wait(&free, &reads, || Some(1))).await;
        assert!(matches!(other, Ok(Some((_, Some(_))))), "the other one has its turn");
        drop(other);
        full.0.send_replace(false);
        assert!(waits.await.expect("no panic").is_some(), "and it has its own once there is room");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_rate_keeps_no_read_from_others() {
        let (throttle, reads, stream) = (Throttle::default(), Semaphore::new(1), Stream::default());
        let (_, turn) = throttle.wait(&stream, &reads, || Some(1)).await.expect("room");
        turn.expect("a turn").sent(1_000_000);
        let mut slow = std::pin::pin!(throttle.wait(&stream, &reads, || Some(1)));
        let waits =
            std::future::poll_fn(|context| Poll::Ready(slow.as_mut().poll(context).is_pending())).await;
        assert!(waits, "it has to wait for its rate");
        let (_, turn) = throttle.wait(&stream, &reads, || None).await.expect("room");
        assert!(turn.is_none(), "only the other one is throttled");
    }
}
