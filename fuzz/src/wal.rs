use super::disk::disk;
use std::path::Path;
use yak_storage::inspect::{self, DataDir, WalEnd};

const WAL: &str = "/data/wal/0000.wal";
const HEADERS: [usize; 2] = [0, 2048];
const ROUNDS_FROM: usize = 4096;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 72;

/// A write-ahead file with arbitrary bytes: as they are, and with the checksums that they should have.
pub fn wal(data: &[u8]) {
    look(data);
    look(&with_checksums(data));
}

fn look(data: &[u8]) {
    let io = disk(&[(WAL, data)]);
    let path = Path::new(WAL);
    let mut end = 0;
    let (header, ending) = inspect::rounds(&io, path, |round| {
        assert!(round.at >= end && round.at >= ROUNDS_FROM as u64, "rounds follow each other");
        end = if round.whole { round.at + u64::from(round.bytes) } else { round.at };
        for entry in &round.entries {
            assert!(entry.batches.is_empty() || entry.batches_at > round.at);
        }
        Ok(())
    })
    .expect("it can be looked through");
    assert_eq!(header.is_none(), matches!(ending, WalEnd::NoHeader { .. }));
    for path in [WAL, "/data/wal", "/data"] {
        let _ = inspect::verify(&io, Path::new(path), false).expect("it can be looked through");
    }
    let _ = DataDir::look(&io, Path::new("/data")).expect("it can be looked at").summaries();
}

/// The same with sound checksums in its header and its rounds, so that more than they is looked at.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut file = data.to_vec();
    if file.len() < ROUNDS_FROM {
        return file;
    }
    for at in HEADERS {
        file[at..at + 8].copy_from_slice(b"YAKWAL\r\n");
        file[at + 12..at + 16].copy_from_slice(&1u32.to_be_bytes());
        let crc = crc32c::crc32c(&file[at + 12..at + 128]);
        file[at + 8..at + 12].copy_from_slice(&crc.to_be_bytes());
    }
    let seed = crc32c::crc32c_append(crc32c::crc32c(&file[16..24]), &file[24..32]);
    let mut previous = file[40..44].to_vec();
    let mut at = ROUNDS_FROM;
    while let Some(length) = round(&mut file[at..], seed, &mut previous) {
        at += length;
    }
    file
}

/// Gives one round its checksums; `None` if there is none.
fn round(bytes: &mut [u8], seed: u32, previous: &mut Vec<u8>) -> Option<usize> {
    let u32_at =
        |bytes: &[u8], at: usize| Some(u32::from_be_bytes(*bytes.get(at..at + 4)?.first_chunk()?) as usize);
    let (length, entries) = (u32_at(bytes, 16)?, u32_at(bytes, 20)?);
    let table = entries.checked_mul(ENTRY_BYTES)?;
    let least = HEADER_BYTES.checked_add(table)?.checked_mul(2)?;
    if length < least || length > bytes.len() || !length.is_multiple_of(8) {
        return None;
    }
    for entry in 0..entries {
        let from = HEADER_BYTES + entry * ENTRY_BYTES;
        let (at, size) = (u32_at(bytes, from + 56)?, u32_at(bytes, from + 60)?);
        if let Some(payload) = at.checked_add(size).and_then(|to| bytes.get(at..to)) {
            let crc = crc32c::crc32c_append(seed, payload);
            bytes[from + 64..from + 68].copy_from_slice(&crc.to_be_bytes());
        }
        let one = &bytes[from..from + ENTRY_BYTES];
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &one[..4]), &one[8..]);
        bytes[from + 4..from + 8].copy_from_slice(&crc.to_be_bytes());
    }
    bytes.copy_within(HEADER_BYTES..HEADER_BYTES + table, length - HEADER_BYTES - table);
    let table_crc = crc32c::crc32c_append(seed, &bytes[HEADER_BYTES..HEADER_BYTES + table]);
    bytes[32..36].copy_from_slice(previous);
    bytes[36..40].copy_from_slice(&table_crc.to_be_bytes());
    let crc = crc32c::crc32c_append(seed, &bytes[8..HEADER_BYTES]).to_be_bytes();
    *previous = crc.to_vec();
    for (at, magic) in [(length - HEADER_BYTES, b"YKe1"), (0, b"YKr1")] {
        bytes.copy_within(0..HEADER_BYTES, at);
        bytes[at..at + 4].copy_from_slice(magic);
        bytes[at + 4..at + 8].copy_from_slice(&crc);
    }
    Some(length)
}
