//! Which offsets of a log are known to be damaged (rule R17).

use serde::{Deserialize, Serialize};
use yak_protocol::ids::Offset;

/// Ranges `[from, to)`, ascending, disjoint. Neighbours are kept apart: each was found as one thing, is
/// refetched as one and repaired as one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Damages(Vec<(Offset, Offset)>);

impl Damages {
    /// Adds a range; whatever it overlaps becomes part of it. Returns whether that is news.
    pub(crate) fn mark(&mut self, mut from: Offset, mut to: Offset) -> bool {
        if self.0.iter().any(|&(a, b)| a <= from && to <= b) {
            return false;
        }
        self.0.retain(|&(a, b)| {
            let overlaps = a < to && from < b;
            if overlaps {
                (from, to) = (from.min(a), to.max(b));
            }
            !overlaps
        });
        let at = self.0.partition_point(|&(a, _)| a < from);
        self.0.insert(at, (from, to));
        true
    }

    /// Removes a range that was marked exactly so.
    pub(crate) fn unmark(&mut self, from: Offset, to: Offset) -> bool {
        let before = self.0.len();
        self.0.retain(|&range| range != (from, to));
        self.0.len() < before
    }

    /// The damage that holds `offset`.
    pub(crate) fn at(&self, offset: Offset) -> Option<(Offset, Offset)> {
        self.0.iter().copied().find(|&(from, to)| from <= offset && offset < to)
    }

    /// The first damage at or after `offset`.
    pub(crate) fn first_from(&self, offset: Offset) -> Option<(Offset, Offset)> {
        self.0.iter().copied().find(|&(_, to)| to > offset)
    }

    /// Forgets everything from `to` on.
    pub(crate) fn cut(&mut self, to: Offset) {
        self.0.retain(|&(from, _)| from < to);
        for range in &mut self.0 {
            range.1 = range.1.min(to);
        }
    }

    /// Forgets ranges that lie wholly below `start`.
    pub(crate) fn drop_below(&mut self, start: Offset) {
        self.0.retain(|&(_, to)| to > start);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn ranges(&self) -> &[(Offset, Offset)] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_where_they_overlap_and_not_where_they_touch() {
        let mut damages = Damages::default();
        assert!(damages.mark(Offset(10), Offset(20)));
        assert!(damages.mark(Offset(20), Offset(30)));
        assert!(!damages.mark(Offset(12), Offset(15)));
        assert_eq!(damages.ranges(), [(Offset(10), Offset(20)), (Offset(20), Offset(30))]);
        assert!(damages.mark(Offset(5), Offset(11)));
        assert_eq!(damages.ranges(), [(Offset(5), Offset(20)), (Offset(20), Offset(30))]);
        assert_eq!(damages.at(Offset(20)), Some((Offset(20), Offset(30))));
        assert_eq!(damages.first_from(Offset(0)), Some((Offset(5), Offset(20))));
        damages.cut(Offset(25));
        assert_eq!(damages.ranges(), [(Offset(5), Offset(20)), (Offset(20), Offset(25))]);
        damages.drop_below(Offset(20));
        assert!(!damages.unmark(Offset(20), Offset(24)));
        assert!(damages.unmark(Offset(20), Offset(25)));
        assert!(damages.ranges().is_empty());
    }
}
