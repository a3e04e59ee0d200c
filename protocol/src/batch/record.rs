use super::Compression;
use super::error::{BatchError, BatchProblem};
use super::header::{BatchHeader, HEADER_BYTES, verify};
use super::varint::Cursor;
use crate::ids::Offset;
use bytes::Bytes;
use std::borrow::Cow;

/// A record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: Offset,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` = a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: Headers<'a>,
}

/// The headers of a record, in order; they have been checked. A value of "none" reads as empty.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    count: u32,
    bytes: Cursor<'a>,
}

impl Headers<'_> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        read_header(&mut self.bytes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

fn read_header<'a>(bytes: &mut Cursor<'a>) -> Option<(&'a str, &'a [u8])> {
    let key = std::str::from_utf8(bytes.sized()??).ok()?;
    Some((key, bytes.sized()?.unwrap_or_default()))
}

/// The records of one batch, decompressed if need be.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    /// Verifies one whole batch and makes its records readable, without copying uncompressed ones.
    ///
    /// # Errors
    /// When it is no batch, its checksum is wrong, its block cannot be opened, or its records take
    /// more than `limit_bytes`. The records themselves are checked as they are read.
    pub fn open(batch: &'a [u8], limit_bytes: usize) -> Result<Self, BatchError> {
        Self::open_verified(verify(batch)?, batch, limit_bytes)
    }

    /// The same for a batch that has been verified.
    pub(super) fn open_verified(
        header: BatchHeader,
        batch: &'a [u8],
        limit_bytes: usize,
    ) -> Result<Self, BatchError> {
        let block = &batch[HEADER_BYTES..];
        let bytes = match header.compression() {
            Compression::None if block.len() > limit_bytes => {
                return Err(BatchError::here(BatchProblem::TooLarge { limit: limit_bytes }));
            }
            Compression::None => Cow::Borrowed(block),
            codec => Cow::Owned(codec.decompress(block, limit_bytes).map_err(BatchError::here)?),
        };
        Ok(Self { header, bytes })
    }

    /// The batch's header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// How many bytes the records take, decompressed.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The records as bytes, decompressed.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records in order of their offsets. An error ends it.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { header: self.header, bytes: Cursor(&self.bytes), read: 0, least_delta: 0, done: false }
    }
}

/// The records of one batch that keeps its bytes alive by itself.
#[derive(Clone, Debug)]
pub struct OwnedRecords {
    header: BatchHeader,
    bytes: Bytes,
}

impl OwnedRecords {
    /// As [`Records::open`], for a batch that is shared: uncompressed records are not copied.
    ///
    /// # Errors
    /// As [`Records::open`].
    pub fn open(batch: &Bytes, limit_bytes: usize) -> Result<Self, BatchError> {
        let Records { header, bytes } = Records::open(batch, limit_bytes)?;
        let bytes = match bytes {
            Cow::Borrowed(_) => batch.slice(HEADER_BYTES..),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Ok(Self { header, bytes })
    }

    /// The batch's header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records in order of their offsets. An error ends it.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { header: self.header, bytes: Cursor(&self.bytes), read: 0, least_delta: 0, done: false }
    }
}

impl<'a> IntoIterator for &'a OwnedRecords {
    type Item = Result<Record<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a Records<'_> {
    type Item = Result<Record<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// The iterator of [`Records::iter`].
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    header: BatchHeader,
    bytes: Cursor<'a>,
    /// How many records have been read.
    read: u32,
    /// The least offset delta that the next one may have.
    least_delta: u32,
    done: bool,
}

impl<'a> RecordIter<'a> {
    /// How many bytes of the records (decompressed) have not been read yet.
    #[must_use]
    pub fn left_bytes(&self) -> usize {
        self.bytes.0.len()
    }

    fn read(&mut self) -> Result<Record<'a>, &'static str> {
        let length = self.bytes.varint().ok_or("its length cannot be read")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let mut body = Cursor(self.bytes.take(length).ok_or("it is cut off")?);
        body.byte().ok_or("it has no attributes")?;
        let timestamp_delta = body.varlong().ok_or("its timestamp cannot be read")?;
        let offset_delta = body.varint().ok_or("its offset cannot be read")?;
        let offset_delta = u32::try_from(offset_delta).map_err(|_| "its offset is negative")?;
        if offset_delta < self.least_delta || offset_delta > self.header.last_offset_delta {
            return Err("its offset is out of order");
        }
        let timestamp_ms = if self.header.log_append_time() {
            self.header.max_timestamp
        } else {
            self.header.base_timestamp.checked_add(timestamp_delta).ok_or("its timestamp is out of bounds")?
        };
        let key = body.sized().ok_or("its key cannot be read")?;
        let value = body.sized().ok_or("its value cannot be read")?;
        let headers = read_headers(&mut body).ok_or("its headers cannot be read")?;
        if !body.0.is_empty() {
            return Err("bytes follow its headers");
        }
        self.least_delta = offset_delta + 1;
        let offset = self.header.base_offset.advance(u64::from(offset_delta));
        Ok(Record { offset, timestamp_ms, key, value, headers })
    }
}

fn read_headers<'a>(body: &mut Cursor<'a>) -> Option<Headers<'a>> {
    let count = u32::try_from(body.varint()?).ok()?;
    let headers = Headers { count, bytes: *body };
    for _ in 0..count {
        read_header(body)?;
    }
    Some(headers)
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.read == self.header.record_count {
            self.done = true;
            let left = self.bytes.0.len();
            return (left > 0).then(|| Err(BatchError::here(BatchProblem::TrailingRecords(left))));
        }
        let outcome = self.read();
        match outcome {
            Ok(record) => {
                self.read += 1;
                Some(Ok(record))
            }
            Err(what) => {
                self.done = true;
                Some(Err(BatchError::here(BatchProblem::Record { record: self.read, what })))
            }
        }
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}
