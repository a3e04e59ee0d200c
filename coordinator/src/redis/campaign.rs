//! From looking at the lease to the first entry of a term.

use super::board::{Found, Lease};
use super::entry::{Header, Reading};
use super::keeper::Keeper;
use super::link::{Answer, Link, Trouble};
use super::survey::{Durability, Survey, survey};
use super::tenure::Tenure;
use super::{POLL_MAX, RedisLog, scripts};
use crate::clock;
use crate::metalog::Term;
use std::time::Duration;
use yak_core::cluster::{Cluster, Now, Record};
use yak_protocol::ids::{ClusterId, CoordinatorEpoch};

/// How many entries are read at once.
const PAGE_ENTRIES: u64 = 500;

/// What an attempt led to.
pub(super) enum Step {
    /// This process is the active one.
    Won(Box<Tenure>, Term),
    /// Look again after so long.
    Wait(Duration),
}

/// Why not to take the lease now.
struct Wait {
    pause: Duration,
    trouble: Option<String>,
}

/// What [`scripts::LOOK`] found.
#[derive(Default)]
pub(super) struct Look {
    pub(super) lease: String,
    /// For how much longer the Redis keeps it, in ms; `None` = for ever.
    pub(super) left_ms: Option<u64>,
    /// When that is over, by the clock here.
    pub(super) until: Option<Now>,
    /// What was noted about who took it last.
    pub(super) holder: String,
    /// For how long that one took it.
    pub(super) lease_ms: Option<u64>,
    /// The highest known: that of its key, or of the journal where that one is lower.
    pub(super) token: u64,
    pub(super) node: String,
    pub(super) address: String,
    pub(super) end: Option<Header>,
    pub(super) length: u64,
    /// The entry that was seen last, as it is there.
    pub(super) known: Option<Header>,
}

impl Look {
    fn from(answer: &Answer, host: &str) -> Result<Self, Trouble> {
        let (lease, holder) = (answer.text(0), answer.text(3));
        let mut words = holder.split(' ').skip(1).map(str::to_owned);
        let mut next = || words.next().unwrap_or_default();
        let (node, name, address, lease_ms) = (next(), next(), next(), next().parse().ok());
        // Whoever set the lease otherwise is not the one who took it last.
        let (node, address, lease_ms) =
            if name == lease { (node, address, lease_ms) } else { Default::default() };
        let end = answer.text(4);
        let header = Header::parse(end.as_bytes());
        let length = answer.number(5).unwrap_or(0);
        if header.is_none() && (!end.is_empty() || length > 0) {
            return Err(Trouble::Refused(format!(
                "redis at {host} has something else where the end of the journal belongs ({end:?}); give the \
                 coordinators a ?prefix= or a Redis of their own"
            )));
        }
        let token = answer.number(2).unwrap_or(0).max(header.map_or(0, |end| end.epoch));
        let left_ms: Option<u64> = answer.number(1);
        let until = left_ms.map(|ms| Now(clock::now().0 + ms));
        let known = Header::parse(answer.text(6).as_bytes());
        Ok(Self { lease, left_ms, until, holder, lease_ms, token, node, address, end: header, length, known })
    }

    fn found(&self) -> Found {
        let Self { lease, address, until, token, end, length, .. } = self;
        let lease = (!lease.is_empty()).then(|| Lease {
            name: lease.clone(),
            address: address.clone(),
            until: *until,
        });
        Found { lease, token: *token, end: *end, length: *length }
    }
}

impl RedisLog {
    /// Takes the lease if it is free, and begins a term.
    pub(super) async fn attempt(&mut self) -> Result<Step, Trouble> {
        let (mut link, survey) = match self.link.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let shared = self.shared.clone();
        let look = self.look(&mut link, shared.patience()).await?;
        let lost = self.missing(&look);
        if lost.is_none() {
            shared.note_seen(|seen| seen.raise(look.end));
        }
        shared.persist().await.map_err(|error| Trouble::Refused(error.to_string()))?;
        if let Some(lost) = lost {
            shared.board.data_lost(&lost);
            return Ok(Step::Wait(self.poll()));
        }
        if self.overlong.end(&look, &shared, &mut link).await? {
            self.link = Some((link, survey));
            return Ok(Step::Wait(Duration::ZERO)); // it is free: see who is faster
        }
        let wait = self.others_turn(&look).or_else(|| self.after_a_restart(&look, &survey));
        shared.board.looked(look.found(), wait.as_ref().and_then(|wait| wait.trouble.as_deref()));
        if let Some(wait) = wait {
            self.link = Some((link, survey));
            return Ok(Step::Wait(wait.pause));
        }
        let sent = clock::now();
        let Some(token) = self.acquire(&mut link).await? else {
            self.link = Some((link, survey));
            return Ok(Step::Wait(Duration::ZERO)); // somebody was faster: see who
        };
        let keeper = Keeper::start(shared.clone(), token, sent);
        match self.read(&mut link, &keeper).await {
            Ok(journal) => {
                let newest = survey.durability == Durability::Synced;
                self.begin(link, token, keeper, journal, newest).await
            }
            Err(Unread::Trouble(trouble)) => Err(trouble),
            Err(Unread::Damaged(words)) => {
                drop(keeper);
                shared.release(&mut link, token).await;
                shared.board.data_lost(&words);
                // Another, which may know less, gets its chance to look.
                Ok(Step::Wait(shared.config.lease))
            }
        }
    }

    async fn look(&self, link: &mut Link, within: Duration) -> Result<Look, Trouble> {
        let shared = &self.shared;
        let sequence = shared.seen().sequence.to_string();
        let answer = link.eval(scripts::LOOK, &shared.keys, &[sequence.as_bytes()], within).await?;
        Look::from(&answer, &shared.host)
    }

    fn missing(&self, look: &Look) -> Option<String> {
        self.shared.seen().missing_in(&self.shared.host, look.token, look.end, look.known)
    }

    async fn acquire(&self, link: &mut Link) -> Result<Option<u64>, Trouble> {
        let (shared, config) = (&self.shared, &self.shared.config);
        let node = shared.seen().node.to_string();
        let lease_ms = shared.lease_ms().to_string();
        let arguments = [&config.name, &node, &config.address, &lease_ms].map(|text| text.as_bytes());
        let answer = link.eval(scripts::ACQUIRE, &shared.keys, &arguments, shared.patience()).await?;
        Ok((answer.text(0) == "taken").then(|| answer.number(1)).flatten())
    }

    async fn connect(&self) -> Result<(Link, Survey), Trouble> {
        let shared = &self.shared;
        let mut link = Link::open(&shared.config.target, shared.patience()).await?;
        let survey = survey(&mut link, &shared.host, shared.patience()).await?;
        shared.board.connected(&survey);
        match survey.refusal {
            Some(refusal) => Err(Trouble::Refused(refusal)),
            None => Ok((link, survey)),
        }
    }

    fn poll(&self) -> Duration {
        (self.shared.config.lease / 3).min(POLL_MAX)
    }

    /// How long to wait for the lease of another.
    fn others_turn(&self, look: &Look) -> Option<Wait> {
        if look.lease.is_empty() {
            return None;
        }
        let Look { lease, address, .. } = look;
        let namesake = *lease == self.shared.config.name;
        if namesake && look.node == self.shared.seen().node.to_string() {
            return None;
        }
        let trouble = match look.until {
            None => Some(format!(
                "the lease of {lease} never runs out; if that one is not running, delete the key {}",
                self.shared.keys.lease()
            )),
            Some(_) if address.is_empty() => Some(format!(
                "{} is set to {lease}, and not by a coordinator; it is waited for",
                self.shared.keys.lease()
            )),
            Some(_) if namesake => Some(format!(
                "another coordinator is called {lease}, too, at {address}; give each an id of its own"
            )),
            Some(_) => self.overlong.trouble(look, &self.shared.host),
        };
        // Just behind its end, if that comes first.
        let left = look.until.map_or(u64::MAX, |until| until.0.saturating_sub(clock::now().0) + 1);
        Some(Wait { pause: self.poll().min(Duration::from_millis(left)), trouble })
    }

    /// A Redis that may forget its last writes may have forgotten a lease, which somebody then still counts
    /// as held, with a token that would be given out again. One lease after its start nobody does.
    fn after_a_restart(&self, look: &Look, survey: &Survey) -> Option<Wait> {
        if survey.durability == Durability::Synced || (look.token == 0 && look.end.is_none()) {
            return None;
        }
        let left = (survey.started.0 + self.shared.lease_ms()).saturating_sub(clock::now().0);
        let trouble = format!(
            "redis at {} was started a moment ago and may have forgotten a lease: waiting until none can be left",
            self.shared.host
        );
        let pause = Duration::from_millis(left).min(self.poll());
        (left > 0).then_some(Wait { pause, trouble: Some(trouble) })
    }

    /// Adds the record of the term.
    async fn begin(
        &self,
        link: Link,
        token: u64,
        keeper: Keeper,
        mut journal: Reading,
        newest: bool,
    ) -> Result<Step, Trouble> {
        let shared = &self.shared;
        let created = journal.end.is_none();
        let mut records = std::mem::take(&mut journal.records);
        let mut tenure = Tenure::new(shared.clone(), token, keeper, link, &journal);
        if created {
            records = Cluster::format(ClusterId(uuid::Uuid::new_v4().as_u128()));
            tenure.replace(&records).await.map_err(Trouble::Broken)?;
        }
        let term = Record::CoordinatorEpoch { epoch: CoordinatorEpoch(token) };
        tenure.append(&[vec![term.clone()]]).await.map_err(Trouble::Broken)?;
        records.push(term);
        shared.note_seen(|seen| {
            seen.raise(tenure.end());
            seen.cluster = cluster_of(&records).or(seen.cluster);
        });
        shared.persist().await.map_err(|error| Trouble::Refused(error.to_string()))?;
        if tenure.remaining().is_zero() {
            return Err(Trouble::Refused("the lease ran out before the term had begun".to_owned()));
        }
        Ok(Step::Won(Box::new(tenure), Term { records, created, newest }))
    }

    /// Reads the journal, to its end: nobody else adds to it from now on.
    async fn read(&self, link: &mut Link, keeper: &Keeper) -> Result<Reading, Unread> {
        let (shared, seen) = (&self.shared, self.shared.seen());
        let host = &shared.host;
        let damaged = |what: String| {
            Unread::Damaged(format!(
                "the journal in redis at {host} is damaged: {what}. Nothing is decided from it: restore that Redis \
                 from a copy that has entry {}, or make the journal again (yak coordinator rebuild --help)",
                seen.sequence
            ))
        };
        let mut journal = Reading::default();
        loop {
            let from = journal.entries;
            let mut command = redis::cmd("LRANGE");
            command.arg(shared.keys.journal()).arg(from).arg(from + PAGE_ENTRIES - 1);
            let page: Vec<Vec<u8>> = link.ask(&command, keeper.remaining()).await?;
            if page.is_empty() {
                break;
            }
            for entry in page {
                journal.take(&entry).map_err(damaged)?;
            }
        }
        let look = self.look(link, keeper.remaining()).await?;
        if look.end != journal.end || look.length != journal.entries {
            return Err(damaged(format!(
                "it holds {} entries up to {}, and its end is noted as {}",
                journal.entries,
                journal.end.map_or(0, |end| end.sequence),
                look.end.map_or(0, |end| end.sequence)
            )));
        }
        if let Some(lost) = self.missing(&look) {
            return Err(Unread::Damaged(lost));
        }
        match (seen.cluster, cluster_of(&journal.records)) {
            (Some(known), Some(found)) if known != found => Err(Unread::Damaged(format!(
                "redis at {host} holds the journal of cluster {}, and this coordinator belongs to {}; name the right \
                 Redis, or give an empty --data",
                ClusterId(found),
                ClusterId(known)
            ))),
            _ => Ok(journal),
        }
    }
}

fn cluster_of(records: &[Record]) -> Option<u128> {
    records.iter().find_map(|record| match record {
        Record::Cluster { cluster_id } => Some(cluster_id.0),
        _ => None,
    })
}

/// Why there is no journal to begin from.
enum Unread {
    Trouble(Trouble),
    /// It is not what it was.
    Damaged(String),
}

impl From<Trouble> for Unread {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}
