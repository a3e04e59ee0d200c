//! Asking for metadata: one request at a time however many tasks want it, and no process is waited for
//! as long as another may answer sooner.

use super::Cluster;
use super::backoff::Backoff;
use super::error::ClusterError;
use super::trouble::Cause;
use crate::message::{Metadata, MetadataReply};
use crate::net::connection::Connection;
use crate::net::pending::RequestError;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long one process is waited for before the next is asked as well.
const STAGGER: Duration = Duration::from_millis(100);
/// How long one process may take in all.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Lets many askers share one refresh.
#[derive(Default)]
pub(super) struct Refreshing {
    /// Counts the askers.
    asked: AtomicU64,
    last: tokio::sync::Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// Every asker up to this number had asked when the last refresh began.
    covers: u64,
    failed: Option<String>,
}

impl Cluster {
    /// Asks for metadata now, or shares the answer of a refresh that begins after this call.
    pub(super) async fn refresh(&self) -> Result<(), String> {
        let refreshing = &self.0.refreshing;
        let number = refreshing.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut last = refreshing.last.lock().await;
        if last.covers < number {
            let covers = refreshing.asked.load(Ordering::Acquire);
            let fetched = self.fetch().await;
            last.covers = covers;
            last.failed = fetched.err();
        }
        last.failed.clone().map_or(Ok(()), Err)
    }

    /// Asks for metadata again and again until somebody answers.
    pub(super) async fn refresh_until(&self, what: &str, deadline: Instant) -> Result<(), ClusterError> {
        let started = Instant::now();
        let mut backoff = Backoff::default();
        let mut cause = Cause::default();
        loop {
            match timeout_at(deadline, self.refresh()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failed)) => cause.note(failed),
                Err(_) => cause.note_default("no process answers"),
            }
            let again = Instant::now() + backoff.next();
            if again >= deadline {
                return Err(cause.timeout(what, started));
            }
            tokio::time::sleep_until(again).await;
        }
    }

    async fn fetch(&self) -> Result<(), String> {
        let metadata = self
            .race(&[], async |connection| {
                let everything = Metadata::default();
                match timeout(ANSWER_MAX, connection.request(&everything, Vec::new())).await {
                    Ok(Ok(answer)) => Ok(answer.body),
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err(RequestError::Timeout(ANSWER_MAX)),
                }
            })
            .await?;
        self.learn(metadata);
        Ok(())
    }

    fn learn(&self, metadata: MetadataReply) {
        let metadata = Arc::new(metadata);
        if self.0.view.write().unwrap_or_else(PoisonError::into_inner).learn(metadata.clone()) {
            self.0.newest.send_replace(metadata);
        }
    }

    /// A connection to any process but these.
    pub(super) async fn any_but(
        &self,
        avoid: &[String],
        what: &str,
        deadline: Instant,
    ) -> Result<Connection, ClusterError> {
        let started = Instant::now();
        let mut backoff = Backoff::default();
        let mut cause = Cause::default();
        loop {
            match timeout_at(deadline, self.race(avoid, async |connection| Ok(connection))).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(failed)) => cause.note(failed),
                Err(_) => cause.note_default("nobody accepts a connection"),
            }
            let again = Instant::now() + backoff.next();
            if again >= deadline {
                return Err(cause.timeout(what, started));
            }
            tokio::time::sleep_until(again).await;
        }
    }

    /// The processes to ask, in the order in which to ask them: those with an open connection first, each
    /// group shuffled, because an answer from one that lags must not come from the same one every time.
    fn candidates(&self, avoid: &[String]) -> Vec<String> {
        let mut seen = HashSet::new();
        let mut all: Vec<String> = self.view(super::view::View::addresses);
        all.extend(self.0.bootstrap.iter().cloned());
        all.extend(self.0.pointed_to.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        all.retain(|address| !avoid.contains(address) && seen.insert(address.clone()));
        let (mut open, mut others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|address| self.0.links.is_open(address));
        fastrand::shuffle(&mut open);
        fastrand::shuffle(&mut others);
        open.append(&mut others);
        open
    }

    /// Whether everybody has been asked.
    pub(super) fn all_avoided(&self, avoid: &[String]) -> bool {
        self.candidates(avoid).is_empty()
    }

    /// Tries one candidate after the other; the first success counts. A failure starts the next at once,
    /// silence starts it after [`STAGGER`].
    async fn race<T>(
        &self,
        avoid: &[String],
        ask: impl AsyncFn(Connection) -> Result<T, RequestError>,
    ) -> Result<T, String> {
        let mut candidates = self.candidates(avoid).into_iter();
        let mut running = FuturesUnordered::new();
        let mut failures: Vec<String> = Vec::new();
        loop {
            let more = match candidates.next() {
                Some(address) => {
                    running.push(self.attempt(address, &ask));
                    true
                }
                None if running.is_empty() => return Err(summary(&failures)),
                None => false,
            };
            tokio::select! {
                Some(outcome) = running.next() => match outcome {
                    Ok(value) => return Ok(value),
                    Err(failure) => failures.push(failure),
                },
                () = sleep(STAGGER), if more => {}
            }
        }
    }

    async fn attempt<T>(
        &self,
        address: String,
        ask: &impl AsyncFn(Connection) -> Result<T, RequestError>,
    ) -> Result<T, String> {
        let connection = self.connection_to(&address).await.map_err(|error| error.to_string())?;
        ask(connection).await.map_err(|error| {
            if let RequestError::Refused(refused) = &error {
                self.note_refusal(refused);
            }
            format!("{address}: {error}")
        })
    }
}

fn summary(failures: &[String]) -> String {
    let mut distinct: Vec<&str> = failures.iter().map(String::as_str).collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.is_empty() { "there is no process to ask".to_owned() } else { distinct.join(", ") }
}
