//! The metadata log in a Redis, or in anything that understands its strings, lists and scripts.
//!
//! Who holds the lease `leader_lease` is the active coordinator; the number of its term is a token that only
//! grows. The journal is a list in the same Redis, and every script that adds to it checks name, token and
//! end of the list first, so an entry of an earlier term can never be added: not by a coordinator that was
//! paused, not by a packet that was. What is kept is as durable as that Redis is set up to be, which is
//! asked after every connect and told to whoever looks.
//!
//! ```text
//! campaign: LOOK ... free? -> ACQUIRE (token + 1) -> read the journal -> APPEND the term's record -> active
//! active:   RENEW every third of the lease; APPEND, each guarded; snapshot = APPEND instead of the rest
//! over:     a guard failed, an answer did not come, 0.8 of the lease went by -> campaign, with a new token
//! ```
//!
//! The idea of a lease with a fencing token is that of Chubby's sequencers.

mod board;
mod campaign;
mod entry;
mod keeper;
mod lapse;
mod link;
mod local;
mod rebuilt;
mod scripts;
mod seen;
mod survey;
mod target;
mod tenure;

pub use local::local_server;
pub use rebuilt::write_journal;
pub use target::{Secret, Target, TargetError};

use crate::DataDirError;
use crate::metalog::{Look, Lost, MetaLog, Standing, Term};
use board::Board;
use campaign::Step;
use lapse::Overlong;
use link::Link;
use scripts::Keys;
use seen::{Seen, SeenFile};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use survey::Survey;
use tenure::Tenure;
use tokio::sync::watch;
use yak_core::cluster::{Now, Record};

/// How long after a failure the next attempt is made: short, so that serving resumes soon.
const RETRY: Duration = Duration::from_millis(200);
/// How often a standby looks at the lease, at most; at least three times a lease.
const POLL_MAX: Duration = Duration::from_millis(500);
/// The shortest lease: a shorter one would be lost to a hiccup.
const LEASE_MIN: Duration = Duration::from_millis(300);
/// A journal shorter than this is not worth a snapshot, in bytes.
const SNAPSHOT_BYTES_MIN: u64 = 1 << 20;
/// A journal is replaced by a snapshot when it has grown to so many times the last one.
const SNAPSHOT_GROWTH: u64 = 4;

/// What a call in no term is answered.
const NO_TERM: &str = "no term is under way";

/// What a coordinator is told about its Redis.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Which Redis.
    pub target: Target,
    /// What this coordinator calls itself: the value of `leader_lease` while it is active. No blanks.
    pub name: String,
    /// Where brokers and clients reach it, `host:port`.
    pub address: String,
    /// How long the lease lives without being renewed.
    pub lease: Duration,
    /// Where it keeps what it has seen: a small file.
    pub data: PathBuf,
    /// How long the journal grows before the first snapshot, in bytes.
    pub snapshot_bytes_min: u64,
}

impl RedisConfig {
    /// The defaults.
    #[must_use]
    pub fn new(
        target: Target,
        name: impl Into<String>,
        address: impl Into<String>,
        data: impl Into<PathBuf>,
    ) -> Self {
        Self {
            target,
            name: name.into(),
            address: address.into(),
            lease: yak_protocol::defaults::LEASE,
            data: data.into(),
            snapshot_bytes_min: SNAPSHOT_BYTES_MIN,
        }
    }
}

/// Why a coordinator cannot use a Redis at all. What may pass by itself is not here: it waits, and says so.
#[derive(Debug, thiserror::Error)]
pub enum RedisLogError {
    /// The operating system refused.
    #[error("cannot {what} {path}: {cause}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        cause: std::io::Error,
    },
    /// The data dir cannot be had.
    #[error(transparent)]
    Dir(#[from] DataDirError),
    /// The data dir holds a journal: that of a coordinator without Redis.
    #[error(
        "the data dir {0} holds a coordinator journal of its own; give an empty dir to a coordinator with redis, \
         or start this one without --lease-backend"
    )]
    PlainJournal(PathBuf),
    /// The file of what was seen is damaged.
    #[error(
        "{0} is damaged: whether the Redis has lost data cannot be told any more; restore the file, or remove it \
         when you know that the Redis has everything"
    )]
    SeenDamaged(PathBuf),
    /// A lease nobody could hold.
    #[error("the lease ({0:?}) is shorter than {LEASE_MIN:?}: a hiccup would lose it")]
    LeaseTooShort(Duration),
    /// What was asked of the Redis was not done.
    #[error("{0}")]
    Refused(String),
    /// A name that would not be one word.
    #[error("{0:?} cannot be the name of a coordinator: it must be one word")]
    Name(String),
}

/// What the log shares with what renews its lease.
#[derive(Debug)]
struct Shared {
    config: RedisConfig,
    host: String,
    keys: Keys,
    board: Arc<Board>,
    seen: Mutex<Seen>,
    file: Mutex<SeenFile>,
}

impl Shared {
    fn lease_ms(&self) -> u64 {
        u64::try_from(self.config.lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// Until when a lease that was asked for at `sent` may count as held.
    fn held_until(&self, sent: Now) -> u64 {
        sent.0 + self.lease_ms() / 10 * 8
    }

    /// How long one operation may take outside of a term.
    fn patience(&self) -> Duration {
        self.config.lease / 10 * 8
    }

    /// Gives the lease back, if it is still that of `token`.
    async fn release(&self, link: &mut Link, token: u64) {
        let token = token.to_string();
        let arguments = [self.config.name.as_bytes(), token.as_bytes()];
        if let Err(trouble) = link.eval(scripts::RELEASE, &self.keys, &arguments, self.patience()).await {
            tracing::warn!("the lease was not given back and will run out: {}", trouble.words());
        }
    }

    fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_seen(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Makes durable what was seen.
    async fn persist(self: &Arc<Self>) -> Result<(), RedisLogError> {
        let shared = self.clone();
        let kept = tokio::task::spawn_blocking(move || {
            // What was seen is read under the file's lock: the file never goes back.
            let mut file = shared.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.keep(shared.seen())
        });
        kept.await.expect("writing what was seen does not panic")
    }

    /// The same, where less of it can only mean that a loss is not noticed.
    async fn try_persist(self: &Arc<Self>) {
        if let Err(error) = self.persist().await {
            tracing::warn!(%error, "what was seen of the journal is not written down");
        }
    }
}

/// The metadata log of one coordinator.
#[derive(Debug)]
pub struct RedisLog {
    shared: Arc<Shared>,
    /// Between two looks of a standby. Not during one: a look that is dropped in the middle leaves it unusable.
    link: Option<(Link, Survey)>,
    tenure: Option<Tenure>,
    overlong: Overlong,
}

impl RedisLog {
    /// Takes the data dir. The Redis is not asked yet. Blocks.
    ///
    /// # Errors
    /// [`RedisLogError`]: each says what to do.
    pub fn open(config: RedisConfig) -> Result<Self, RedisLogError> {
        if config.lease < LEASE_MIN {
            return Err(RedisLogError::LeaseTooShort(config.lease));
        }
        if config.name.is_empty() || config.name.contains(char::is_whitespace) {
            return Err(RedisLogError::Name(config.name));
        }
        let (file, seen) = SeenFile::open(&config.data)?;
        let host = config.target.to_string();
        let shared = Shared {
            keys: Keys::new(&config.target.prefix),
            board: Arc::new(Board::new(host.clone(), config.address.clone())),
            host,
            config,
            seen: Mutex::new(seen),
            file: Mutex::new(file),
        };
        Ok(Self { shared: Arc::new(shared), link: None, tenure: None, overlong: Overlong::default() })
    }

    fn over(&self, token: u64, words: String) -> Lost {
        self.shared.board.over(token, &words);
        Lost::Deposed(words)
    }
}

impl MetaLog for RedisLog {
    async fn campaign(&mut self) -> Result<Term, crate::RunError> {
        self.tenure = None;
        loop {
            match self.attempt().await {
                Ok(Step::Won(tenure, term)) => {
                    self.shared.board.won(&self.shared.config.name, &self.shared.config.address);
                    self.tenure = Some(*tenure);
                    return Ok(term);
                }
                Ok(Step::Wait(pause)) => tokio::time::sleep(pause).await,
                Err(setback) => {
                    self.link = None;
                    self.shared.board.setback(&setback.words());
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn append(&mut self, decisions: Vec<Vec<Record>>) -> Result<(), Lost> {
        // Not put back by a call that is dropped in the middle: nobody knows then what was kept.
        let Some(mut tenure) = self.tenure.take() else {
            return Err(Lost::Deposed(NO_TERM.to_owned()));
        };
        tenure.append(&decisions).await.map_err(|words| self.over(tenure.token(), words))?;
        self.tenure = Some(tenure);
        Ok(())
    }

    fn held(&self) -> bool {
        self.tenure.as_ref().is_some_and(|tenure| !tenure.remaining().is_zero())
    }

    async fn deposed(&mut self) -> Lost {
        let Some(tenure) = &mut self.tenure else {
            return Lost::Deposed(NO_TERM.to_owned());
        };
        let words = tenure.over().await;
        let token = tenure.token();
        self.tenure = None;
        self.over(token, words)
    }

    async fn compact(&mut self, snapshot: impl FnOnce() -> Vec<Record> + Send) -> Result<(), Lost> {
        match self.tenure.take() {
            Some(mut tenure) if tenure.wants_snapshot() => {
                tenure.replace(&snapshot()).await.map_err(|words| self.over(tenure.token(), words))?;
                self.tenure = Some(tenure);
            }
            other => self.tenure = other,
        }
        Ok(())
    }

    async fn resign(&mut self) {
        let Some(tenure) = self.tenure.take() else { return };
        self.shared.try_persist().await;
        let token = tenure.token();
        tenure.release().await;
        self.shared.board.over(token, "the active coordinator was stopped");
    }

    fn standing(&self) -> watch::Receiver<Standing> {
        self.shared.board.standing()
    }

    fn look(&self) -> Arc<dyn Look> {
        self.shared.board.clone()
    }
}
