//! Other in-sync replicas, as a leader proposes them (rule R9).

use super::election::{insert, remove};
use super::{Cluster, Record, Step};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::BrokerId;
use yak_protocol::message::{IsrProposal, PartitionInfo, ProposeIsr, ProposeIsrReply};

/// What becomes of one proposal.
enum Verdict {
    Apply,
    /// The record has moved on: whether by this very proposal cannot be told, so "not applied" would be
    /// a lie on which the leader could commit with too few replicas. The newer record decides.
    MovedOn,
    /// The leader has seen a newer record than this journal holds (rule R15).
    Ahead,
    NotApplied(String),
}

impl Cluster {
    pub(super) fn propose_isr(
        &mut self,
        request: &ProposeIsr,
        step: &mut Step,
    ) -> Result<ProposeIsrReply, WireError> {
        let mut outcomes = Vec::with_capacity(request.changes.len());
        for proposal in &request.changes {
            outcomes.push(match self.judge(request, proposal) {
                Verdict::Apply => {
                    self.apply_proposal(proposal, step);
                    None
                }
                Verdict::MovedOn => None,
                Verdict::Ahead => {
                    self.recovering(proposal.id, request.broker_id, step);
                    None
                }
                Verdict::NotApplied(why) => Some(WireError::new(
                    ErrorCode::NotApplied,
                    format!("{}: {why}", self.state.title(proposal.id)),
                )),
            });
        }
        Ok(ProposeIsrReply { outcomes })
    }

    fn judge(&self, request: &ProposeIsr, proposal: &IsrProposal) -> Verdict {
        let rules = &self.config.rules;
        let Some(info) = self.state.partition(proposal.id) else {
            return Verdict::NotApplied("there is no such partition".to_owned());
        };
        // What this journal has forgotten may have been this very change.
        if info.recovering {
            return Verdict::MovedOn;
        }
        if rules.r9_partition_epoch() && proposal.partition_epoch < info.partition_epoch {
            return Verdict::MovedOn;
        }
        if proposal.leader_epoch < info.leader_epoch {
            return Verdict::MovedOn;
        }
        if proposal.partition_epoch > info.partition_epoch || proposal.leader_epoch > info.leader_epoch {
            return Verdict::Ahead;
        }
        if info.leader != Some(request.broker_id) {
            return Verdict::NotApplied(format!("broker {} does not lead it", request.broker_id));
        }
        let current = self.state.broker(request.broker_id).map(|broker| broker.info.broker_epoch);
        if current != Some(request.broker_epoch) || !self.state.unfenced(request.broker_id) {
            return Verdict::NotApplied(format!("broker {} is fenced or has restarted", request.broker_id));
        }
        match self.ineligible(info, proposal) {
            Some(why) => Verdict::NotApplied(why),
            None => Verdict::Apply,
        }
    }

    /// Why the proposed set cannot be the ISR; `None` if it can.
    fn ineligible(&self, info: &PartitionInfo, proposal: &IsrProposal) -> Option<String> {
        let rules = &self.config.rules;
        if !proposal.isr.iter().any(|(member, _)| Some(*member) == info.leader) {
            return Some("the leader is missing from its own ISR".to_owned());
        }
        for (position, (member, epoch)) in proposal.isr.iter().enumerate() {
            if !info.replicas.contains(member) {
                return Some(format!("broker {member} holds no replica"));
            }
            if proposal.isr.iter().skip(position + 1).any(|(other, _)| other == member) {
                return Some(format!("broker {member} is named twice"));
            }
            let Some(broker) = self.state.broker(*member) else {
                return Some(format!("broker {member} is not known"));
            };
            if broker.info.fenced {
                return Some(format!("broker {member} is fenced"));
            }
            let added = !info.isr.contains(member);
            // Seen before its restart, it may have lost what it had then (rule R7).
            if added && rules.r9_broker_epoch() && broker.info.broker_epoch != *epoch {
                return Some(format!(
                    "broker {member} was seen in broker epoch {epoch}, it is in {}",
                    broker.info.broker_epoch
                ));
            }
            if added && rules.r17_damage_demotes() && self.state.damaged(*member, info.id) {
                return Some(format!("the replica on broker {member} is damaged"));
            }
            if self.state.halted(*member, info.id) {
                return Some(format!("the replica on broker {member} has stopped itself"));
            }
        }
        None
    }

    fn apply_proposal(&mut self, proposal: &IsrProposal, step: &mut Step) {
        let mut isr: Vec<BrokerId> = proposal.isr.iter().map(|(member, _)| *member).collect();
        isr.sort_unstable();
        let eligible = self.config.rules.r10_eligible_replicas();
        step.because("its leader proposed it");
        let unchanged = !self.revise_one(step, proposal.id, |_, info| {
            let removed: Vec<BrokerId> = info.isr.iter().copied().filter(|id| !isr.contains(id)).collect();
            for member in &isr {
                remove(&mut info.elr, *member);
            }
            info.isr = isr;
            if eligible {
                // Cleared again if the ISR is still large enough.
                removed.into_iter().for_each(|id| insert(&mut info.elr, id));
            }
        });
        // The leader waits for a newer record, so there must be one even if it says the same.
        if unchanged && let Some(info) = self.state.partition(proposal.id) {
            let mut next = info.clone();
            next.partition_epoch = info.partition_epoch.next();
            self.record(step, Record::Partition(next));
        }
    }
}
