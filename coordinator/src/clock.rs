//! The clock of leases: monotonic, and it counts the time in which the machine sleeps.

use rustix::time::{ClockId, clock_gettime};
use yak_core::cluster::Now;

/// Now, in milliseconds since the machine was started.
#[must_use]
pub fn now() -> Now {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
    Now(seconds * 1000 + millis)
}
