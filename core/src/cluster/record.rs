//! The journal's records: the only way in which the cluster's durable state changes.

use super::decommission::Decommission;
use serde::{Deserialize, Serialize};
use yak_protocol::ids::{
    BrokerEpoch, BrokerId, ClusterId, CoordinatorEpoch, DataDirId, Incarnation, MetadataVersion,
    ProducerEpoch, ProducerId, TopicId, TopicPartition,
};
use yak_protocol::message::{PartitionInfo, ReplicaReport, TopicInfo};

/// One change of durable state.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Record {
    /// First record of every journal.
    Cluster {
        /// The cluster's id.
        cluster_id: ClusterId,
    },
    /// A coordinator starts its term.
    CoordinatorEpoch {
        /// The term.
        epoch: CoordinatorEpoch,
    },
    /// A broker registered: its session (fenced) and what it reported.
    Broker {
        /// Its number.
        id: BrokerId,
        /// Its name.
        name: String,
        /// Its address.
        address: String,
        /// Its rack.
        rack: String,
        /// Its session.
        broker_epoch: BrokerEpoch,
        /// Its process.
        incarnation: Incarnation,
        /// Its disk.
        data_dir: DataDirId,
        /// What it reported at registration (rule R12).
        replicas: Vec<ReplicaReport>,
        /// Replicas of it that may lack what they once had: they are new ones from its first heartbeat on.
        #[serde(default)]
        lost: Vec<TopicPartition>,
    },
    /// A broker may not lead and is in no ISR (R10), or may again.
    Fence {
        /// Which.
        id: BrokerId,
        /// Whether.
        fenced: bool,
        /// The broker epoch that its first heartbeat confirmed, in the record that unfences (R12).
        #[serde(default)]
        confirmed: Option<BrokerEpoch>,
    },
    /// A broker hands over its leaderships, or no longer.
    Drain {
        /// Which.
        id: BrokerId,
        /// Whether.
        draining: bool,
        /// Whether somebody asked for it by hand; otherwise the broker is to stop.
        #[serde(default)]
        requested: bool,
    },
    /// A broker is to go for good, or is to stay after all.
    Decommission {
        /// Which.
        id: BrokerId,
        /// What was asked for; `None` = it stays.
        wanted: Option<Decommission>,
    },
    /// A broker that held nothing any more was forgotten.
    BrokerGone {
        /// Which; the number is never given out again.
        id: BrokerId,
        /// Its disk, which may not come back.
        data_dir: DataDirId,
    },
    /// A topic was made or changed.
    Topic(TopicInfo),
    /// A topic was deleted; the tombstone stays (rule R16).
    TopicDeleted {
        /// Which.
        id: TopicId,
    },
    /// A partition's record changed.
    Partition(PartitionInfo),
    /// In a rebuilt journal, beside a partition's record: nobody is known to have everything, and these replicas'
    /// word counts for who has. It ends with the record that makes somebody lead.
    MadeAgain {
        /// Which partition.
        id: TopicPartition,
        /// The brokers that were asked, without those that have lost something since.
        witnesses: Vec<BrokerId>,
    },
    /// A replica was found damaged below its synced end, or is whole again (rule R17).
    Damage {
        /// On which broker.
        broker: BrokerId,
        /// Which replica.
        id: TopicPartition,
        /// Whether.
        damaged: bool,
    },
    /// A replica has stopped itself (rule R4), or its broker was started again without it doing so.
    Halt {
        /// On which broker.
        broker: BrokerId,
        /// Which replica.
        id: TopicPartition,
        /// Whether.
        halted: bool,
    },
    /// The changes beside this record make this version of the metadata.
    Version {
        /// The version.
        version: MetadataVersion,
    },
    /// A named producer got this id and epoch.
    NamedProducer {
        /// The name.
        name: String,
        /// Its id.
        producer_id: ProducerId,
        /// Its epoch.
        producer_epoch: ProducerEpoch,
        /// What the one that got it calls itself.
        client: String,
        /// The epoch that it held before, if it had the name already: if it asks again from there, its answer was lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<ProducerEpoch>,
    },
    /// Producer ids below this one are given out.
    ProducerIds {
        /// The next free one.
        next: i64,
    },
}
