use super::*;

fn stamped(base: u64, producer: i64, epoch: i16, sequence: i32, count: u32) -> Stamped {
    let sequence = Sequence { producer: ProducerId(producer), epoch: ProducerEpoch(epoch), base: sequence };
    Stamped { base: Offset(base), count, sequence }
}

fn judge(producers: &Producers, epoch: i16, sequence: i32, count: u32) -> Verdict {
    let batch = stamped(0, 7, epoch, sequence, count);
    producers.judge(batch.sequence, count, std::iter::empty())
}

fn code(verdict: &Verdict) -> Option<ErrorCode> {
    match verdict {
        Verdict::Refused(error) => Some(error.code),
        _ => None,
    }
}

#[test]
fn the_window_remembers_the_last_five_batches() {
    let mut producers = Producers::default();
    for n in 0..7 {
        producers.fold(&stamped(100 + n * 10, 7, 0, i32::try_from(n * 10).unwrap(), 10));
    }
    assert_eq!(judge(&producers, 0, 70, 1), Verdict::Append);
    let hit = Verdict::Duplicate { base: Offset(160), end: Offset(170) };
    assert_eq!(judge(&producers, 0, 60, 10), hit);
    let oldest = Verdict::Duplicate { base: Offset(120), end: Offset(130) };
    assert_eq!(judge(&producers, 0, 20, 10), oldest);
    assert_eq!(judge(&producers, 0, 10, 10), Verdict::OldDuplicate { below: Offset(120) });
    let partly = judge(&producers, 0, 60, 5);
    assert_eq!(code(&partly), Some(ErrorCode::OutOfOrderSequence), "not the same batch");
    assert_eq!(code(&judge(&producers, 0, 71, 1)), Some(ErrorCode::OutOfOrderSequence));
}

#[test]
fn epochs_fence() {
    let mut producers = Producers::default();
    producers.fold(&stamped(0, 7, 3, 0, 10));
    assert_eq!(code(&judge(&producers, 2, 10, 1)), Some(ErrorCode::ProducerFenced));
    assert_eq!(judge(&producers, 4, 0, 1), Verdict::Append);
    assert_eq!(code(&judge(&producers, 4, 10, 1)), Some(ErrorCode::OutOfOrderSequence));
    producers.fold(&stamped(10, 7, 4, 0, 1));
    assert_eq!(code(&judge(&producers, 3, 10, 1)), Some(ErrorCode::ProducerFenced));
    assert_eq!(judge(&producers, 4, 1, 1), Verdict::Append);
}

#[test]
fn an_unknown_producer_starts_at_zero() {
    let producers = Producers::default();
    assert_eq!(judge(&producers, 0, 0, 1), Verdict::Append);
    assert_eq!(code(&judge(&producers, 0, 5, 1)), Some(ErrorCode::UnknownProducerId));
}

#[test]
fn sequences_go_round() {
    let mut producers = Producers::default();
    let near_end = i32::MAX - 4;
    producers.fold(&stamped(0, 7, 0, near_end - 10, 10));
    producers.fold(&stamped(10, 7, 0, near_end, 5));
    assert_eq!(judge(&producers, 0, 0, 1), Verdict::Append, "i32::MAX is followed by 0");
    producers.fold(&stamped(15, 7, 0, 0, 3));
    assert_eq!(judge(&producers, 0, 3, 1), Verdict::Append);
    assert_eq!(judge(&producers, 0, near_end, 5), Verdict::Duplicate { base: Offset(10), end: Offset(15) });
    assert_eq!(judge(&producers, 0, near_end - 20, 10), Verdict::OldDuplicate { below: Offset(0) });
    assert_eq!(code(&judge(&producers, 0, 9, 1)), Some(ErrorCode::OutOfOrderSequence), "a gap");
}

#[test]
fn a_gap_is_never_taken_for_an_old_batch() {
    let mut producers = Producers::default();
    producers.fold(&stamped(0, 7, 0, 0, 5));
    for gap in [6, 1000, i32::MAX / 2, i32::MAX - 5, i32::MAX] {
        assert_eq!(code(&judge(&producers, 0, gap, 1)), Some(ErrorCode::OutOfOrderSequence), "{gap}");
    }
}

#[test]
fn a_batch_that_straddles_the_end_of_the_numbers_wraps() {
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX - 1, 4), 2);
    assert_eq!(steps(i32::MAX, 0), 1);
    assert_eq!(steps(0, i32::MAX), 0x7FFF_FFFF);
}

#[test]
fn the_producer_that_wrote_least_recently_is_forgotten_first() {
    let mut producers = Producers::default();
    for n in 0..PRODUCERS_MAX {
        producers.fold(&stamped(n as u64, 1000 + i64::try_from(n).unwrap(), 0, 0, 1));
    }
    producers.fold(&stamped(PRODUCERS_MAX as u64, 1000, 0, 1, 1));
    producers.fold(&stamped(PRODUCERS_MAX as u64 + 1, 7, 0, 0, 1));
    assert_eq!(producers.len(), PRODUCERS_MAX);
    let next = |id: i64| {
        let batch = stamped(0, id, 0, 2, 1);
        producers.judge(batch.sequence, 1, std::iter::empty())
    };
    assert_eq!(next(1000), Verdict::Append, "it wrote again");
    assert_eq!(code(&next(1001)), Some(ErrorCode::UnknownProducerId));
}

/// The rules written down without a window, without modular arithmetic and without forgetting: every batch
/// ever taken, at positions that never go round.
#[derive(Default)]
struct Naive {
    batches: Vec<(i16, i64, u32, u64)>,
}

impl Naive {
    fn judge(&self, epoch: i16, base: i32, count: u32) -> Verdict {
        let refused = |code| Verdict::Refused(WireError::new(code, ""));
        let Some(&(current, ..)) = self.batches.last() else {
            let unknown = refused(ErrorCode::UnknownProducerId);
            return if base == 0 { Verdict::Append } else { unknown };
        };
        if epoch < current {
            return refused(ErrorCode::ProducerFenced);
        }
        if epoch > current {
            return if base == 0 { Verdict::Append } else { refused(ErrorCode::OutOfOrderSequence) };
        }
        let own: Vec<_> = self.batches.iter().filter(|batch| batch.0 == epoch).collect();
        let next = own.last().map_or(0, |batch| batch.1 + i64::from(batch.2));
        // The position nearest to `next` that has this number.
        let round = 1i64 << 31;
        let ahead = (i64::from(base) - next).rem_euclid(round);
        let position = if round - ahead < ahead { next + ahead - round } else { next + ahead };
        let window = &own[own.len().saturating_sub(PRODUCER_BATCHES)..];
        if position == next {
            return Verdict::Append;
        }
        if let Some(hit) = window.iter().find(|batch| batch.1 == position && batch.2 == count) {
            let (base, end) = (Offset(hit.3), Offset(hit.3 + u64::from(count)));
            return Verdict::Duplicate { base, end };
        }
        if position >= 0 && position < window[0].1 {
            return Verdict::OldDuplicate { below: Offset(window[0].3) };
        }
        refused(ErrorCode::OutOfOrderSequence)
    }

    fn next(&self) -> (i16, i64) {
        self.batches.last().map_or((0, 0), |batch| (batch.0, batch.1 + i64::from(batch.2)))
    }
}

/// The same but for the words of a refusal.
fn plain(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Refused(error) => Verdict::Refused(WireError::new(error.code, "")),
        other => other,
    }
}

proptest::proptest! {
    #[test]
    fn the_fold_judges_as_the_whole_log_would(
        first in proptest::prop_oneof![0..5i32, i32::MAX - 40..=i32::MAX],
        steps in proptest::collection::vec((0..3i16, -30..12i64, 1..6u32, 0..4usize), 1..60),
    ) {
        let mut naive = Naive::default();
        let mut log: Vec<Stamped> = Vec::new();
        let mut offset = 100;
        if first >= 5 {
            log.push(stamped(offset, 7, 0, first, 1));
            naive.batches.push((0, i64::from(first), 1, offset));
            offset += 1;
        }
        for (step, distance, count, unfolded) in steps {
            let (epoch, next) = naive.next();
            // Mostly the current epoch and numbers around the next one; sometimes others.
            let epoch = if step == 0 { epoch + 1 - i16::try_from(distance.rem_euclid(3)).unwrap() } else { epoch };
            let base = if step == 1 { next } else { next + distance };
            let base = if distance == 11 { 0 } else { i32::try_from(base.rem_euclid(1 << 31)).unwrap() };
            let batch = stamped(offset, 7, epoch, base, count);
            let folded = log.len() - unfolded.min(log.len());
            let mut producers = Producers::default();
            log[..folded].iter().for_each(|batch| producers.fold(batch));
            let verdict = plain(producers.judge(batch.sequence, count, log[folded..].iter().copied()));
            proptest::prop_assert_eq!(&verdict, &naive.judge(epoch, base, count), "{:?}", batch);
            if verdict == Verdict::Append {
                let position = if epoch == naive.next().0 { next } else { 0 };
                naive.batches.push((epoch, position, count, offset));
                log.push(batch);
                offset += u64::from(count);
            }
        }
    }
}
