//! What was sent, acknowledged and read, and what that says.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

/// When the records of each partition were acknowledged.
#[derive(Default)]
pub struct Acknowledgements {
    times: BTreeMap<u32, Vec<Instant>>,
}

impl Acknowledgements {
    /// A record of `partition` was acknowledged now.
    pub fn note(&mut self, partition: u32, at: Instant) {
        self.times.entry(partition).or_default().push(at);
    }

    /// How many so far.
    pub fn count(&self) -> usize {
        self.times.values().map(Vec::len).sum()
    }

    /// How many of one partition.
    pub fn count_of(&self, partition: u32) -> usize {
        self.times.get(&partition).map_or(0, Vec::len)
    }

    /// The partitions from the busiest down.
    pub fn busiest(&self) -> Vec<u32> {
        let mut partitions: Vec<_> =
            self.times.iter().map(|(partition, times)| (times.len(), *partition)).collect();
        partitions.sort_unstable_by(|a, b| b.cmp(a));
        partitions.into_iter().map(|(_, partition)| partition).collect()
    }

    /// Whether every one of `partitions` had an acknowledgement after `since`.
    pub fn resumed(&self, partitions: &[u32], since: Instant) -> bool {
        partitions.iter().all(|partition| {
            self.times.get(partition).and_then(|times| times.last()).is_some_and(|last| *last > since)
        })
    }

    /// The longest time between two acknowledgements of one of `partitions`, of those that ended between
    /// `from` and `to`.
    pub fn longest_pause(&self, partitions: &[u32], from: Instant, to: Instant) -> Duration {
        let mut longest = Duration::ZERO;
        for times in partitions.iter().filter_map(|partition| self.times.get(partition)) {
            let within = times.windows(2).filter(|pair| pair[1] >= from && pair[1] <= to);
            longest = within.map(|pair| pair[1] - pair[0]).fold(longest, Duration::max);
        }
        longest
    }
}

/// What became of the records that were sent.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Handed to the producer.
    pub sent: usize,
    /// Acknowledged.
    pub acknowledged: usize,
    /// Of unknown outcome: they may have been read or not, both are right.
    pub unknown: usize,
    /// Definitely refused.
    pub refused: usize,
    /// Read back.
    pub read: usize,
    /// Acknowledged but not read, or not with the bytes that were sent.
    pub lost: usize,
    /// Read more than once.
    pub duplicated: usize,
    /// Read after a later record of the same key.
    pub reordered: usize,
    /// Refused, and read all the same.
    pub refused_but_read: usize,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn kept(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.reordered == 0 && self.refused_but_read == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sent          {:>9}", self.sent)?;
        writeln!(f, "acknowledged  {:>9}", self.acknowledged)?;
        if self.unknown + self.refused > 0 {
            writeln!(f, "unknown       {:>9}", self.unknown)?;
            writeln!(f, "refused       {:>9}", self.refused)?;
        }
        writeln!(f, "read          {:>9}", self.read)?;
        writeln!(f, "lost          {:>9}", self.lost)?;
        writeln!(f, "duplicated    {:>9}", self.duplicated)?;
        write!(f, "reordered     {:>9}", self.reordered)?;
        if self.refused_but_read > 0 {
            write!(f, "\nrefused, but read {:>5}", self.refused_but_read)?;
        }
        Ok(())
    }
}

/// What the producer was told about a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// It is kept.
    Acknowledged,
    /// It will never appear.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// A record that was read: its number in the file, its key and its bytes.
pub struct Read {
    /// Its line, from 0; `None` when the record does not say.
    pub number: Option<usize>,
    /// Its key.
    pub key: Vec<u8>,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// Compares what was read (each partition in its order) with what was sent and told.
pub fn judge(lines: &[Vec<u8>], told: &[Told], read: impl IntoIterator<Item = Read>) -> Verdict {
    let mut verdict = Verdict { sent: told.len(), ..Verdict::default() };
    let mut seen = vec![false; told.len()];
    let mut last_of_key: HashMap<Vec<u8>, usize> = HashMap::new();
    for record in read {
        verdict.read += 1;
        let intact = record.number.filter(|n| lines.get(*n) == Some(&record.value) && *n < seen.len());
        // A record that nobody sent is no copy of any line: it leaves its line lost.
        let Some(number) = intact else { continue };
        if std::mem::replace(&mut seen[number], true) {
            verdict.duplicated += 1;
            continue;
        }
        let last = last_of_key.entry(record.key).or_insert(number);
        if number < *last {
            verdict.reordered += 1;
        }
        *last = number.max(*last);
    }
    for (told, seen) in told.iter().zip(&seen) {
        match told {
            Told::Acknowledged => {
                verdict.acknowledged += 1;
                verdict.lost += usize::from(!seen);
            }
            Told::Refused => {
                verdict.refused += 1;
                verdict.refused_but_read += usize::from(*seen);
            }
            Told::Unknown => verdict.unknown += 1,
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Vec<u8>> {
        ["a1", "b1", "a2", "b2"].map(|line| line.as_bytes().to_vec()).to_vec()
    }

    fn read(numbers: &[usize]) -> Vec<Read> {
        let record =
            |n: &usize| Read { number: Some(*n), key: lines()[*n][..1].to_vec(), value: lines()[*n].clone() };
        numbers.iter().map(record).collect()
    }

    #[test]
    fn all_kept_in_order_of_their_keys_is_a_pass() {
        let verdict = judge(&lines(), &[Told::Acknowledged; 4], read(&[1, 0, 2, 3]));
        assert!(verdict.kept(), "{verdict:?}");
        assert_eq!((verdict.sent, verdict.acknowledged, verdict.read), (4, 4, 4));
    }

    #[test]
    fn a_missing_a_repeated_and_a_late_record_are_each_found() {
        let verdict = judge(&lines(), &[Told::Acknowledged; 4], read(&[2, 0, 3, 3]));
        assert_eq!((verdict.lost, verdict.duplicated, verdict.reordered), (1, 1, 1));
        assert!(!verdict.kept());
    }

    #[test]
    fn other_bytes_are_a_loss() {
        let mut wrong = read(&[0, 1, 2, 3]);
        wrong[2].value.push(b'!');
        let verdict = judge(&lines(), &[Told::Acknowledged; 4], wrong);
        assert_eq!(verdict.lost, 1);
    }

    #[test]
    fn an_unknown_outcome_may_go_either_way_but_a_refusal_may_not_appear() {
        let told = [Told::Unknown, Told::Unknown, Told::Acknowledged, Told::Refused];
        assert!(judge(&lines(), &told, read(&[0, 2])).kept());
        assert_eq!(judge(&lines(), &told, read(&[2, 3])).refused_but_read, 1);
    }

    #[test]
    fn the_longest_pause_is_looked_for_in_its_window_only() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut acknowledgements = Acknowledgements::default();
        for ms in [0, 10, 100, 110, 400] {
            acknowledgements.note(1, at(ms));
        }
        acknowledgements.note(2, at(0));
        assert_eq!(acknowledgements.longest_pause(&[1, 2], at(15), at(200)), Duration::from_millis(90));
        assert_eq!(acknowledgements.busiest(), vec![1, 2]);
        assert!(acknowledgements.resumed(&[1], at(300)) && !acknowledgements.resumed(&[1, 2], at(300)));
        assert_eq!(acknowledgements.count(), 6);
    }
}
