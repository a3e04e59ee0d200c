//! Why something is not as it should be, in words: pure, from plain facts that the shells fill in.
//!
//! What one process knows of a partition or a broker are its facts; [`partition`] and [`broker`] turn them
//! into causes, [`merge`] joins the causes of two processes that know different things about the same, and
//! [`paragraph`] makes a text of them.

mod broker;
mod partition;

pub use broker::{BrokerFacts, Own, broker};
pub use partition::{FollowerFacts, LeaderFacts, PartitionFacts, partition, well};

use std::time::Duration;
use yak_protocol::message::Cause;
use yak_protocol::text::{count, rfc3339};

/// When something happened, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Past {
    /// In ms since 1970.
    pub at_ms: i64,
    /// In words.
    pub why: String,
}

impl Past {
    /// `since 2026-11-20T20:31:05.123Z (40 s): its lease has run out`
    fn since(&self, now_ms: i64) -> String {
        let ago = u64::try_from(now_ms - self.at_ms).unwrap_or(0);
        format!("since {} ({}): {}", rfc3339(self.at_ms), span(Duration::from_millis(ago)), self.why)
    }
}

macro_rules! troubles {
    ($($(#[$doc:meta])+ $trouble:ident = $name:literal;)+) => {
        /// What can be wrong, the worst first.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Trouble { $($(#[$doc])+ $trouble,)+ }

        impl Trouble {
            /// All of them, the worst first.
            pub const ALL: &'static [Self] = &[$(Self::$trouble,)+];

            /// As it is named in answers.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Self::$trouble => $name,)+ } }
        }
    };
}

troubles! {
    /// The metadata lags behind what a broker knows (rule R15).
    Recovering = "recovering";
    /// Nobody leads.
    NoLeader = "no_leader";
    /// A replica has stopped itself.
    Halted = "halted";
    /// Fewer in-sync replicas than `min_isr`.
    IsrBelowMin = "isr_below_min";
    /// The disk takes nothing more.
    DiskFull = "disk_full";
    /// The coordinator cannot be reached.
    CoordinatorLost = "coordinator_lost";
    /// The lease of the leader has run out.
    LeaseOver = "lease_over";
    /// Whoever knows more cannot be asked.
    Unreachable = "unreachable";
    /// A broker may not lead and is in no ISR.
    Fenced = "fenced";
    /// A range of a log waits for a good copy (rule R17).
    Damaged = "damaged";
    /// One broker does not hear another one though both are alive.
    BrokenLink = "broken_link";
    /// A replica is behind.
    OutOfSync = "out_of_sync";
    /// Right after an election.
    HighWatermarkUnknown = "high_watermark_unknown";
    /// Fewer replicas than wanted.
    TooFewReplicas = "too_few_replicas";
    /// A partition is on its way to other brokers.
    Moving = "moving";
    /// A broker is to go for good, and still holds something.
    Decommissioning = "decommissioning";
    /// A broker hands over what it leads.
    Draining = "draining";
}

impl Trouble {
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|trouble| trouble.name() == name)
    }

    /// Whether a partition's leader knows more about it than the coordinator.
    fn is_of_logs(self) -> bool {
        matches!(
            self,
            Self::Halted | Self::Damaged | Self::OutOfSync | Self::HighWatermarkUnknown | Self::DiskFull
        )
    }

    /// One cause of this kind.
    pub fn cause(
        self,
        subject: impl Into<String>,
        text: impl Into<String>,
        next: impl Into<String>,
    ) -> Cause {
        Cause { cause: self.name().to_owned(), subject: subject.into(), text: text.into(), next: next.into() }
    }
}

/// What is said of a topic with so many partitions, with none of which anything is wrong.
#[must_use]
pub fn topic_well(partitions: u32) -> String {
    match partitions {
        1 => "its partition has a leader, and all its replicas are in sync".to_owned(),
        more => format!("its {more} partitions have leaders, and all their replicas are in sync"),
    }
}

/// What is said of a cluster with which nothing is wrong.
#[must_use]
pub fn cluster_well(brokers: usize, topics: usize, partitions: usize) -> String {
    let are = if brokers == 1 { "is" } else { "are" };
    let [brokers, topics, partitions] = [(brokers, "broker"), (topics, "topic"), (partitions, "partition")]
        .map(|(n, what)| count(n as u64, what));
    format!(
        "{brokers} {are} alive, and of {topics} with {partitions} all have leaders and all their replicas"
    )
}

/// What two processes say about the same: each thing once, in the words of the one that knows more, the
/// worst first. `by_log` knows the logs (a leader), `by_record` who is alive and why (the coordinator).
#[must_use]
pub fn merge(by_log: Vec<Cause>, by_record: Vec<Cause>) -> Vec<Cause> {
    let same = |a: &Cause, b: &Cause| a.cause == b.cause && a.subject == b.subject;
    let (of_logs, others): (Vec<Cause>, Vec<Cause>) =
        by_log.into_iter().partition(|cause| Trouble::named(&cause.cause).is_some_and(Trouble::is_of_logs));
    let mut merged: Vec<Cause> = Vec::new();
    for cause in of_logs.into_iter().chain(by_record).chain(others) {
        if !merged.iter().any(|known| same(known, &cause)) {
            merged.push(cause);
        }
    }
    sort(&mut merged);
    merged
}

/// The worst first; what a newer version names comes last.
fn sort(causes: &mut [Cause]) {
    let rank = |cause: &Cause| Trouble::named(&cause.cause).map_or(Trouble::ALL.len(), |it| it as usize);
    causes.sort_by_key(rank);
}

/// How many causes a paragraph tells; the others it counts.
const TOLD_MAX: usize = 6;

/// The causes in one paragraph, with what to do at its end; `well` is said if there are none.
#[must_use]
pub fn paragraph(subject: &str, well: &str, causes: &[Cause]) -> String {
    if causes.is_empty() {
        return format!("{subject} is well: {well}.");
    }
    let told = &causes[..causes.len().min(TOLD_MAX)];
    let mut text: String = told.iter().map(|cause| format!("{}. ", cause.text)).collect();
    if causes.len() > told.len() {
        text.push_str(&format!("And {} more. ", causes.len() - told.len()));
    }
    let mut next: Vec<&str> = Vec::new();
    for cause in told.iter().filter(|cause| !cause.next.is_empty()) {
        if !next.contains(&cause.next.as_str()) {
            next.push(&cause.next);
        }
    }
    match next.is_empty() {
        true => text.push_str("Next: wait, it passes by itself."),
        false => text.push_str(&format!("Next: {}.", next.join("; "))),
    }
    text
}

/// `40 s`, `3 min`, `2 h`.
fn span(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// `14 MB`, `900 bytes`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// `broker 1`, `brokers 1 and 2`, `broker 1, 2 or 3`.
fn brokers(ids: &[yak_protocol::ids::BrokerId], and: &str) -> String {
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [one] => format!("broker {one}"),
        [first @ .., last] => {
            let brokers = if and == "or" { "broker" } else { "brokers" };
            format!("{brokers} {} {and} {last}", first.join(", "))
        }
    }
}
