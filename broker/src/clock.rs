//! The clocks of a broker: one that counts suspend, for leases and deadlines, and the wall clock, for
//! the timestamps of plain records.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use yak_core::time::Now;

/// Milliseconds on CLOCK_BOOTTIME: a suspended laptop's leases run out while it sleeps.
#[must_use]
pub(crate) fn now() -> Now {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Now(seconds * 1000 + nanos / 1_000_000)
}

/// How long it is until `deadline`.
#[must_use]
pub(crate) fn until(deadline: Now) -> Duration {
    deadline.since(now())
}

/// Milliseconds since 1970.
#[must_use]
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
