//! Where replicas live: on unfenced brokers, spread over brokers and racks, leaders balanced.

use super::{Cluster, Record, Step};
use std::collections::BTreeMap;
use yak_protocol::ids::{BrokerId, TopicPartition};
use yak_protocol::message::PartitionInfo;

/// How much each broker that can take replicas has already.
pub(super) struct Placement {
    brokers: BTreeMap<BrokerId, Load>,
}

struct Load {
    rack: String,
    preferred: u32,
    replicas: u32,
}

impl Placement {
    /// One broker less to choose from.
    pub(super) fn without(&mut self, id: BrokerId) {
        self.brokers.remove(&id);
    }

    /// How many brokers there are to choose from.
    pub(super) fn brokers(&self) -> usize {
        self.brokers.len()
    }

    /// Replicas for one more partition, the preferred leader first; fewer than `count` if there are fewer
    /// brokers.
    pub(super) fn place(&mut self, count: usize) -> Vec<BrokerId> {
        let leader = self.brokers.iter().min_by_key(|(id, load)| (load.preferred, load.replicas, **id));
        let Some(leader) = leader.map(|(id, _)| *id) else { return Vec::new() };
        if let Some(load) = self.brokers.get_mut(&leader) {
            load.preferred += 1;
            load.replicas += 1;
        }
        let mut replicas = vec![leader];
        while replicas.len() < count {
            let Some(next) = self.next_replica(&replicas, &[]) else { break };
            replicas.push(next);
        }
        replicas
    }

    /// One more broker beside `replicas`: in a rack that has none of them if there is one, then the one
    /// with the least. `elsewhere` names racks of replicas that are not among the brokers at hand.
    pub(super) fn next_replica(&mut self, replicas: &[BrokerId], elsewhere: &[&str]) -> Option<BrokerId> {
        let used = |rack: &str| {
            // An unknown rack is nobody's neighbour.
            !rack.is_empty()
                && (elsewhere.contains(&rack)
                    || replicas.iter().filter_map(|id| self.brokers.get(id)).any(|load| load.rack == rack))
        };
        let next = self
            .brokers
            .iter()
            .filter(|(id, _)| !replicas.contains(id))
            .min_by_key(|(id, load)| (used(&load.rack), load.replicas, **id))
            .map(|(id, _)| *id)?;
        if let Some(load) = self.brokers.get_mut(&next) {
            load.replicas += 1;
        }
        Some(next)
    }
}

impl Cluster {
    /// The brokers that can take replicas now, with what they have.
    pub(super) fn placement(&self) -> Placement {
        let mut brokers: BTreeMap<BrokerId, Load> = self
            .state
            .brokers()
            .filter(|broker| !broker.info.fenced && !broker.info.draining)
            .map(|broker| {
                (broker.info.id, Load { rack: broker.info.rack.clone(), preferred: 0, replicas: 0 })
            })
            .collect();
        for info in self.state.partitions() {
            for (position, replica) in info.replicas.iter().enumerate() {
                if let Some(load) = brokers.get_mut(replica) {
                    load.replicas += 1;
                    load.preferred += u32::from(position == 0);
                }
            }
        }
        Placement { brokers }
    }

    /// Gives partitions that were made with fewer replicas than wanted the missing ones, as far as there
    /// are brokers. A new replica is empty; it comes into the ISR by R7.
    pub(super) fn fill_replicas(&mut self, step: &mut Step) {
        let wanted = |info: &PartitionInfo| {
            self.state.topic(info.id.topic).map_or(0, |topic| topic.wanted_replicas as usize)
        };
        let short: Vec<(TopicPartition, usize)> = self
            .state
            .partitions()
            .filter(|info| !info.recovering && info.moving.is_none() && info.replicas.len() < wanted(info))
            .map(|info| (info.id, wanted(info)))
            .collect();
        if short.is_empty() {
            return;
        }
        let mut placement = self.placement();
        for (id, wanted) in short {
            let Some(old) = self.state.partition(id) else { continue };
            let mut info = old.clone();
            let racks: Vec<&str> = old
                .replicas
                .iter()
                .filter_map(|replica| self.state.broker(*replica))
                .map(|broker| broker.info.rack.as_str())
                .collect();
            while info.replicas.len() < wanted {
                let Some(next) = placement.next_replica(&info.replicas, &racks) else { break };
                info.replicas.push(next);
            }
            if info.replicas.len() > old.replicas.len() {
                info.partition_epoch = old.partition_epoch.next();
                let title = self.state.title(id);
                step.note(
                    "placement",
                    format!("{title}: replicas are now {:?}, {wanted} are wanted", info.replicas),
                );
                self.record(step, Record::Partition(info));
            }
        }
    }
}
