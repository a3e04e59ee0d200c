//! One group: who is in it, who holds which partition, and who is to.

use super::assign::{Candidate, Target, assign};
use super::event::{Clock, Journal};
use super::record::{GroupRecord, Key, MemberRecord, OffsetRecord, OwnedTopic, Value};
use super::topics::{TopicShape, Topics};
use crate::time::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use yak_protocol::ids::{Generation, PartitionIndex, TopicId, TopicPartition};
use yak_protocol::message::{Assignor, GroupMove};

/// A group. A partition that is held is held by one member: `owners` and the members' `owned` say the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) generation: Generation,
    /// Why the generation is that.
    pub(super) why: String,
    pub(super) assignor: Assignor,
    pub(super) members: BTreeMap<String, Member>,
    /// What every member is to hold.
    pub(super) target: Target,
    pub(super) owners: BTreeMap<TopicPartition, String>,
    pub(super) offsets: BTreeMap<TopicPartition, OffsetRecord>,
    /// Who held a partition last, and its last move.
    last_owners: BTreeMap<TopicPartition, String>,
    pub(super) moves: BTreeMap<TopicPartition, GroupMove>,
    /// What the target was made for.
    shapes: BTreeMap<String, Option<TopicShape>>,
}

/// Whether a member takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Standing {
    /// It does.
    #[default]
    In,
    /// A static member that will be back: its partitions wait for it, and it holds none.
    Away,
    /// It took too long to give something up. It may go on handing out until its session is over, so it holds
    /// until then what it has, and is heard no more.
    Evicted,
}

/// A member of a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub(super) instance: Option<String>,
    pub(super) client: String,
    pub(super) host: String,
    pub(super) topics: BTreeSet<String>,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    pub(super) assignor: Option<Assignor>,
    pub(super) generation: Generation,
    /// Its last heartbeat.
    pub(super) beat: u64,
    /// What it holds, each with the generation in which it was given.
    pub(super) owned: BTreeMap<TopicPartition, Generation>,
    pub(super) standing: Standing,
    pub(super) heard: Now,
    /// When it counts as gone.
    pub(super) deadline: Now,
    /// Until when it has to have given up what it is to give up.
    pub(super) revoke_by: Option<Now>,
}

impl Member {
    fn record(&self) -> MemberRecord {
        let mut owned: BTreeMap<TopicId, Vec<(PartitionIndex, Generation)>> = BTreeMap::new();
        for (id, generation) in &self.owned {
            owned.entry(id.topic).or_default().push((id.partition, *generation));
        }
        MemberRecord {
            instance: self.instance.clone(),
            client: self.client.clone(),
            host: self.host.clone(),
            topics: self.topics.iter().cloned().collect(),
            session_ms: ms(self.session),
            rebalance_ms: ms(self.rebalance),
            assignor: self.assignor,
            generation: self.generation,
            beat: self.beat,
            owned: owned
                .into_iter()
                .map(|(topic_id, partitions)| OwnedTopic { topic_id, partitions })
                .collect(),
        }
    }

    pub(super) fn from_record(record: MemberRecord) -> Self {
        let mut owned = BTreeMap::new();
        for OwnedTopic { topic_id, partitions } in record.owned {
            let of = |(partition, generation)| (TopicPartition { topic: topic_id, partition }, generation);
            owned.extend(partitions.into_iter().map(of));
        }
        Self {
            instance: record.instance,
            client: record.client,
            host: record.host,
            topics: record.topics.into_iter().collect(),
            session: Duration::from_millis(record.session_ms),
            rebalance: Duration::from_millis(record.rebalance_ms),
            assignor: record.assignor,
            generation: record.generation,
            beat: record.beat,
            owned,
            ..Self::default()
        }
    }
}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Group {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The member as people know it.
    pub(super) fn show(&self, member: &str) -> String {
        let known = self.members.get(member);
        match known.and_then(|member| member.instance.as_ref()) {
            Some(instance) => format!("{instance} ({member})"),
            None => member.to_owned(),
        }
    }

    /// The member that has the place of this static one.
    pub(super) fn holder_of(&self, instance: &str) -> Option<&str> {
        let has = |member: &Member| member.instance.as_deref() == Some(instance);
        self.members.iter().find(|(_, member)| has(member)).map(|(name, _)| name.as_str())
    }

    /// Whether the member is to hold the partition.
    pub(super) fn is_for(&self, id: TopicPartition, member: &str) -> bool {
        self.target.get(member).is_some_and(|target| target.contains(&id))
    }

    /// Whether everybody has what it is to have.
    pub(super) fn is_settled(&self) -> bool {
        self.members.iter().all(|(name, member)| match member.standing {
            Standing::In => {
                let target = self.target.get(name).map_or(0, BTreeSet::len);
                let right = member.owned.keys().all(|id| self.is_for(*id, name));
                member.generation == self.generation && right && member.owned.len() == target
            }
            Standing::Away => true,
            Standing::Evicted => false,
        })
    }

    pub(super) fn persist(&self, journal: &mut Journal<'_>) {
        let record = GroupRecord { generation: self.generation };
        journal.put(Key::Group { group: self.name.clone() }, Some(Value::Group(record)));
    }

    pub(super) fn persist_member(&self, name: &str, journal: &mut Journal<'_>) {
        let record = self.members.get(name).map(|member| Value::Member(member.record()));
        journal.put(Key::Member { group: self.name.clone(), member: name.to_owned() }, record);
    }

    /// The next generation: members, topics or partitions have changed. What everybody is to hold is settled
    /// anew, starting from what it was.
    pub(super) fn next_generation(&mut self, topics: &Topics, why: String, journal: &mut Journal<'_>) {
        self.generation = self.generation.next();
        self.why = why;
        self.assignor = self.voted();
        let candidates: Vec<Candidate> = self
            .members
            .iter()
            .filter(|(_, member)| member.standing != Standing::Evicted)
            .map(|(name, member)| Candidate {
                member: name.clone(),
                place: member.instance.clone().unwrap_or_else(|| name.clone()),
                topics: member.topics.clone(),
            })
            .collect();
        self.target = assign(self.assignor, candidates, topics, &self.target);
        self.shapes = self.shapes_now(topics);
        self.persist(journal);
    }

    /// As most members want that want something; ties go to `uniform`.
    fn voted(&self) -> Assignor {
        let votes = |wanted| self.members.values().filter(|member| member.assignor == Some(wanted)).count();
        if votes(Assignor::Range) > votes(Assignor::Uniform) { Assignor::Range } else { Assignor::Uniform }
    }

    fn shapes_now(&self, topics: &Topics) -> BTreeMap<String, Option<TopicShape>> {
        let names = self.members.values().flat_map(|member| member.topics.iter());
        names.map(|name| (name.clone(), topics.named(name))).collect()
    }

    /// What has become of the topics that its members read, if it matters.
    pub(super) fn topics_changed(&self, topics: &Topics) -> Option<String> {
        let now = self.shapes_now(topics);
        let changed = now.iter().find(|(name, shape)| self.shapes.get(*name) != Some(*shape))?;
        let before = self.shapes.get(changed.0).copied().flatten();
        Some(match (before, changed.1) {
            (Some(before), Some(now)) if before.id == now.id => {
                format!(
                    "topic {} has {} partitions now, it had {}",
                    changed.0, now.partitions, before.partitions
                )
            }
            (Some(_), Some(_)) => format!("topic {} was deleted and made again", changed.0),
            (None, Some(_)) => format!("topic {} was made", changed.0),
            (_, None) => format!("topic {} is gone", changed.0),
        })
    }

    /// Gives a free partition to a member.
    pub(super) fn grant(&mut self, id: TopicPartition, name: &str, topics: &Topics, clock: Clock) {
        let Some(member) = self.members.get_mut(name) else { return };
        let before = self.owners.insert(id, name.to_owned());
        assert!(before.is_none(), "a partition is given only when nobody holds it");
        member.owned.insert(id, self.generation);
        let from = self.last_owners.insert(id, name.to_owned());
        if from.as_deref() != Some(name) {
            let moved = GroupMove {
                topic: topics.name(id.topic).unwrap_or_default().to_owned(),
                partition: id.partition,
                at_ms: clock.wall_ms,
                generation: self.generation,
                from,
                to: Some(name.to_owned()),
                why: self.why.clone(),
            };
            self.moves.insert(id, moved);
        }
    }

    /// A member holds a partition no more.
    pub(super) fn release(&mut self, id: TopicPartition, name: &str) {
        if let Some(member) = self.members.get_mut(name)
            && member.owned.remove(&id).is_some()
        {
            self.owners.remove(&id);
        }
    }

    pub(super) fn release_all(&mut self, name: &str) {
        let held: Vec<_> =
            self.members.get(name).map(|member| member.owned.keys().copied().collect()).unwrap_or_default();
        for id in held {
            self.release(id, name);
        }
    }

    /// Takes a member out, and what it holds with it.
    pub(super) fn remove(&mut self, name: &str, journal: &mut Journal<'_>) {
        self.release_all(name);
        self.members.remove(name);
        self.persist_member(name, journal);
    }

    /// Goes on after a coordinator's log was read: what the members hold is what they are to hold first.
    pub(super) fn resume(
        &mut self,
        clock: Clock,
        grace: Duration,
        topics: &Topics,
        journal: &mut Journal<'_>,
    ) {
        for (name, member) in &mut self.members {
            // The one before may have answered for another lease after this one began.
            member.deadline = clock.now + grace + member.session;
            member.heard = clock.now;
            let mut held = member.owned.keys().copied().collect::<BTreeSet<_>>();
            held.retain(|id| self.owners.insert(*id, name.clone()).is_none());
            member.owned.retain(|id, _| held.contains(id));
            self.last_owners.extend(held.iter().map(|id| (*id, name.clone())));
            self.target.insert(name.clone(), held);
        }
        if !self.members.is_empty() {
            self.next_generation(topics, "the group has another coordinator".to_owned(), journal);
        }
    }

    /// When time alone changes something.
    pub(super) fn next_deadline(&self) -> Option<Now> {
        let of = |member: &Member| {
            let revoke_by = member.revoke_by.filter(|_| member.standing == Standing::In);
            revoke_by.map_or(member.deadline, |revoke_by| revoke_by.min(member.deadline))
        };
        self.members.values().map(of).min()
    }

    /// Time has passed: who was not heard is gone, who does not give up what it should is heard no more.
    pub(super) fn tick(&mut self, clock: Clock, topics: &Topics, journal: &mut Journal<'_>) {
        let mut causes = Vec::new();
        let names: Vec<String> = self.members.keys().cloned().collect();
        for name in names {
            let Some(member) = self.members.get_mut(&name) else { continue };
            if member.deadline <= clock.now {
                let evicted = member.standing == Standing::Evicted;
                let seconds = member.session.as_secs_f64();
                let cause = format!("{} was not heard for {seconds} s", self.show(&name));
                self.remove(&name, journal);
                if !evicted {
                    causes.push(cause);
                }
            } else if member.standing == Standing::In && member.revoke_by.is_some_and(|by| by <= clock.now) {
                member.standing = Standing::Evicted;
                let seconds = member.rebalance.as_secs_f64();
                causes.push(format!("{} did not give partitions up in {seconds} s", self.show(&name)));
            }
        }
        if !causes.is_empty() {
            self.next_generation(topics, causes.join("; "), journal);
        }
    }

    /// Puts every deadline off: the coordinator itself did not run.
    pub(super) fn put_off(&mut self, by: Duration) {
        for member in self.members.values_mut() {
            member.deadline = member.deadline + by;
            member.revoke_by = member.revoke_by.map(|revoke_by| revoke_by + by);
        }
    }
}
