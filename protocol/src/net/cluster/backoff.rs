use std::time::Duration;

/// The first pause.
const LEAST: Duration = Duration::from_millis(5);
/// Pauses grow up to this.
const MOST: Duration = Duration::from_millis(500);
/// By which factor they grow: small, because after a failover a pause that is under way is time lost.
const FACTOR: f64 = 1.5;

/// Pauses between attempts: 5 ms growing to 500 ms, each with jitter so that clients do not march in step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let grown = LEAST.as_secs_f64() * FACTOR.powi(i32::try_from(self.failures.min(30)).unwrap_or(30));
        self.failures += 1;
        let whole = grown.min(MOST.as_secs_f64());
        Duration::from_secs_f64(whole * (0.5 + fastrand::f64() / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_from_five_to_five_hundred_milliseconds() {
        let mut backoff = Backoff::default();
        let first = backoff.next();
        assert!(first >= LEAST / 2 && first <= LEAST, "{first:?}");
        let pauses: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(pauses.iter().all(|pause| *pause <= MOST));
        assert!(pauses.last().is_some_and(|last| *last >= MOST / 2));
    }
}
