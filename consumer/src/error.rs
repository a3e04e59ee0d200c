use std::sync::Arc;
use yak_protocol::ids::{Offset, PartitionIndex};
use yak_protocol::text::count;

/// Why a consumer cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConsumeError {
    /// There is no such topic.
    #[error("there is no topic {topic}{}", did_you_mean(nearest.as_deref()))]
    UnknownTopic {
        /// Its name.
        topic: Arc<str>,
        /// The nearest existing one.
        nearest: Option<String>,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has no partition {partition}: there are {partitions}, from 0 on")]
    UnknownPartition {
        /// The topic.
        topic: Arc<str>,
        /// What was asked for.
        partition: PartitionIndex,
        /// How many there are.
        partitions: u32,
    },
    /// The partition was not assigned to this consumer.
    #[error("{topic}/{partition} is not assigned to this consumer")]
    NotAssigned {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionIndex,
    },
    /// A batch is not what was written. The position stays in front of it.
    #[error(
        "{topic}/{partition} cannot be read at offset {offset}: {why}; go on behind it from offset {next}"
    )]
    Poison {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionIndex,
        /// The first record that cannot be read.
        offset: Offset,
        /// Where the next batch begins, as far as that can be told.
        next: Offset,
        /// What is wrong with it.
        why: String,
    },
    /// The broker's copy is damaged and no good one has been found.
    #[error("{topic}/{partition} is damaged on the broker at offset {offset}: {why}")]
    Damaged {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionIndex,
        /// The position.
        offset: Offset,
        /// What the broker says.
        why: String,
    },
    /// The position lies outside of the log: the records between are gone, or not written yet.
    #[error(
        "{topic}/{partition} has offsets {log_start} to {end}, but {position} was asked for: {}",
        gap(*position, *log_start, *end)
    )]
    OutOfRange {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionIndex,
        /// What was asked for.
        position: Offset,
        /// The first offset that is still there.
        log_start: Offset,
        /// The end of what is committed.
        end: Offset,
    },
    /// A broker refused for good.
    #[error("{topic}/{partition}: {why}")]
    Refused {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionIndex,
        /// What it says.
        why: String,
    },
    /// Nobody could be asked.
    #[error("{0}")]
    Unreachable(String),
    /// Nothing is assigned, so nothing will ever come.
    #[error("no partition is assigned")]
    NothingAssigned,
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

fn gap(position: Offset, log_start: Offset, end: Offset) -> String {
    if position < log_start {
        match log_start.distance_from(position) {
            1 => "1 record is gone".to_owned(),
            more => format!("{} are gone", count(more, "record")),
        }
    } else {
        format!("that is {} beyond the end", position.distance_from(end))
    }
}
