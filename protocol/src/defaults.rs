//! Every default and limit, with its unit, in one place.

use std::time::Duration;

/// Length of a frame's length prefix, in bytes.
pub const FRAME_PREFIX_BYTES: usize = 4;
/// The longest frame that any configuration can allow, in bytes. Its first byte is at most 0x07, which
/// is what tells a frame from text, HTTP, TLS and the rest on the same port.
pub const FRAME_BYTES_CEILING: u32 = 0x07FF_FFFF;
/// The longest frame by default, in bytes.
pub const FRAME_BYTES_MAX: u32 = 64 << 20;
/// How deep MessagePack values may nest.
pub const NESTING_MAX: usize = 32;
/// The longest name of a message kind, in bytes.
pub const KIND_BYTES_MAX: usize = 64;
/// How many MessagePack values a frame may hold: bounds what a decoded body can cost in memory.
pub const FRAME_VALUES_MAX: u64 = 4 << 20;
/// The protocol version spoken here.
pub const PROTOCOL_VERSION: u8 = 1;

/// The coordinator's port.
pub const COORDINATOR_PORT: u16 = 9700;
/// The first broker's port; the next ones follow.
pub const BROKER_PORT: u16 = 9701;

/// How often a broker renews its lease.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long a broker lives without a heartbeat.
pub const LEASE: Duration = Duration::from_secs(3);
/// How often a replication stream that has nothing to say says so.
pub const STREAM_KEEP_ALIVE: Duration = Duration::from_millis(200);
/// After how long a silent stream is reported.
pub const STREAM_SILENT: Duration = Duration::from_secs(1);
/// How long the coordinator waits for an answer to a probe.
pub const PROBE: Duration = Duration::from_millis(200);
/// How long an in-sync replica may be behind (rule R8).
pub const REPLICA_LAG_MAX: Duration = Duration::from_secs(3);
/// After how long an unanswered ISR proposal is sent again.
pub const PROPOSAL_RETRY: Duration = Duration::from_millis(500);
/// How long an `open` with an epoch that the leader has yet to learn is parked.
pub const OPEN_PARK_MAX: Duration = Duration::from_secs(1);
/// How long a publish waits for its acknowledgement on the broker.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a producer tries to deliver a batch in all.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many unacknowledged bytes a follower may be sent for one partition.
pub const REPLICATION_WINDOW_BYTES: u64 = 4 << 20;

/// How often the leading coordinator of a quorum gives the others a sign of life.
pub const QUORUM_HEARTBEAT: Duration = Duration::from_millis(100);
/// For how long a coordinator that heard the leading one votes for no other.
pub const QUORUM_ELECTION_TIMEOUT_MIN: Duration = Duration::from_millis(400);
/// After how much silence at most it stands for election itself.
pub const QUORUM_ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(600);
/// How many entries the quorum's log grows by before a snapshot replaces them.
pub const QUORUM_SNAPSHOT_ENTRIES: u64 = 5000;
/// How many entries stay in the log behind a snapshot, for coordinators that lag a little.
pub const QUORUM_KEPT_ENTRIES: u64 = 1000;
/// How many bytes of entries one `raft_append` has, if it has more than one entry.
pub const QUORUM_APPEND_BYTES_MAX: u64 = 4 << 20;
/// Size of a piece of a snapshot, in bytes.
pub const QUORUM_PIECE_BYTES: u64 = 1 << 20;
/// How long a coordinator that joins the quorum may take to catch up before the change is given up.
pub const QUORUM_CATCH_UP: Duration = Duration::from_secs(30);
/// How long a majority may take to confirm a change of the quorum before who asked is told that nobody knows.
pub const QUORUM_CHANGE: Duration = Duration::from_secs(10);

/// The largest batch of a topic by default, in bytes.
pub const BATCH_BYTES_MAX: u32 = 1 << 20;
/// How much the records of one batch may take once they are decompressed, in bytes.
pub const UNPACKED_BATCH_BYTES_MAX: usize = 64 << 20;
/// Partitions of a topic by default.
pub const PARTITIONS: u32 = 3;
/// The most partitions that a topic may be made with.
pub const PARTITIONS_MAX: u32 = 10_000;
/// Replicas of a partition by default, if there are as many brokers.
pub const REPLICAS: u32 = 3;
/// The most replicas that a topic may be made with.
pub const REPLICAS_MAX: u32 = 100;
/// Size of a segment, in bytes.
pub const SEGMENT_BYTES: u64 = 256 << 20;
/// The least size of a segment that a topic may ask for, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 1 << 10;
/// The greatest, in bytes: positions in a segment's index have 32 bits, and offsets within it too.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 31;
/// The age at which a segment with records is closed.
pub const SEGMENT_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How old the newest record of a segment gets before the segment is deleted.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long compaction keeps a tombstone.
pub const DELETE_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// For how long a repeated message id is recognised.
pub const DEDUPE_WINDOW: Duration = Duration::from_secs(10 * 60);
/// About how many hash slots the keys of a topic fall into: the greatest multiple of its partitions up to this.
pub const KEY_SLOTS: u32 = 4096;
/// A checkpoint is written at most this long after the last append.
pub const CHECKPOINT: Duration = Duration::from_secs(1);
/// How long a preferred leader is in sync without a break before leadership goes back to it by itself.
pub const PREFERRED_IN_SYNC: Duration = Duration::from_secs(60);
/// How many partitions go back to their preferred leaders at once.
pub const PREFERRED_AT_ONCE: usize = 4;
/// How long after that until the next ones do.
pub const PREFERRED_PAUSE: Duration = Duration::from_secs(5);
/// How long the name of a producer can be, in bytes.
pub const PRODUCER_NAME_BYTES_MAX: usize = 200;
/// How many named producers there can be.
pub const NAMED_PRODUCERS_MAX: usize = 10_000;
/// How long a record's `msg_id` can be, in bytes.
pub const MSG_ID_BYTES_MAX: usize = 64;
/// How many message ids a partition remembers at most: the newest ones. With more of them within the window, the
/// window is shorter.
pub const DEDUPE_IDS_MAX: usize = 1 << 18;
/// Producer ids in one block.
pub const PRODUCER_ID_BLOCK: u32 = 1000;
/// How many batches of a producer each partition remembers.
pub const PRODUCER_BATCHES: usize = 5;

/// The topic in which consumer groups and their offsets are kept.
pub const GROUP_OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Partitions of that topic: over so many coordinators groups are spread.
pub const GROUP_OFFSETS_PARTITIONS: u32 = 16;
/// After how long without a heartbeat a member of a group counts as gone, by default.
pub const GROUP_SESSION: Duration = Duration::from_secs(10);
/// The shortest session that a member may ask for.
pub const GROUP_SESSION_MIN: Duration = Duration::from_secs(1);
/// The longest session that a member may ask for.
pub const GROUP_SESSION_MAX: Duration = Duration::from_secs(30 * 60);
/// How often a member says that it is there, at most a fifth of its session.
pub const GROUP_HEARTBEAT: Duration = Duration::from_secs(1);
/// The same while partitions move.
pub const GROUP_HEARTBEAT_MOVING: Duration = Duration::from_millis(100);
/// How long a member may take to give up a partition, by default.
pub const GROUP_REBALANCE: Duration = Duration::from_secs(60);
/// Members of a group at most.
pub const GROUP_MEMBERS_MAX: usize = 1000;
/// Topics that a member may ask for at most.
pub const GROUP_TOPICS_MAX: usize = 1000;
/// The longest name of a member or of a static member's place, in bytes.
pub const GROUP_MEMBER_BYTES_MAX: usize = 200;
/// What may be committed with an offset, in bytes.
pub const GROUP_METADATA_BYTES_MAX: usize = 4096;

/// The least ISR by default for a topic that wants `replicas`: 2 from three on, else 1.
#[must_use]
pub fn min_isr(replicas: u32) -> u32 {
    if replicas >= 3 { 2 } else { 1 }
}
