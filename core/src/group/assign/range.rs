//! Each topic by itself, in ranges: the first members get one partition more if it does not come out even.

use super::{Candidate, Target, wanted};
use crate::group::topics::Topics;

pub(super) fn assign(candidates: &[Candidate], topics: &Topics) -> Target {
    let mut target = Target::new();
    for (partitions, wanting) in wanted(candidates, topics).into_values() {
        let (each, more) = (partitions.len() / wanting.len(), partitions.len() % wanting.len());
        let mut rest = partitions.into_iter();
        for (turn, place) in wanting.into_iter().enumerate() {
            let count = each + usize::from(turn < more);
            let member = candidates[place].member.clone();
            target.entry(member).or_default().extend(rest.by_ref().take(count));
        }
    }
    target
}
