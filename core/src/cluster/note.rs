//! What happened and why, in words: for the log, and for whoever asks later.

use std::fmt;
use yak_protocol::ids::{BrokerId, LeaderEpoch, TopicPartition};
use yak_protocol::message::PartitionInfo;

/// Something that happened. Its `Display` is one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// A partition has another leader or other in-sync replicas.
    Changed(Box<Change>),
    /// A broker was fenced (rule R10).
    Fenced {
        /// Which.
        broker: BrokerId,
        /// Why.
        why: String,
    },
    /// A fenced broker may lead and be in sync again.
    Unfenced {
        /// Which.
        broker: BrokerId,
    },
    /// Anything else.
    Other {
        /// One word for what it is about.
        kind: &'static str,
        /// What happened.
        text: String,
    },
}

/// How the record of a partition changed. `before` and `after` differ in leader or ISR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which partition.
    pub id: TopicPartition,
    /// As people know it: `orders/0`.
    pub title: String,
    /// Who led and leads.
    pub leader: Transition<Option<BrokerId>>,
    /// The term after the change.
    pub leader_epoch: LeaderEpoch,
    /// The in-sync replicas.
    pub isr: Transition<Vec<BrokerId>>,
    /// Why.
    pub why: String,
}

/// A value before and after.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition<T> {
    /// What it was.
    pub before: T,
    /// What it is now.
    pub after: T,
}

impl<T: PartialEq> Transition<T> {
    /// Whether it is another one now.
    pub fn changed(&self) -> bool {
        self.before != self.after
    }
}

impl Change {
    /// The change from one record to the next; `None` if leader and ISR are the same.
    pub(super) fn of(title: String, old: &PartitionInfo, new: &PartitionInfo, why: &str) -> Option<Self> {
        let leader = Transition { before: old.leader, after: new.leader };
        let isr = Transition { before: old.isr.clone(), after: new.isr.clone() };
        (leader.changed() || isr.changed()).then(|| Self {
            id: new.id,
            title,
            leader,
            leader_epoch: new.leader_epoch,
            isr,
            why: why.to_owned(),
        })
    }
}

impl Note {
    /// One word for what it is about: `election`, `isr`, `fence`, ...
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Changed(change) if change.leader.changed() => "election",
            Self::Changed(_) => "isr",
            Self::Fenced { .. } => "fence",
            Self::Unfenced { .. } => "unfence",
            Self::Other { kind, .. } => kind,
        }
    }
}

/// Numbers in a row: `1,2`; `nobody` if there are none.
pub(super) fn list(ids: &[BrokerId]) -> String {
    match ids {
        [] => "nobody".to_owned(),
        ids => ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

fn leader(id: Option<BrokerId>) -> String {
    id.map_or_else(|| "nobody".to_owned(), |id| format!("broker {id}"))
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(change) => change.fmt(f),
            Self::Fenced { broker, why } => write!(f, "broker {broker} is fenced: {why}"),
            Self::Unfenced { broker } => write!(f, "broker {broker} is unfenced"),
            Self::Other { text, .. } => f.write_str(text),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.title)?;
        if self.leader.changed() {
            let (from, to) = (leader(self.leader.before), leader(self.leader.after));
            write!(f, "leadership goes from {from} to {to} in epoch {}", self.leader_epoch)?;
            f.write_str(if self.isr.changed() { ", " } else { ": " })?;
        }
        if self.isr.changed() {
            write!(f, "the ISR goes from {} to {}: ", list(&self.isr.before), list(&self.isr.after))?;
        }
        f.write_str(&self.why)
    }
}
