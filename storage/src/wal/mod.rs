//! The write-ahead log: everything that changes any partition of a data dir, in one order.
//!
//! A file is a header (twice) and then rounds. Files are recycled, so their names say nothing: the
//! header's id orders them, and every checksum in the file is seeded with that id and a salt, so that
//! what an earlier use left behind never parses.
//!
//! ```text
//!  byte 0        8     12       16      24      32          40       44
//!       +--------+-----+--------+-------+-------+-----------+--------+------+
//!       | magic  | crc | format |  id   | salt  | first LSN |prev crc| zero |   128 bytes, at 0 and again
//!       +--------+-----+--------+-------+-------+-----------+--------+------+   at 2048; rounds from 4096
//! ```
//!
//! The CRC covers what follows it. `first LSN` is that of the first round of the file, `prev crc` that of
//! the round before it. A file whose successor starts at LSN n ends before n, whatever follows in it.

mod counts;
pub(crate) mod plan;
pub(crate) mod pool;
pub(crate) mod round;
pub(crate) mod scan;
pub(crate) mod writer;

pub(crate) use counts::WalCounts;
pub use counts::WalTotals;

use crate::io::{RandomFile, write_all};
use std::io;

/// Where the rounds of a file begin.
pub(crate) const ROUNDS_FROM: u64 = 4096;
pub(crate) const COPIES_AT: [usize; 2] = [0, 2048];
const HEADER_BYTES: usize = 128;
const MAGIC: [u8; 8] = *b"YAKWAL\r\n";
const FORMAT: u32 = 1;

/// The highest number of a file or a round that is believed: a million rounds a second take 290,000 years. So the
/// next number always exists, whatever a file says.
pub(crate) const NUMBER_MAX: u64 = i64::MAX.unsigned_abs();

/// What the head of a write-ahead file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileHeader {
    pub(crate) id: u64,
    pub(crate) salt: u64,
    pub(crate) first_lsn: u64,
    pub(crate) previous_crc: u32,
}

impl FileHeader {
    /// What every checksum in the file starts from.
    pub(crate) fn seed(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.id.to_be_bytes()), &self.salt.to_be_bytes())
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[12..16].copy_from_slice(&FORMAT.to_be_bytes());
        out[16..24].copy_from_slice(&self.id.to_be_bytes());
        out[24..32].copy_from_slice(&self.salt.to_be_bytes());
        out[32..40].copy_from_slice(&self.first_lsn.to_be_bytes());
        out[40..44].copy_from_slice(&self.previous_crc.to_be_bytes());
        let crc = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if bytes[..8] != MAGIC
            || u32_at(bytes, 8) != crc32c::crc32c(&bytes[12..])
            || u32_at(bytes, 12) != FORMAT
        {
            return None;
        }
        let header = Self {
            id: u64_at(bytes, 16),
            salt: u64_at(bytes, 24),
            first_lsn: u64_at(bytes, 32),
            previous_crc: u32_at(bytes, 40),
        };
        (header.id <= NUMBER_MAX && header.first_lsn <= NUMBER_MAX).then_some(header)
    }

    /// The header of a file; of two copies that differ (a crash between two sectors) the newer use counts.
    pub(crate) fn find(bytes: &[u8]) -> Option<Self> {
        COPIES_AT.iter().filter_map(|at| Self::decode(bytes.get(*at..)?)).max_by_key(|header| header.id)
    }

    /// Writes both copies; not synced.
    pub(crate) fn write(&self, file: &dyn RandomFile) -> io::Result<()> {
        let encoded = self.encode();
        for at in COPIES_AT {
            write_all(file, &encoded, at as u64)?;
        }
        Ok(())
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(out)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(out)
}
