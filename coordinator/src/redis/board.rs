//! What is known of the Redis and of who is active, for whoever looks.

use super::entry::Header;
use super::survey::{Durability, Survey};
use crate::clock;
use crate::metalog::{Active, Look, Standing, Totals};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use yak_core::cluster::Now;
use yak_protocol::text::Value;

/// Shared by the log and by what renews its lease.
#[derive(Debug)]
pub(super) struct Board {
    host: String,
    /// Where this process is reached.
    address: String,
    facts: Mutex<Facts>,
    standing: watch::Sender<Standing>,
}

#[derive(Debug, Default)]
struct Facts {
    survey: Option<Survey>,
    ping: Option<Duration>,
    lease: Option<Lease>,
    token: u64,
    end: Option<Header>,
    length: u64,
    lost_data: Option<String>,
    trouble: Option<String>,
    /// The last one that was logged.
    logged: String,
    totals: Totals,
}

/// Who has the lease, as it was last seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lease {
    pub name: String,
    pub address: String,
    /// When it runs out if it is not renewed; `None` = never.
    pub until: Option<Now>,
}

/// What a look from outside of a term finds.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub lease: Option<Lease>,
    pub token: u64,
    pub end: Option<Header>,
    pub length: u64,
}

impl Board {
    pub(super) fn new(host: String, address: String) -> Self {
        let standing = Standing { peers: vec![address.clone()], ..Standing::default() };
        Self { host, address, facts: Mutex::default(), standing: watch::Sender::new(standing) }
    }

    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection was made and these are the server's promises.
    pub(super) fn connected(&self, survey: &Survey) {
        let mut facts = self.facts();
        if facts.survey.as_ref().map(|known| &known.warnings) != Some(&survey.warnings) {
            for warning in &survey.warnings {
                tracing::warn!("{warning}");
            }
        }
        facts.ping = Some(survey.ping);
        facts.survey = Some(survey.clone());
    }

    /// A look from outside of a term: who is active, or why nobody is.
    pub(super) fn looked(&self, found: Found, trouble: Option<&str>) {
        let Found { lease, token, end, length } = found;
        let coordinator = lease.as_ref().filter(|lease| !lease.address.is_empty());
        let active = coordinator.map(|lease| Active {
            name: lease.name.clone(),
            address: lease.address.clone(),
            myself: false,
        });
        let mut facts = self.facts();
        (facts.lease, facts.token, facts.end, facts.length) = (lease, token, end, length);
        (facts.trouble, facts.lost_data) = (None, None);
        drop(facts);
        if let Some(words) = trouble {
            self.strain(words);
        }
        self.stand(active, trouble.map(str::to_owned));
    }

    /// Nobody here can be active, because of that.
    pub(super) fn setback(&self, words: &str) {
        self.strain(words);
        self.stand(None, Some(words.to_owned()));
    }

    /// The same, because entries that once were there are missing.
    pub(super) fn data_lost(&self, words: &str) {
        self.facts().lost_data = Some(words.to_owned());
        self.setback(words);
    }

    /// Something in a term does not succeed at the moment.
    pub(super) fn strain(&self, words: &str) {
        let mut facts = self.facts();
        facts.trouble = Some(words.to_owned());
        if facts.logged != words {
            words.clone_into(&mut facts.logged);
            tracing::warn!("{words}");
        }
    }

    /// A term of this process has begun.
    pub(super) fn won(&self, name: &str, address: &str) {
        self.facts().trouble = None;
        let active = Active { name: name.to_owned(), address: address.to_owned(), myself: true };
        self.stand(Some(active), None);
    }

    /// The lease is this process's, until then.
    pub(super) fn renewed(&self, lease: Lease, token: u64, ping: Duration) {
        let mut facts = self.facts();
        (facts.lease, facts.token, facts.ping, facts.trouble) = (Some(lease), token, Some(ping), None);
        facts.logged.clear();
    }

    /// The journal was written, and is that long now.
    pub(super) fn written(&self, end: Header, length: u64, totals: impl FnOnce(&mut Totals)) {
        let mut facts = self.facts();
        (facts.end, facts.length) = (Some(end), length);
        totals(&mut facts.totals);
    }

    /// The journal that a term begins with is that long.
    pub(super) fn totals_are(&self, bytes: u64, since_snapshot: u64) {
        let mut facts = self.facts();
        (facts.totals.bytes, facts.totals.since_snapshot) = (bytes, since_snapshot);
    }

    /// The term of this process with that token is over. Not news once there is a later one.
    pub(super) fn over(&self, token: u64, words: &str) {
        let mut facts = self.facts();
        if facts.token > token {
            return;
        }
        (facts.lease, facts.trouble) = (None, Some(words.to_owned()));
        self.stand(None, Some(words.to_owned()));
    }

    fn stand(&self, active: Option<Active>, trouble: Option<String>) {
        self.standing.send_if_modified(|standing| {
            let news = (&standing.active, &standing.trouble) != (&active, &trouble);
            // No other standby is known; whoever was active last may be again.
            if let Some(active) = &active {
                standing.peers = vec![active.address.clone(), self.address.clone()];
                standing.peers.dedup();
            }
            (standing.active, standing.trouble) = (active, trouble);
            news
        });
    }
}

impl Look for Board {
    fn trouble(&self) -> Option<String> {
        self.facts().trouble.clone()
    }

    fn totals(&self) -> Totals {
        self.facts().totals
    }

    fn describe(&self) -> Vec<(&'static str, Value)> {
        let facts = self.facts();
        let (survey, lease, totals) = (facts.survey.as_ref(), facts.lease.as_ref(), facts.totals);
        let remaining =
            lease.and_then(|lease| lease.until).map(|until| until.0.saturating_sub(clock::now().0));
        let durability = survey.map(|survey| match survey.durability {
            Durability::Synced => "every write synced",
            Durability::Weaker => "weaker than every write synced",
            Durability::Unknown => "unknown",
        });
        vec![
            ("backend", "redis".into()),
            ("host", (&self.host).into()),
            ("version", survey.map(|survey| &survey.version).into()),
            ("trouble", facts.trouble.as_ref().into()),
            ("lease_holder", lease.map(|lease| &lease.name).into()),
            ("lease_address", lease.map(|lease| &lease.address).into()),
            ("lease_remaining_ms", remaining.into()),
            ("token", facts.token.into()),
            ("journal_entries", facts.length.into()),
            ("journal_end", facts.end.map(|end| end.sequence).into()),
            ("journal_bytes", totals.bytes.into()),
            ("entries_since_snapshot", totals.since_snapshot.into()),
            ("snapshots", totals.snapshots.into()),
            ("writes", totals.syncs.into()),
            ("write_ms", milliseconds(totals.sync_time).into()),
            ("data_lost", facts.lost_data.as_ref().into()),
            ("durability", durability.into()),
            ("settings", survey.map(|survey| &survey.settings).into()),
            ("warnings", survey.map(|survey| survey.warnings.clone()).unwrap_or_default().into()),
            ("ping_ms", facts.ping.map(milliseconds).into()),
        ]
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
