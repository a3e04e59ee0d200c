//! What a partition no longer keeps: which segment is closed for its age, and where the log start moves.
//!
//! Segments go as a whole, the oldest first, and only what is committed. The shell says what segments there are and
//! what time it is; nothing here reads a clock.
//!
//! Record timestamps are whatever their producers wrote. What they can do is bounded: one from the future counts as
//! the moment when this process saw its segment grow last, so that it keeps nothing for ever. One from the past
//! counts as it stands: a topic that is filled with old records needs a longer `retention_ms`, or none.
//!
//! A wall clock that jumps would take everything with it. [`Clock`] compares it with the monotonic one and trusts
//! nothing for a while after a jump; and one look deletes at most a quarter of a partition by age.

use crate::time::Now;
use std::collections::BTreeMap;
use std::time::Duration;
use yak_protocol::ids::Offset;

/// By how much the wall clock may run away from the monotonic one between two looks before it counts as a jump.
pub const CLOCK_JUMP: Duration = Duration::from_secs(10 * 60);
/// For how long nothing is done by age after a jump.
pub const CLOCK_DISTRUST: Duration = Duration::from_secs(60 * 60);
/// One look deletes at most this share of a partition by age: one of so many, but at least one segment.
const SHARE: u64 = 4;

/// A segment, as the disk has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The offset where it begins.
    pub base: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// Its size.
    pub bytes: u64,
    /// The greatest timestamp in it, in ms since 1970.
    pub max_timestamp_ms: i64,
}

/// What a topic keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How old the newest record of a segment gets; `None` = as old as it likes.
    pub age_ms: Option<u64>,
    /// How many bytes stay at least; `None` = all.
    pub bytes: Option<u64>,
    /// The age at which the segment that takes appends is closed.
    pub segment_ms: u64,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Verdict {
    /// Close the segment that begins here: the next append begins another one.
    pub close: Option<Offset>,
    /// Move the log start here; the leader's to do.
    pub start: Option<Offset>,
}

/// Whether the wall clock can be believed.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    last: Option<(Now, i64)>,
    distrusted_until: Option<Now>,
}

impl Clock {
    /// Takes note of both clocks. Returns how far the wall clock has just jumped, in ms, if it has.
    pub fn look(&mut self, now: Now, wall_ms: i64) -> Option<i64> {
        let before = self.last.replace((now, wall_ms));
        self.distrusted_until = self.distrusted_until.filter(|until| *until > now);
        let (then, wall_then) = before?;
        let passed = i64::try_from(now.since(then).as_millis()).unwrap_or(i64::MAX);
        let jump = wall_ms.saturating_sub(wall_then).saturating_sub(passed);
        if u128::from(jump.unsigned_abs()) <= CLOCK_JUMP.as_millis() {
            return None;
        }
        self.distrusted_until = Some(now + CLOCK_DISTRUST);
        Some(jump)
    }

    /// Whether something may be done by age now.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.distrusted_until.is_none()
    }
}

/// When a segment was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    since_ms: i64,
    end: Offset,
    grown_ms: i64,
}

/// What is remembered of one partition's segments between two looks. Lost with the process: then ages are counted
/// from what the records say, and for lying ones from the start of the process.
#[derive(Clone, Debug, Default)]
pub struct Book {
    seen: BTreeMap<Offset, Seen>,
}

impl Book {
    /// Whether no segment has been seen yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.seen.is_empty()
    }

    /// Looks at the segments, ascending; the last one takes appends. `began_ms` is the first timestamp of that one,
    /// if it was there before this process. By age only if `trusted`.
    pub fn look(
        &mut self,
        now_ms: i64,
        trusted: bool,
        segments: &[Segment],
        began_ms: Option<i64>,
        high_watermark: Offset,
        limits: &Limits,
    ) -> Verdict {
        self.note(now_ms, segments, began_ms);
        let by_age = limits
            .age_ms
            .filter(|_| trusted)
            .and_then(|age| self.by_age(now_ms, age, segments, high_watermark));
        let by_size = limits.bytes.and_then(|bytes| by_size(bytes, segments, high_watermark));
        let close = segments.last().filter(|last| trusted && last.end > last.base).and_then(|last| {
            let age = now_ms.saturating_sub(self.seen.get(&last.base)?.since_ms);
            (age >= i64::try_from(limits.segment_ms).unwrap_or(i64::MAX)).then_some(last.base)
        });
        Verdict { close, start: by_age.max(by_size) }
    }

    fn note(&mut self, now_ms: i64, segments: &[Segment], began_ms: Option<i64>) {
        let last = segments.last().map(|last| last.base);
        self.seen.retain(|base, _| segments.iter().any(|segment| segment.base == *base));
        for segment in segments {
            let began = began_ms.filter(|_| Some(segment.base) == last).unwrap_or(now_ms).min(now_ms);
            let new = Seen { since_ms: began, end: segment.end, grown_ms: now_ms };
            let seen = self.seen.entry(segment.base).or_insert(new);
            if seen.end != segment.end {
                // Its age counts from its first record.
                let since_ms = if seen.end > segment.base { seen.since_ms } else { now_ms };
                *seen = Seen { since_ms, ..new };
            }
        }
    }

    /// Every segment whose newest record is too old goes, the one that takes appends too; not more than a share.
    fn by_age(&self, now_ms: i64, age_ms: u64, segments: &[Segment], committed: Offset) -> Option<Offset> {
        let oldest = now_ms.saturating_sub(i64::try_from(age_ms).unwrap_or(i64::MAX));
        let share = segments.iter().map(|segment| segment.bytes).sum::<u64>() / SHARE;
        let expired = |segment: &&Segment| {
            let grown = self.seen.get(&segment.base).map_or(now_ms, |seen| seen.grown_ms);
            segment.end <= committed
                && segment.end > segment.base
                && segment.max_timestamp_ms.min(grown) < oldest
        };
        let mut gone = 0;
        let mut start = None;
        for segment in segments.iter().take_while(expired) {
            gone += segment.bytes;
            if start.is_some() && gone > share {
                break;
            }
            start = Some(segment.end);
        }
        start
    }
}

/// Closed segments go as long as what is left is enough.
fn by_size(bytes: u64, segments: &[Segment], committed: Offset) -> Option<Offset> {
    let mut left: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let closed = segments.split_last().map_or(&[][..], |(_, closed)| closed);
    let mut start = None;
    for segment in closed.iter().take_while(|segment| segment.end <= committed) {
        left -= segment.bytes;
        if left < bytes {
            break;
        }
        start = Some(segment.end);
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALL: Limits = Limits { age_ms: None, bytes: None, segment_ms: 1_000_000_000 };

    /// Segments of 10 records and 100 bytes, whose newest records have these timestamps.
    fn segments(newest: &[i64]) -> Vec<Segment> {
        let of = |(at, max_timestamp_ms): (u64, &i64)| Segment {
            base: Offset(at * 10),
            end: Offset(at * 10 + 10),
            bytes: 100,
            max_timestamp_ms: *max_timestamp_ms,
        };
        (0..).zip(newest).map(of).collect()
    }

    fn start(now_ms: i64, newest: &[i64], committed: u64, limits: Limits) -> Option<u64> {
        let mut book = Book::default();
        let verdict = book.look(now_ms, true, &segments(newest), None, Offset(committed), &limits);
        verdict.start.map(|start| start.0)
    }

    fn age(ms: u64) -> Limits {
        Limits { age_ms: Some(ms), ..KEEP_ALL }
    }

    #[test]
    fn segments_whose_newest_record_is_too_old_go() {
        let newest = [100, 200, 300, 400, 500, 600, 700, 800];
        assert_eq!(start(1000, &newest, 80, age(1000)), None);
        assert_eq!(start(1101, &newest, 80, age(1000)), Some(10));
        assert_eq!(start(1201, &newest, 80, age(1000)), Some(20));
        assert_eq!(start(1201, &newest, 80, KEEP_ALL), None);
        // What is not committed stays, whatever its age.
        assert_eq!(start(5000, &newest, 15, age(1000)), Some(10));
        assert_eq!(start(5000, &newest, 9, age(1000)), None);
        // The one that takes appends goes too: nothing in it is young.
        assert_eq!(start(5000, &[100], 10, age(1000)), Some(10));
        // A young one stays, and so does everything behind it.
        assert_eq!(start(2000, &[100, 1900, 100], 30, age(1000)), Some(10));
    }

    #[test]
    fn one_look_takes_a_quarter_by_age() {
        assert_eq!(start(9000, &[1; 8], 80, age(1000)), Some(20));
        assert_eq!(start(9000, &[1; 3], 30, age(1000)), Some(10), "but at least one segment");
    }

    #[test]
    fn what_is_left_is_at_least_what_the_topic_keeps() {
        let bytes = |bytes| Limits { bytes: Some(bytes), ..KEEP_ALL };
        let newest = [1; 5];
        assert_eq!(start(1, &newest, 50, bytes(500)), None);
        assert_eq!(start(1, &newest, 50, bytes(401)), None);
        assert_eq!(start(1, &newest, 50, bytes(400)), Some(10));
        assert_eq!(start(1, &newest, 50, bytes(250)), Some(20));
        assert_eq!(start(1, &newest, 25, bytes(0)), Some(20), "only what is committed");
        assert_eq!(start(1, &newest, 50, bytes(0)), Some(40), "the one that takes appends stays");
        let both = Limits { age_ms: Some(1000), bytes: Some(300), ..KEEP_ALL };
        assert_eq!(start(1500, &[1, 900, 900, 900, 900], 50, both), Some(20), "whichever asks for more");
    }

    #[test]
    fn a_timestamp_from_the_future_keeps_a_segment_as_long_as_an_honest_one() {
        let mut book = Book::default();
        let lies = segments(&[i64::MAX, 900]);
        let mut at = |now_ms| book.look(now_ms, true, &lies, None, Offset(20), &age(1000)).start;
        assert_eq!(at(1000), None);
        assert_eq!(at(2000), None);
        assert_eq!(at(2001), Some(Offset(10)));
    }

    #[test]
    fn a_segment_that_grows_is_young_and_is_closed_at_its_age() {
        let mut book = Book::default();
        let limits = Limits { age_ms: Some(100), bytes: None, segment_ms: 1000 };
        let mut end = 5;
        let mut at = |now_ms: i64, grows: bool| {
            end += u64::from(grows);
            let active = Segment { base: Offset(0), end: Offset(end), bytes: 50, max_timestamp_ms: i64::MAX };
            book.look(now_ms, true, &[active], None, Offset(100), &limits)
        };
        assert_eq!(at(0, true), Verdict::default());
        assert_eq!(at(500, true), Verdict::default());
        assert_eq!(at(999, true), Verdict::default());
        assert_eq!(at(1000, true), Verdict { close: Some(Offset(0)), start: None });
        assert_eq!(at(1101, false).start, Some(Offset(9)));
    }

    #[test]
    fn a_segment_that_was_there_before_is_as_old_as_its_first_record() {
        let limits = Limits { segment_ms: 1000, ..KEEP_ALL };
        let close = |began_ms| {
            let mut book = Book::default();
            book.look(5000, true, &segments(&[4999]), began_ms, Offset(10), &limits).close
        };
        assert_eq!(close(Some(4001)), None);
        assert_eq!(close(Some(4000)), Some(Offset(0)));
        assert_eq!(close(Some(9000)), None, "from the future: as of now");
        assert_eq!(close(None), None);
    }

    #[test]
    fn an_empty_segment_is_not_closed_and_its_age_begins_with_its_first_record() {
        let mut book = Book::default();
        let limits = Limits { segment_ms: 1000, ..KEEP_ALL };
        let mut at = |now_ms, end| {
            let active = Segment { base: Offset(0), end: Offset(end), bytes: end, max_timestamp_ms: 0 };
            book.look(now_ms, true, &[active], None, Offset(0), &limits).close
        };
        assert_eq!(at(0, 0), None);
        assert_eq!(at(5000, 0), None);
        assert_eq!(at(5000, 1), None);
        assert_eq!(at(6000, 1), Some(Offset(0)));
    }

    #[test]
    fn a_clock_that_jumps_is_not_believed_for_a_while() {
        let mut clock = Clock::default();
        let hour = 3_600_000;
        assert_eq!(clock.look(Now(0), 0), None);
        assert_eq!(clock.look(Now(60_000), 61_000), None);
        assert!(clock.is_trusted());
        assert_eq!(clock.look(Now(120_000), 121_000 + 24 * hour), Some(24 * hour));
        assert!(!clock.is_trusted());
        let mut book = Book::default();
        let verdict = |clock: &Clock, book: &mut Book| {
            book.look(24 * hour, clock.is_trusted(), &segments(&[1, 2]), None, Offset(20), &age(1000)).start
        };
        assert_eq!(verdict(&clock, &mut book), None);
        // Still so an hour later: it is the time.
        let hour_ms = u64::try_from(hour).expect("positive");
        assert_eq!(clock.look(Now(120_000 + hour_ms), 121_000 + 25 * hour), None);
        assert!(clock.is_trusted());
        assert_eq!(verdict(&clock, &mut book), Some(Offset(10)));
    }
}
