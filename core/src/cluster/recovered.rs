//! Who leads a partition of a rebuilt journal whose leader could not be asked (rule R15; reliability 3.6: Viewstamped
//! Replication's view change with quorums of other sizes, Howard et al., "Flexible Paxos").
//!
//! What is committed is on `min_isr` replicas. So among any `replicas - min_isr + 1` of them at least one has it,
//! and whose log holds all that theirs hold has everything that was acknowledged. They rest: no other set of
//! replicas is left that could commit more meanwhile.

use super::{Change, Cluster, Note, Record, State, Step};
use yak_protocol::ids::{BrokerId, LeaderEpoch, PartitionEpoch, TopicPartition};
use yak_protocol::message::{PartitionInfo, ReplicaReport};

/// By how much an epoch grows that must be above all that nobody here has heard of.
pub(super) const LEAP: u32 = 1 << 16;

/// The replica that has everything, and all whose logs are the same; `None` = that cannot be told from these.
fn decide(info: &PartitionInfo, told: &[(BrokerId, ReplicaReport)]) -> Option<Vec<BrokerId>> {
    if told.len() < info.quorum() {
        return None;
    }
    let newest = told.iter().map(|(_, report)| report.leader_epoch).max()?.max(info.leader_epoch);
    let log = |report: &ReplicaReport| (report.last_epoch, report.log_end);
    let longest = told.iter().map(|(_, report)| log(report)).max()?;
    // Two logs whose last records are of one epoch are one the beginning of the other. A record of the newest
    // epoch is preceded by all that was committed before that epoch (I1). Otherwise a shorter log of a newer
    // epoch can lack what was committed again later (Raft, figure 8).
    let comparable = longest.0 == newest || told.iter().all(|(_, report)| report.last_epoch == longest.0);
    let have_it = told.iter().filter(|(_, report)| log(report) == longest).map(|(id, _)| *id);
    comparable.then(|| have_it.collect())
}

impl State {
    /// The partitions of a rebuilt journal of which nobody is known to have everything, each with the brokers whose
    /// word counts for who has.
    pub fn made_again(&self) -> impl Iterator<Item = (TopicPartition, &[BrokerId])> {
        self.made_again.iter().map(|(id, witnesses)| (*id, witnesses.as_slice()))
    }
}

impl Cluster {
    /// Decides what can be decided by now.
    pub(super) fn settle_made_again(&mut self, step: &mut Step) {
        let waiting: Vec<TopicPartition> = self.state.made_again().map(|(id, _)| id).collect();
        for id in waiting {
            let Some(old) = self.state.partition(id).filter(|info| info.recovering).cloned() else {
                continue;
            };
            let told = self.resting(&old);
            let Some(mut isr) = decide(&old, &told) else { continue };
            isr.sort_unstable();
            let Some(leader) = self.candidate(&PartitionInfo { isr: isr.clone(), ..old.clone() }) else {
                continue;
            };
            let (told, title) = (told.len(), self.state.title(id));
            step.note(
                "recovered",
                format!("{title}: by the word of {told} replicas broker {leader} has everything"),
            );
            step.because(format!("{told} replicas of the rebuilt partition have said how far they go"));
            self.lead_again(&old, leader, isr, false, step);
        }
    }

    /// What the live replicas have said whose word counts and that act by this record: they rest.
    fn resting(&self, info: &PartitionInfo) -> Vec<(BrokerId, ReplicaReport)> {
        let witnesses = self.state.made_again.get(&info.id).map(Vec::as_slice).unwrap_or_default();
        let able = witnesses.iter().filter(|id| {
            info.replicas.contains(id) && self.able(**id, info) && !self.state.damaged(**id, info.id)
        });
        let told = able.filter_map(|id| Some((*id, *self.liveness.reports.get(&(*id, info.id))?)));
        told.filter(|(_, report)| report.partition_epoch >= info.partition_epoch && !report.damaged).collect()
    }

    /// R12: who came back with less cannot tell who has everything.
    pub(super) fn disbelieve(&mut self, broker: BrokerId, lost: &[TopicPartition], step: &mut Step) {
        let fewer: Vec<Record> = self
            .state
            .made_again()
            .filter(|(id, witnesses)| lost.contains(id) && witnesses.contains(&broker))
            .map(|(id, witnesses)| Record::MadeAgain {
                id,
                witnesses: witnesses.iter().copied().filter(|witness| *witness != broker).collect(),
            })
            .collect();
        for record in fewer {
            self.record(step, record);
        }
    }

    /// The partition no longer recovers: the broker leads it in an epoch above all that were ever seen. `unclean`: it
    /// may lack acknowledged records.
    pub(super) fn lead_again(
        &mut self,
        old: &PartitionInfo,
        leader: BrokerId,
        isr: Vec<BrokerId>,
        unclean: bool,
        step: &mut Step,
    ) {
        let said = |id: &BrokerId| self.liveness.reports.get(&(*id, old.id)).copied();
        let said: Vec<ReplicaReport> = old.replicas.iter().filter_map(said).collect();
        let highest = said.iter().map(|report| report.leader_epoch).max().unwrap_or(LeaderEpoch::ZERO);
        let seen = said.iter().map(|report| report.partition_epoch).max().unwrap_or(PartitionEpoch::ZERO);
        // Somebody who cannot be asked may have been told of later ones.
        let leader_epoch = LeaderEpoch(old.leader_epoch.max(highest).0 + LEAP);
        let new = PartitionInfo {
            recovering: false,
            leader: Some(leader),
            leader_epoch,
            partition_epoch: old.partition_epoch.max(seen).next(),
            isr,
            elr: Vec::new(),
            unclean: if unclean { Some(leader_epoch) } else { old.unclean },
            ..old.clone()
        };
        let change = Change::of(self.state.title(old.id), old, &new, &step.why);
        step.notes.extend(change.map(|change| Note::Changed(Box::new(change))));
        self.record(step, Record::Partition(new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::{Offset, PartitionIndex, TopicId};

    const ID: TopicPartition = TopicPartition { topic: TopicId(1), partition: PartitionIndex(0) };

    fn made_again(replicas: u32, min_isr: u32) -> PartitionInfo {
        PartitionInfo {
            id: ID,
            replicas: (1..=replicas).map(BrokerId).collect(),
            leader: None,
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(9),
            isr: Vec::new(),
            elr: Vec::new(),
            min_isr,
            recovering: true,
            moving: None,
            unclean: None,
        }
    }

    fn told(broker: u32, last_epoch: u32, log_end: u64) -> (BrokerId, ReplicaReport) {
        let report = ReplicaReport {
            id: ID,
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(9),
            last_epoch: LeaderEpoch(last_epoch),
            log_end: Offset(log_end),
            high_watermark: Offset(0),
            damaged: false,
            halted: false,
        };
        (BrokerId(broker), report)
    }

    fn decided(min_isr: u32, said: &[(BrokerId, ReplicaReport)]) -> Option<Vec<u32>> {
        let isr = decide(&made_again(3, min_isr), said)?;
        Some(isr.into_iter().map(|id| id.0).collect())
    }

    #[test]
    fn so_many_must_speak_that_one_of_them_has_every_committed_record() {
        assert_eq!(decided(2, &[told(2, 4, 10)]), None);
        assert_eq!(decided(2, &[told(2, 4, 10), told(3, 4, 9)]), Some(vec![2]));
        assert_eq!(decided(1, &[told(2, 4, 10), told(3, 4, 9)]), None);
        assert_eq!(decided(3, &[told(3, 4, 9)]), Some(vec![3]));
    }

    #[test]
    fn a_record_of_the_newest_epoch_wins_over_a_longer_old_log() {
        assert_eq!(decided(2, &[told(2, 4, 10), told(3, 3, 99)]), Some(vec![2]));
        assert_eq!(decided(2, &[told(2, 4, 10), told(3, 4, 10)]), Some(vec![2, 3]));
    }

    #[test]
    fn logs_of_one_epoch_are_one_the_beginning_of_the_other() {
        assert_eq!(decided(2, &[told(2, 3, 10), told(3, 3, 12)]), Some(vec![3]));
    }

    #[test]
    fn of_two_old_epochs_neither_may_have_everything() {
        // Broker 3 may have committed its older records again in epoch 4, with the one that is not there.
        assert_eq!(decided(2, &[told(2, 3, 10), told(3, 2, 10)]), None);
    }

    #[test]
    fn whoever_has_heard_of_a_later_epoch_is_believed() {
        let mut later = told(3, 3, 9);
        later.1.leader_epoch = LeaderEpoch(5);
        assert_eq!(decided(2, &[told(2, 4, 10), later]), None);
    }
}
