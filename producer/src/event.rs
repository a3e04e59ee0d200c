use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::ids::PartitionIndex;
use yak_protocol::text::count;

/// What a producer has to say while it works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A batch has been waiting for its acknowledgement for at least a second; repeated while it lasts.
    Waiting {
        /// The topic.
        topic: Arc<str>,
        /// The partition; `None` while the topic itself is waited for.
        partition: Option<PartitionIndex>,
        /// For how long.
        since: Duration,
        /// Why, as far as is known.
        why: String,
    },
    /// Publishing goes on after a wait that was announced.
    Resumed {
        /// The topic.
        topic: Arc<str>,
        /// The partition; `None` when the topic itself was waited for.
        partition: Option<PartitionIndex>,
        /// After how long.
        after: Duration,
    },
    /// A topic that did not exist was made on the first publish.
    TopicMade {
        /// The topic.
        topic: Arc<str>,
        /// How many partitions it got.
        partitions: u32,
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
                    "publishing to {topic}{} has been waiting for {:.1} s: {why}",
                    Slash(*partition),
                    since.as_secs_f64()
                )
            }
            Self::Resumed { topic, partition, after } => {
                write!(
                    f,
                    "publishing to {topic}{} goes on after {:.1} s",
                    Slash(*partition),
                    after.as_secs_f64()
                )
            }
            Self::TopicMade { topic, partitions } => {
                let partitions = count((*partitions).into(), "partition");
                write!(f, "topic {topic} did not exist and was made with {partitions}")
            }
        }
    }
}

struct Slash(Option<PartitionIndex>);

impl fmt::Display for Slash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |partition| write!(f, "/{partition}"))
    }
}
