//! How far a group has read.

use super::event::{Clock, Journal};
use super::membership::newer;
use super::record::{Key, OffsetRecord, Value};
use super::state::Group;
use super::topics::Topics;
use std::collections::BTreeSet;
use yak_protocol::defaults::GROUP_METADATA_BYTES_MAX;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::TopicPartition;
use yak_protocol::message::{
    CommitOffset, CommitResult, FetchedOffset, GroupCommit, GroupCommitReply, GroupFetch, GroupFetchReply,
};

impl Group {
    pub(super) fn commit(
        &mut self,
        request: &GroupCommit,
        topics: &Topics,
        clock: Clock,
        journal: &mut Journal<'_>,
    ) -> Result<GroupCommitReply, WireError> {
        self.may_commit(request)?;
        let mut results = Vec::with_capacity(request.offsets.len());
        for offset in &request.offsets {
            let outcome = self.commit_one(request, offset, topics, clock, journal);
            let (topic, partition) = (offset.topic.clone(), offset.partition);
            results.push(CommitResult { topic, partition, error: outcome.err() });
        }
        Ok(GroupCommitReply { results, coordinator: None })
    }

    fn may_commit(&self, request: &GroupCommit) -> Result<(), WireError> {
        let group = &self.name;
        let Some(name) = &request.member else {
            if self.members.is_empty() {
                return Ok(());
            }
            let count = self.members.len();
            let what = format!("group {group} has {count} members; who is none can commit only without them");
            return Err(WireError::new(ErrorCode::GroupNotEmpty, what)
                .hint(format!("stop its members first; `yak group describe {group}` shows them")));
        };
        let known = self.member(name, request.instance.as_deref())?.generation;
        if request.generation > known {
            return Err(newer(group, request.generation, known));
        }
        Ok(())
    }

    fn commit_one(
        &mut self,
        request: &GroupCommit,
        offset: &CommitOffset,
        topics: &Topics,
        clock: Clock,
        journal: &mut Journal<'_>,
    ) -> Result<(), WireError> {
        let (topic, partition, group) = (&offset.topic, offset.partition, &self.name);
        let shape = topics.named(topic).filter(|shape| offset.topic_id.is_none_or(|id| id == shape.id));
        let Some(shape) = shape else {
            return Err(WireError::new(
                ErrorCode::UnknownTopic,
                format!("there is no topic {topic} (any more)"),
            ));
        };
        if partition.0 >= shape.partitions {
            let what = format!("topic {topic} has no partition {partition}: there are {}", shape.partitions);
            return Err(WireError::new(ErrorCode::UnknownPartition, what));
        }
        if offset.metadata.len() > GROUP_METADATA_BYTES_MAX {
            let bytes = offset.metadata.len();
            let what = format!("{bytes} bytes of metadata, at most {GROUP_METADATA_BYTES_MAX} are kept");
            return Err(WireError::bad_request(what));
        }
        let id = TopicPartition { topic: shape.id, partition };
        if let Some(name) = &request.member {
            let given = self.members.get(name).and_then(|member| member.owned.get(&id));
            // What it held in an earlier generation may have been read by another since.
            if given.is_none_or(|given| request.generation < *given) {
                let what = format!(
                    "member {name} of group {group} does not hold {topic}/{partition} in generation {}",
                    request.generation
                );
                return Err(WireError::new(ErrorCode::StaleGeneration, what)
                    .hint("what was read is read again by whoever holds the partition now"));
            }
        }
        if let Some(committed) = self.offsets.get(&id) {
            if offset.offset < committed.offset && !request.rewind {
                let what = format!(
                    "group {group} has committed {} of {topic}/{partition}, {} would go back",
                    committed.offset, offset.offset
                );
                return Err(WireError::new(ErrorCode::CommitBehind, what).hint("say `rewind` to go back"));
            }
            let same = (committed.offset, committed.leader_epoch) == (offset.offset, offset.leader_epoch);
            if same && committed.metadata == offset.metadata {
                return Ok(());
            }
        }
        let record = OffsetRecord {
            topic: topic.clone(),
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata.clone(),
            committed_ms: clock.wall_ms,
        };
        journal.put(self.offset_key(id), Some(Value::Offset(record.clone())));
        self.offsets.insert(id, record);
        Ok(())
    }

    fn offset_key(&self, id: TopicPartition) -> Key {
        Key::Offset { group: self.name.clone(), topic_id: id.topic, partition: id.partition }
    }

    /// Offsets of topics that were deleted by request go with them.
    pub(super) fn forget_deleted(&mut self, topics: &Topics, journal: &mut Journal<'_>) {
        let gone: Vec<_> = self.offsets.keys().filter(|id| topics.is_deleted(id.topic)).copied().collect();
        for id in gone {
            self.forget_offset(id, journal);
        }
    }

    pub(super) fn forget_offset(&mut self, id: TopicPartition, journal: &mut Journal<'_>) {
        self.offsets.remove(&id);
        journal.put(self.offset_key(id), None);
    }

    pub(super) fn fetch(&self, request: &GroupFetch, topics: &Topics) -> Result<GroupFetchReply, WireError> {
        if let Some(name) = &request.member {
            let known = self.member(name, None)?.generation;
            if request.generation > known {
                return Err(newer(&self.name, request.generation, known));
            }
        }
        let ids: BTreeSet<TopicPartition> = if request.topics.is_empty() {
            self.offsets.keys().copied().collect()
        } else {
            topics.resolve(&request.topics)
        };
        let offsets = ids.into_iter().map(|id| self.fetched(id, topics)).collect();
        Ok(GroupFetchReply { offsets, coordinator: None })
    }

    pub(super) fn fetched(&self, id: TopicPartition, topics: &Topics) -> FetchedOffset {
        let known = self.offsets.get(&id);
        let name = topics.name(id.topic).or_else(|| known.map(|known| known.topic.as_str()));
        FetchedOffset {
            topic: name.unwrap_or_default().to_owned(),
            topic_id: id.topic,
            partition: id.partition,
            offset: known.map(|known| known.offset),
            leader_epoch: known.and_then(|known| known.leader_epoch),
            metadata: known.map(|known| known.metadata.clone()).unwrap_or_default(),
            committed_ms: known.map(|known| known.committed_ms),
        }
    }
}
