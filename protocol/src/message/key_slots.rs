use crate::defaults::KEY_SLOTS;
use crate::ids::PartitionIndex;
use crate::partitioner::murmur2;
use serde::{Deserialize, Serialize};

/// Which partition the records of a key go to: key → slot → partition.
///
/// ```text
/// slot      = (murmur2(key) & 0x7fffffff) mod slots
/// partition = moved[slot], else slot mod spread
/// ```
///
/// `slots` is a multiple of `spread`, the number of partitions that the topic was made with, so that the slots
/// give what Java's clients choose: the hash modulo the number of partitions. A topic that grows keeps its
/// slots, and so every key its partition. What moves a slot later says so in `moved`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct KeySlots {
    /// How many slots there are; never changes. 0 = a topic of before there were slots.
    pub slots: u32,
    /// Over how many partitions they were spread when the topic was made.
    pub spread: u32,
    /// Slots that have left the partition which `spread` gives them, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<MovedSlot>,
}

/// A slot that has moved: slot, partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MovedSlot(pub u32, pub PartitionIndex);

impl KeySlots {
    /// The slots of a topic that is made with so many partitions: the greatest multiple of them up to
    /// [`KEY_SLOTS`], at least one each.
    #[must_use]
    pub fn new(partitions: u32) -> Self {
        let each = KEY_SLOTS.checked_div(partitions).unwrap_or(0).max(1);
        Self { slots: partitions.saturating_mul(each), spread: partitions, moved: Vec::new() }
    }

    /// The partition of a key; `None` without slots, as metadata of before has it.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> Option<PartitionIndex> {
        let slot = (murmur2(key) & 0x7fff_ffff).cast_unsigned().checked_rem(self.slots)?;
        match self.moved.binary_search_by_key(&slot, |moved| moved.0) {
            Ok(at) => self.moved.get(at).map(|moved| moved.1),
            Err(_) => slot.checked_rem(self.spread).map(PartitionIndex),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partitioner::partition_for_key;

    #[test]
    fn slots_give_what_the_java_clients_choose() {
        for partitions in [1, 2, 3, 7, 12, 100, 4095, 4096, 4097, 10_000] {
            let slots = KeySlots::new(partitions);
            assert_eq!(slots.slots % partitions, 0, "{slots:?}");
            assert!(slots.slots >= partitions && slots.slots <= KEY_SLOTS.max(partitions), "{slots:?}");
            for key in 0..500u32 {
                let key = key.to_be_bytes();
                assert_eq!(slots.partition_of(&key), Some(partition_for_key(&key, partitions)));
            }
        }
    }

    #[test]
    fn a_moved_slot_takes_its_keys_with_it_and_no_others() {
        let before = KeySlots::new(3);
        let moved = MovedSlot(7, PartitionIndex(3));
        let after = KeySlots { moved: vec![moved], ..before.clone() };
        let mut seen = 0;
        for key in 0..100_000u32 {
            let key = key.to_be_bytes();
            let slot = (murmur2(&key) & 0x7fff_ffff).cast_unsigned() % before.slots;
            if slot == 7 {
                seen += 1;
                assert_eq!(after.partition_of(&key), Some(PartitionIndex(3)));
            } else {
                assert_eq!(after.partition_of(&key), before.partition_of(&key));
            }
        }
        assert!(seen > 0);
    }

    #[test]
    fn without_slots_nothing_is_said() {
        assert_eq!(KeySlots::default().partition_of(b"key"), None);
        assert_eq!(KeySlots::new(0).partition_of(b"key"), None);
        assert_eq!(KeySlots { slots: 8, spread: 0, moved: Vec::new() }.partition_of(b"key"), None);
    }
}
