//! What is under way.

use std::collections::BTreeMap;
use yak_core::group::{Reply, Request};
use yak_protocol::error::WireError;

/// Something that happens at some time.
pub enum Happening {
    /// A request reaches a coordinator.
    Arrives { coordinator: u64, member: usize, question: u64, request: Request },
    /// An answer reaches a member.
    Answered { member: usize, question: u64, outcome: Result<Reply, WireError> },
    /// An entry of the log is committed, if its leader still leads.
    Commits { coordinator: u64, seq: u64, index: usize },
    /// The leader hears of it.
    Hears { coordinator: u64, seq: u64 },
    /// A coordinator looks at its clock.
    Ticks { coordinator: u64 },
    /// A member sends a heartbeat, if it waits for no answer.
    Beats { member: usize, turn: u64 },
    /// A member stops waiting for an answer.
    GivesUp { member: usize, question: u64 },
    /// A member hands records out, commits, gives up.
    Works { member: usize },
    /// Something goes wrong.
    Fault,
}

/// Happenings in the order of their times.
#[derive(Default)]
pub struct Queue {
    at: BTreeMap<(u64, u64), Happening>,
    count: u64,
}

impl Queue {
    pub fn push(&mut self, at: u64, happening: Happening) {
        self.count += 1;
        self.at.insert((at, self.count), happening);
    }

    pub fn pop(&mut self) -> Option<(u64, Happening)> {
        self.at.pop_first().map(|((at, _), happening)| (at, happening))
    }
}
