//! As evenly as it goes, moving as few partitions as that takes.
//!
//! Who has a partition keeps it; what nobody has goes to whoever has least; then the one who has most
//! gives to the one who has least, as long as that makes them more alike. With equal wishes nobody ends
//! up with two more than anybody else, and not one partition moves that need not.

use super::{Candidate, Target, wanted};
use crate::group::topics::Topics;
use std::collections::{BTreeMap, BTreeSet};
use yak_protocol::ids::TopicPartition;

/// Who has what while it is being spread; members are places in the list of candidates.
struct Spread {
    has: Vec<BTreeSet<TopicPartition>>,
    /// Who wants a partition.
    wanting: BTreeMap<TopicPartition, usize>,
    /// The distinct sets of members that want something.
    circles: Vec<Vec<usize>>,
}

pub(super) fn assign(candidates: &[Candidate], topics: &Topics, before: &Target) -> Target {
    let mut spread = Spread {
        has: vec![BTreeSet::new(); candidates.len()],
        wanting: BTreeMap::new(),
        circles: Vec::new(),
    };
    for (partitions, wanting) in wanted(candidates, topics).into_values() {
        let circle = spread.circle(wanting);
        spread.wanting.extend(partitions.into_iter().map(|partition| (partition, circle)));
    }
    let free = spread.keep(candidates, before);
    for partition in free {
        let least = spread.least_of(partition);
        spread.has[least].insert(partition);
    }
    while spread.even_out() {}
    let members = candidates.iter().map(|candidate| candidate.member.clone());
    members.zip(spread.has).collect()
}

impl Spread {
    fn circle(&mut self, wanting: Vec<usize>) -> usize {
        if let Some(known) = self.circles.iter().position(|circle| *circle == wanting) {
            return known;
        }
        self.circles.push(wanting);
        self.circles.len() - 1
    }

    /// Leaves what was assigned where it was; returns what nobody has.
    fn keep(&mut self, candidates: &[Candidate], before: &Target) -> Vec<TopicPartition> {
        let mut kept = BTreeSet::new();
        for (place, candidate) in candidates.iter().enumerate() {
            for partition in before.get(&candidate.member).into_iter().flatten() {
                let circle = self.wanting.get(partition).map(|circle| &self.circles[*circle]);
                if circle.is_some_and(|circle| circle.contains(&place)) && kept.insert(*partition) {
                    self.has[place].insert(*partition);
                }
            }
        }
        self.wanting.keys().filter(|partition| !kept.contains(partition)).copied().collect()
    }

    /// Of those who want the partition, the one that has least.
    fn least_of(&self, partition: TopicPartition) -> usize {
        let circle = &self.circles[self.wanting[&partition]];
        circle.iter().copied().min_by_key(|place| self.has[*place].len()).unwrap_or(0)
    }

    /// Moves one partition from who has more to who has less, if that makes them more alike.
    fn even_out(&mut self) -> bool {
        let mut givers: Vec<usize> = (0..self.has.len()).collect();
        givers.sort_by_key(|place| std::cmp::Reverse(self.has[*place].len()));
        for giver in givers {
            let count = self.has[giver].len();
            let taker = |partition: &TopicPartition| {
                let taker = self.least_of(*partition);
                (self.has[taker].len() + 1 < count).then_some((self.has[taker].len(), taker, *partition))
            };
            // The last ones go: who joins and leaves again moves the same ones back and forth.
            let best = self.has[giver].iter().rev().filter_map(taker).min_by_key(|(has, ..)| *has);
            if let Some((_, taker, partition)) = best {
                self.has[giver].remove(&partition);
                self.has[taker].insert(partition);
                return true;
            }
        }
        false
    }
}
