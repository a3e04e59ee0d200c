//! Which message ids a partition has: a fold of its log (invariant I12).
//!
//! A batch with ids carries the time at which its leader appended it, and these times never go back from one batch
//! to the next. An id is known for the topic's window from that time on, by the times in the log alone: no clock
//! is asked when it is forgotten, so every replica forgets it at the same place of the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use yak_protocol::batch::{IdRecord, MessageId};
use yak_protocol::defaults::DEDUPE_IDS_MAX;
use yak_protocol::ids::Offset;

/// The ids of a batch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BatchIds {
    /// When the leader appended it, in ms since 1970; in a publish, what the broker's clock says.
    pub time_ms: i64,
    /// Its records that have one, in order.
    pub records: Arc<[IdRecord]>,
}

/// An id in the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Seen {
    id: MessageId,
    offset: Offset,
    time_ms: i64,
}

/// The ids that a partition remembers.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ids {
    window_ms: u64,
    /// In the order of the log; at most [`DEDUPE_IDS_MAX`].
    seen: VecDeque<Seen>,
    /// Where the newest of each is, and its time.
    by_id: BTreeMap<MessageId, (Offset, i64)>,
    /// Whether some that are in the log were forgotten because they were too old.
    forgot: bool,
}

/// Whether what was appended at `time_ms` is remembered at `now_ms`.
fn is_alive(time_ms: i64, window_ms: u64, now_ms: i64) -> bool {
    now_ms.saturating_sub(time_ms) < i64::try_from(window_ms).unwrap_or(i64::MAX)
}

impl Ids {
    /// The beginning of a fold for that window (0 = ids mean nothing). `forgot`: what is folded starts behind ids
    /// that a longer window would hold.
    #[must_use]
    pub fn new(window_ms: u64, forgot: bool) -> Self {
        Self { window_ms, forgot, ..Self::default() }
    }

    /// For how long an id is remembered.
    #[must_use]
    pub fn window_ms(&self) -> u64 {
        self.window_ms
    }

    /// Whether ids were forgotten that a longer window would hold.
    #[must_use]
    pub fn forgot(&self) -> bool {
        self.forgot
    }

    /// Folds one batch of the log.
    pub fn fold(&mut self, base: Offset, ids: &BatchIds) {
        // Time is told by what is remembered: a batch of which nothing stayed tells none.
        if ids.records.is_empty() {
            return;
        }
        if self.window_ms == 0 {
            self.forgot = true;
            return;
        }
        self.forget_old(ids.time_ms);
        for record in ids.records.iter() {
            let offset = base.advance(u64::from(record.index));
            self.by_id.insert(record.id, (offset, ids.time_ms));
            self.seen.push_back(Seen { id: record.id, offset, time_ms: ids.time_ms });
        }
        while self.seen.len() > DEDUPE_IDS_MAX {
            self.forget_first();
        }
    }

    fn forget_old(&mut self, now_ms: i64) {
        let window = self.window_ms;
        while self.seen.front().is_some_and(|first| !is_alive(first.time_ms, window, now_ms)) {
            self.forget_first();
            self.forgot = true;
        }
    }

    fn forget_first(&mut self) {
        let Some(first) = self.seen.pop_front() else { return };
        if self.by_id.get(&first.id).is_some_and(|(offset, _)| *offset == first.offset) {
            self.by_id.remove(&first.id);
        }
    }

    /// What lies below `start` is no longer in the log.
    pub fn log_starts_at(&mut self, start: Offset) {
        while self.seen.front().is_some_and(|first| first.offset < start) {
            self.forget_first();
        }
    }

    /// Changes the window; `false` when that needs ids that were forgotten: then the log must be folded again.
    #[must_use]
    pub fn set_window(&mut self, window_ms: u64) -> bool {
        if window_ms > self.window_ms && self.forgot {
            return false;
        }
        self.window_ms = window_ms;
        match self.newest_ms() {
            Some(_) if window_ms == 0 => *self = Self::new(0, true),
            Some(newest) => self.forget_old(newest),
            None => {}
        }
        true
    }

    /// Where the record with that id is, if the log has one at `now_ms`.
    #[must_use]
    pub fn find(&self, id: MessageId, now_ms: i64) -> Option<Offset> {
        let (offset, time_ms) = self.by_id.get(&id)?;
        is_alive(*time_ms, self.window_ms, now_ms).then_some(*offset)
    }

    /// The time of the last batch that has one.
    #[must_use]
    pub fn newest_ms(&self) -> Option<i64> {
        self.seen.back().map(|seen| seen.time_ms)
    }

    /// Where the first record is that is remembered: a fold that starts there finds the same.
    #[must_use]
    pub fn first_offset(&self) -> Option<Offset> {
        self.seen.front().map(|seen| seen.offset)
    }

    /// Every id that is remembered at the time of the newest one, with its offset.
    pub fn iter(&self) -> impl Iterator<Item = (MessageId, Offset)> {
        let now_ms = self.newest_ms().unwrap_or_default();
        let alive = move |time_ms| is_alive(time_ms, self.window_ms, now_ms);
        self.by_id
            .iter()
            .filter(move |(_, (_, time_ms))| alive(*time_ms))
            .map(|(id, (offset, _))| (*id, *offset))
    }

    /// How many ids are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// Ids of batches that are on their way to the disk, so not folded yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct UnfoldedIds {
    by_id: BTreeMap<MessageId, (Offset, i64)>,
    newest_ms: Option<i64>,
}

impl UnfoldedIds {
    pub(super) fn of<'a>(batches: impl Iterator<Item = (Offset, &'a BatchIds)>) -> Self {
        let mut all = Self::default();
        batches.for_each(|(base, ids)| all.add(base, ids));
        all
    }

    pub(super) fn add(&mut self, base: Offset, ids: &BatchIds) {
        for record in ids.records.iter() {
            self.by_id.insert(record.id, (base.advance(u64::from(record.index)), ids.time_ms));
        }
        if !ids.records.is_empty() {
            self.newest_ms = self.newest_ms.max(Some(ids.time_ms));
        }
    }

    /// The batch was folded.
    pub(super) fn folded(&mut self, base: Offset, ids: &BatchIds) {
        for record in ids.records.iter() {
            let offset = base.advance(u64::from(record.index));
            if self.by_id.get(&record.id).is_some_and(|(at, _)| *at == offset) {
                self.by_id.remove(&record.id);
            }
        }
    }
}

/// What the ids of a publish mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Repeats {
    /// The time of the append, if there is one.
    pub(super) time_ms: i64,
    /// Records that the log has, or an earlier record of the same batch is: index and offset of the first time.
    pub(super) firsts: Vec<(u32, Offset)>,
}

/// Judges the ids of a publish whose batch is, or would be, appended at `base`.
pub(super) fn judge(folded: &Ids, unfolded: &UnfoldedIds, publish: &BatchIds, base: Offset) -> Repeats {
    // Times never go back: the clock of this leader may be behind that of the one before.
    let newest = folded.newest_ms().max(unfolded.newest_ms);
    let time_ms = newest.map_or(publish.time_ms, |newest| newest.max(publish.time_ms));
    let window_ms = folded.window_ms;
    let mut here: BTreeMap<MessageId, Offset> = BTreeMap::new();
    let mut firsts = Vec::new();
    for record in publish.records.iter() {
        let own = base.advance(u64::from(record.index));
        let under_way = unfolded.by_id.get(&record.id);
        let under_way =
            under_way.filter(|(_, at)| is_alive(*at, window_ms, time_ms)).map(|(offset, _)| *offset);
        let first = under_way.or_else(|| folded.find(record.id, time_ms));
        let first = first.unwrap_or_else(|| *here.entry(record.id).or_insert(own));
        if first != own {
            firsts.push((record.index, first));
        }
    }
    Repeats { time_ms, firsts }
}

/// Where the records are of a batch that the log has at `base`: those that lie elsewhere, because they were repeats
/// when the batch came. `None` when that is no longer known of all of them.
pub(super) fn places(
    folded: &Ids,
    unfolded: &UnfoldedIds,
    ids: &BatchIds,
    base: Offset,
) -> Option<Vec<(u32, Offset)>> {
    let mut elsewhere = Vec::new();
    for record in ids.records.iter() {
        let under_way = unfolded.by_id.get(&record.id);
        let (offset, _) = under_way.or_else(|| folded.by_id.get(&record.id))?;
        if *offset > base.advance(u64::from(record.index)) {
            // It was forgotten since, and used again.
            return None;
        }
        if *offset != base.advance(u64::from(record.index)) {
            elsewhere.push((record.index, *offset));
        }
    }
    Some(elsewhere)
}

#[cfg(test)]
#[path = "ids_tests.rs"]
mod tests;
