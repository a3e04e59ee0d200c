//! A topic's partitions as the producer sees them, and which of them a record goes to.

use crate::intake::Intake;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use yak_protocol::ids::PartitionIndex;
use yak_protocol::message::KeySlots;
use yak_protocol::partitioner::partition_for_key;

/// One partition: where its records are filled into batches, and whether its sender is in trouble.
#[derive(Clone, Debug)]
pub(crate) struct PartitionHandle {
    pub(crate) intake: Arc<Intake>,
    pub(crate) stalled: Arc<AtomicBool>,
}

/// A topic that records are sent to, as the metadata has it at a time.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) partitions: Vec<PartitionHandle>,
    /// Partitions that the topic had before it was deleted and made again. They are kept: a partition must never
    /// have two senders, since both would count its sequence numbers.
    former: Vec<PartitionHandle>,
    /// The largest batch that its brokers take, in bytes.
    pub(crate) batch_bytes_max: usize,
    /// Where records with a key go.
    pub(crate) key_slots: KeySlots,
    /// Where records without a key go for now.
    sticky: AtomicU32,
}

impl Topic {
    pub(crate) fn new(partitions: Vec<PartitionHandle>, batch_bytes_max: usize, key_slots: KeySlots) -> Self {
        let count = u32::try_from(partitions.len()).unwrap_or(u32::MAX);
        let sticky = AtomicU32::new(fastrand::u32(0..count.max(1)));
        Self { partitions, former: Vec::new(), batch_bytes_max, key_slots, sticky }
    }

    /// The topic with another number of partitions; new ones are started.
    pub(crate) fn resized(
        &self,
        partitions: u32,
        batch_bytes_max: usize,
        key_slots: KeySlots,
        start: impl FnMut(PartitionIndex) -> PartitionHandle,
    ) -> Self {
        let mut all: Vec<_> = self.partitions.iter().chain(&self.former).cloned().collect();
        let known = u32::try_from(all.len()).unwrap_or(u32::MAX);
        all.extend((known..partitions).map(PartitionIndex).map(start));
        let former = all.split_off(partitions as usize);
        Self { former, ..Self::new(all, batch_bytes_max, key_slots) }
    }

    /// Where a record goes that names no partition: by its key, as the Java clients do; without one to
    /// the partition whose batch is being filled, then to another one, around those in trouble.
    pub(crate) fn choose(&self, key: Option<&[u8]>) -> PartitionIndex {
        let count = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        if let Some(key) = key {
            // Slots may name a partition that this metadata lacks only if somebody sent nonsense.
            let known = self.key_slots.partition_of(key).filter(|partition| partition.0 < count);
            return known.unwrap_or_else(|| partition_for_key(key, count));
        }
        let sticky = self.sticky.load(Ordering::Relaxed);
        let current = &self.partitions[sticky as usize];
        if count == 1 || (current.intake.is_filling() && !current.stalled.load(Ordering::Relaxed)) {
            return PartitionIndex(sticky);
        }
        let next = another(sticky, count, |partition| {
            self.partitions[partition as usize].stalled.load(Ordering::Relaxed)
        });
        self.sticky.store(next, Ordering::Relaxed);
        PartitionIndex(next)
    }
}

/// A partition other than `current`, any of those that are not stalled, if there is one.
fn another(current: u32, count: u32, stalled: impl Fn(u32) -> bool) -> u32 {
    let from = fastrand::u32(1..count);
    let candidates = (0..count - 1).map(|step| (current + 1 + (from + step) % (count - 1)) % count);
    let mut fallback = current;
    for candidate in candidates {
        if !stalled(candidate) {
            return candidate;
        }
        fallback = candidate;
    }
    if stalled(current) { fallback } else { current }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Buffer;
    use std::collections::BTreeSet;
    use std::time::{Duration, Instant};
    use yak_protocol::batch::{Compression, RecordRef};

    fn topic(count: u32) -> Topic {
        let buffer = Buffer::new(1 << 20);
        let partitions = (0..count)
            .map(|partition| PartitionHandle {
                intake: Arc::new(Intake::new(
                    format!("t/{partition}").into(),
                    PartitionIndex(partition),
                    Compression::None,
                    1000,
                    Duration::ZERO,
                    Arc::clone(&buffer),
                )),
                stalled: Arc::default(),
            })
            .collect();
        Topic::new(partitions, 1 << 20, KeySlots::new(count))
    }

    #[test]
    fn another_is_never_the_current_and_reaches_all_others() {
        let found: BTreeSet<u32> = (0..1000).map(|_| another(2, 5, |_| false)).collect();
        assert_eq!(found, BTreeSet::from([0, 1, 3, 4]));
    }

    #[test]
    fn another_goes_around_partitions_in_trouble() {
        for _ in 0..100 {
            assert_eq!(another(2, 4, |partition| partition != 1), 1);
            assert_eq!(another(2, 4, |partition| partition != 2), 2);
        }
    }

    #[test]
    fn a_key_goes_where_the_java_clients_put_it() {
        // murmur2("abc") = 479470107
        assert_eq!(topic(3).choose(Some(b"abc")), PartitionIndex(479_470_107 % 3));
    }

    #[test]
    fn a_topic_that_grows_keeps_its_keys_where_they_are() {
        let small = topic(3);
        let more = topic(7).partitions.into_iter().skip(3).collect::<Vec<_>>();
        let mut new = more.into_iter();
        let large = small.resized(7, 1 << 20, small.key_slots.clone(), |_| new.next().expect("four more"));
        let mut used = BTreeSet::new();
        for key in 0..1000u32 {
            let key = key.to_be_bytes();
            assert_eq!(large.choose(Some(&key)), small.choose(Some(&key)));
            used.insert(large.choose(Some(&key)));
        }
        assert_eq!(used.len(), 3, "new partitions get no keys");
    }

    #[test]
    fn without_a_key_a_batch_is_filled_before_the_next_partition_is_chosen() {
        let topic = topic(3);
        let first = topic.choose(None);
        let intake = &topic.partitions[first.0 as usize].intake;
        let record = RecordRef { timestamp_ms: 1, key: None, value: Some(b"v"), headers: &[] };
        let now = Instant::now();
        let _delivery = intake.append(&record, 10, now);
        assert_eq!(topic.choose(None), first);
        let taken = intake.take_due(now).expect("no linger, so it is due");
        assert_eq!(taken.builder.count(), 1);
        assert_ne!(topic.choose(None), first);
    }

    #[test]
    fn without_a_key_many_records_are_spread_batch_by_batch() {
        let topic = topic(3);
        let value = [0; 300];
        let record = RecordRef { timestamp_ms: 1, key: None, value: Some(&value), headers: &[] };
        let now = Instant::now();
        let mut batches = [0; 3];
        for _ in 0..300 {
            let partition = topic.choose(None).0 as usize;
            let _delivery = topic.partitions[partition].intake.append(&record, 316, now);
        }
        for (partition, handle) in topic.partitions.iter().enumerate() {
            while handle.intake.take_due(now).is_some() {
                batches[partition] += 1;
            }
        }
        assert!(batches.iter().all(|count| (20..=80).contains(count)), "{batches:?}");
    }
}
