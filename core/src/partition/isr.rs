//! The leader's proposal of another ISR: one at a time, counted for commits until its fate is known
//! (rules R6 to R8).

use super::Now;
use crate::rules::Rules;
use std::collections::BTreeSet;
use std::time::Duration;
use yak_protocol::ids::{BrokerEpoch, BrokerId, PartitionEpoch};

/// Proposals for one partition record.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Proposals {
    /// The one in flight.
    pending: Option<Proposal>,
    /// Members of earlier proposals for the same record that may yet be applied: a copy of them was sent
    /// again, so a refusal of one copy says nothing of the other.
    doubtful: BTreeSet<BrokerId>,
    /// After a refusal: no new proposal before this.
    not_before: Option<Now>,
}

/// A proposal in flight.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Proposal {
    partition_epoch: PartitionEpoch,
    isr: Vec<(BrokerId, BrokerEpoch)>,
    resend_at: Now,
    /// Whether more than one copy of it is under way.
    resent: bool,
}

impl Proposals {
    /// Everybody who may be in the ISR by now, as far as proposals go.
    pub(super) fn members(&self) -> impl Iterator<Item = BrokerId> {
        let pending = self.pending.iter().flat_map(|proposal| proposal.isr.iter().map(|(id, _)| *id));
        pending.chain(self.doubtful.iter().copied())
    }

    /// Whether another proposal may be made at `now`.
    pub(super) fn may_propose(&self, now: Now) -> bool {
        self.pending.is_none() && self.not_before.is_none_or(|at| now >= at)
    }

    /// Whether a proposal that changes nothing is wanted, to move the record past doubtful ones.
    pub(super) fn in_doubt(&self) -> bool {
        self.pending.is_none() && !self.doubtful.is_empty()
    }

    /// This is proposed now.
    pub(super) fn propose(
        &mut self,
        partition_epoch: PartitionEpoch,
        isr: Vec<(BrokerId, BrokerEpoch)>,
        resend_at: Now,
    ) {
        assert!(self.pending.is_none(), "one proposal in flight");
        self.not_before = None;
        self.pending = Some(Proposal { partition_epoch, isr, resend_at, resent: false });
    }

    /// The record is now this one; proposals for older ones can no longer be applied.
    pub(super) fn on_record(&mut self, partition_epoch: PartitionEpoch, newer: bool) {
        if newer {
            self.pending = self.pending.take().filter(|proposal| proposal.partition_epoch >= partition_epoch);
            self.doubtful.clear();
            self.not_before = None;
        }
    }

    /// The coordinator has definitely not applied the proposal for that record. Returns whom it named.
    pub(super) fn on_refused(&mut self, partition_epoch: PartitionEpoch, not_before: Now) -> Vec<BrokerId> {
        let Some(proposal) = self.pending.take_if(|proposal| proposal.partition_epoch == partition_epoch)
        else {
            return Vec::new();
        };
        self.not_before = Some(not_before);
        let named: Vec<BrokerId> = proposal.isr.iter().map(|(id, _)| *id).collect();
        if proposal.resent {
            self.doubtful.extend(&named);
        }
        named
    }

    /// What to send again at `now`. Without rule R8 a timeout forgets the proposal instead.
    pub(super) fn resend(
        &mut self,
        now: Now,
        retry: Duration,
        rules: Rules,
    ) -> Option<(PartitionEpoch, Vec<(BrokerId, BrokerEpoch)>)> {
        let proposal = self.pending.as_mut().filter(|proposal| now >= proposal.resend_at)?;
        if !rules.r8_pending_stays() {
            self.pending = None;
            return None;
        }
        proposal.resend_at = now + retry;
        proposal.resent = true;
        Some((proposal.partition_epoch, proposal.isr.clone()))
    }

    /// When something is due, given when the ISR next calls for a change.
    pub(super) fn deadline(&self, change_due: Option<Now>) -> Option<Now> {
        if let Some(proposal) = &self.pending {
            return Some(proposal.resend_at);
        }
        let due = if self.doubtful.is_empty() { change_due } else { Some(Now::default()) };
        due.map(|at| self.not_before.map_or(at, |not_before| at.max(not_before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Duration = Duration::from_millis(500);
    const RECORD: PartitionEpoch = PartitionEpoch(4);

    fn proposed() -> Proposals {
        let mut proposals = Proposals::default();
        proposals.propose(
            RECORD,
            vec![(BrokerId(1), BrokerEpoch(1)), (BrokerId(2), BrokerEpoch(2))],
            Now(500),
        );
        proposals
    }

    fn members(proposals: &Proposals) -> Vec<u32> {
        proposals.members().map(|id| id.0).collect()
    }

    #[test]
    fn a_timeout_sends_the_same_again_and_keeps_counting_its_members() {
        let mut proposals = proposed();
        assert_eq!(proposals.resend(Now(499), RETRY, Rules::all()), None);
        let (record, isr) = proposals.resend(Now(500), RETRY, Rules::all()).unwrap();
        assert_eq!((record, isr.len()), (RECORD, 2));
        assert_eq!(members(&proposals), [1, 2]);
        assert_eq!(proposals.deadline(None), Some(Now(1000)));
    }

    #[test]
    fn a_refusal_of_the_only_copy_allows_rollback() {
        let mut proposals = proposed();
        proposals.on_refused(PartitionEpoch(3), Now(700));
        assert_eq!(members(&proposals), [1, 2], "another record's");
        proposals.on_refused(RECORD, Now(700));
        assert!(members(&proposals).is_empty(), "{proposals:?}");
        assert!(!proposals.may_propose(Now(699)));
        assert!(proposals.may_propose(Now(700)));
    }

    #[test]
    fn a_refusal_of_one_of_two_copies_does_not() {
        let mut proposals = proposed();
        proposals.resend(Now(500), RETRY, Rules::all());
        proposals.on_refused(RECORD, Now(700));
        assert_eq!(members(&proposals), [1, 2]);
        assert!(proposals.in_doubt());
        assert_eq!(proposals.deadline(None), Some(Now(700)));
        proposals.on_record(PartitionEpoch(5), true);
        assert!(members(&proposals).is_empty(), "{proposals:?}");
        assert!(!proposals.in_doubt());
    }

    #[test]
    fn the_next_record_ends_it() {
        let mut proposals = proposed();
        proposals.on_record(RECORD, false);
        assert_eq!(members(&proposals), [1, 2]);
        proposals.on_record(PartitionEpoch(5), true);
        assert!(members(&proposals).is_empty(), "{proposals:?}");
        assert_eq!(proposals.deadline(None), None);
    }
}
