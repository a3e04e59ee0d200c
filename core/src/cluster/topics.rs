//! Topics: made with defaults, placed, deleted with a tombstone (rule R16).

use super::{Cluster, Record, Step};
use yak_protocol::defaults;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, TopicPartition};
use yak_protocol::message::{
    CreateTopic, CreateTopicReply, DeleteTopic, DeleteTopicReply, Durability, KeySlots, PartitionInfo,
    TopicInfo,
};
use yak_protocol::text::count;
use yak_protocol::topic_settings;

fn bad(message: String) -> WireError {
    WireError::bad_request(message)
}

impl Cluster {
    pub(super) fn create_topic(
        &mut self,
        request: &CreateTopic,
        entropy: u128,
        step: &mut Step,
    ) -> Result<CreateTopicReply, WireError> {
        if let Some(topic) = self.state.topic_named(&request.topic) {
            if !request.if_not_exists {
                let message = format!("a topic named {:?} exists already", request.topic);
                return Err(WireError::new(ErrorCode::TopicExists, message));
            }
            return Ok(self.topic_reply(topic.clone(), false));
        }
        self.check_name(&request.topic)?;
        let id = TopicId(entropy);
        if self.state.topic(id).is_some() || self.state.deleted().any(|deleted| deleted == id) {
            return Err(WireError::new(ErrorCode::Internal, "the new topic's id is taken").hint("try again"));
        }
        let topic = self.topic_info(id, request)?;
        self.check_brokers()?;
        self.record(step, Record::Topic(topic.clone()));
        self.make_partitions(&topic, 0..topic.partitions, request.min_isr, step);
        let partitions = count(topic.partitions.into(), "partition");
        let text = format!("topic {:?} ({id}) is made with {partitions}", topic.name);
        step.note("topic", text);
        Ok(self.topic_reply(topic, true))
    }

    pub(super) fn check_brokers(&self) -> Result<(), WireError> {
        if self.placement().brokers() == 0 {
            return Err(WireError::new(ErrorCode::NotEnoughBrokers, "no broker is alive to hold the topic")
                .hint("start a broker; `yak broker list` shows which are there"));
        }
        Ok(())
    }

    /// Places new partitions. Without a `min_isr` each has what its replicas allow.
    pub(super) fn make_partitions(
        &mut self,
        topic: &TopicInfo,
        which: std::ops::Range<u32>,
        min_isr: Option<u32>,
        step: &mut Step,
    ) {
        let mut placement = self.placement();
        for partition in which {
            let replicas = placement.place(topic.wanted_replicas as usize);
            let id = TopicPartition { topic: topic.id, partition: PartitionIndex(partition) };
            let allowed = || default_min_isr(replicas.len(), topic.config.durability);
            let min_isr = min_isr.unwrap_or_else(|| allowed().min(topic.min_isr));
            let mut isr = replicas.clone();
            isr.sort_unstable();
            self.record(
                step,
                Record::Partition(PartitionInfo {
                    id,
                    leader: replicas.first().copied(),
                    replicas,
                    leader_epoch: LeaderEpoch(1),
                    partition_epoch: PartitionEpoch(1),
                    isr,
                    elr: Vec::new(),
                    min_isr,
                    recovering: false,
                    moving: None,
                    unclean: None,
                }),
            );
        }
    }

    fn topic_reply(&self, topic: TopicInfo, created: bool) -> CreateTopicReply {
        let least = self.state.partitions_of(topic.id).map(|info| info.replicas.len()).min();
        let replicas = least.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        CreateTopicReply { topic, replicas, created }
    }

    fn check_name(&self, name: &str) -> Result<(), WireError> {
        if name == defaults::GROUP_OFFSETS_TOPIC {
            return Ok(());
        }
        yak_protocol::names::check_topic(name)?;
        // Names that only case, `.` or `_` tell apart end up as one in metrics and on some disks.
        let folded = fold(name);
        match self.state.topics().find(|topic| fold(&topic.name) == folded) {
            Some(other) => Err(WireError::new(
                ErrorCode::IllegalTopicName,
                format!("{name:?} differs from the topic {:?} only in case, `.` or `_`", other.name),
            )),
            None => Ok(()),
        }
    }

    /// The topic that is asked for, with its defaults.
    fn topic_info(&self, id: TopicId, request: &CreateTopic) -> Result<TopicInfo, WireError> {
        let partitions = request.partitions.unwrap_or(self.config.partitions);
        check_partitions(partitions)?;
        let wanted = request.replicas.unwrap_or(self.config.replicas);
        if !(1..=defaults::REPLICAS_MAX).contains(&wanted) {
            return Err(bad(format!("replicas must be 1 to {}, not {wanted}", defaults::REPLICAS_MAX)));
        }
        let durability = request.config.durability;
        let min_isr = request.min_isr.unwrap_or_else(|| default_min_isr(wanted as usize, durability));
        check_min_isr(min_isr, wanted, durability)?;
        topic_settings::check(&request.config)?;
        Ok(TopicInfo {
            id,
            name: request.topic.clone(),
            partitions,
            wanted_replicas: wanted,
            min_isr,
            config: request.config.clone(),
            key_slots: KeySlots::new(partitions),
        })
    }

    pub(super) fn delete_topic(
        &mut self,
        request: &DeleteTopic,
        step: &mut Step,
    ) -> Result<DeleteTopicReply, WireError> {
        yak_protocol::names::check_not_internal(&request.topic)?;
        let topic_id = self.state.find_topic(&request.topic)?.id;
        // The tombstone is what lets brokers delete the data, now or when they come back (rule R16).
        self.record(step, Record::TopicDeleted { id: topic_id });
        step.note("topic", format!("topic {:?} ({topic_id}) is deleted", request.topic));
        Ok(DeleteTopicReply { topic_id })
    }
}

pub(super) fn check_partitions(partitions: u32) -> Result<(), WireError> {
    let most = defaults::PARTITIONS_MAX;
    let legal = (1..=most).contains(&partitions);
    legal.then_some(()).ok_or_else(|| bad(format!("partitions must be 1 to {most}, not {partitions}")))
}

/// Whether a topic that wants so many replicas can have that `min_isr`.
pub(super) fn check_min_isr(min_isr: u32, wanted: u32, durability: Durability) -> Result<(), WireError> {
    if !(1..=wanted).contains(&min_isr) {
        return Err(bad(format!("min_isr must be 1 to the {wanted} replicas, not {min_isr}")));
    }
    // One lossy crash must not be able to take the only copy.
    if durability == Durability::Replicated && min_isr < wanted.min(2) {
        return Err(bad(format!("durability `replicated` needs min_isr of at least {}", wanted.min(2))));
    }
    Ok(())
}

/// What a partition with that many replicas starts with.
pub(super) fn default_min_isr(replicas: usize, durability: Durability) -> u32 {
    let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
    match durability {
        Durability::Fsync => defaults::min_isr(replicas),
        Durability::Replicated => defaults::min_isr(replicas).max(replicas.min(2)),
    }
}

fn fold(name: &str) -> String {
    name.to_lowercase().replace('.', "_")
}
