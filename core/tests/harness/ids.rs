//! Message ids: what a batch's records are called, and what must hold of them.

use super::log::{Batch, Log};
use super::truth::Truth;
use super::world::World;
use std::collections::BTreeMap;
use std::sync::Arc;
use yak_core::partition::{BatchIds, Ids, Rewrite};
use yak_protocol::batch::{IdRecord, MessageId};
use yak_protocol::ids::{Offset, TopicPartition};
use yak_protocol::message::Acked;

/// Where each id is committed, and at which time.
#[derive(Clone, Debug, Default)]
pub struct CommittedIds {
    places: BTreeMap<(TopicPartition, MessageId), (u64, i64)>,
    /// How far any replica has dropped its log.
    dropped: BTreeMap<TopicPartition, u64>,
}

impl CommittedIds {
    pub fn log_starts_at(&mut self, id: TopicPartition, start: u64) {
        let known = self.dropped.entry(id).or_default();
        *known = (*known).max(start);
    }
}

/// The ids of a publish; its broker adds the time.
pub fn published(ids: impl Iterator<Item = u128>) -> BatchIds {
    let record = |(index, id)| IdRecord { index, id: MessageId(id) };
    BatchIds { time_ms: 0, records: (0..).zip(ids).map(record).collect() }
}

/// What the leader makes of a batch's ids.
pub fn rewritten(ids: Option<BatchIds>, rewrite: Option<&Rewrite>) -> Option<BatchIds> {
    let (ids, rewrite) = (ids?, rewrite?);
    let stays = |record: &&IdRecord| !rewrite.dropped.contains(&record.index);
    let records: Arc<[IdRecord]> = ids.records.iter().filter(stays).copied().collect();
    Some(BatchIds { time_ms: rewrite.time_ms, records })
}

/// What a log says of ids, up to an end.
pub fn fold(log: &Log, end: u64, start: u64, window_ms: u64) -> Ids {
    let mut ids = Ids::new(window_ms, false);
    for batch in log.batches().filter(|b| b.end() <= end) {
        if let Some(of_batch) = &batch.ids {
            ids.fold(Offset(batch.base), of_batch);
        }
    }
    ids.log_starts_at(Offset(start.max(log.start())));
    ids
}

/// Whether the log has every record of a publish where the acknowledgement says.
pub fn has_all(log: &Log, batch: &Batch, acked: &Acked) -> bool {
    let Some(ids) = &batch.ids else { return false };
    ids.records.iter().all(|record| {
        let Some(Offset(offset)) = acked.offset_of(record.index) else { return true };
        // Retention may have dropped it since; only what is committed goes.
        offset < log.start()
            || log.batch_at(offset).is_some_and(|batch| {
                let index = u32::try_from(offset - batch.base).expect("small");
                let same = |found: &IdRecord| found.index == index && found.id == record.id;
                batch.ids.as_ref().is_some_and(|ids| ids.records.iter().any(same))
            })
    })
}

impl Truth {
    /// I11 for ids: within the window each is at one offset.
    pub fn commit_ids(&mut self, id: TopicPartition, batch: &Batch, window_ms: u64) {
        let Some(ids) = &batch.ids else { return };
        let dropped = self.ids.dropped.get(&id).copied().unwrap_or(0);
        for record in ids.records.iter() {
            let offset = batch.base + u64::from(record.index);
            let place = (offset, ids.time_ms);
            let Some((before, time_ms)) = self.ids.places.insert((id, record.id), place) else { continue };
            if ids.time_ms - time_ms < i64::try_from(window_ms).expect("small") && before >= dropped {
                let text = format!("{id:?}: {:?} is committed at {before} and at {offset}", record.id);
                self.violate("I11", text);
            }
        }
    }
}

impl World {
    /// Names for a batch's records: new ones, and now and then one that was used before.
    pub fn names(&mut self, number: usize, id: TopicPartition, value: u64, count: u32) -> BatchIds {
        let mut used = std::mem::take(&mut self.producers[number].used);
        let names: Vec<u128> = (0..count)
            .map(|index| {
                let old = used.get(&id).filter(|used| !used.is_empty() && self.rng.u32(0..4) == 0);
                let old = old.map(|used| used[self.rng.usize(0..used.len())]);
                if old.is_some() {
                    self.coverage.hit("an id is used again");
                }
                let name = old.unwrap_or(u128::from(value) * 8 + u128::from(index));
                used.entry(id).or_default().push(name);
                name
            })
            .collect();
        self.producers[number].used = used;
        published(names.into_iter())
    }
}
