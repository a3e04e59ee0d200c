use std::time::Duration;

/// What to do when the position lies outside of the log (retention has passed it, say).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnOutOfRange {
    /// Say so: the error names the gap.
    #[default]
    Fail,
    /// Go on with the first record that is there.
    Earliest,
    /// Go on at the end.
    Latest,
}

/// How a consumer behaves.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// About how many bytes one answer may have; a first batch comes even if it is larger.
    pub fetch_bytes: u32,
    /// How long a broker waits for the first record before it answers that there is none.
    pub fetch_wait: Duration,
    /// The largest batch that is opened, decompressed, in bytes.
    pub batch_bytes_max: usize,
    /// What to do when the position lies outside of the log.
    pub on_out_of_range: OnOutOfRange,
    /// How long a damaged range may take to be repaired from a replica before reading it fails.
    pub damage_patience: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            fetch_bytes: 1 << 20,
            fetch_wait: Duration::from_millis(500),
            batch_bytes_max: 64 << 20,
            on_out_of_range: OnOutOfRange::Fail,
            damage_patience: Duration::from_secs(5),
        }
    }
}
