//! Producer ids that this broker may hand out by itself, so that producers start while the
//! coordinator is away. A block that is lost in a restart is never handed out by anybody.

use crate::config::PRODUCER_IDS_LOW;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use yak_protocol::ids::ProducerId;

/// The blocks at hand, the oldest first.
#[derive(Default)]
pub(crate) struct ProducerIdBlocks {
    blocks: Mutex<VecDeque<Range<i64>>>,
    /// A request for another block is on its way.
    asking: AtomicBool,
}

impl ProducerIdBlocks {
    /// Adds a block that the coordinator granted.
    pub(crate) fn add(&self, from: i64, count: u32) {
        if count > 0 {
            self.locked().push_back(from..from.saturating_add(i64::from(count)));
        }
    }

    /// The next id; `None` = all blocks are used up.
    pub(crate) fn take(&self) -> Option<ProducerId> {
        let mut blocks = self.locked();
        loop {
            let block = blocks.front_mut()?;
            if let Some(id) = block.next() {
                return Some(ProducerId(id));
            }
            blocks.pop_front();
        }
    }

    /// Whether it is time to ask for another block; then the caller is the one to ask, and says when it
    /// has an answer or none.
    pub(super) fn ask_now(&self) -> bool {
        self.low() && !self.asking.swap(true, Ordering::AcqRel)
    }

    /// The request that [`Self::ask_now`] called for is over.
    pub(super) fn asked(&self) {
        self.asking.store(false, Ordering::Release);
    }

    fn low(&self) -> bool {
        self.locked().iter().map(|block| block.end - block.start).sum::<i64>() < PRODUCER_IDS_LOW
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, VecDeque<Range<i64>>> {
        self.blocks.lock().expect("nobody panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_from_the_blocks_in_order_each_once() {
        let blocks = ProducerIdBlocks::default();
        assert!(blocks.low());
        assert_eq!(blocks.take(), None);
        blocks.add(1000, 1);
        blocks.add(5000, 300);
        assert!(!blocks.low());
        assert_eq!(blocks.take(), Some(ProducerId(1000)));
        assert_eq!(blocks.take(), Some(ProducerId(5000)));
        for _ in 0..120 {
            blocks.take();
        }
        assert!(blocks.low());
        assert_eq!(blocks.take(), Some(ProducerId(5121)));
    }
}
