use super::*;
use proptest::prelude::*;

fn named(time_ms: i64, ids: &[(u32, u128)]) -> BatchIds {
    let record = |(index, id): &(u32, u128)| IdRecord { index: *index, id: MessageId(*id) };
    BatchIds { time_ms, records: ids.iter().map(record).collect() }
}

fn nothing() -> UnfoldedIds {
    UnfoldedIds::default()
}

#[test]
fn a_repeat_is_told_where_the_first_one_is() {
    let mut ids = Ids::new(1000, false);
    ids.fold(Offset(10), &named(5000, &[(0, 1), (2, 2)]));
    let repeats = judge(&ids, &nothing(), &named(5999, &[(0, 2), (1, 3), (2, 1)]), Offset(20));
    assert_eq!(repeats, Repeats { time_ms: 5999, firsts: vec![(0, Offset(12)), (2, Offset(10))] });
    let later = judge(&ids, &nothing(), &named(6000, &[(0, 2)]), Offset(20));
    assert_eq!(later.firsts, [], "the window is over");
}

#[test]
fn a_repeat_within_a_batch_counts_like_any_other() {
    let repeats = judge(&Ids::new(1000, false), &nothing(), &named(0, &[(0, 1), (1, 2), (3, 1)]), Offset(20));
    assert_eq!(repeats.firsts, [(3, Offset(20))]);
}

#[test]
fn the_time_never_goes_back_whatever_the_clock_says() {
    let mut ids = Ids::new(1000, false);
    ids.fold(Offset(0), &named(5000, &[(0, 1)]));
    assert_eq!(judge(&ids, &nothing(), &named(10, &[(0, 2)]), Offset(1)).time_ms, 5000);
    let under_way = UnfoldedIds::of([(Offset(1), &named(7000, &[(0, 3)]))].into_iter());
    let repeats = judge(&ids, &under_way, &named(10, &[(0, 1), (1, 3)]), Offset(2));
    assert_eq!(
        repeats,
        Repeats { time_ms: 7000, firsts: vec![(1, Offset(1))] },
        "the first one is too old by then"
    );
}

#[test]
fn the_newest_ids_are_remembered_when_there_are_too_many() {
    let mut ids = Ids::new(1000, false);
    for base in 0..DEDUPE_IDS_MAX as u64 + 3 {
        ids.fold(Offset(base), &named(5000, &[(0, u128::from(base))]));
    }
    assert_eq!(ids.len(), DEDUPE_IDS_MAX);
    assert_eq!(ids.first_offset(), Some(Offset(3)));
    assert_eq!((ids.find(MessageId(2), 5000), ids.find(MessageId(3), 5000)), (None, Some(Offset(3))));
}

#[test]
fn a_longer_window_needs_what_a_shorter_one_has_forgotten() {
    let mut ids = Ids::new(1000, false);
    ids.fold(Offset(0), &named(5000, &[(0, 1)]));
    assert!(ids.set_window(2000), "nothing is forgotten yet");
    ids.fold(Offset(1), &named(6500, &[(0, 2)]));
    assert!(ids.set_window(500) && ids.find(MessageId(1), 6500).is_none());
    assert!(!ids.set_window(2000));
    assert!(ids.set_window(0) && ids.is_empty());
    assert!(!ids.set_window(1));
}

#[test]
fn ids_of_records_that_are_gone_are_free_again() {
    let mut ids = Ids::new(1000, false);
    ids.fold(Offset(0), &named(5000, &[(0, 1), (1, 2)]));
    ids.log_starts_at(Offset(1));
    assert_eq!((ids.find(MessageId(1), 5000), ids.find(MessageId(2), 5000)), (None, Some(Offset(1))));
}

/// The log as it is: every record with its id and the time of its append, and nothing else.
#[derive(Default)]
struct Naive {
    records: Vec<(u64, u128, i64)>,
    start: u64,
}

impl Naive {
    fn judge(&self, window_ms: i64, clock_ms: i64, base: u64, ids: &[(u32, u128)]) -> Repeats {
        let newest = self.records.iter().map(|record| record.2).max();
        let time_ms = newest.unwrap_or(i64::MIN).max(clock_ms);
        let mut firsts = Vec::new();
        for (at, (index, id)) in ids.iter().enumerate() {
            let in_log = self.records.iter().find(|(offset, found, time)| {
                found == id && *offset >= self.start && time_ms - time < window_ms
            });
            let in_batch = ids[..at].iter().find(|(_, found)| found == id);
            let first = in_log.map(|record| record.0);
            let first = first.or_else(|| in_batch.map(|(index, _)| base + u64::from(*index)));
            firsts.extend(first.map(|first| (*index, Offset(first))));
        }
        Repeats { time_ms, firsts }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Ids of a batch (0 = a record without one), how the clock moves, how many batches are not written yet.
    Publish(Vec<u128>, i64, usize),
    /// The log is cut, that many batches from its end.
    Cut(usize),
    /// Its start moves on, by that many records.
    Drop(u64),
    /// The fold is made again, from where the first id is that is remembered.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (prop::collection::vec(0..12u128, 1..5), -40..90i64, 0..4usize)
            .prop_map(|(ids, clock, unwritten)| Step::Publish(ids, clock, unwritten)),
        1 => (0..4usize).prop_map(Step::Cut),
        1 => (0..6u64).prop_map(Step::Drop),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever is published again, cut, dropped and read back: the fold says of each record what the log says.
    #[test]
    fn the_fold_knows_what_the_log_has(
        window_ms in prop_oneof![Just(50u64), Just(200), Just(1_000_000)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut log: Vec<(Offset, u32, BatchIds)> = Vec::new();
        let mut naive = Naive::default();
        let mut clock_ms = 1_000;
        let fold = |log: &[(Offset, u32, BatchIds)], from: Offset, start: u64, forgot| {
            let mut ids = Ids::new(window_ms, forgot);
            let behind = log.iter().filter(|(base, count, _)| base.advance(u64::from(*count)) > from);
            behind.for_each(|(base, _, named)| ids.fold(*base, named));
            ids.log_starts_at(Offset(start));
            ids
        };
        let mut folded = 0;
        let mut ids = Ids::new(window_ms, false);
        for step in steps {
            match step {
                Step::Publish(names, moves, unwritten) => {
                    clock_ms += moves;
                    let until = log.len() - unwritten.min(log.len() - folded);
                    for (base, _, named) in &log[folded..until] {
                        ids.fold(*base, named);
                    }
                    folded = until;
                    let records: Vec<(u32, u128)> =
                        (0..).zip(&names).filter(|(_, id)| **id > 0).map(|(index, id)| (index, *id)).collect();
                    let base = log.last().map_or(0, |(base, count, _)| base.0 + u64::from(*count));
                    let under_way = UnfoldedIds::of(log[folded..].iter().map(|(base, _, named)| (*base, named)));
                    let repeats = judge(&ids, &under_way, &named(clock_ms, &records), Offset(base));
                    let i64_window = i64::try_from(window_ms).unwrap();
                    prop_assert_eq!(&repeats, &naive.judge(i64_window, clock_ms, base, &records));
                    let is_new = |(index, _): &&(u32, u128)| !repeats.firsts.iter().any(|(at, _)| at == index);
                    let stays: Vec<_> = records.iter().filter(is_new).copied().collect();
                    naive.records.extend(
                        stays.iter().map(|(index, id)| (base + u64::from(*index), *id, repeats.time_ms)),
                    );
                    let count = u32::try_from(names.len()).unwrap();
                    log.push((Offset(base), count, named(repeats.time_ms, &stays)));
                }
                Step::Cut(batches) => {
                    log.truncate(log.len() - batches.min(log.len()));
                    let end = log.last().map_or(0, |(base, count, _)| base.0 + u64::from(*count));
                    naive.records.retain(|record| record.0 < end);
                    naive.start = naive.start.min(end);
                    ids = fold(&log, Offset::ZERO, naive.start, false);
                    folded = log.len();
                }
                Step::Drop(records) => {
                    let end = log.last().map_or(0, |(base, count, _)| base.0 + u64::from(*count));
                    naive.start = (naive.start + records).min(end);
                    naive.records.retain(|record| record.0 >= naive.start);
                    for (base, _, named) in &log[folded..] {
                        ids.fold(*base, named);
                    }
                    folded = log.len();
                    ids.log_starts_at(Offset(naive.start));
                }
                Step::Restart => {
                    for (base, _, named) in &log[folded..] {
                        ids.fold(*base, named);
                    }
                    folded = log.len();
                    let before: Vec<_> = ids.iter().collect();
                    if let Some(from) = ids.first_offset() {
                        ids = fold(&log, from, naive.start, ids.forgot());
                    }
                    prop_assert_eq!(before, ids.iter().collect::<Vec<_>>());
                }
            }
        }
    }
}
