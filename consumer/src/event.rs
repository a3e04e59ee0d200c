use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::ids::{Offset, PartitionIndex};

/// What a consumer has to say while it works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A partition cannot be read for at least a second; repeated while it lasts.
    Waiting {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionIndex,
        /// For how long.
        since: Duration,
        /// Why, as far as is known.
        why: String,
    },
    /// Reading goes on after a wait that was announced.
    Resumed {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionIndex,
        /// After how long.
        after: Duration,
    },
    /// The position lay outside of the log and was moved, as the configuration asks.
    Moved {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionIndex,
        /// Where it was.
        from: Offset,
        /// Where it is.
        to: Offset,
    },
}

/// Called with every event; must not block.
pub type EventHook = Arc<dyn Fn(Event) + Send + Sync>;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting { topic, partition, since, why } => {
                write!(
                    f,
                    "reading {topic}/{partition} has been waiting for {:.1} s: {why}",
                    since.as_secs_f64()
                )
            }
            Self::Resumed { topic, partition, after } => {
                write!(f, "reading {topic}/{partition} goes on after {:.1} s", after.as_secs_f64())
            }
            Self::Moved { topic, partition, from, to } => {
                write!(f, "{topic}/{partition}: offset {from} is not in the log, reading goes on from {to}")
            }
        }
    }
}
