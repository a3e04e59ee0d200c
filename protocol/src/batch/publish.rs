use super::Compression;
use super::error::{BatchError, BatchProblem};
use super::header::{
    BatchHeader, CODEC_BITS, CONTROL, DELETE_HORIZON, LOG_APPEND_TIME, TRANSACTIONAL, verify,
};
use super::msg_id::{IdRecord, id_of};
use super::record::Records;
use crate::defaults::UNPACKED_BATCH_BYTES_MAX;
use crate::error::{ErrorCode, WireError};
use crate::message::Validate;

/// What a broker knows of a client's batch once it has checked it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Its header.
    pub header: BatchHeader,
    /// Its records that have an id, as far as they were looked for.
    pub ids: Vec<IdRecord>,
}

/// Where message ids are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookForIds {
    /// Nowhere.
    No,
    /// In records that are looked at anyway.
    InPassing,
    /// In all records: compressed ones are opened for it.
    Everywhere,
}

/// As [`check_publish`], without a look for ids.
///
/// # Errors
/// As [`check_publish`].
pub fn validate_publish(
    batch: &[u8],
    validate: Validate,
    batch_bytes_max: u32,
) -> Result<BatchHeader, WireError> {
    check_publish(batch, validate, batch_bytes_max, LookForIds::No).map(|checked| checked.header)
}

/// What a broker checks of a client's batch before it appends it.
///
/// Everything that [`verify`] checks; nothing that only a broker may write (control batches,
/// transactions, append times); as many records as offsets; producer fields that belong together.
/// Uncompressed records are walked, compressed ones only with [`Validate::Deep`] or to look for ids.
///
/// # Errors
/// `BATCH_TOO_LARGE` beyond `batch_bytes_max`, otherwise `BAD_BATCH`, with what is wrong.
pub fn check_publish(
    batch: &[u8],
    validate: Validate,
    batch_bytes_max: u32,
    look: LookForIds,
) -> Result<Checked, WireError> {
    if batch.len() > batch_bytes_max as usize {
        let what = format!("the batch has {} bytes, the topic takes {batch_bytes_max}", batch.len());
        return Err(WireError::new(ErrorCode::BatchTooLarge, what)
            .hint("send smaller batches, or raise the topic's batch_bytes_max"));
    }
    let header = verify(batch)?;
    check_header(&header).map_err(BatchError::here)?;
    let mut ids = Vec::new();
    let open = validate == Validate::Deep || look == LookForIds::Everywhere;
    if open || header.compression() == Compression::None {
        let found = (look != LookForIds::No).then_some(&mut ids);
        check_records(header, batch, found)?;
    }
    Ok(Checked { header, ids })
}

fn check_header(header: &BatchHeader) -> Result<(), BatchProblem> {
    const KNOWN: u16 = CODEC_BITS | LOG_APPEND_TIME | TRANSACTIONAL | CONTROL | DELETE_HORIZON;
    let attributes = header.attributes;
    for (bits, what) in [
        (CONTROL, "control batches are written by brokers only"),
        (TRANSACTIONAL, "transactions are not supported"),
        (LOG_APPEND_TIME, "append times are written by brokers only"),
        (DELETE_HORIZON, "delete horizons are written by brokers only"),
        (!KNOWN, "reserved bits are set"),
    ] {
        if attributes & bits != 0 {
            return Err(BatchProblem::Attributes { attributes, what });
        }
    }
    if header.record_count != header.count() {
        return Err(BatchProblem::Counts {
            record_count: i64::from(header.record_count),
            offsets: i64::from(header.count()),
        });
    }
    let (id, epoch, sequence) = (header.producer_id.0, header.producer_epoch.0, header.base_sequence);
    let fits = if header.producer_id.is_some() { epoch >= 0 && sequence >= 0 } else { id == -1 };
    if fits { Ok(()) } else { Err(BatchProblem::Producer { id, epoch, sequence }) }
}

/// Walks the records; with as many of them as offsets, increasing offsets have no gaps.
fn check_records(
    header: BatchHeader,
    batch: &[u8],
    mut ids: Option<&mut Vec<IdRecord>>,
) -> Result<(), BatchError> {
    let records = Records::open_verified(header, batch, UNPACKED_BATCH_BYTES_MAX)?;
    let mut largest = i64::MIN;
    for record in &records {
        let record = record?;
        largest = largest.max(record.timestamp_ms);
        if let Some(ids) = ids.as_deref_mut().filter(|_| !record.headers.is_empty()) {
            ids.extend(id_of(&header, &record).map_err(BatchError::here)?);
        }
    }
    if largest == header.max_timestamp {
        return Ok(());
    }
    // Lookups by time trust the header.
    let problem = BatchProblem::MaxTimestamp { header: header.max_timestamp, records: largest };
    Err(BatchError::here(problem))
}
