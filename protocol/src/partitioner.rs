//! Which partition a key belongs to: the same one that Kafka's Java clients choose.

use crate::ids::PartitionIndex;

/// MurmurHash2 by Austin Appleby (32 bits), with the seed of Kafka's clients.
#[must_use]
pub fn murmur2(key: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // The length is taken modulo 2^32, as everything here.
    #[allow(clippy::cast_possible_truncation, reason = "the algorithm works modulo 2^32")]
    let mut hash = 0x9747_b28c_u32 ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

/// The partition of a key in a topic with `partitions` of them.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: u32) -> PartitionIndex {
    assert!(partitions > 0, "a topic has at least one partition");
    PartitionIndex((murmur2(key) & 0x7fff_ffff).cast_unsigned() % partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_of_the_java_clients() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn every_partition_is_used_and_none_beyond() {
        let mut used = [0u32; 7];
        for key in 0..1000u32 {
            used[partition_for_key(&key.to_be_bytes(), 7).0 as usize] += 1;
        }
        assert!(used.iter().all(|count| *count > 100), "{used:?}");
        assert_eq!(partition_for_key(b"", 1), PartitionIndex(0));
    }
}
