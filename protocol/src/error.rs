//! One error table for every front: binary, text, JSON and HTTP.
//!
//! Numbers are stable and never reused. Each code says what the caller is to do about it.

use crate::ids::{BrokerId, LeaderEpoch};
use serde::{Deserialize, Serialize};

/// What the caller of a failed request is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Send the same request to the same place again after a pause.
    Retry,
    /// Ask for fresh metadata, then send it again.
    Refresh,
    /// The request will never succeed as it is.
    GiveUp,
    /// The request may or may not have taken effect; only an idempotent repeat is safe.
    Unknown,
    /// The sender's session is over; open a new one.
    Reopen,
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $action:ident;)+) => {
        /// A code of the error table.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $name = $number,)+ }

        impl ErrorCode {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable number on the wire.
            #[must_use]
            pub fn number(self) -> u16 { self as u16 }

            /// The code with this number; `None` for one that this version does not know.
            #[must_use]
            pub fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }

            /// The stable upper-case name.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Self::$name => $text,)+ } }

            /// What the caller is to do.
            #[must_use]
            pub fn action(self) -> Action { match self { $(Self::$name => Action::$action,)+ } }
        }
    };
}

errors! {
    /// The frame or its envelope is not what the protocol says; the connection closes.
    BadFrame = 1, "BAD_FRAME", GiveUp;
    /// The frame is longer than this listener takes; the connection closes.
    FrameTooLarge = 2, "FRAME_TOO_LARGE", GiveUp;
    /// No such message kind in this version.
    UnknownKind = 3, "UNKNOWN_KIND", GiveUp;
    /// The listener lacks the role that this kind needs; refused before the body was parsed.
    WrongRole = 4, "WRONG_ROLE", GiveUp;
    /// The body lacks a key, or one has a wrong type or value.
    BadRequest = 5, "BAD_REQUEST", GiveUp;
    /// Another broker leads the partition; the answer names it.
    NotLeader = 6, "NOT_LEADER", Refresh;
    /// The partition has no leader now.
    NoLeader = 7, "NO_LEADER", Refresh;
    /// No such topic.
    UnknownTopic = 8, "UNKNOWN_TOPIC", Refresh;
    /// The topic has no such partition.
    UnknownPartition = 9, "UNKNOWN_PARTITION", Refresh;
    /// The topic name breaks the rules for names.
    IllegalTopicName = 10, "ILLEGAL_TOPIC_NAME", GiveUp;
    /// A topic of that name exists.
    TopicExists = 11, "TOPIC_EXISTS", GiveUp;
    /// The batch is damaged or breaks the format.
    BadBatch = 12, "BAD_BATCH", GiveUp;
    /// The batch is larger than the topic takes.
    BatchTooLarge = 13, "BATCH_TOO_LARGE", GiveUp;
    /// Fewer in-sync replicas than `min_isr`; nothing was written.
    NotEnoughReplicas = 14, "NOT_ENOUGH_REPLICAS", Retry;
    /// The disk is full; nothing was written.
    StorageFull = 15, "STORAGE_FULL", Retry;
    /// The record was appended, but what became of it is not known.
    OutcomeUnknown = 16, "OUTCOME_UNKNOWN", Unknown;
    /// The requested offset lies outside the log; the answer carries the log's bounds.
    OffsetOutOfRange = 17, "OFFSET_OUT_OF_RANGE", GiveUp;
    /// The high watermark is not known yet, right after an election.
    HwUnknown = 18, "HW_UNKNOWN", Retry;
    /// The broker's lease has run out, so it cannot vouch for being the newest leader.
    LeaseOver = 19, "LEASE_OVER", Retry;
    /// An epoch in the request is older than the receiver's; the sender must step down.
    Fenced = 20, "FENCED", Reopen;
    /// An epoch in the request is newer than the receiver's, which has yet to learn of it.
    UnknownEpoch = 21, "UNKNOWN_EPOCH", Retry;
    /// The session of the stream is not the current one.
    UnknownSession = 22, "UNKNOWN_SESSION", Reopen;
    /// A newer life of this producer id exists.
    ProducerFenced = 23, "PRODUCER_FENCED", GiveUp;
    /// The producer's sequence number leaves a gap; nothing was written.
    OutOfOrderSequence = 24, "OUT_OF_ORDER_SEQUENCE", GiveUp;
    /// The partition does not know this producer id, though its sequence is not the first.
    UnknownProducerId = 25, "UNKNOWN_PRODUCER_ID", GiveUp;
    /// The range of the log is damaged and no copy has been found yet.
    Damaged = 26, "DAMAGED", Retry;
    /// Another live broker uses this name with another data dir.
    DuplicateBroker = 27, "DUPLICATE_BROKER", GiveUp;
    /// The sender belongs to another cluster.
    WrongCluster = 28, "WRONG_CLUSTER", GiveUp;
    /// The sender's broker epoch is not current.
    StaleBrokerEpoch = 29, "STALE_BROKER_EPOCH", Reopen;
    /// The coordinator cannot be reached from here.
    CoordinatorUnavailable = 30, "COORDINATOR_UNAVAILABLE", Retry;
    /// Too few live brokers for the wanted replicas.
    NotEnoughBrokers = 31, "NOT_ENOUGH_BROKERS", Retry;
    /// The process has not finished starting, or the partition recovers.
    NotReady = 32, "NOT_READY", Retry;
    /// The process shuts down.
    ShuttingDown = 33, "SHUTTING_DOWN", Refresh;
    /// The request waited as long as it was allowed to.
    Timeout = 34, "TIMEOUT", Retry;
    /// Too much is queued for this connection, partition or process.
    Overloaded = 35, "OVERLOADED", Retry;
    /// A proposal, an election or a move that the coordinator did not apply; it changed nothing (rules R8, R10, R18).
    NotApplied = 36, "NOT_APPLIED", Refresh;
    /// The protocol version of the request is not spoken here.
    UnsupportedVersion = 37, "UNSUPPORTED_VERSION", GiveUp;
    /// A bug in the server; nothing about it can be promised.
    Internal = 38, "INTERNAL", Unknown;
    /// This process is not the one that answers this kind (a coordinator asked to publish, say).
    WrongProcess = 39, "WRONG_PROCESS", Refresh;
    /// The metadata lags behind what a broker knows; the partition waits for a rebuild (rule R15).
    Recovering = 40, "RECOVERING", Retry;
    /// The topic does not exist, and the brokers make none on the first publish.
    AutoCreateOff = 41, "AUTO_CREATE_OFF", GiveUp;
    /// The listener's configuration does not allow this by hand.
    Disabled = 42, "DISABLED", GiveUp;
    /// What arrived is no protocol that is spoken here; the connection closes.
    Proto = 43, "PROTO", GiveUp;
    /// This coordinator is not the active one; the answer says where that is, if it is known.
    NotActive = 44, "NOT_ACTIVE", Refresh;
    /// The broker was taken out of the cluster for good; its process may be stopped.
    Decommissioned = 45, "DECOMMISSIONED", GiveUp;
    /// Another broker coordinates the group, or will in a moment; the answer names it if it is known.
    NotCoordinator = 50, "NOT_COORDINATOR", Refresh;
    /// There is no such group.
    UnknownGroup = 51, "UNKNOWN_GROUP", GiveUp;
    /// The group does not have that member (any more): it hands out nothing and joins anew.
    UnknownMember = 52, "UNKNOWN_MEMBER", Reopen;
    /// The member's generation or heartbeat is not the newest, or the partition was not its own in it.
    StaleGeneration = 53, "STALE_GENERATION", Reopen;
    /// Another process has taken the place of this static member.
    FencedInstance = 54, "FENCED_INSTANCE", GiveUp;
    /// Only a group without members allows that.
    GroupNotEmpty = 55, "GROUP_NOT_EMPTY", GiveUp;
    /// The committed offset is higher, and the commit does not say that it may go back.
    CommitBehind = 56, "COMMIT_BEHIND", GiveUp;
    /// The topic is the brokers' own.
    InternalTopic = 57, "INTERNAL_TOPIC", GiveUp;
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.number())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A code of a newer version is still an answer whose outcome this version cannot judge.
        Ok(Self::from_number(u16::deserialize(deserializer)?).unwrap_or(Self::Internal))
    }
}

/// Whom to ask instead.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct LeaderHint {
    /// The broker that leads.
    pub leader: BrokerId,
    /// Where clients reach it, `host:port`.
    pub address: String,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
}

/// An error as it travels: `{ok: false, code, error, message, hint?, leader?, coordinator?}`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct WireError {
    /// The code of the table.
    pub code: ErrorCode,
    /// What was tried and what was found.
    pub message: String,
    /// What to do next, where that can be said.
    pub hint: Option<String>,
    /// Who leads, on [`ErrorCode::NotLeader`].
    pub leader: Option<Box<LeaderHint>>,
    /// Where the active coordinator is reached, `host:port`, on [`ErrorCode::NotActive`].
    pub coordinator: Option<String>,
}

impl WireError {
    /// An error without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, leader: None, coordinator: None }
    }

    /// [`ErrorCode::BadRequest`].
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// The same error with the next step for its reader.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error, naming who leads.
    #[must_use]
    pub fn leader(mut self, leader: LeaderHint) -> Self {
        self.leader = Some(Box::new(leader));
        self
    }

    /// The same error, saying where the active coordinator is.
    #[must_use]
    pub fn coordinator(mut self, address: Option<String>) -> Self {
        self.coordinator = address;
        self
    }
}

/// The keys of an error in a body.
#[derive(Serialize, Deserialize)]
struct WireErrorBody {
    code: ErrorCode,
    #[serde(default)]
    error: String,
    #[serde(default)]
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leader: Option<Box<LeaderHint>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coordinator: Option<String>,
}

impl Serialize for WireError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WireErrorBody {
            code: self.code,
            error: self.code.name().to_owned(),
            message: self.message.clone(),
            hint: self.hint.clone(),
            leader: self.leader.clone(),
            coordinator: self.coordinator.clone(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WireError {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = WireErrorBody::deserialize(deserializer)?;
        let WireErrorBody { code, message, hint, leader, coordinator, .. } = body;
        Ok(Self { code, message, hint, leader, coordinator })
    }
}
