//! Ranges of the log that are damaged, and who was told (rule R17).

use yak_protocol::ids::Offset;

/// See the module. Ranges `[from, to)` are ascending, disjoint and not adjacent.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Damage {
    ranges: Vec<(Offset, Offset)>,
    /// What the coordinator was told last.
    reported: bool,
}

impl Damage {
    pub(super) fn recovered(ranges: &[(Offset, Offset)]) -> Self {
        let mut damage = Self::default();
        for (from, to) in ranges {
            damage.add(*from, *to);
        }
        damage
    }

    pub(super) fn ranges(&self) -> &[(Offset, Offset)] {
        &self.ranges
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Found.
    pub(super) fn add(&mut self, mut from: Offset, mut to: Offset) {
        if from >= to {
            return;
        }
        self.ranges.retain(|(known_from, known_to)| {
            let apart = *known_to < from || to < *known_from;
            if !apart {
                from = from.min(*known_from);
                to = to.max(*known_to);
            }
            apart
        });
        let at = self.ranges.partition_point(|(known_from, _)| *known_from < from);
        self.ranges.insert(at, (from, to));
    }

    /// Repaired, or no longer part of the log.
    pub(super) fn remove(&mut self, from: Offset, to: Offset) {
        let ranges = std::mem::take(&mut self.ranges);
        for (known_from, known_to) in ranges {
            self.ranges.extend([(known_from, known_to.min(from)), (known_from.max(to), known_to)]);
        }
        self.ranges.retain(|(known_from, known_to)| known_from < known_to);
    }

    /// What is to be reported, if it has changed.
    pub(super) fn take_report(&mut self) -> Option<bool> {
        let damaged = !self.is_empty();
        (self.reported != damaged).then(|| {
            self.reported = damaged;
            damaged
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(ranges: &[(u64, u64)]) -> Damage {
        let ranges: Vec<_> = ranges.iter().map(|&(from, to)| (Offset(from), Offset(to))).collect();
        Damage::recovered(&ranges)
    }

    #[test]
    fn ranges_merge_and_split() {
        assert_eq!(damage(&[(10, 20), (30, 40), (15, 30)]), damage(&[(10, 40)]));
        let mut split = damage(&[(10, 40)]);
        split.remove(Offset(20), Offset(25));
        assert_eq!(split, damage(&[(25, 40), (10, 20)]));
        split.remove(Offset(0), Offset(30));
        assert_eq!(split, damage(&[(30, 40)]));
    }

    #[test]
    fn each_change_is_reported_once() {
        let mut damage = damage(&[(10, 20)]);
        assert_eq!(damage.take_report(), Some(true));
        assert_eq!(damage.take_report(), None);
        damage.remove(Offset(10), Offset(20));
        assert_eq!(damage.take_report(), Some(false));
        assert_eq!(damage.take_report(), None);
    }
}
