//! Which member reads which partition.

mod range;
mod uniform;

#[cfg(test)]
mod tests;

use super::topics::Topics;
use std::collections::{BTreeMap, BTreeSet};
use yak_protocol::ids::{PartitionIndex, TopicPartition};
use yak_protocol::message::Assignor;

/// Every member's partitions; each partition is one member's at most.
pub(super) type Target = BTreeMap<String, BTreeSet<TopicPartition>>;

/// A member that may be given partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    /// Its name.
    pub(super) member: String,
    /// Its place among the members: a static member keeps it when its process is another one.
    pub(super) place: String,
    /// What it wants to read.
    pub(super) topics: BTreeSet<String>,
}

/// Spreads every partition that somebody wants to read. `before` is what it was, for those assignors that
/// move as little as they can.
pub(super) fn assign(
    assignor: Assignor,
    mut candidates: Vec<Candidate>,
    topics: &Topics,
    before: &Target,
) -> Target {
    candidates.sort_by(|a, b| (&a.place, &a.member).cmp(&(&b.place, &b.member)));
    let mut target = match assignor {
        Assignor::Range => range::assign(&candidates, topics),
        Assignor::Uniform => uniform::assign(&candidates, topics, before),
    };
    for candidate in candidates {
        target.entry(candidate.member).or_default();
    }
    target
}

/// The topics that somebody wants and that exist: their partitions, and who wants them (places in
/// `candidates`).
fn wanted<'a>(
    candidates: &'a [Candidate],
    topics: &Topics,
) -> BTreeMap<&'a str, (Vec<TopicPartition>, Vec<usize>)> {
    let mut wanted: BTreeMap<&str, (Vec<TopicPartition>, Vec<usize>)> = BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate() {
        for name in &candidate.topics {
            let Some(shape) = topics.named(name) else { continue };
            let of = |partition| TopicPartition { topic: shape.id, partition: PartitionIndex(partition) };
            let all = || ((0..shape.partitions).map(of).collect(), Vec::new());
            wanted.entry(name).or_insert_with(all).1.push(place);
        }
    }
    wanted
}
