//! What a partition remembers of its idempotent producers, read back from its log (invariant I12).

use yak_core::partition::{BatchHead, Producers, Sequence, Stamped};
use yak_protocol::batch::BatchHeader;
use yak_protocol::ids::Offset;
use yak_storage::{Log, ReadError};

/// How many batches a fold reads before it leaves a snapshot, so that the next one reads fewer.
const SNAPSHOT_BATCHES: u64 = 1000;

/// What the machine needs to know of a batch.
pub(crate) fn head(header: &BatchHeader) -> BatchHead {
    BatchHead { count: header.count(), leader_epoch: header.leader_epoch, sequence: sequence(header) }
}

fn sequence(header: &BatchHeader) -> Option<Sequence> {
    header.producer_id.is_some().then_some(Sequence {
        producer: header.producer_id,
        epoch: header.producer_epoch,
        base: header.base_sequence,
    })
}

/// Folds the log up to `end`, from the newest snapshot on.
///
/// # Errors
/// When a part of the log cannot be read: half a fold would let duplicates through.
pub(crate) fn rebuild(log: &Log, end: Offset) -> Result<Producers, ReadError> {
    let (from, mut producers) = newest_snapshot(log, end);
    let mut read = 0u64;
    for header in log.heads(from, end) {
        let header = header?;
        read += 1;
        if let Some(sequence) = sequence(&header) {
            producers.fold(&Stamped { base: header.base_offset, count: header.count(), sequence });
        }
    }
    if read >= SNAPSHOT_BATCHES {
        save(log, end, &producers);
    }
    Ok(producers)
}

/// A snapshot that cannot be read costs a longer fold, nothing else.
fn newest_snapshot(log: &Log, end: Offset) -> (Offset, Producers) {
    let found = log.load_producers(end).ok().flatten();
    let decoded = found.and_then(|(offset, bytes)| Some((offset, rmp_serde::from_slice(&bytes).ok()?)));
    decoded.unwrap_or((Offset::ZERO, Producers::default()))
}

fn save(log: &Log, end: Offset, producers: &Producers) {
    match rmp_serde::to_vec(producers) {
        Ok(bytes) => {
            if let Err(error) = log.save_producers(end, &bytes) {
                tracing::debug!(%error, "no snapshot of the producers");
            }
        }
        Err(error) => tracing::debug!(%error, "no snapshot of the producers"),
    }
}
