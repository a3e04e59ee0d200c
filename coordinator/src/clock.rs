//! The clock of leases: monotonic, and it counts the time in which the machine sleeps. And that of people.

use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};
use yak_core::cluster::Now;

/// Now, in milliseconds since the machine was started.
#[must_use]
pub fn now() -> Now {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
    Now(seconds * 1000 + millis)
}

/// A time of day, in milliseconds since 1970.
pub fn ms_since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time of day now, in milliseconds since 1970: for people, never for a decision.
pub fn wall_ms() -> i64 {
    ms_since_1970(SystemTime::now())
}
