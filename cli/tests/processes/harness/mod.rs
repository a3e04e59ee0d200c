//! Processes of the binary, whole clusters of them, and a publisher that runs while things break.

mod clocks;
mod cluster;
#[path = "../../environment/mod.rs"]
mod environment;
mod network;
mod process;
mod publisher;
mod redis;

pub use clocks::Clocks;
pub use cluster::{Cluster, EMBEDDED, Partition, Record, records};
pub use network::{Network, free_ports};
pub use process::{Finished, Lines, Process, yak};
pub use publisher::{Publisher, check_kept, check_kept_beside};
pub use redis::Redis;

use std::time::{Duration, Instant};

/// How long a condition may take to come true on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// How often conditions are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `look` finds something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(LOOK);
    }
}

/// Waits until so much time has gone by: for cases that are about time itself.
pub fn until_elapsed(time: Duration) {
    let started = Instant::now();
    until("the clock to go on", || (started.elapsed() >= time).then_some(()));
}
