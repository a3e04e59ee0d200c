//! Who is in sync and who leads, after any change (rules R4, R10 and R17).
//!
//! Every decision about a partition ends in [`Cluster::settle`]: it takes the record as a change left
//! it, puts out what has stopped itself, demotes what is damaged, elects, and counts the epochs.

use super::{Change, Cluster, Note, Record, Step, list};
use yak_protocol::ids::{BrokerId, TopicPartition};
use yak_protocol::message::{Durability, PartitionInfo};

/// Adds to an ascending list.
pub(super) fn insert(list: &mut Vec<BrokerId>, id: BrokerId) {
    if let Err(place) = list.binary_search(&id) {
        list.insert(place, id);
    }
}

/// Removes from a list; says whether it was there.
pub(super) fn remove(list: &mut Vec<BrokerId>, id: BrokerId) -> bool {
    let before = list.len();
    list.retain(|member| *member != id);
    list.len() != before
}

fn as_it_is(_: &Cluster, _: &mut PartitionInfo) {}

impl Cluster {
    /// R10: the broker may not lead and is in no ISR from here on; its partitions elect.
    pub(super) fn fence(&mut self, id: BrokerId, why: &str, step: &mut Step) {
        step.because(format!("broker {id} is fenced: {why}"));
        step.notes.push(Note::Fenced { broker: id, why: why.to_owned() });
        self.record(step, Record::Fence { id, fenced: true, confirmed: None });
        if let Some(session) = self.liveness.sessions.get_mut(&id) {
            session.told = self.state.version();
        }
        self.revise(
            step,
            |info| info.isr.contains(&id) || info.leader == Some(id),
            |cluster, info| {
                cluster.depart(info, id);
            },
        );
    }

    /// Takes the broker out of the ISR. It stays eligible if that leaves fewer than `min_isr`
    /// ([`Self::settle`] clears the ELR otherwise).
    pub(super) fn depart(&self, info: &mut PartitionInfo, id: BrokerId) {
        let was_member = remove(&mut info.isr, id);
        if info.leader == Some(id) {
            info.leader = None;
        }
        if !was_member {
            return;
        }
        if self.config.rules.r10_eligible_replicas() {
            insert(&mut info.elr, id);
        } else if info.isr.is_empty() {
            insert(&mut info.isr, id);
        }
    }

    /// Changes every partition that `which` picks, settles it, and records it if anything came of it.
    pub(super) fn revise(
        &mut self,
        step: &mut Step,
        which: impl Fn(&PartitionInfo) -> bool,
        change: impl Fn(&Self, &mut PartitionInfo),
    ) {
        let chosen: Vec<TopicPartition> = self
            .state
            .partitions()
            .filter(|info| !info.recovering && which(info))
            .map(|info| info.id)
            .collect();
        for id in chosen {
            self.revise_one(step, id, |cluster, info| change(cluster, info));
        }
    }

    /// [`Self::revise`] for one partition; says whether the record changed.
    pub(super) fn revise_one(
        &mut self,
        step: &mut Step,
        id: TopicPartition,
        change: impl FnOnce(&Self, &mut PartitionInfo),
    ) -> bool {
        let Some(old) = self.state.partition(id).filter(|info| !info.recovering) else { return false };
        let mut new = old.clone();
        change(self, &mut new);
        let Some(new) = self.settle(old, new) else { return false };
        let change = Change::of(self.state.title(id), old, &new, &step.why);
        if old.moving.is_some() && new.moving.is_none() {
            let text = format!("{} is on brokers {} now", self.state.title(id), list(&new.replicas));
            step.note("move", text);
            step.moved = true;
        }
        step.notes.extend(change.map(|change| Note::Changed(Box::new(change))));
        let through = self.is_through(&new);
        self.record(step, Record::Partition(new));
        if through {
            self.revise_one(step, id, as_it_is);
        }
        true
    }

    /// The record that follows `old` once `new` has been put in order; `None` if nothing changed.
    fn settle(&self, old: &PartitionInfo, mut new: PartitionInfo) -> Option<PartitionInfo> {
        self.put_out_halted(&mut new);
        self.demote_damaged(&mut new);
        self.finish_move(old, &mut new);
        self.elect(&mut new);
        self.raise_min_isr(&mut new);
        if new.isr.len() >= new.min_isr as usize {
            new.elr.clear();
        }
        if new == *old {
            return None;
        }
        new.partition_epoch = old.partition_epoch.next();
        // R18: neither a leader nor a replica that missed who came and went may go on as if nobody had.
        let lacks = |one: &[BrokerId], other: &[BrokerId]| other.iter().any(|id| !one.contains(id));
        let others = lacks(&new.replicas, &old.replicas) || lacks(&old.replicas, &new.replicas);
        if new.leader != old.leader || (others && self.config.rules.r18_new_epoch()) {
            new.leader_epoch = old.leader_epoch.next();
        }
        Some(new)
    }

    /// Whether the replica could lead now.
    pub(super) fn able(&self, id: BrokerId, info: &PartitionInfo) -> bool {
        self.state.unfenced(id) && !self.state.halted(id, info.id)
    }

    /// R4: a replica that has stopped itself counts as away. While another one could lead it is not even
    /// eligible: the two contradict each other about what is committed, and an operator must look.
    fn put_out_halted(&self, info: &mut PartitionInfo) {
        let halted: Vec<BrokerId> =
            info.replicas.iter().copied().filter(|id| self.state.halted(*id, info.id)).collect();
        let led_elsewhere = info.isr.iter().chain(&info.elr).any(|member| self.able(*member, info));
        for id in halted {
            self.depart(info, id);
            if led_elsewhere {
                remove(&mut info.elr, id);
            }
        }
    }

    /// Whether the replica may not lead while another can (rule R17).
    pub(super) fn demoted(&self, id: BrokerId, info: &PartitionInfo) -> bool {
        self.config.rules.r17_damage_demotes() && self.state.damaged(id, info.id)
    }

    /// R17: a damaged replica leaves ISR and ELR unless nobody else can lead.
    fn demote_damaged(&self, info: &mut PartitionInfo) {
        let mut members = info.isr.iter().chain(&info.elr);
        let whole = members.any(|member| self.able(*member, info) && !self.demoted(*member, info));
        if whole {
            let (isr, elr) = (info.isr.clone(), info.elr.clone());
            info.isr = isr.into_iter().filter(|member| !self.demoted(*member, info)).collect();
            info.elr = elr.into_iter().filter(|member| !self.demoted(*member, info)).collect();
        }
    }

    /// R10: a leader that may not go on is replaced at once, and so is one that drains while another
    /// in-sync replica does not.
    fn elect(&self, info: &mut PartitionInfo) {
        let may_lead = |id: &BrokerId| info.isr.contains(id) && self.able(*id, info);
        let current = info.leader.filter(may_lead);
        if current.is_some() && !self.hands_over(info) {
            return;
        }
        let candidate = self.candidate(info);
        match candidate {
            Some(leader) => {
                remove(&mut info.elr, leader);
                insert(&mut info.isr, leader);
                info.leader = Some(leader);
            }
            // Never any other replica: it may lack acknowledged records (rule R10).
            None if self.config.rules.r10_clean_election() => info.leader = None,
            None => self.elect_anyone(info),
        }
    }

    /// Whether the leader drains and another in-sync replica does not.
    pub(super) fn hands_over(&self, info: &PartitionInfo) -> bool {
        info.leader.is_some_and(|leader| self.state.draining(leader))
            && info.isr.iter().any(|member| self.able(*member, info) && !self.state.draining(*member))
    }

    /// The best member that could lead: whole before damaged, ISR before ELR, staying before draining, then the
    /// order of the replicas (the preferred leader is the first).
    pub(super) fn candidate(&self, info: &PartitionInfo) -> Option<BrokerId> {
        let place = |id: &BrokerId| info.replicas.iter().position(|replica| replica == id);
        info.isr
            .iter()
            .map(|id| (id, false))
            .chain(info.elr.iter().map(|id| (id, true)))
            .filter(|(id, _)| self.able(**id, info))
            .min_by_key(|(id, from_elr)| {
                (self.demoted(**id, info), *from_elr, self.state.draining(**id), place(id))
            })
            .map(|(id, _)| *id)
    }

    /// What R10 forbids; reached only in tests that remove it.
    fn elect_anyone(&self, info: &mut PartitionInfo) {
        info.leader = info.replicas.iter().copied().find(|replica| self.state.unfenced(*replica));
        if let Some(leader) = info.leader {
            info.isr = vec![leader];
            info.elr.clear();
        }
    }

    /// R9: `min_isr` changes only as part of the partition's record. A partition that was made with fewer
    /// replicas than wanted takes the topic's `min_isr` once it has been filled up and is in sync.
    fn raise_min_isr(&self, info: &mut PartitionInfo) {
        let Some(topic) = self.state.topic(info.id.topic) else { return };
        let filled = info.target().len() >= topic.wanted_replicas as usize
            || topic.config.durability == Durability::Replicated;
        if filled && topic.min_isr > info.min_isr && info.isr.len() >= topic.min_isr as usize {
            info.min_isr = topic.min_isr;
        }
    }
}
