//! Who was heard when, on the clock that counts the time in which this machine sleeps.
//!
//! A coordinator that heard the leading one votes for no other for the least election timeout, counted from
//! when it heard it. So the leading one knows, from when it *sent* what a majority has answered, until when
//! nobody else can have been elected.

use super::types::Membership;
use crate::clock;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use yak_core::cluster::Now;

/// When the others acknowledged this one, and when this one heard another.
pub(crate) struct Lease(Mutex<Times>);

struct Times {
    /// When what each of the others last acknowledged was sent.
    acknowledged: BTreeMap<u64, Now>,
    /// When the leading one was last heard. A process that has just started may have heard it right before.
    heard: Now,
    /// When another one got this one's vote.
    voted: Option<Now>,
}

impl Default for Lease {
    fn default() -> Self {
        Self(Mutex::new(Times { acknowledged: BTreeMap::new(), heard: clock::now(), voted: None }))
    }
}

impl Lease {
    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn acknowledged(&self, by: u64, sent: Now) {
        let mut times = self.times();
        let known = times.acknowledged.entry(by).or_insert(sent);
        *known = sent.max(*known);
    }

    pub(crate) fn heard(&self) {
        self.times().heard = clock::now();
    }

    pub(crate) fn voted(&self) {
        self.times().voted = Some(clock::now());
    }

    /// For how long the leading one has been silent.
    pub(crate) fn silence(&self) -> Duration {
        clock::now().since(self.times().heard)
    }

    /// For how long there has been no sign that somebody leads or will.
    pub(crate) fn quiet(&self) -> Duration {
        let times = self.times();
        clock::now().since(times.voted.unwrap_or(times.heard).max(times.heard))
    }

    /// For how long no majority has acknowledged the coordinator `me`; `None` = none ever did.
    pub(crate) fn unacknowledged(&self, me: u64, members: &Membership) -> Option<Duration> {
        let (times, now) = (self.times(), clock::now());
        let mut oldest = now;
        for set in members.get_joint_config() {
            let time = |id: &u64| if *id == me { Some(now) } else { times.acknowledged.get(id).copied() };
            let mut known: Vec<Now> = set.iter().filter_map(time).collect();
            known.sort_unstable();
            oldest = oldest.min(*known.iter().rev().nth(set.len() / 2)?);
        }
        Some(now.since(oldest))
    }
}
