use super::Compression;
use super::error::{BatchError, BatchProblem};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Length of a batch's header, in bytes.
pub const HEADER_BYTES: usize = 61;
/// Base offset and batch length: what the batch length does not count, in bytes.
pub(super) const PREFIX_BYTES: usize = 12;
/// Where the checksummed bytes begin.
pub(super) const CHECKED_FROM: usize = 21;
/// The format's version.
pub(super) const MAGIC: u8 = 2;

pub(super) const CODEC_BITS: u16 = 0b111;
pub(super) const LOG_APPEND_TIME: u16 = 1 << 3;
pub(super) const TRANSACTIONAL: u16 = 1 << 4;
pub(super) const CONTROL: u16 = 1 << 5;
pub(super) const DELETE_HORIZON: u16 = 1 << 6;

/// A field of the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name, as docs/PROTOCOL.md has it.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub at: usize,
    /// How many bytes it has: 1, 2, 4 or 8, big-endian.
    pub size: usize,
    /// Whether it is a signed number.
    pub signed: bool,
}

const fn field_at(name: &'static str, at: usize, size: usize, signed: bool) -> Field {
    Field { name, at, size, signed }
}

/// The fields of the header in order, for whoever shows it byte by byte.
pub const HEADER_FIELDS: [Field; 13] = [
    field_at("base offset", 0, 8, false),
    field_at("batch length", 8, 4, false),
    field_at("leader epoch", 12, 4, false),
    field_at("magic", 16, 1, false),
    field_at("CRC-32C", 17, 4, false),
    field_at("attributes", 21, 2, false),
    field_at("last offset delta", 23, 4, false),
    field_at("base timestamp", 27, 8, true),
    field_at("largest timestamp", 35, 8, true),
    field_at("producer id", 43, 8, true),
    field_at("producer epoch", 51, 2, true),
    field_at("base sequence", 53, 4, true),
    field_at("record count", 57, 4, false),
];

/// The fixed part of a batch.
///
/// One that [`BatchHeader::parse`] returns has a possible length, a known codec, a record count of at
/// most `last_offset_delta + 1`, and offsets that fit 63 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record; assigned on append.
    pub base_offset: Offset,
    /// Bytes after this field: the whole batch is 12 bytes longer.
    pub batch_length: u32,
    /// The term in which it was appended; assigned on append.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of everything after it.
    pub crc: u32,
    /// Codec and flags; see the picture in the module's documentation.
    pub attributes: u16,
    /// Offset of the last record, from the base offset on.
    pub last_offset_delta: u32,
    /// What the records' timestamps are relative to, in ms since 1970.
    pub base_timestamp: i64,
    /// The largest timestamp of a record, in ms since 1970.
    pub max_timestamp: i64,
    /// Who wrote it, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// In which life of that producer.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record; -1 without a producer id.
    pub base_sequence: i32,
    /// How many records there are; fewer than offsets after compaction.
    pub record_count: u32,
}

/// The `N` bytes at `at`; the caller has checked that they are there.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`; the records need not be there yet.
    ///
    /// Checks everything that the header says about itself, not the checksum ([`verify`] does).
    ///
    /// # Errors
    /// When there are fewer than 61 bytes or they are no header.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        Self::read(bytes).map_err(BatchError::here)
    }

    fn read(bytes: &[u8]) -> Result<Self, BatchProblem> {
        if bytes.len() < HEADER_BYTES {
            return Err(BatchProblem::Truncated { needed: HEADER_BYTES, found: bytes.len() });
        }
        let signed_length = i32::from_be_bytes(field(bytes, 8));
        let batch_length = u32::try_from(signed_length).unwrap_or(0);
        if (batch_length as usize) < HEADER_BYTES - PREFIX_BYTES {
            return Err(BatchProblem::Length(signed_length));
        }
        if bytes[16] != MAGIC {
            return Err(BatchProblem::Magic(bytes[16]));
        }
        let attributes = u16::from_be_bytes(field(bytes, 21));
        if Compression::from_bits(attributes & CODEC_BITS).is_none() {
            return Err(BatchProblem::Codec(attributes & CODEC_BITS));
        }
        let last_offset_delta = i32::from_be_bytes(field(bytes, 23));
        let record_count = i32::from_be_bytes(field(bytes, 57));
        let counts = BatchProblem::Counts {
            record_count: i64::from(record_count),
            offsets: i64::from(last_offset_delta) + 1,
        };
        let (Ok(last_offset_delta), Ok(record_count)) =
            (u32::try_from(last_offset_delta), u32::try_from(record_count))
        else {
            return Err(counts);
        };
        // `i32::MAX + 1` records fit a u32.
        if record_count > last_offset_delta + 1 {
            return Err(counts);
        }
        let base_offset = u64::from_be_bytes(field(bytes, 0));
        if base_offset >= i64::MAX as u64 - u64::from(last_offset_delta) {
            return Err(BatchProblem::BaseOffset(base_offset));
        }
        Ok(Self {
            base_offset: Offset(base_offset),
            batch_length,
            leader_epoch: LeaderEpoch(u32::from_be_bytes(field(bytes, 12))),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes,
            last_offset_delta,
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 51))),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count,
        })
    }

    /// Writes the header over the first 61 bytes of `out`, everything as the fields say.
    pub(super) fn write(&self, out: &mut [u8]) {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&self.base_offset.0.to_be_bytes());
        put(&self.batch_length.to_be_bytes());
        put(&self.leader_epoch.0.to_be_bytes());
        put(&[MAGIC]);
        put(&self.crc.to_be_bytes());
        put(&self.attributes.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer_id.0.to_be_bytes());
        put(&self.producer_epoch.0.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        debug_assert_eq!(at, HEADER_BYTES);
    }

    /// Length of the whole batch, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        PREFIX_BYTES + self.batch_length as usize
    }

    /// How many offsets it takes.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.last_offset_delta + 1
    }

    /// The offset after its last one.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.base_offset.advance(u64::from(self.count()))
    }

    /// Its last offset.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.advance(u64::from(self.last_offset_delta))
    }

    /// How its records are compressed.
    ///
    /// # Panics
    /// On attributes that [`BatchHeader::parse`] would have refused.
    #[must_use]
    pub fn compression(&self) -> Compression {
        Compression::from_bits(self.attributes & CODEC_BITS).expect("a parsed header has a known codec")
    }

    /// Whether all its records carry the time of the append (its largest timestamp).
    #[must_use]
    pub fn log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether it marks the end of a transaction and holds no records of users.
    #[must_use]
    pub fn control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether it belongs to a transaction.
    #[must_use]
    pub fn transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }
}

/// Stamps what a broker assigns into a batch: the bytes outside of its checksum.
///
/// # Panics
/// On fewer than 61 bytes: the caller has parsed the batch.
pub fn patch(batch: &mut [u8], base: Offset, epoch: LeaderEpoch) {
    assert!(batch.len() >= HEADER_BYTES, "a batch of {} bytes", batch.len());
    batch[0..8].copy_from_slice(&base.0.to_be_bytes());
    batch[12..16].copy_from_slice(&epoch.0.to_be_bytes());
}

/// Gives a whole batch another producer stamp, and the checksum that goes with it: a producer that has
/// to begin a new chain of sequence numbers keeps the records as they are.
///
/// # Panics
/// On fewer than 61 bytes: the caller has built the batch.
pub fn restamp(batch: &mut [u8], id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) {
    assert!(batch.len() >= HEADER_BYTES, "a batch of {} bytes", batch.len());
    batch[43..51].copy_from_slice(&id.0.to_be_bytes());
    batch[51..53].copy_from_slice(&epoch.0.to_be_bytes());
    batch[53..57].copy_from_slice(&base_sequence.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CHECKED_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Checks that `batch` is one whole batch with the bytes that were written: lengths, magic, codec,
/// counts and checksum. Its records are not looked at.
///
/// # Errors
/// What is wrong with it.
pub fn verify(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let needed = header.size_bytes();
    if batch.len() < needed {
        return Err(BatchError::here(BatchProblem::Truncated { needed, found: batch.len() }));
    }
    if batch.len() > needed {
        return Err(BatchError::here(BatchProblem::Trailing(batch.len() - needed)));
    }
    let computed = crc32c::crc32c(&batch[CHECKED_FROM..]);
    if computed != header.crc {
        return Err(BatchError::here(BatchProblem::Checksum { stored: header.crc, computed }));
    }
    Ok(header)
}

/// Walks concatenated batches. Checks their headers, not their checksums ([`verify`] each for that).
#[must_use]
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, position: 0 }
}

/// The batches of [`batches`]: header and whole batch. An error ends it and names its byte position.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Batches<'_> {
    /// Where the next batch starts; after the end or an error, where the last whole one ended.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let found = BatchHeader::read(self.bytes).and_then(|header| {
            let needed = header.size_bytes();
            let whole = self.bytes.get(..needed);
            whole
                .map(|batch| (header, batch))
                .ok_or(BatchProblem::Truncated { needed, found: self.bytes.len() })
        });
        match found {
            Ok((header, batch)) => {
                self.bytes = &self.bytes[batch.len()..];
                self.position += batch.len();
                Some(Ok((header, batch)))
            }
            Err(problem) => {
                self.bytes = &[];
                Some(Err(BatchError { position: self.position, problem }))
            }
        }
    }
}

impl std::iter::FusedIterator for Batches<'_> {}
