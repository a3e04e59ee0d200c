//! Snapshots of producer state, kept beside the segments. Their content is the caller's; the log can
//! always rebuild it, so a snapshot that is damaged, or belongs to records that were cut, is not used.
//!
//! ```text
//!  byte 0       8     12       20            24       28
//!       +-------+-----+--------+-------------+--------+----------+
//!       | magic | crc | offset | epoch before | length | snapshot |
//!       +-------+-----+--------+-------------+--------+----------+
//! ```
//!
//! Big-endian; `crc` covers what follows it. `epoch before` is the leader epoch of the record before the
//! offset: if the log has been cut and filled again since, it has another there.

use crate::io::{read_whole, write_all};
use crate::layout::{PartitionFile, partition_dir, partition_file};
use crate::shared::{LogCell, Shared};
use crate::wal::{u32_at, u64_at};
use bytes::Bytes;
use std::io;
use yak_protocol::ids::{Offset, TopicPartition};

const MAGIC: [u8; 8] = *b"YAKPRD\r\n";
const HEADER_BYTES: usize = 28;
/// Older ones are removed.
const KEPT: usize = 2;

/// Offsets of the snapshots in a folder, ascending.
fn offsets(shared: &Shared, id: TopicPartition) -> io::Result<Vec<u64>> {
    let names = match shared.io.list(&partition_dir(&shared.root, id)) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut offsets: Vec<u64> = names
        .iter()
        .filter_map(|entry| match PartitionFile::parse(&entry.name) {
            Some(PartitionFile::Producers(offset)) => Some(offset),
            _ => None,
        })
        .collect();
    offsets.sort_unstable();
    Ok(offsets)
}

/// Saves a snapshot at `offset`.
pub(crate) fn save(
    shared: &Shared,
    log: &LogCell,
    offset: Offset,
    snapshot: &[u8],
    generation: u64,
) -> io::Result<()> {
    let epoch = {
        let state = log.state.get();
        if state.generation != generation {
            // Made from records that have been cut: under the epoch of those that are there now it would
            // pass for theirs.
            return Ok(());
        }
        state.epoch_before(offset).unwrap_or_default()
    };
    let mut out = vec![0; HEADER_BYTES];
    out[..8].copy_from_slice(&MAGIC);
    out[12..20].copy_from_slice(&offset.0.to_be_bytes());
    out[20..24].copy_from_slice(&epoch.0.to_be_bytes());
    out[24..28].copy_from_slice(&u32::try_from(snapshot.len()).map_err(io::Error::other)?.to_be_bytes());
    out.extend_from_slice(snapshot);
    let crc = crc32c::crc32c(&out[12..]);
    out[8..12].copy_from_slice(&crc.to_be_bytes());
    let _files = log.files.get();
    let dir = partition_dir(&shared.root, log.id);
    if !shared.io.exists(&dir)? {
        // Nothing of the log is in files yet: there is nothing to save the reading of.
        return Ok(());
    }
    let path = partition_file(&shared.root, log.id, PartitionFile::Producers(offset.0));
    let file = shared.io.create(&path)?;
    write_all(file.as_ref(), &out, 0)?;
    file.set_len(out.len() as u64)?;
    let all = offsets(shared, log.id)?;
    for old in all.iter().rev().skip(KEPT) {
        shared.io.remove_file(&partition_file(&shared.root, log.id, PartitionFile::Producers(*old)))?;
    }
    Ok(())
}

/// The newest usable snapshot at or below `below`.
pub(crate) fn load(shared: &Shared, log: &LogCell, below: Offset) -> io::Result<Option<(Offset, Bytes)>> {
    let all = offsets(shared, log.id)?;
    for &offset in all.iter().rev().filter(|offset| **offset <= below.0) {
        let path = partition_file(&shared.root, log.id, PartitionFile::Producers(offset));
        let bytes = match read_whole(shared.io.as_ref(), &path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let state = log.state.get();
        let epoch = state.epoch_before(Offset(offset)).unwrap_or_default();
        let inside = state.start.0 <= offset && offset <= state.end.0;
        if inside && is_sound(&bytes, offset, epoch.0) {
            return Ok(Some((Offset(offset), bytes.slice(HEADER_BYTES..))));
        }
    }
    Ok(None)
}

fn is_sound(bytes: &[u8], offset: u64, epoch: u32) -> bool {
    is_whole(bytes) && u64_at(bytes, 12) == offset && u32_at(bytes, 20) == epoch
}

/// Whether these are the bytes of a snapshot, as they were written.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES
        && bytes[..8] == MAGIC
        && u32_at(bytes, 8) == crc32c::crc32c(&bytes[12..])
        && u32_at(bytes, 24) as usize == bytes.len() - HEADER_BYTES
}

/// Removes the snapshots above `above`.
pub(crate) fn drop_above(shared: &Shared, id: TopicPartition, above: u64) -> io::Result<()> {
    for offset in offsets(shared, id)?.into_iter().filter(|offset| *offset > above) {
        match shared.io.remove_file(&partition_file(&shared.root, id, PartitionFile::Producers(offset))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::io::RealIo;
    use crate::{Log, LogOp, Observer, Store, StoreConfig};
    use bytes::Bytes;
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use yak_protocol::batch::{BatchBuilder, Compression, RecordRef};
    use yak_protocol::error::WireError;
    use yak_protocol::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

    struct Ear(Sender<u64>);

    impl Observer for Ear {
        fn written(&self, _: u64) {}
        fn synced(&self, seq: u64) {
            let _ = self.0.send(seq);
        }
        fn failed(&self, seq: u64, error: WireError) {
            panic!("operation {seq} failed: {error}");
        }
    }

    fn batch(epoch: u32, base: u64) -> LogOp {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(&RecordRef { timestamp_ms: 1, key: None, value: Some(b"x"), headers: &[] });
        let batches: Bytes = builder.build().unwrap();
        LogOp::Append { base: Offset(base), leader_epoch: Some(LeaderEpoch(epoch)), batches }
    }

    #[test]
    fn a_snapshot_of_records_that_were_cut_meanwhile_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreConfig::default(), Arc::new(RealIo), Arc::new(|_: &str| {}))
            .unwrap();
        let id = TopicPartition { topic: TopicId(5), partition: PartitionIndex(0) };
        let (synced, heard) = channel();
        let log: Log = store.log(id, Arc::new(Ear(synced)));
        let run = |seq: u64, op: LogOp| {
            log.submit(seq, op);
            while heard.recv().unwrap() < seq {}
        };
        run(1, batch(1, 0));
        run(2, batch(1, 1));
        let begun = log.generation();
        run(3, LogOp::Truncate { to: Offset(1) });
        run(4, batch(2, 1));
        // The folder is made when the first segment is written; a snapshot before that is not kept anyway.
        std::fs::create_dir_all(crate::layout::partition_dir(dir.path(), id)).unwrap();
        log.save_producers(Offset(2), b"of what was cut", begun).unwrap();
        assert_eq!(log.load_producers(Offset(2)).unwrap(), None);
        log.save_producers(Offset(2), b"of what is there", log.generation()).unwrap();
        assert_eq!(log.load_producers(Offset(2)).unwrap().unwrap().1, "of what is there");
    }
}
