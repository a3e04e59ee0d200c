//! A member that follows the rules which docs/GROUPS.md gives to clients.

use std::collections::{BTreeMap, BTreeSet};
use yak_core::group::{Reply, Request};
use yak_protocol::error::{Action, ErrorCode, WireError};
use yak_protocol::ids::{Generation, Offset, PartitionIndex};
use yak_protocol::message::{
    Assignor, CommitOffset, GroupCommit, GroupFetch, GroupHeartbeat, GroupTopic, Leave,
};

pub const SESSION_MS: u64 = 5000;
pub const TOPIC: &str = "orders";

pub struct Member {
    pub name: String,
    pub instance: Option<String>,
    pub alive: bool,
    pub frozen_until: u64,
    pub generation: Generation,
    pub beat: u64,
    /// What it holds, and what of it it may hand out.
    pub held: BTreeSet<u32>,
    pub assigned: BTreeSet<u32>,
    pub believes_until: u64,
    /// Where it is in the partitions that it reads; `None` = the commit has to be asked for.
    pub positions: BTreeMap<u32, Option<u64>>,
    /// The heartbeat that is under way: its question, and when it was sent.
    pub waits_for: Option<(u64, u64)>,
    pub beats_turn: u64,
    /// Fetches that are under way.
    pub fetches: BTreeMap<u64, u32>,
    /// Whom it takes for the coordinator.
    pub coordinator: u64,
    /// It has been taken out of its place by another one, which may hand out before it hears of that.
    pub replaced: bool,
}

fn listed(partitions: impl IntoIterator<Item = u32>) -> Vec<GroupTopic> {
    let partitions = partitions.into_iter().map(PartitionIndex).collect();
    vec![GroupTopic { topic: TOPIC.to_owned(), topic_id: None, partitions }]
}

impl Member {
    pub fn new(name: String, instance: Option<String>, coordinator: u64) -> Self {
        Self {
            name,
            instance,
            alive: true,
            frozen_until: 0,
            generation: Generation::ZERO,
            beat: 0,
            held: BTreeSet::new(),
            assigned: BTreeSet::new(),
            believes_until: 0,
            positions: BTreeMap::new(),
            waits_for: None,
            beats_turn: 0,
            fetches: BTreeMap::new(),
            coordinator,
            replaced: false,
        }
    }

    /// What it believes that it may hand out now.
    pub fn may_hand_out(&self, now: u64) -> impl Iterator<Item = u32> {
        let believes = self.alive && now < self.believes_until;
        self.held.intersection(&self.assigned).copied().filter(move |_| believes)
    }

    pub fn heartbeat(&mut self) -> Request {
        self.beat += 1;
        Request::Heartbeat(GroupHeartbeat {
            group: "g".to_owned(),
            member: self.name.clone(),
            generation: self.generation,
            beat: self.beat,
            instance: self.instance.clone(),
            topics: vec![TOPIC.to_owned()],
            owned: Some(listed(self.held.iter().copied())),
            session_ms: SESSION_MS,
            rebalance_ms: 3000,
            assignor: Some(Assignor::Uniform),
            ..GroupHeartbeat::default()
        })
    }

    /// Leaves; from now on it hands nothing out.
    pub fn leave(&mut self, leave: Leave) -> Request {
        self.alive = false;
        self.beat += 1;
        Request::Heartbeat(GroupHeartbeat {
            group: "g".to_owned(),
            member: self.name.clone(),
            generation: self.generation,
            beat: self.beat,
            instance: self.instance.clone(),
            leave: Some(leave),
            ..GroupHeartbeat::default()
        })
    }

    pub fn commit(&self, partition: u32, offset: u64) -> Request {
        Request::Commit(GroupCommit {
            group: "g".to_owned(),
            member: Some(self.name.clone()),
            generation: self.generation,
            instance: self.instance.clone(),
            offsets: vec![CommitOffset {
                topic: TOPIC.to_owned(),
                partition: PartitionIndex(partition),
                offset: Offset(offset),
                ..CommitOffset::default()
            }],
            ..GroupCommit::default()
        })
    }

    pub fn fetch(&self, partition: u32) -> Request {
        Request::Fetch(GroupFetch {
            group: "g".to_owned(),
            member: Some(self.name.clone()),
            generation: self.generation,
            topics: listed([partition]),
            ..GroupFetch::default()
        })
    }

    /// It is out: it holds nothing, and comes back under another name.
    fn start_over(&mut self, name: String) {
        let beats_turn = self.beats_turn;
        *self = Self {
            beats_turn,
            frozen_until: self.frozen_until,
            ..Self::new(name, self.instance.clone(), self.coordinator)
        };
    }

    /// Takes the answer to a heartbeat that it still waits for; how long until the next one.
    pub fn beaten(&mut self, sent: u64, outcome: Result<Reply, WireError>, name: String) -> Option<u64> {
        let reply = match outcome {
            Ok(Reply::Heartbeat(reply)) => reply,
            Ok(other) => panic!("a heartbeat was answered {other:?}"),
            Err(error) if error.code == ErrorCode::FencedInstance => {
                self.alive = false;
                return None;
            }
            Err(error) if matches!(error.code, ErrorCode::UnknownMember | ErrorCode::UnknownGroup) => {
                self.start_over(name);
                return Some(0);
            }
            Err(error) => {
                assert!(error.code.action() != Action::GiveUp, "{error}");
                return Some(300);
            }
        };
        self.generation = reply.generation;
        self.believes_until = self.believes_until.max(sent + reply.session_ms);
        if let Some(assignment) = reply.assignment {
            let all = assignment.into_iter().flat_map(|topic| topic.partitions).map(|partition| partition.0);
            self.assigned = all.collect();
            self.held.extend(&self.assigned);
        }
        Some(reply.heartbeat_ms)
    }

    /// Takes the answer to a fetch.
    pub fn fetched(&mut self, partition: u32, outcome: Result<Reply, WireError>) {
        if let (Some(position @ None), Ok(Reply::Fetch(reply))) =
            (self.positions.get_mut(&partition), outcome)
        {
            let offset = reply.offsets.first().and_then(|found| found.offset);
            *position = Some(offset.map_or(0, |offset| offset.0));
        }
    }
}
