//! A digest of a world's state, for telling whether the search has been there before.

use super::net::Message;
use super::world::World;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

impl World {
    /// Equal for worlds that behave alike from here on. What only the checkers remember is in it as far as
    /// it decides what they will find.
    pub fn fingerprint(&self) -> u64 {
        let mut to = DefaultHasher::new();
        self.now.hash(&mut to);
        self.coordinator.cluster.hash(&mut to);
        self.coordinator.journal.len().hash(&mut to);
        self.deposed.as_ref().map(|deposed| &deposed.cluster).hash(&mut to);
        for broker in self.brokers.values() {
            broker.disk.hash(&mut to);
            (broker.frozen, broker.hold_write, broker.hold_sync, broker.tainted).hash(&mut to);
            let Some(process) = &broker.process else { continue };
            (process.broker_epoch, process.registered, process.fenced, process.version).hash(&mut to);
            process.hosted.values().for_each(|h| (&h.replica, &h.class).hash(&mut to));
            process.partitions.values().for_each(|p| p.hash(&mut to));
            process.brokers.values().for_each(|b| b.hash(&mut to));
        }
        for id in &self.partitions {
            let end = self.truth.committed_end(*id);
            (end, self.truth.digest_at(*id, end)).hash(&mut to);
        }
        // Hardly anything is on its way once a world has settled, so its text is cheap enough.
        let mut text = String::new();
        for (id, connection) in self.net.connections() {
            write!(text, "{id:?}").expect("a string takes everything");
            for forth in [true, false] {
                let queue: Vec<&Message> = self.net.queue((id, forth)).collect();
                write!(text, "{:?}{queue:?}", connection.purpose).expect("a string takes everything");
            }
        }
        text.hash(&mut to);
        self.jobs.values().for_each(|p| format!("{:?}", p.job).hash(&mut to));
        to.finish()
    }
}
