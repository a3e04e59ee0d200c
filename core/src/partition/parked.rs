//! Opens that cannot be answered yet: this replica has to learn of their leader epoch, or to sync the
//! start of it, first.

use super::Now;
use super::event::StreamId;
use std::collections::BTreeMap;
use yak_protocol::ids::{BrokerId, LeaderEpoch, SessionId};
use yak_protocol::message::Open;

/// An open that waits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct ParkedOpen {
    pub(super) stream: StreamId,
    pub(super) follower: BrokerId,
    pub(super) open: Open,
    until: Now,
}

/// At most one for each follower: a newer open makes the older one moot.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Parked(BTreeMap<BrokerId, ParkedOpen>);

impl Parked {
    pub(super) fn park(&mut self, stream: StreamId, follower: BrokerId, open: Open, until: Now) {
        self.0.insert(follower, ParkedOpen { stream, follower, open, until });
    }

    /// Forgets what that follower had parked if it opens anew.
    pub(super) fn forget_before(&mut self, follower: BrokerId, open: &Open) {
        let age = |open: &Open| (open.broker_epoch, open.leader_epoch, open.session);
        self.0.retain(|id, parked| *id != follower || age(&parked.open) > age(open));
    }

    pub(super) fn closed(&mut self, stream: StreamId, session: Option<SessionId>) {
        self.0.retain(|_, parked| {
            parked.stream != stream || session.is_some_and(|session| session != parked.open.session)
        });
    }

    /// Takes those with an epoch up to `epoch`: they can be answered now.
    pub(super) fn take_up_to(&mut self, epoch: LeaderEpoch) -> Vec<ParkedOpen> {
        self.take(|parked| parked.open.leader_epoch <= epoch)
    }

    /// Takes those that have waited long enough.
    pub(super) fn take_expired(&mut self, now: Now) -> Vec<ParkedOpen> {
        self.take(|parked| parked.until <= now)
    }

    fn take(&mut self, which: impl Fn(&ParkedOpen) -> bool) -> Vec<ParkedOpen> {
        let taken: Vec<_> = self.0.values().filter(|parked| which(parked)).copied().collect();
        self.0.retain(|_, parked| !which(parked));
        taken
    }

    pub(super) fn next_deadline(&self) -> Option<Now> {
        self.0.values().map(|parked| parked.until).min()
    }
}
