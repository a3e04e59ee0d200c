//! Files of checked blocks, as all of the coordinator's are:
//!
//! ```text
//! +---------------+------------------+      +------------+------------+--------------+--------------+
//! | magic 4 bytes | u32 LE version 1 | then | u32 LE     | u32 LE     | u64 LE       | payload:     |
//! +---------------+------------------+      | payload    | CRC32C of  | sequence     | MessagePack  |
//!                                           | length     | the rest   | number       |              |
//!                                           |            | + length   | (no gaps)    |              |
//!                                           +------------+------------+--------------+--------------+
//! ```
//!
//! An invalid block with nothing valid behind it is a write that never finished. An invalid one before a
//! valid one is damage.

use super::error::QuorumError;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

const VERSION: u32 = 1;
const FILE_HEADER_BYTES: usize = 8;
const BLOCK_HEADER_BYTES: usize = 16;

/// What begins a file of its kind.
pub(crate) fn header(magic: [u8; 4]) -> Vec<u8> {
    let mut bytes = Vec::from(magic);
    bytes.extend(VERSION.to_le_bytes());
    bytes
}

/// Adds a block.
pub(crate) fn encode(sequence: u64, payload: &impl serde::Serialize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let payload = rmp_serde::to_vec_named(payload).map_err(io::Error::other)?;
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(checksum(sequence, &payload).to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(payload);
    Ok(())
}

/// The length counts too: a damaged one must not pass for a shorter block.
fn checksum(sequence: u64, payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&(payload.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &sequence.to_le_bytes());
    crc32c::crc32c_append(crc, payload)
}

/// Writes a whole file beside the old one and renames it over that; returns it, open at its end.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<File, QuorumError> {
    let unfinished = dir.join(format!("{name}.new"));
    let mut file = File::create(&unfinished).map_err(QuorumError::io("make", &unfinished))?;
    file.write_all(bytes).map_err(QuorumError::io("write", &unfinished))?;
    file.sync_all().map_err(QuorumError::io("sync", &unfinished))?;
    let path = dir.join(name);
    std::fs::rename(&unfinished, &path).map_err(QuorumError::io("rename a new file to", &path))?;
    sync_dir(dir)?;
    Ok(file)
}

/// Makes names in the dir durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), QuorumError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(QuorumError::io("sync the data dir", dir))
}

/// What a file holds.
pub(crate) struct Found {
    /// Where each valid block begins, and its payload.
    pub(crate) blocks: Vec<(usize, Range<usize>)>,
    /// Where the last valid block ends.
    pub(crate) end: usize,
    /// The number that the next block gets.
    pub(crate) next_sequence: u64,
}

/// Finds the blocks of a file.
pub(crate) fn parse(path: &Path, magic: [u8; 4], bytes: &[u8]) -> Result<Found, QuorumError> {
    if bytes.get(..4) != Some(&magic) {
        return Err(QuorumError::damaged(path, 0, "it does not begin as it should"));
    }
    let Some(version) = u32_at(bytes, 4) else {
        return Err(QuorumError::damaged(path, 4, "it ends within its header"));
    };
    if version != VERSION {
        return Err(QuorumError::Newer { path: path.to_owned(), version, known: VERSION });
    }
    let mut found = Found { blocks: Vec::new(), end: FILE_HEADER_BYTES, next_sequence: 0 };
    while let Some((sequence, payload)) = block_at(bytes, found.end) {
        if !found.blocks.is_empty() && sequence != found.next_sequence {
            let what = format!("block {} is missing, block {sequence} follows", found.next_sequence);
            return Err(QuorumError::damaged(path, found.end, what));
        }
        let next = payload.end;
        found.blocks.push((found.end, payload));
        found.end = next;
        found.next_sequence = sequence + 1;
    }
    // The first block came with a rename: it is never unfinished.
    if found.blocks.is_empty() {
        return Err(QuorumError::damaged(path, found.end, "its first block is invalid"));
    }
    if let Some(later) = later_block(bytes, found.end, found.next_sequence) {
        let what =
            format!("block {} is invalid, but a later one at byte {later} is not", found.next_sequence);
        return Err(QuorumError::damaged(path, found.end, what));
    }
    Ok(found)
}

/// A block's payload as what it is.
pub(crate) fn read<T: serde::de::DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    (at, payload): &(usize, Range<usize>),
) -> Result<T, QuorumError> {
    rmp_serde::from_slice(&bytes[payload.clone()]).map_err(|cause| {
        QuorumError::damaged(path, *at, format!("a valid block is not understood ({cause})"))
    })
}

fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    let field = bytes.get(position..position.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

fn u64_at(bytes: &[u8], position: usize) -> Option<u64> {
    let field = bytes.get(position..position.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

/// The valid block at that byte: its sequence number and where its payload is.
fn block_at(bytes: &[u8], position: usize) -> Option<(u64, Range<usize>)> {
    let length = u32_at(bytes, position)? as usize;
    let crc = u32_at(bytes, position + 4)?;
    let sequence = u64_at(bytes, position + 8)?;
    let start = position + BLOCK_HEADER_BYTES;
    let range = start..start.checked_add(length)?;
    let payload = bytes.get(range.clone())?;
    (checksum(sequence, payload) == crc).then_some((sequence, range))
}

/// Where behind an invalid block a valid one with a later number is; none = the end was never finished.
fn later_block(bytes: &[u8], invalid: usize, sequence: u64) -> Option<usize> {
    let possible = sequence..=sequence + (bytes.len() / BLOCK_HEADER_BYTES) as u64;
    (invalid + 1..bytes.len()).find(|position| {
        // The number first: it rules out nearly every byte without a checksum.
        u64_at(bytes, position + 8).is_some_and(|number| possible.contains(&number))
            && block_at(bytes, *position).is_some()
    })
}
