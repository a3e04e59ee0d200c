use crate::config::ConsumerConfig;
use crate::start::Start;
use std::time::Duration;
use yak_protocol::defaults::{GROUP_REBALANCE, GROUP_SESSION};
use yak_protocol::message::Assignor;

/// How a member of a consumer group behaves.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group.
    pub group: String,
    /// The topics that it reads.
    pub topics: Vec<String>,
    /// The name of its place, if it is a static member: another process with the same name takes its place.
    pub instance: Option<String>,
    /// What it calls itself, for people.
    pub client: String,
    /// After how long without a sign of life its partitions go to others.
    pub session: Duration,
    /// How long it may take to give a partition up.
    pub rebalance: Duration,
    /// How it wants partitions to be spread; `None` = no wish.
    pub assignor: Option<Assignor>,
    /// How often what has been handed out is committed; `None` = only by [`super::GroupConsumer::commit`].
    pub commit_interval: Option<Duration>,
    /// Where the group begins in a partition of which it has no commit.
    pub start: Start,
    /// How partitions are read. A commit that is out of the log's range is an error unless
    /// [`ConsumerConfig::on_out_of_range`] says something else.
    pub consumer: ConsumerConfig,
}

impl GroupConfig {
    /// The defaults: commits every second, and begins with the first record that is there.
    #[must_use]
    pub fn new(group: &str, topics: Vec<String>) -> Self {
        Self {
            group: group.to_owned(),
            topics,
            instance: None,
            client: concat!("yak/", env!("CARGO_PKG_VERSION")).to_owned(),
            session: GROUP_SESSION,
            rebalance: GROUP_REBALANCE,
            assignor: None,
            commit_interval: Some(Duration::from_secs(1)),
            start: Start::Earliest,
            consumer: ConsumerConfig::default(),
        }
    }
}
