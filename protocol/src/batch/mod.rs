//! Record batches: Kafka's RecordBatch v2, byte for byte, on the wire and on disk.
//!
//! ```text
//!  byte  0        8        12         16  17   21    23       27          35
//!        +--------+--------+----------+---+----+-----+--------+-----------+----------+
//!        |  base  | batch  |  leader  | 2 |crc | at- |  last  |   base    |   max    |
//!        | offset | length |  epoch   |   |    | tri-| offset | timestamp | timestamp|
//!        |  i64   |  i32   |   i32    |i8 |u32 |butes| delta  |    i64    |   i64    |
//!        +--------+--------+----------+---+----+-----+--------+-----------+----------+
//!  byte 43        51       53         57       61
//!        +--------+--------+----------+--------+------------------------------------+
//!        |producer|producer|   base   | record | records, one after the other;      |
//!        |   id   | epoch  | sequence | count  | compressed: as one block           |
//!        |  i64   |  i16   |   i32    |  i32   |                                    |
//!        +--------+--------+----------+--------+------------------------------------+
//!
//!  attributes:  0000 0000 0DCT LKKK     K codec (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd)
//!               L log append time, T transactional, C control, D delete horizon
//!
//!  a record:    length | attributes | timestamp delta | offset delta
//!               varint |  i8 = 0    |     varlong     |    varint
//!               key length | key | value length | value | headers
//!                 varint   |     |    varint    |       | varint n, then n times
//!                  -1 = none        -1 = none             key length | key | value length | value
//! ```
//!
//! Integers of the header are big-endian; varints are zig-zag, seven bits a byte, low ones first. The
//! batch length counts the bytes after its own field. The checksum is CRC-32C over everything from
//! byte 21 on. What a broker assigns (base offset, leader epoch) lies outside of it, so an append
//! checks the batch, patches twelve bytes and writes; reading and replication pass the same bytes on.

mod builder;
mod compression;
mod error;
mod header;
mod msg_id;
mod plain;
mod publish;
mod record;
mod snappy;
mod varint;

pub use builder::{BatchBuilder, RecordRef};
pub use compression::Compression;
pub use error::{BatchError, BatchProblem};
pub use header::{BatchHeader, Batches, Field, HEADER_BYTES, HEADER_FIELDS, batches, patch, restamp, verify};
pub use msg_id::{IdRecord, MSG_ID_HEADER, MessageId, message_ids, with_append_time};
pub use plain::{build_plain, plain_records};
pub use publish::{Checked, LookForIds, check_publish, validate_publish};
pub use record::{Headers, OwnedRecords, Record, RecordIter, Records};
