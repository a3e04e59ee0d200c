//! Putting refetched bytes in the place of damaged ones (rule R17).

use crate::error::RepairError;
use crate::io::write_all;
use crate::read::snapshot;
use crate::shared::{LogCell, Shared};
use crate::state::TailBatch;
use crate::survey::survey;
use std::sync::Arc;
use yak_protocol::batch;
use yak_protocol::ids::Offset;

/// Replaces exactly the damaged range `[from, to)`.
pub(crate) fn repair(
    shared: &Shared,
    log: &Arc<LogCell>,
    from: Offset,
    to: Offset,
    bytes: &[u8],
) -> Result<(), RepairError> {
    check(from, to, bytes)?;
    let files = log.files.get();
    let snapshot = {
        let state = log.state.get();
        if state.gone || shared.is_stopped() {
            return Err(RepairError::Gone("it was deleted, or the store has stopped"));
        }
        if !state.damaged.ranges().contains(&(from, to)) {
            return Err(RepairError::NotDamaged { from, to });
        }
        let unwritten = |batch: &TailBatch| batch.damaged && batch.from <= from.0 && batch.next > from.0;
        if !state.file_ops.is_empty() || state.unflushed().any(unwritten) {
            return Err(RepairError::Unfit("its segment is not as it should be yet".into()));
        }
        let Some(snapshot) = snapshot(&state, from) else {
            return Err(RepairError::NotDamaged { from, to });
        };
        if to.0 > snapshot.end {
            return Err(RepairError::Unfit("the range reaches over the end of its segment".into()));
        }
        snapshot
    };
    let mut heads = batch::batches(bytes).filter_map(Result::ok);
    if let Some((wrong, _)) = heads.find(|(header, _)| !snapshot.admits(header, header.base_offset.0)) {
        let text = format!("the batch at {} is of epoch {}", wrong.base_offset, wrong.leader_epoch);
        return Err(RepairError::Unfit(text));
    }
    let path = shared.files.path(log.id, snapshot.segment);
    let fault = |source| RepairError::Io { path: path.clone(), source };
    let found = survey(shared, log, &snapshot).map_err(fault)?;
    let begin = found.position_of(from);
    let end = if to.0 == snapshot.end { Some(snapshot.bytes) } else { found.position_of(to) };
    let (Some(begin), Some(end)) = (begin, end) else {
        return Err(RepairError::Unfit("it is not known where in the segment the range lies".into()));
    };
    // What was lost in a cut is written behind what is left of the segment.
    let lost = begin == end && end == snapshot.bytes;
    if !lost && end.checked_sub(begin) != Some(bytes.len() as u64) {
        let text = format!("{} bytes instead of {}", bytes.len(), end.saturating_sub(begin));
        return Err(RepairError::Unfit(text));
    }
    let file = match shared.files.open(log.id, snapshot.segment) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let dir = crate::layout::partition_dir(&shared.root, log.id);
            shared.io.create_dir_all(&dir).map_err(fault)?;
            let file = shared.files.create(log.id, snapshot.segment).map_err(fault)?;
            shared.io.sync_dir(&dir).map_err(fault)?;
            file
        }
        other => other.map_err(fault)?,
    };
    write_all(file.as_ref(), bytes, begin).map_err(fault)?;
    if let Err(error) = file.sync() {
        shared.die(&format!("syncing {} failed: {error}", path.display()));
        return Err(fault(error));
    }
    let mut state = log.state.get();
    if state.generation != snapshot.generation {
        return Err(RepairError::Gone("it was cut while it was being repaired"));
    }
    if lost && let Some(segment) = state.segments.iter_mut().find(|segment| segment.base == snapshot.segment)
    {
        segment.bytes += bytes.len() as u64;
    }
    state.damaged.unmark(from, to);
    state.generation += 1;
    drop(state);
    drop(files);
    log.cursors.get().clear();
    shared.list(log);
    shared.note_change(false);
    tracing::info!(log = %log.id, %from, %to, "repaired damaged records");
    Ok(())
}

/// The bytes are sound batches that reach from `from` to `to`.
fn check(from: Offset, to: Offset, bytes: &[u8]) -> Result<(), RepairError> {
    let unfit = |text: String| Err(RepairError::Unfit(text));
    let mut next = from;
    for found in batch::batches(bytes) {
        let one = found.and_then(|(_, one)| batch::verify(one));
        let header = match one {
            Ok(header) => header,
            Err(error) => return unfit(error.to_string()),
        };
        if header.base_offset != next {
            return unfit(format!("a batch at {} where one at {next} belongs", header.base_offset));
        }
        next = header.next_offset();
    }
    if next == to { Ok(()) } else { unfit(format!("it ends at {next} instead of {to}")) }
}
