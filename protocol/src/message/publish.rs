use super::message;
use crate::error::WireError;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// How much must have happened before a publish is answered.
///
/// On the wire `"all"`, 1 or 0 (the strings `"1"` and `"0"` are understood too).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Acks {
    /// No answer at all.
    None,
    /// The leader has it on disk (in its log, under `replicated`).
    Leader,
    /// Every in-sync replica has it, and there are at least `min_isr` of them.
    #[default]
    All,
}

impl Serialize for Acks {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_u8(0),
            Self::Leader => serializer.serialize_u8(1),
            Self::All => serializer.serialize_str("all"),
        }
    }
}

impl<'de> Deserialize<'de> for Acks {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Acks;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"all\", 1 or 0")
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Acks, E> {
                match value {
                    0 => Ok(Acks::None),
                    1 => Ok(Acks::Leader),
                    other => Err(E::invalid_value(serde::de::Unexpected::Unsigned(other), &self)),
                }
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Acks, E> {
                match value {
                    -1 => Ok(Acks::All),
                    0 => Ok(Acks::None),
                    1 => Ok(Acks::Leader),
                    other => Err(E::invalid_value(serde::de::Unexpected::Signed(other), &self)),
                }
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Acks, E> {
                match value {
                    "all" | "-1" => Ok(Acks::All),
                    "1" => Ok(Acks::Leader),
                    "0" => Ok(Acks::None),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Appends records to one or more partitions.
///
/// Either `batches` lists ready batches whose bytes are the frame's last element, concatenated in
/// that order; or `topic` and `records` carry plain records for the broker to build the batch of.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Publish {
    /// How much must have happened before the answer.
    #[serde(default)]
    pub acks: Acks,
    /// How long to wait for that, in milliseconds; 0 = the broker's default (10 s).
    #[serde(default)]
    pub timeout_ms: u64,
    /// Ready batches: which partition, and how many bytes of the `bin` are its batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<BatchRef>,
    /// Plain form: the topic's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Plain form: the partition; absent = chosen by the key's hash, or any without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionIndex>,
    /// Plain form: the records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<PlainRecord>,
    /// Whether compressed batches have records with the header `yak.msg_id`: only then are they opened to look for
    /// it. In uncompressed batches it is always seen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub msg_ids: bool,
    /// Whether a broker that does not lead passes the request on (at most once) instead of refusing it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}
message!(Publish, "publish", Client, PublishReply);

/// One ready batch within a frame's `bin`: `[topic, partition, bytes]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchRef(
    /// The topic's name.
    pub String,
    /// The partition.
    pub PartitionIndex,
    /// How many bytes of the `bin`.
    pub u32,
);

/// A record as a plain map, for hand-written clients.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PlainRecord {
    /// The key; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ByteBuf>,
    /// The value; absent = a tombstone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ByteBuf>,
    /// Headers: name and value, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, ByteBuf)>,
    /// Milliseconds since 1970; absent = when the broker took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_ms: Option<i64>,
    /// Names the record, in 1 to 64 bytes: within the topic's `dedupe_window_ms` a partition stores each name once.
    /// Without a key it also chooses the partition. It is stored as the header `yak.msg_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg_id: Option<ByteBuf>,
    /// Its offset: only in answers of `consume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
}

impl PlainRecord {
    /// Its message id, given as such or as the header.
    #[must_use]
    pub fn id(&self) -> Option<&ByteBuf> {
        let header = || self.headers.iter().find(|(name, _)| name == crate::batch::MSG_ID_HEADER);
        self.msg_id.as_ref().or_else(|| header().map(|(_, id)| id))
    }
}

/// One result for each batch, in the order of the request.
///
/// Plain records without a partition may be spread over several; then one result for each partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublishReply {
    /// The results.
    pub results: Vec<PublishResult>,
}

/// What became of one batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublishResult {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The acknowledgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<Acked>,
    /// Why there is none: refused, or the outcome is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireError>,
}

/// An acknowledgement says what was reached.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Acked {
    /// The offset of the batch's first record. Absent on the late repeat of a batch of which it is only
    /// known that the log has it: the partition remembers the offsets of a producer's last batches only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
    /// How many replicas have it (1 for `acks=1`).
    pub replicas: u32,
    /// Whether they have it on disk.
    pub durable: bool,
    /// In which term.
    pub leader_epoch: LeaderEpoch,
    /// Records that the partition had already, by their `msg_id`: `[index in the batch, offset of the first time]`.
    /// All others lie at `offset` + index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firsts: Vec<(u32, Offset)>,
}

impl Acked {
    /// Where the batch's record at `index` lies.
    #[must_use]
    pub fn offset_of(&self, index: u32) -> Option<Offset> {
        let first = self.firsts.iter().find(|(at, _)| *at == index).map(|(_, first)| *first);
        first.or_else(|| self.offset.map(|base| base.advance(u64::from(index))))
    }
}
