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

/// What a fold does with a damaged range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// It fails: the range will be repaired, and half a fold would let duplicates through.
    Fail,
    /// It goes on behind the range: no copy is in sight, and without a fold no idempotent producer can go
    /// on. Only a repeat of a batch in the range is not recognized.
    Skip,
}

/// Folds the log up to `end`, from the newest snapshot on.
///
/// # Errors
/// When a part of the log cannot be read.
pub(crate) fn rebuild(log: &Log, end: Offset, damage: Damage) -> Result<Producers, ReadError> {
    let generation = log.generation();
    let (mut from, mut producers) = newest_snapshot(log, end);
    let mut read = 0u64;
    loop {
        match fold(log, from, end, &mut producers, &mut read) {
            Err(ReadError::Damaged { to, .. }) if damage == Damage::Skip && to > from => from = to,
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    if read >= SNAPSHOT_BATCHES && damage == Damage::Fail {
        save(log, end, &producers, generation);
    }
    Ok(producers)
}

fn fold(
    log: &Log,
    from: Offset,
    end: Offset,
    producers: &mut Producers,
    read: &mut u64,
) -> Result<(), ReadError> {
    for header in log.heads(from.max(log.bounds().0), end) {
        let header = header?;
        *read += 1;
        if let Some(sequence) = sequence(&header) {
            producers.fold(&Stamped { base: header.base_offset, count: header.count(), sequence });
        }
    }
    Ok(())
}

/// A snapshot that cannot be read costs a longer fold, nothing else.
fn newest_snapshot(log: &Log, end: Offset) -> (Offset, Producers) {
    let found = log.load_producers(end).ok().flatten();
    let decoded = found.and_then(|(offset, bytes)| Some((offset, rmp_serde::from_slice(&bytes).ok()?)));
    decoded.unwrap_or((Offset::ZERO, Producers::default()))
}

fn save(log: &Log, end: Offset, producers: &Producers, generation: u64) {
    match rmp_serde::to_vec(producers) {
        Ok(bytes) => {
            if let Err(error) = log.save_producers(end, &bytes, generation) {
                tracing::debug!(%error, "no snapshot of the producers");
            }
        }
        Err(error) => tracing::debug!(%error, "no snapshot of the producers"),
    }
}
