//! What has changed since this process started, and why: for `HISTORY`, `WHY` and `EVENTS`.
//!
//! The metadata log knows what is; when it became so and why nobody needs for deciding, so it is not kept there.

use std::collections::{HashMap, VecDeque};
use yak_core::cluster::{Change, Note};
use yak_core::why::Past;
use yak_protocol::ids::{BrokerId, TopicPartition};

/// How many changes are remembered.
const CHANGES_MAX: usize = 1000;

/// See the module.
#[derive(Default)]
pub(crate) struct History {
    changes: VecDeque<(i64, Change)>,
    /// When and why a partition without a leader lost it.
    leaderless: HashMap<TopicPartition, Past>,
    /// When and why a fenced broker was fenced.
    fenced: HashMap<BrokerId, Past>,
    elections: u64,
    isr_changes: u64,
    fences: u64,
}

impl History {
    /// Forgets since when what is: another may have decided since. What has changed stays.
    pub(crate) fn begin_term(&mut self) {
        self.leaderless.clear();
        self.fenced.clear();
    }

    /// Remembers what happened at this time, in ms since 1970.
    pub(crate) fn note(&mut self, at_ms: i64, note: &Note) {
        match note {
            Note::Changed(change) => self.changed(at_ms, change),
            Note::Fenced { broker, why } => {
                self.fences += 1;
                self.fenced.insert(*broker, Past { at_ms, why: why.clone() });
            }
            Note::Unfenced { broker } => {
                self.fenced.remove(broker);
            }
            Note::Other { .. } => {}
        }
    }

    fn changed(&mut self, at_ms: i64, change: &Change) {
        self.elections += u64::from(change.leader.changed());
        self.isr_changes += u64::from(change.isr.changed());
        if change.leader.changed() {
            match change.leader.after {
                Some(_) => self.leaderless.remove(&change.id),
                None => self.leaderless.insert(change.id, Past { at_ms, why: change.why.clone() }),
            };
        }
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back((at_ms, change.clone()));
    }

    /// The last `count` changes and when they were, oldest first.
    pub(crate) fn recent(&self, count: usize) -> impl Iterator<Item = &(i64, Change)> {
        self.changes.iter().skip(self.changes.len().saturating_sub(count))
    }

    /// When and why the partition lost its leader, if that was since the start.
    pub(crate) fn leaderless(&self, id: TopicPartition) -> Option<&Past> {
        self.leaderless.get(&id)
    }

    /// When and why the broker was fenced, if that was since the start.
    pub(crate) fn fenced(&self, id: BrokerId) -> Option<&Past> {
        self.fenced.get(&id)
    }

    /// How many changes of leaders, of ISRs, and fences there were.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        (self.elections, self.isr_changes, self.fences)
    }
}
