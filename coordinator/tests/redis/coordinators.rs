//! Logs as coordinators have them, and what the tests say with them.

use crate::server::PATIENCE;
use std::future::Future;
use std::time::Duration;
use tempfile::TempDir;
use yak_coordinator::metalog::{Lost, MetaLog, Standing, Term};
use yak_coordinator::redis::{RedisConfig, RedisLog, Target};
use yak_core::cluster::Record;
use yak_protocol::ids::MetadataVersion;

/// A lease that runs out only for who does not renew it.
pub const LONG: Duration = Duration::from_secs(60);
/// A lease whose end a test waits for.
pub const SHORT: Duration = Duration::from_secs(5);

/// One coordinator's log and its data dir.
pub struct Coordinator {
    pub dir: TempDir,
    pub config: RedisConfig,
    pub log: RedisLog,
}

impl Coordinator {
    pub fn new(name: &str, target: Target, lease: Duration) -> Self {
        let dir = TempDir::new().unwrap();
        let mut config = RedisConfig::new(target, name, format!("{name}:9700"), dir.path());
        config.lease = lease;
        let log = RedisLog::open(config.clone()).unwrap();
        Self { dir, config, log }
    }

    /// The process ends without a word and another starts on its data dir.
    pub async fn crash_and_restart(self) -> Self {
        let Self { dir, config, log } = self;
        drop(log);
        let until = std::time::Instant::now() + PATIENCE;
        // What it had under way holds the lock until it is dropped, too.
        let log = loop {
            match RedisLog::open(config.clone()) {
                Ok(log) => break log,
                Err(error) => assert!(std::time::Instant::now() < until, "{error}"),
            }
            tokio::task::yield_now().await;
        };
        Self { dir, config, log }
    }

    pub async fn campaign(&mut self) -> Term {
        within(self.log.campaign()).await.unwrap()
    }

    pub async fn append(&mut self, decisions: &[Vec<Record>]) {
        self.log.append(decisions.to_vec()).await.unwrap();
    }

    /// Why an append ended the term.
    pub async fn refused(&mut self, decision: Vec<Record>) -> String {
        deposed(within(self.log.append(vec![decision])).await.unwrap_err())
    }

    /// Why the term ended.
    pub async fn deposed(&mut self) -> String {
        deposed(within(self.log.deposed()).await)
    }

    /// Campaigns in vain until its standing is so; returns that.
    pub async fn stands_by_until(&mut self, so: impl Fn(&Standing) -> bool) -> Standing {
        let mut standing = self.log.standing();
        tokio::select! {
            term = self.log.campaign() => panic!("it became active: {term:?}"),
            found = within(standing.wait_for(so)) => found.unwrap().clone(),
        }
    }

    /// Campaigns in vain until it says why; returns that.
    pub async fn trouble(&mut self, word: &str) -> String {
        let has = |standing: &Standing| standing.trouble.as_ref().is_some_and(|words| words.contains(word));
        self.stands_by_until(has).await.trouble.unwrap()
    }

    pub fn described(&self, name: &str) -> String {
        let described = self.log.look().describe();
        let found = described.into_iter().find(|(found, _)| *found == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.to_string()
    }
}

fn deposed(lost: Lost) -> String {
    match lost {
        Lost::Deposed(words) => words,
        Lost::Fatal(error) => panic!("{error}"),
    }
}

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("an end")
}

/// Waits until that is so.
pub async fn eventually<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    let wait = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The number of a term.
pub fn epoch(term: &Term) -> u64 {
    match term.records.last() {
        Some(Record::CoordinatorEpoch { epoch }) => epoch.0,
        other => panic!("the last record of a term is that of its beginning, not {other:?}"),
    }
}

/// A decision that can be told from others.
pub fn decision(n: u64) -> Vec<Record> {
    vec![
        Record::Version { version: MetadataVersion(n) },
        Record::ProducerIds { next: i64::try_from(n).unwrap() * 1000 },
    ]
}

/// Which decisions are among the records, in order.
pub fn decisions(records: &[Record]) -> Vec<u64> {
    let versions = records.iter().filter_map(|record| match record {
        Record::Version { version } => Some(version.0),
        _ => None,
    });
    versions.collect()
}
