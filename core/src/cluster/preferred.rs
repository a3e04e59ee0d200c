//! Leadership goes back to preferred leaders, the first of each partition's replicas: when somebody asks for
//! it, and by itself once they have been in sync for long enough.

use super::{Cluster, Now, Step};
use std::collections::BTreeSet;
use yak_protocol::defaults::{PREFERRED_AT_ONCE, PREFERRED_PAUSE};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, TopicPartition};
use yak_protocol::message::{ElectPreferred, ElectPreferredReply, PartitionInfo, PreferredElection};

impl Cluster {
    pub(super) fn elect_preferred(
        &mut self,
        request: &ElectPreferred,
        step: &mut Step,
    ) -> Result<ElectPreferredReply, WireError> {
        let chosen: Vec<TopicPartition> = match (&request.topic, request.partition) {
            (Some(topic), Some(partition)) => vec![self.state.find(topic, partition)?.id],
            (Some(topic), None) => {
                let topic = self.state.find_topic(topic)?.id;
                self.state.partitions_of(topic).map(|info| info.id).collect()
            }
            (None, None) => self.state.partitions().map(|info| info.id).collect(),
            (None, Some(partition)) => {
                let what = format!("partition {partition} of which topic?");
                return Err(WireError::new(ErrorCode::BadRequest, what).hint("name the topic, too"));
            }
        };
        step.because("asked for by hand");
        let mut elections = Vec::new();
        for id in chosen {
            let Some(old) = self.state.partition(id).cloned() else { continue };
            let Some(to) = old.target().first().copied().filter(|to| old.leader != Some(*to)) else {
                continue;
            };
            let waits = self.not_yet(&old, to);
            let mut moved = waits.is_none();
            if moved && !request.dry_run {
                moved = self.revise_one(step, id, |_, info| info.leader = Some(to));
            }
            let now = self.state.partition(id).map_or(old.leader_epoch, |info| info.leader_epoch);
            let leader_epoch = if moved && request.dry_run { now.next() } else { now };
            let topic = self.state.topic(id.topic).map(|topic| topic.name.clone()).unwrap_or_default();
            let from = old.leader;
            elections.push(PreferredElection {
                topic,
                partition: id.partition,
                from,
                to,
                leader_epoch,
                moved,
                waits,
            });
        }
        Ok(ElectPreferredReply { elections })
    }

    /// Why the preferred leader may not lead now; `None` if it may.
    fn not_yet(&self, info: &PartitionInfo, id: BrokerId) -> Option<String> {
        if info.recovering {
            Some("waits for its metadata to be rebuilt".to_owned())
        } else if !self.state.unfenced(id) {
            Some(format!("waits for broker {id}, which is fenced"))
        } else if !info.isr.contains(&id) {
            Some(format!("waits for broker {id} to be in sync"))
        } else if self.state.draining(id) {
            Some(format!("broker {id} drains and takes no lead"))
        } else if self.state.halted(id, info.id) {
            Some(format!("the replica on broker {id} has stopped itself"))
        } else if self.demoted(id, info) {
            Some(format!("waits for the damage on broker {id} to be repaired"))
        } else {
            None
        }
    }

    /// Whether the partition's preferred leader does not lead it, and could.
    fn could_go_back(&self, info: &PartitionInfo) -> bool {
        let preferred = info.target().first().copied();
        preferred.is_some_and(|id| {
            info.leader.is_some_and(|leader| leader != id) && self.not_yet(info, id).is_none()
        })
    }

    /// A record changed: a preferred leader that cannot lead begins to wait anew.
    pub(super) fn note_preferred(&mut self, id: TopicPartition) {
        let could = self.state.partition(id).is_some_and(|info| self.could_go_back(info));
        if !could {
            self.liveness.could_go_back.remove(&id);
        }
    }

    /// Time passed: preferred leaders that could have led for long enough do, a few at once. Damped, so that a
    /// broker which comes and goes does not take leaderships with it each time.
    pub(super) fn give_back(&mut self, now: Now, step: &mut Step) {
        let could: BTreeSet<TopicPartition> =
            self.state.partitions().filter(|info| self.could_go_back(info)).map(|info| info.id).collect();
        let waiting = &mut self.liveness.could_go_back;
        waiting.retain(|id, _| could.contains(id));
        for id in could {
            waiting.entry(id).or_insert(now);
        }
        if self.liveness.gave_back.is_some_and(|last| now.since(last) < PREFERRED_PAUSE) {
            return;
        }
        let long = self.config.preferred_in_sync;
        let due: Vec<TopicPartition> = self
            .liveness
            .could_go_back
            .iter()
            .filter(|(_, since)| now.since(**since) >= long)
            .map(|(id, _)| *id)
            .take(PREFERRED_AT_ONCE)
            .collect();
        if !due.is_empty() {
            self.liveness.gave_back = Some(now);
        }
        for id in due {
            let Some(to) = self.state.partition(id).and_then(|info| info.target().first().copied()) else {
                continue;
            };
            step.because(format!(
                "broker {to}, its preferred leader, has been in sync for {} s",
                long.as_secs()
            ));
            self.revise_one(step, id, |_, info| info.leader = Some(to));
        }
    }
}
