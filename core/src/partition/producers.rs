//! What a partition remembers of its idempotent producers: a fold of its log (invariant I12).

use yak_protocol::ids::{ProducerEpoch, ProducerId};

/// A batch's producer stamp.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sequence {
    /// Who wrote it.
    pub producer: ProducerId,
    /// In which life.
    pub epoch: ProducerEpoch,
    /// The sequence number of its first record.
    pub base: i32,
}

/// Producer state of one partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Producers {}
