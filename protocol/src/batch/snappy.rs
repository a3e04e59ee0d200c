//! Snappy as Kafka's clients write it: raw blocks in the framing of snappy-java ("xerial").
//!
//! ```text
//! +---------------------------+-------------+-------------+--------------+-----------+---
//! | 82 'S' 'N' 'A' 'P' 'P' 'Y' 00 | version u32 | oldest u32  | length u32 BE| raw block | length ...
//! +---------------------------+-------------+-------------+--------------+-----------+---
//! ```
//! Some clients write one raw block without any framing; reading takes both.

use std::io;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic and two version numbers.
const PREFIX_BYTES: usize = 16;
/// How much content goes into one raw block.
const BLOCK_BYTES: usize = 32 << 10;
/// A copy element of 3 bytes makes at most 64: no honest block claims a larger ratio.
const RATIO_MAX: usize = 22;

/// Appends `plain`, compressed, to `out`.
pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1u32.to_be_bytes());
    out.extend_from_slice(&1u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    let mut block = vec![0; snap::raw::max_compress_len(BLOCK_BYTES.min(plain.len()))];
    for chunk in plain.chunks(BLOCK_BYTES) {
        let length = encoder.compress(chunk, &mut block)?;
        let length_field = u32::try_from(length).map_err(io::Error::other)?;
        out.extend_from_slice(&length_field.to_be_bytes());
        out.extend_from_slice(&block[..length]);
    }
    Ok(())
}

/// The content of a block, framed or bare; `None` when that is more than `limit` bytes.
pub(super) fn decompress(block: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut plain = Vec::new();
    if !block.starts_with(&MAGIC) {
        return Ok(append(block, limit, &mut plain)?.then_some(plain));
    }
    let mut rest = block.get(PREFIX_BYTES..).ok_or_else(|| invalid("its framing is cut off"))?;
    while !rest.is_empty() {
        let (length, after) =
            rest.split_first_chunk::<4>().ok_or_else(|| invalid("a block's length is cut off"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (raw, after) = after.split_at_checked(length).ok_or_else(|| invalid("a block is cut off"))?;
        if !append(raw, limit, &mut plain)? {
            return Ok(None);
        }
        rest = after;
    }
    Ok(Some(plain))
}

/// Appends the content of one raw block; false when `plain` would pass `limit`.
fn append(raw: &[u8], limit: usize, plain: &mut Vec<u8>) -> io::Result<bool> {
    let claimed = snap::raw::decompress_len(raw)?;
    if claimed > raw.len().saturating_mul(RATIO_MAX) {
        return Err(invalid("a block claims more content than it can hold"));
    }
    let start = plain.len();
    if claimed > limit.saturating_sub(start) {
        return Ok(false);
    }
    plain.resize(start + claimed, 0);
    let written = snap::raw::Decoder::new().decompress(raw, &mut plain[start..])?;
    plain.truncate(start + written);
    Ok(true)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
