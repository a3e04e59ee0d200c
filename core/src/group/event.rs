//! What happens to the groups of one coordinator, and what they want done.

use super::record::{Key, Value};
use super::topics::Topics;
use crate::time::Now;
use yak_protocol::error::WireError;
use yak_protocol::message::{
    GroupCommit, GroupCommitReply, GroupDelete, GroupDeleteReply, GroupDescribe, GroupDescription,
    GroupFetch, GroupFetchReply, GroupHeartbeat, GroupHeartbeatReply, GroupSummary,
};

/// Names a request that waits for its answer; chosen by the shell, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// The time of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clock {
    /// On the clock that counts suspend: decides.
    pub now: Now,
    /// In ms since 1970: is written down for people.
    pub wall_ms: i64,
}

/// A request of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// To join, stay or leave.
    Heartbeat(GroupHeartbeat),
    /// To remember offsets.
    Commit(GroupCommit),
    /// To read them.
    Fetch(GroupFetch),
    /// To see one group.
    Describe(GroupDescribe),
    /// To see all of them.
    List,
    /// To forget one.
    Delete(GroupDelete),
}

/// What a request is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To a heartbeat.
    Heartbeat(GroupHeartbeatReply),
    /// To a commit.
    Commit(GroupCommitReply),
    /// To a fetch.
    Fetch(GroupFetchReply),
    /// To a describe.
    Describe(Box<GroupDescription>),
    /// To a list.
    List(Vec<GroupSummary>),
    /// To a delete.
    Delete(GroupDeleteReply),
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A client wants something.
    Request {
        /// Names it in the answer.
        ticket: Ticket,
        /// What it wants.
        request: Request,
        /// Whether the broker's lease runs: then nobody else can have been made coordinator for longer than
        /// a lease. Without it the answer waits for a write, which only the real coordinator can commit.
        vouched: bool,
        /// Where it comes from, for people.
        host: String,
    },
    /// The cluster's topics have changed.
    Topics(Topics),
    /// Everything up to this [`Effect::Persist`] is committed.
    Committed(u64),
    /// Time has passed.
    Tick,
}

/// Something to do. What is to be persisted is appended in this order. The first that fails, or whose outcome
/// is unknown, ends this machine: the shell drops it, and answers everything that waits with
/// `NOT_COORDINATOR`. What is true then stands in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append this; feed [`Event::Committed`] once it is committed.
    Persist {
        /// Counts them from 1.
        seq: u64,
        /// What it is about.
        key: Key,
        /// What is known of it; `None` = it is gone.
        value: Option<Value>,
    },
    /// Answer a request: everything that the answer says is committed.
    Answer {
        /// Which.
        ticket: Ticket,
        /// What.
        outcome: Result<Reply, WireError>,
    },
}

/// Collects what is to be persisted.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    pub(super) last: &'a mut u64,
    pub(super) effects: &'a mut Vec<Effect>,
}

impl Journal<'_> {
    pub(super) fn put(&mut self, key: Key, value: Option<Value>) {
        *self.last += 1;
        self.effects.push(Effect::Persist { seq: *self.last, key, value });
    }
}
