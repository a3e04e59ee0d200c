//! Consumer groups: one [`GroupSet`] holds those whose coordinator leads one partition of the topic in which
//! groups are kept.
//!
//! ```text
//! request ──▶ GroupSet ──▶ Persist ──▶ the partition's log, on a majority of disks ──▶ Committed ──▶ Answer
//! ```
//!
//! **Who may hand out what.** The coordinator gives a partition to a member only when nobody holds it. A
//! member holds it from the answer that gave it until one of these: it says in a heartbeat, told to give it
//! up, that it does not hold it any more; it leaves; or it was not heard for its session. A member counts its
//! own session from when it *sent* the heartbeat that was answered last, so it stops before the coordinator
//! gives its partitions away, whatever froze and however late an answer came. Everybody else goes on
//! meanwhile.
//!
//! **Generations** count the changes of a group. Whoever gets a partition gets it in a generation that is
//! higher than any in which another handed out its records, and commits carry the generation.
//!
//! **Coordinators** change with the leader of the partition. What an answer says is committed before it is
//! sent, so the next one finds it in the log. One that was replaced without knowing it cannot commit; and as it
//! can answer what needs no write only as long as its lease runs, the next one waits for so long in addition to
//! the sessions.
//!
//! The protocol is the one of KIP-848 in outline: one heartbeat, assignment by the coordinator, changes bit by
//! bit. Offsets know nothing of members but the check of who may commit: another protocol can share them.

mod assign;
mod describe;
mod event;
mod membership;
mod offsets;
mod record;
mod state;
mod topics;

pub use event::{Clock, Effect, Event, Reply, Request, Ticket};
pub use record::{GroupRecord, Key, MemberRecord, OffsetRecord, OwnedTopic, Value};
pub use topics::{TopicShape, Topics};

use crate::time::Now;
use event::Journal;
use membership::Beat;
use state::{Group, Member};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::message::{GroupDelete, GroupDeleteReply, GroupFetchReply};
use yak_protocol::names;

/// A tick that comes so late was not late because of load: the process, or the machine, did not run.
const LATE: Duration = Duration::from_millis(500);

/// The groups of one coordinator.
#[derive(Clone, Debug)]
pub struct GroupSet {
    topics: Topics,
    groups: BTreeMap<String, Group>,
    /// The last number of an [`Effect::Persist`], and the last that is committed.
    persisted: u64,
    committed: u64,
    /// Answers that wait for a commit, in the order of what they wait for.
    parked: VecDeque<Parked>,
}

#[derive(Clone, Debug)]
struct Parked {
    after: u64,
    ticket: Ticket,
    outcome: Result<Reply, WireError>,
}

impl GroupSet {
    /// The groups that the log of the partition has, read up to the start of the leader's epoch at least.
    /// `grace` is the longest that a coordinator before this one may go on answering without a write: a lease.
    pub fn load(
        clock: Clock,
        grace: Duration,
        records: impl IntoIterator<Item = (Key, Option<Value>)>,
        topics: Topics,
        effects: &mut Vec<Effect>,
    ) -> Self {
        let last: BTreeMap<Key, Option<Value>> = records.into_iter().collect();
        let mut set =
            Self { topics, groups: BTreeMap::new(), persisted: 0, committed: 0, parked: VecDeque::new() };
        for (key, value) in last {
            set.take(key, value);
        }
        let mut journal = Journal { last: &mut set.persisted, effects };
        for group in set.groups.values_mut() {
            group.resume(clock, grace, &set.topics, &mut journal);
            group.forget_deleted(&set.topics, &mut journal);
        }
        set
    }

    fn take(&mut self, key: Key, value: Option<Value>) {
        match (key, value) {
            (Key::Group { group }, Some(Value::Group(record))) => {
                self.group(&group).generation = record.generation;
            }
            (Key::Member { group, member }, Some(Value::Member(record))) => {
                self.group(&group).members.insert(member, Member::from_record(record));
            }
            (Key::Offset { group, topic_id, partition }, Some(Value::Offset(record))) => {
                let id = yak_protocol::ids::TopicPartition { topic: topic_id, partition };
                self.group(&group).offsets.insert(id, record);
            }
            _ => {}
        }
    }

    fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_insert_with(|| Group::new(name))
    }

    /// Takes what happened; `effects` is appended to.
    pub fn step(&mut self, clock: Clock, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Request { ticket, request, vouched, host } => {
                let before = self.persisted;
                let outcome = self.request(clock, &request, &host, effects);
                let mut journal = Journal { last: &mut self.persisted, effects };
                if !vouched && before == *journal.last {
                    journal.put(Key::Alive, None);
                }
                self.parked.push_back(Parked { after: self.persisted, ticket, outcome });
                self.release(effects);
            }
            Event::Topics(topics) => {
                self.topics = topics;
                let mut journal = Journal { last: &mut self.persisted, effects };
                for group in self.groups.values_mut() {
                    group.forget_deleted(&self.topics, &mut journal);
                    if let Some(why) = group.topics_changed(&self.topics) {
                        group.next_generation(&self.topics, why, &mut journal);
                    }
                }
            }
            Event::Committed(seq) => {
                self.committed = self.committed.max(seq);
                self.release(effects);
            }
            Event::Tick => self.tick(clock, effects),
        }
    }

    /// When to send [`Event::Tick`] at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        self.groups.values().filter_map(Group::next_deadline).min()
    }

    fn tick(&mut self, clock: Clock, effects: &mut Vec<Effect>) {
        let Some(due) = self.next_deadline() else { return };
        let late = clock.now.since(due);
        if late > LATE {
            // Heartbeats that came meanwhile have not all been read; nobody is given up for that.
            let by = late + LATE;
            return self.groups.values_mut().for_each(|group| group.put_off(by));
        }
        let mut journal = Journal { last: &mut self.persisted, effects };
        for group in self.groups.values_mut() {
            group.tick(clock, &self.topics, &mut journal);
        }
    }

    fn release(&mut self, effects: &mut Vec<Effect>) {
        while self.parked.front().is_some_and(|parked| parked.after <= self.committed)
            && let Some(parked) = self.parked.pop_front()
        {
            effects.push(Effect::Answer { ticket: parked.ticket, outcome: parked.outcome });
        }
    }

    fn request(
        &mut self,
        clock: Clock,
        request: &Request,
        host: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, WireError> {
        let mut journal = Journal { last: &mut self.persisted, effects };
        match request {
            Request::Heartbeat(request) => {
                membership::check(request)?;
                let joins = request.generation.0 == 0 && request.leave.is_none();
                if joins && !self.groups.contains_key(&request.group) {
                    self.groups.insert(request.group.clone(), Group::new(&request.group));
                }
                let group = known(&mut self.groups, &request.group)?;
                let beat = Beat { request, host, clock, topics: &self.topics };
                group.heartbeat(&beat, &mut journal).map(Reply::Heartbeat)
            }
            Request::Commit(request) => {
                names::check_group(&request.group)?;
                if request.member.is_none() && !self.groups.contains_key(&request.group) {
                    let mut new = Group::new(&request.group);
                    let reply = new.commit(request, &self.topics, clock, &mut journal)?;
                    if !new.offsets.is_empty() {
                        self.groups.insert(request.group.clone(), new);
                    }
                    return Ok(Reply::Commit(reply));
                }
                let group = known(&mut self.groups, &request.group)?;
                group.commit(request, &self.topics, clock, &mut journal).map(Reply::Commit)
            }
            Request::Fetch(request) => match self.groups.get(&request.group) {
                Some(group) => group.fetch(request, &self.topics).map(Reply::Fetch),
                None if request.member.is_some() => Err(unknown(&request.group)),
                None => {
                    let nothing = Group::new(&request.group).fetch(request, &self.topics);
                    nothing.map(Reply::Fetch).or(Ok(Reply::Fetch(GroupFetchReply::default())))
                }
            },
            Request::Describe(request) => {
                let group = known(&mut self.groups, &request.group)?;
                Ok(Reply::Describe(Box::new(group.describe(&self.topics, clock))))
            }
            Request::List => Ok(Reply::List(self.groups.values().map(Group::summary).collect())),
            Request::Delete(request) => delete(&mut self.groups, request, &mut journal).map(Reply::Delete),
        }
    }
}

fn known<'a>(groups: &'a mut BTreeMap<String, Group>, name: &str) -> Result<&'a mut Group, WireError> {
    groups.get_mut(name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> WireError {
    WireError::new(ErrorCode::UnknownGroup, format!("there is no group {name}"))
        .hint("`yak group list` shows those that there are")
}

fn delete(
    groups: &mut BTreeMap<String, Group>,
    request: &GroupDelete,
    journal: &mut Journal<'_>,
) -> Result<GroupDeleteReply, WireError> {
    let group = known(groups, &request.group)?;
    if !group.members.is_empty() {
        let what = format!("group {} has {} members", group.name, group.members.len());
        return Err(WireError::new(ErrorCode::GroupNotEmpty, what).hint("stop them first"));
    }
    let ids: Vec<_> = group.offsets.keys().copied().collect();
    for id in &ids {
        group.forget_offset(*id, journal);
    }
    journal.put(Key::Group { group: request.group.clone() }, None);
    groups.remove(&request.group);
    Ok(GroupDeleteReply { offsets: ids.len() as u64 })
}
