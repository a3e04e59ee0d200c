//! The epoch history of a log: where each leader epoch starts. It decides how much of two logs agrees
//! (rule R4).

use yak_protocol::ids::{EpochStart, LeaderEpoch, Offset};

/// Ascending in both fields; an epoch without records has no entry, except the newest one.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Epochs(Vec<EpochStart>);

impl Epochs {
    pub(super) fn from_history(history: &[EpochStart]) -> Self {
        let mut epochs = Self::default();
        for entry in history {
            epochs.assign(entry.epoch, entry.start);
        }
        epochs
    }

    /// From `start` on, records belong to `epoch`. No-op when the newest entry has that epoch.
    ///
    /// Entries that start there or later belong to epochs that left no record and are dropped.
    pub(super) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        let newest = self.newest();
        if newest == epoch && !self.0.is_empty() {
            return;
        }
        assert!(newest < epoch, "leader epochs in a log ascend: {newest:?} then {epoch:?}");
        self.0.retain(|entry| entry.start < start);
        self.0.push(EpochStart { epoch, start });
    }

    /// Drops the entries of what is cut from `to` on.
    pub(super) fn truncate(&mut self, to: Offset) {
        self.0.retain(|entry| entry.start < to);
    }

    /// The newest epoch, records or not; zero without any.
    pub(super) fn newest(&self) -> LeaderEpoch {
        self.0.last().map_or(LeaderEpoch::ZERO, |entry| entry.epoch)
    }

    /// The epoch of the last record of a log that ends at `end`; zero without a record.
    pub(super) fn of_last_record(&self, end: Offset) -> LeaderEpoch {
        self.0.iter().rev().find(|entry| entry.start < end).map_or(LeaderEpoch::ZERO, |entry| entry.epoch)
    }

    /// The highest epoch not above `epoch`, and its exclusive end in a log that ends at `log_end`.
    pub(super) fn end_for(&self, epoch: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        let count = self.0.partition_point(|entry| entry.epoch <= epoch);
        let found = self.0.get(..count).and_then(<[_]>::last).map_or(LeaderEpoch::ZERO, |e| e.epoch);
        let end = self.0.get(count).map_or(log_end, |next| next.start.min(log_end));
        (found, end)
    }

    /// The history of what lies below `offset`.
    pub(super) fn below(&self, offset: Offset) -> Vec<EpochStart> {
        self.0.iter().copied().take_while(|entry| entry.start < offset).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(u32, u64)]) -> Epochs {
        let history: Vec<_> = entries
            .iter()
            .map(|&(epoch, start)| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) })
            .collect();
        Epochs::from_history(&history)
    }

    fn end_for(epochs: &Epochs, epoch: u32, end: u64) -> (u32, u64) {
        let (epoch, end) = epochs.end_for(LeaderEpoch(epoch), Offset(end));
        (epoch.0, end.0)
    }

    #[test]
    fn end_for_finds_the_highest_epoch_not_above_the_asked_one() {
        let history = epochs(&[(1, 0), (3, 10), (6, 20)]);
        assert_eq!(end_for(&history, 0, 25), (0, 0));
        assert_eq!(end_for(&history, 1, 25), (1, 10));
        assert_eq!(end_for(&history, 2, 25), (1, 10));
        assert_eq!(end_for(&history, 3, 25), (3, 20));
        assert_eq!(end_for(&history, 5, 25), (3, 20));
        assert_eq!(end_for(&history, 6, 25), (6, 25));
        assert_eq!(end_for(&history, 9, 25), (6, 25));
        assert_eq!(end_for(&Epochs::default(), 4, 7), (0, 7));
    }

    #[test]
    fn an_epoch_that_left_no_record_leaves_no_entry() {
        assert_eq!(epochs(&[(1, 0), (2, 10), (3, 10)]), epochs(&[(1, 0), (3, 10)]));
        assert_eq!(epochs(&[(1, 0), (3, 10)]).of_last_record(Offset(10)), LeaderEpoch(1));
        assert_eq!(epochs(&[(1, 0), (3, 10)]).of_last_record(Offset(11)), LeaderEpoch(3));
        assert_eq!(epochs(&[(1, 0)]).of_last_record(Offset(0)), LeaderEpoch::ZERO);
    }

    #[test]
    fn truncation_drops_the_epochs_that_start_in_the_cut() {
        let mut history = epochs(&[(1, 0), (3, 10), (6, 20)]);
        history.truncate(Offset(20));
        assert_eq!(history, epochs(&[(1, 0), (3, 10)]));
        history.truncate(Offset(0));
        assert_eq!(history, Epochs::default());
    }

    #[test]
    #[should_panic(expected = "leader epochs in a log ascend")]
    fn epochs_never_go_back() {
        epochs(&[(3, 0), (2, 10)]);
    }
}
