//! A journal that was lost is made again from what the brokers know (rule R15; a view change of Viewstamped
//! Replication asks in the same way who has seen the newest).
//!
//! Without a coordinator no record changes: no election, no other ISR. So where the leader that the newest known
//! record names is among those who answer, has not been restarted, acts by that very record, and is joined by so
//! many replicas that no `min_isr` of them are left that could have followed another leader, that record is the last
//! one that had an effect. Such a partition goes on as it is, without so much as a pause. Of any other nobody knows
//! whether there is a newer record; it is marked `recovering` and rests until it is clear who has everything
//! (`recovered`).

use super::recovered::LEAP;
use super::{Record, State};
use std::collections::{BTreeMap, BTreeSet};
use yak_protocol::ids::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorEpoch, DataDirId, Incarnation, LeaderEpoch, PartitionEpoch,
    TopicPartition,
};
use yak_protocol::message::{LeaderInfo, PartitionInfo, RecollectReply, RegisterBroker, ReplicaReport};

/// What the brokers' knowledge makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// The journal.
    pub records: Vec<Record>,
    /// Partitions that rest, each with the reason.
    pub recovering: Vec<(TopicPartition, String)>,
    /// Brokers that the metadata names and that were not asked.
    pub missing: Vec<BrokerId>,
}

impl Rebuilt {
    /// The state that the journal leads to.
    #[must_use]
    pub fn state(&self) -> State {
        State::replay(&self.records)
    }
}

/// Why nothing can be made of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RebuildError {
    /// Nobody was asked.
    #[error("no broker was asked")]
    Nobody,
    /// A broker belongs to no cluster.
    #[error("broker {0:?} has never been part of a cluster: leave it out")]
    Stranger(String),
    /// Brokers of several clusters.
    #[error(
        "broker {one:?} belongs to cluster {one_id}, broker {other:?} to cluster {other_id}: ask those of one cluster"
    )]
    Clusters {
        /// A broker.
        one: String,
        /// Its cluster.
        one_id: ClusterId,
        /// Another.
        other: String,
        /// That one's.
        other_id: ClusterId,
    },
    /// Two data dirs say that they are the same broker.
    #[error(
        "{one:?} and {other:?} both say that they are broker {id}: one of them runs on a copy of the other's data dir"
    )]
    Twice {
        /// The number.
        id: BrokerId,
        /// A broker.
        one: String,
        /// Another.
        other: String,
    },
    /// All have been restarted since the coordinator was lost.
    #[error("no broker knows the topics: each has been restarted since it last heard a coordinator")]
    NothingKnown,
}

/// Makes a journal from what brokers told. Its terms are above any that one of them, or a coordinator that was
/// thought lost, can have seen.
///
/// # Errors
/// When they do not fit together, or know nothing.
pub fn rebuild(told: &[RecollectReply]) -> Result<Rebuilt, RebuildError> {
    let brokers = identify(told)?;
    let newest = told.iter().map(|told| &told.leader_info).max_by_key(|known| known.version);
    let newest =
        newest.filter(|known| known.version > Default::default()).ok_or(RebuildError::NothingKnown)?;
    let cluster_id = told.iter().find_map(|told| told.broker.cluster_id).unwrap_or_default();
    let epoch = told.iter().map(|told| told.broker.coordinator_epoch).max().unwrap_or_default();
    let mut records = vec![Record::Cluster { cluster_id }];
    // A coordinator that was thought lost, and is started again, is in another term, and an earlier one.
    records.push(Record::CoordinatorEpoch { epoch: CoordinatorEpoch(epoch.0 + u64::from(LEAP)) });
    let missing: Vec<BrokerId> =
        newest.brokers.iter().map(|broker| broker.id).filter(|id| !brokers.contains_key(id)).collect();
    register(newest, &brokers, &mut records);
    records.extend(newest.topics.iter().cloned().map(Record::Topic));
    let seen = Seen::by(told);
    let mut recovering = Vec::new();
    for info in &newest.partitions {
        let mut info = info.clone();
        let asked: Vec<BrokerId> =
            info.replicas.iter().copied().filter(|id| brokers.contains_key(id)).collect();
        let Some(why) = doubt(&info, &brokers, &asked, &seen) else {
            if asked.len() < info.replicas.len() {
                // The others may have heard of epochs that nobody else has.
                seen.leap(&mut info);
            }
            records.push(Record::Partition(info));
            continue;
        };
        seen.rest(&mut info);
        recovering.push((info.id, why));
        let id = info.id;
        records.push(Record::Partition(info));
        records.push(Record::MadeAgain { id, witnesses: asked });
    }
    troubles(newest, &brokers, &mut records);
    records.push(Record::Version { version: newest.version.next() });
    Ok(Rebuilt { records, recovering, missing })
}

/// Who is who.
fn identify(told: &[RecollectReply]) -> Result<BTreeMap<BrokerId, &RecollectReply>, RebuildError> {
    let first = told.first().ok_or(RebuildError::Nobody)?;
    let mut brokers: BTreeMap<BrokerId, &RecollectReply> = BTreeMap::new();
    for one in told {
        let stranger = || RebuildError::Stranger(one.broker.name.clone());
        let cluster = one.broker.cluster_id.ok_or_else(stranger)?;
        let id = one.broker.broker_id.ok_or_else(stranger)?;
        if let Some(other_id) = first.broker.cluster_id.filter(|other| *other != cluster) {
            let (one, other) = (one.broker.name.clone(), first.broker.name.clone());
            return Err(RebuildError::Clusters { one, one_id: cluster, other, other_id });
        }
        if let Some(other) = brokers.insert(id, one) {
            let (one, other) = (one.broker.name.clone(), other.broker.name.clone());
            return Err(RebuildError::Twice { id, one, other });
        }
    }
    Ok(brokers)
}

/// The brokers, each with the session that it holds, so that it can resume it. One that was not asked has an
/// unknown disk: whatever comes back in its name has lost what it had (rule R12). Who was not fenced has one lease
/// to come back, as after any start: until then it stays in its ISRs.
fn register(newest: &LeaderInfo, told: &BTreeMap<BrokerId, &RecollectReply>, records: &mut Vec<Record>) {
    for known in newest.brokers.iter().filter(|known| !told.contains_key(&known.id)) {
        records.push(Record::Broker {
            id: known.id,
            name: known.name.clone(),
            address: known.address.clone(),
            rack: known.rack.clone(),
            broker_epoch: known.broker_epoch,
            incarnation: Incarnation::default(),
            data_dir: DataDirId::default(),
            replicas: Vec::new(),
            lost: Vec::new(),
        });
    }
    for (id, RecollectReply { broker, .. }) in told {
        records.push(Record::Broker {
            id: *id,
            name: broker.name.clone(),
            address: broker.advertise.clone(),
            rack: broker.rack.clone(),
            broker_epoch: session_of(broker),
            incarnation: broker.incarnation,
            data_dir: broker.data_dir,
            replicas: broker.replicas.clone(),
            lost: Vec::new(),
        });
    }
    let known = |id: &BrokerId| newest.brokers.iter().find(|known| known.id == *id);
    let asked = told.iter().map(|(id, one)| (*id, session_of(&one.broker)));
    let others = newest.brokers.iter().filter(|known| !told.contains_key(&known.id));
    for (id, epoch) in asked.chain(others.map(|known| (known.id, known.broker_epoch))) {
        let fenced = known(&id).is_none_or(|known| known.fenced);
        records.push(Record::Fence { id, fenced, confirmed: Some(epoch) });
        if known(&id).is_some_and(|known| known.draining) {
            records.push(Record::Drain { id, draining: true, requested: true });
        }
    }
}

fn session_of(broker: &RegisterBroker) -> BrokerEpoch {
    broker.resume.unwrap_or_default().max(broker.stored_broker_epoch)
}

/// The highest epochs that any replica has seen.
struct Seen(BTreeMap<TopicPartition, (LeaderEpoch, PartitionEpoch)>);

impl Seen {
    fn by(told: &[RecollectReply]) -> Self {
        let mut seen: BTreeMap<_, (LeaderEpoch, PartitionEpoch)> = BTreeMap::new();
        for ReplicaReport { id, leader_epoch, partition_epoch, .. } in
            told.iter().flat_map(|one| &one.broker.replicas)
        {
            let highest = seen.entry(*id).or_default();
            *highest = (highest.0.max(*leader_epoch), highest.1.max(*partition_epoch));
        }
        Self(seen)
    }

    fn of(&self, info: &PartitionInfo) -> (LeaderEpoch, PartitionEpoch) {
        self.0.get(&info.id).copied().unwrap_or_default()
    }

    /// The record rests, and is newer than any that was seen. Nobody is known to have everything.
    fn rest(&self, info: &mut PartitionInfo) {
        let (leader_epoch, partition_epoch) = self.of(info);
        info.recovering = true;
        info.leader = None;
        info.leader_epoch = info.leader_epoch.max(leader_epoch);
        info.partition_epoch = info.partition_epoch.max(partition_epoch).next();
        info.isr.clear();
        info.elr.clear();
    }

    /// The record goes on, above all epochs that can have been given out.
    fn leap(&self, info: &mut PartitionInfo) {
        let (leader_epoch, partition_epoch) = self.of(info);
        info.leader_epoch = LeaderEpoch(info.leader_epoch.max(leader_epoch).0 + LEAP);
        info.partition_epoch = info.partition_epoch.max(partition_epoch).next();
    }
}

/// Why the newest known record need not be the last one; `None` if it is.
fn doubt(
    info: &PartitionInfo,
    told: &BTreeMap<BrokerId, &RecollectReply>,
    asked: &[BrokerId],
    seen: &Seen,
) -> Option<String> {
    let (leader_epoch, partition_epoch) = seen.of(info);
    if leader_epoch > info.leader_epoch || partition_epoch > info.partition_epoch {
        return Some(format!(
            "a replica has seen leader epoch {leader_epoch}, the newest record that is known names {}",
            info.leader_epoch
        ));
    }
    if info.recovering {
        return Some("it was recovering before".to_owned());
    }
    let Some(leader) = info.leader else { return Some("it had no leader".to_owned()) };
    let Some(one) = told.get(&leader) else {
        return Some(format!("broker {leader}, which led it, was not asked: it may know a newer record"));
    };
    let acts = one.broker.replicas.iter().any(|report| {
        report.id == info.id
            && report.leader_epoch == info.leader_epoch
            && report.partition_epoch >= info.partition_epoch
    });
    if one.broker.resume.is_none() || !acts {
        return Some(format!(
            "broker {leader}, which led it, has been restarted or has not heard of this record"
        ));
    }
    let enough = info.quorum();
    (asked.len() < enough).then(|| {
        format!(
            "{} of its replicas were asked: {enough} are needed to know that nobody else leads it",
            asked.len()
        )
    })
}

/// Replicas that are damaged or have stopped themselves.
fn troubles(newest: &LeaderInfo, told: &BTreeMap<BrokerId, &RecollectReply>, records: &mut Vec<Record>) {
    let exists: BTreeSet<TopicPartition> = newest.partitions.iter().map(|info| info.id).collect();
    for (broker, one) in told {
        for report in one.broker.replicas.iter().filter(|report| exists.contains(&report.id)) {
            let (broker, id) = (*broker, report.id);
            if report.damaged {
                records.push(Record::Damage { broker, id, damaged: true });
            }
            if report.halted {
                records.push(Record::Halt { broker, id, halted: true });
            }
        }
    }
}
