use super::error::QuorumError;
use std::path::PathBuf;
use std::time::Duration;
use yak_protocol::defaults;

/// How long the answer to a piece of a snapshot is waited for; the last one is installed first.
const PIECE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a coordinator of a quorum is told.
#[derive(Clone, Debug)]
pub struct QuorumConfig {
    /// Where its log and its snapshots are kept.
    pub data: PathBuf,
    /// What it calls itself.
    pub name: String,
    /// Where the others, brokers and clients reach it, `host:port`.
    pub address: String,
    /// The addresses of all coordinators of a new quorum, its own among them; none = it is the only one.
    pub peers: Vec<String>,
    /// How often the leading one gives the others a sign of life.
    pub heartbeat: Duration,
    /// For how long one that heard the leading one votes for no other.
    pub election_timeout_min: Duration,
    /// After how much silence at most it stands for election itself.
    pub election_timeout_max: Duration,
    /// How many entries the log grows by before a snapshot replaces them.
    pub snapshot_entries: u64,
    /// How many entries stay in the log behind a snapshot.
    pub kept_entries: u64,
    /// Size of a piece of a snapshot on the wire, in bytes.
    pub piece_bytes: u64,
}

impl QuorumConfig {
    /// The defaults for a coordinator that is reached at `address`.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, address: impl Into<String>) -> Self {
        let address = address.into();
        Self {
            data: data.into(),
            name: format!("coordinator-{address}"),
            address,
            peers: Vec::new(),
            heartbeat: defaults::QUORUM_HEARTBEAT,
            election_timeout_min: defaults::QUORUM_ELECTION_TIMEOUT_MIN,
            election_timeout_max: defaults::QUORUM_ELECTION_TIMEOUT_MAX,
            snapshot_entries: defaults::QUORUM_SNAPSHOT_ENTRIES,
            kept_entries: defaults::QUORUM_KEPT_ENTRIES,
            piece_bytes: defaults::QUORUM_PIECE_BYTES,
        }
    }

    pub(crate) fn check(&self) -> Result<(), QuorumError> {
        let (heartbeat, min, max) = (self.heartbeat, self.election_timeout_min, self.election_timeout_max);
        if heartbeat.is_zero() || heartbeat * 3 > min || min >= max {
            return Err(QuorumError::Timers { heartbeat, min, max });
        }
        if !self.peers.is_empty() && !self.peers.contains(&self.address) {
            let (peers, address) = (self.peers.clone(), self.address.clone());
            return Err(QuorumError::NotAmongPeers { peers, address });
        }
        Ok(())
    }

    /// The peers' addresses, each once, in an order that is the same everywhere.
    pub(crate) fn peers(&self) -> Vec<String> {
        let mut peers = self.peers.clone();
        if peers.is_empty() {
            peers.push(self.address.clone());
        }
        peers.sort();
        peers.dedup();
        peers
    }

    /// For openraft. It stands for no election and gives no sign of life by its own clock: `keeper` does, which
    /// asks the others first. What is left of the timers is how long votes are withheld, and how long an
    /// answer is waited for.
    pub(crate) fn raft(&self) -> openraft::Config {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let lease = ms(self.election_timeout_min);
        openraft::Config {
            cluster_name: "yak".to_owned(),
            election_timeout_max: lease,
            election_timeout_min: lease - lease / 8,
            heartbeat_interval: lease - lease / 4,
            enable_elect: false,
            enable_heartbeat: false,
            install_snapshot_timeout: ms(PIECE_TIMEOUT),
            max_payload_entries: 1000,
            replication_lag_threshold: self.snapshot_entries.saturating_add(self.kept_entries),
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            snapshot_max_chunk_size: self.piece_bytes,
            max_in_snapshot_log_to_keep: self.kept_entries,
            ..openraft::Config::default()
        }
    }
}
