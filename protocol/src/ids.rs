//! Every id, offset and epoch is its own type, so that two kinds cannot be mixed up.
//!
//! All of them are transparent on the wire (a plain MessagePack integer or string) and have a terse
//! `Debug`. Arithmetic goes through named functions (`next`, `advance`, `distance_from`).

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The first value that is ever handed out is the one after this.
            pub const ZERO: Self = Self(0);

            /// The value that follows this one.
            ///
            /// # Panics
            /// When the number space is exhausted: wrapping round would break every ordering rule.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("number space exhausted"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number!(/// A broker's number, given at its first registration and kept in its data dir. Starts at 1.
    BrokerId(u32), "b");
number!(/// One life of a broker process as the coordinator granted it (KIP-631). A restart costs a new one.
    BrokerEpoch(u64), "be");
number!(/// One term of leadership of one partition; stamped into every batch. 0 = never led.
    LeaderEpoch(u32), "e");
number!(/// Counts every change of a partition's record in the coordinator, leader changes included.
    PartitionEpoch(u32), "pe");
number!(/// One term of the coordinator; brokers refuse lower ones (rule R15).
    CoordinatorEpoch(u64), "ce");
number!(/// Counts the changes that the coordinator pushes, in order, without gaps.
    MetadataVersion(u64), "v");
number!(/// A partition's index within its topic, from 0.
    PartitionIndex(u32), "p");
number!(/// One opening of one partition on a replication stream, chosen by the follower, never reused in a process.
    SessionId(u64), "s");
number!(/// Counts the changes of a consumer group, from 1: members, topics, partitions. 0 = none yet.
    Generation(u32), "g");
number!(/// A position in a partition's log: the index of a record, from 0.
    Offset(u64), "");
number!(/// A coordinator of a quorum: drawn at random when its data dir is formatted, so that a wiped dir is another
    /// coordinator and cannot vote twice. At most 53 bits, which every JSON reader keeps.
    CoordinatorId(u64), "c");

impl Offset {
    /// This offset moved on by `count` records.
    ///
    /// # Panics
    /// On overflow of 64 bits, which no log can reach.
    #[must_use]
    pub fn advance(self, count: u64) -> Self {
        Self(self.0.checked_add(count).expect("offset space exhausted"))
    }

    /// How many records lie between `earlier` and this offset; 0 when `earlier` is not earlier.
    #[must_use]
    pub fn distance_from(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Identifies a producer session for idempotence; handed out by the coordinator in durable blocks.
///
/// As in the record batch, a negative number means "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// A batch without idempotence.
    pub const NONE: Self = Self(-1);

    /// Whether the batch belongs to an idempotent producer.
    #[must_use]
    pub fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl fmt::Debug for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid{}", self.0)
    }
}

/// One life of a producer id; a higher one fences the lower ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProducerEpoch(pub i16);

macro_rules! unique {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", uuid::Uuid::from_u128(self.0).hyphenated())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = self.to_string();
                write!(f, "{}", text.get(..8).unwrap_or(&text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Ok(Self(uuid::Uuid::parse_str(text)?.as_u128()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // Streams carry one with every push and acknowledgement, so nothing is allocated.
                let mut text = uuid::Uuid::encode_buffer();
                serializer.serialize_str(uuid::Uuid::from_u128(self.0).hyphenated().encode_lower(&mut text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a UUID as a string")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

unique!(/// Identifies one cluster for ever; made by a coordinator that starts on an empty data dir.
    ClusterId);
unique!(/// Identifies a topic for ever: a topic that is deleted and made again under its name has another id.
    TopicId);
unique!(/// Identifies a broker's data dir; made when the dir is formatted. Another id = another disk (rule R12).
    DataDirId);
unique!(/// Identifies one process of a broker: the same incarnation resumes its session, a new one is a restart.
    Incarnation);

/// One partition of one topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The index within the topic.
    pub partition: PartitionIndex,
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.topic, self.partition)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// A leader epoch and the offset of the first record that it may have written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EpochStart {
    /// The leader epoch.
    pub epoch: LeaderEpoch,
    /// Where it starts.
    pub start: Offset,
}
