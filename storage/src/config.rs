//! What can be set about a store, with its units.

use std::time::Duration;
use yak_protocol::defaults;

/// Settings of a store. [`Default`] is what a broker uses.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// A segment is closed before it would grow beyond this; at most [`SEGMENT_BYTES_CEILING`].
    pub segment_bytes: u64,
    /// Size of a write-ahead file. The first one of a new dir is smaller, so that it starts at once.
    pub wal_file_bytes: u64,
    /// How long a checkpoint may wait after a change.
    pub checkpoint: Duration,
    /// About how many bytes of a segment lie between two entries of its index.
    pub index_interval_bytes: u64,
    /// How many bytes of recent batches stay in memory after they have reached their segments.
    pub tail_bytes: u64,
    /// Segments are written once this many bytes wait for it, or at the next checkpoint.
    pub write_behind_bytes: u64,
    /// Appends wait once this many bytes have not reached their segments.
    pub dirty_bytes_max: u64,
    /// How many files may be open for segments.
    pub open_files_max: usize,
    /// Appends are refused while the disk has less room than this; `None` = 5 % of it, at most 1 GiB.
    pub reserve_bytes: Option<u64>,
    /// How often a full disk is looked at again.
    pub full_recheck: Duration,
    /// Size of the file that is given up so that a full disk still takes promises and truncations.
    pub ballast_bytes: u64,
}

/// The most that a segment can hold: positions in its index have 32 bits.
pub const SEGMENT_BYTES_CEILING: u64 = defaults::SEGMENT_BYTES_MAX;

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            segment_bytes: defaults::SEGMENT_BYTES,
            wal_file_bytes: 64 << 20,
            checkpoint: defaults::CHECKPOINT,
            index_interval_bytes: 32 << 10,
            tail_bytes: 8 << 20,
            write_behind_bytes: 8 << 20,
            dirty_bytes_max: 256 << 20,
            open_files_max: 256,
            reserve_bytes: None,
            full_recheck: Duration::from_millis(200),
            ballast_bytes: 8 << 20,
        }
    }
}
