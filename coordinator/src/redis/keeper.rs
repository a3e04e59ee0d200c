//! Keeps the lease of one term by renewing it, on a connection of its own, and knows how long it is held.
//!
//! ```text
//! sent          sent + 0.8 lease       the server's clock: sent or later + lease
//!   |--- held ---------|                            |
//!   |--- in Redis, at least ------------------------|--- free for others
//! ```
//!
//! What is counted from the moment of sending on the holder's clock ends before what is counted from the
//! moment of arrival on the server's, as long as the two clocks run within a fifth of the same speed. That
//! is for doing nothing in vain; that nothing wrong is done rests on the token.

use super::board::Lease;
use super::link::{Link, Trouble};
use super::survey::survey;
use super::{RETRY, Shared, scripts};
use crate::clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use yak_core::cluster::Now;

/// The lease of one term. It is not renewed any more once this is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    until: Arc<AtomicU64>,
    over: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    /// Renews the lease that was asked for at `sent` and got.
    pub(super) fn start(shared: Arc<Shared>, token: u64, sent: Now) -> Self {
        let until = Arc::new(AtomicU64::new(shared.held_until(sent)));
        let (sender, over) = watch::channel(None);
        let mut renewals = Renewals { shared, token, until: until.clone(), link: None, writing: None };
        renewals.note(sent, Duration::ZERO);
        let task = tokio::spawn(async move {
            let words = renewals.run().await;
            renewals.until.store(0, Ordering::SeqCst);
            renewals.shared.board.over(token, &words);
            let _ = sender.send(Some(words));
        });
        Self { until, over, task }
    }

    /// For how long it is held from now on; zero once it is not.
    pub(super) fn remaining(&self) -> Duration {
        remaining(&self.until)
    }

    /// Ends when it is lost; says why.
    pub(super) async fn over(&mut self) -> String {
        match self.over.wait_for(Option::is_some).await {
            Ok(words) => words.clone().unwrap_or_default(),
            Err(_) => "the lease is not renewed any more".to_owned(),
        }
    }
}

fn remaining(until: &AtomicU64) -> Duration {
    Duration::from_millis(until.load(Ordering::SeqCst).saturating_sub(clock::now().0))
}

struct Renewals {
    shared: Arc<Shared>,
    token: u64,
    until: Arc<AtomicU64>,
    link: Option<Link>,
    writing: Option<JoinHandle<()>>,
}

impl Renewals {
    /// Renews until it cannot be, and says why.
    async fn run(&mut self) -> String {
        let lease = self.shared.config.lease;
        let mut trouble = None;
        let mut pause = lease / 3;
        loop {
            tokio::time::sleep(pause.min(remaining(&self.until))).await;
            let left = remaining(&self.until);
            if left.is_zero() {
                let why = trouble.unwrap_or_else(|| "this process stood still".to_owned());
                return format!("the lease ran out: {why}");
            }
            match self.renew(left).await {
                Ok(Outcome::Renewed) => {
                    trouble = None;
                    pause = lease / 3;
                    self.write_down();
                }
                Ok(Outcome::Lost(words)) => return words,
                Err(failed) => {
                    self.link = None;
                    let words = failed.words();
                    self.shared.board.strain(&words);
                    trouble = Some(words);
                    pause = RETRY;
                }
            }
        }
    }

    /// What was seen becomes durable without making a renewal wait for a slow disk.
    fn write_down(&mut self) {
        if self.writing.as_ref().is_none_or(JoinHandle::is_finished) {
            let shared = self.shared.clone();
            self.writing = Some(tokio::spawn(async move { shared.try_persist().await }));
        }
    }

    async fn renew(&mut self, left: Duration) -> Result<Outcome, Trouble> {
        let shared = self.shared.clone();
        let mut link = match self.link.take() {
            Some(link) => link,
            None => {
                let mut link = Link::open(&shared.config.target, left).await?;
                let survey = survey(&mut link, &shared.host, left).await?;
                shared.board.connected(&survey);
                if let Some(refusal) = survey.refusal {
                    return Ok(Outcome::Lost(refusal));
                }
                link
            }
        };
        let sequence = shared.seen().sequence;
        let sent = clock::now();
        let began = std::time::Instant::now();
        let arguments = [
            shared.config.name.as_bytes(),
            self.token.to_string().as_bytes(),
            shared.lease_ms().to_string().as_bytes(),
            sequence.to_string().as_bytes(),
        ]
        .map(<[u8]>::to_vec);
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let answer = link.eval(scripts::RENEW, &shared.keys, &arguments, left).await?;
        let host = &shared.host;
        Ok(match answer.text(0).as_str() {
            "kept" => {
                self.until.store(shared.held_until(sent), Ordering::SeqCst);
                self.note(sent, began.elapsed());
                self.link = Some(link);
                Outcome::Renewed
            }
            "behind" => Outcome::Lost(format!(
                "redis at {host} has lost data: its journal no longer has entry {sequence}, which it acknowledged"
            )),
            _ => Outcome::Lost(lost(host, self.token, &answer.text(1), &answer.text(2))),
        })
    }

    fn note(&self, sent: Now, ping: Duration) {
        let config = &self.shared.config;
        let lease = Lease {
            name: config.name.clone(),
            address: config.address.clone(),
            until: Some(Now(sent.0 + self.shared.lease_ms())),
        };
        self.shared.board.renewed(lease, self.token, ping);
    }
}

enum Outcome {
    Renewed,
    Lost(String),
}

/// Why a script found the lease of `token` no longer held.
pub(super) fn lost(host: &str, token: u64, lease: &str, found: &str) -> String {
    let now = match (lease, found) {
        ("", "") => "there is none, and no token either".to_owned(),
        ("", found) => format!("it ran out, the last token is {found}"),
        (lease, found) => format!("{lease} has it, with token {found}"),
    };
    format!("the lease of token {token} in redis at {host} is lost: {now}")
}
