//! Publishes that have been appended and wait for their answer.

use super::Now;
use super::event::Ticket;
use std::collections::{BTreeMap, BTreeSet};
use yak_protocol::ids::Offset;

/// One publish that waits.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Waiting {
    pub(super) ticket: Ticket,
    /// What must be reached: the offset after the batch.
    pub(super) end: Offset,
    /// The batch's first offset; `None` for a repeat of which only is known that it lies below `end`.
    pub(super) base: Option<Offset>,
    /// The lowest offset that the answer is about.
    pub(super) lowest: Offset,
    /// Records that lie elsewhere: index and offset.
    pub(super) firsts: Vec<(u32, Offset)>,
    /// When to answer "unknown" instead.
    pub(super) deadline: Now,
}

/// Publishes that wait for the same thing, by offset and by deadline.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Pending {
    by_end: BTreeMap<(Offset, Ticket), Waiting>,
    by_deadline: BTreeSet<(Now, Offset, Ticket)>,
}

impl Pending {
    pub(super) fn insert(&mut self, waiting: Waiting) {
        self.by_deadline.insert((waiting.deadline, waiting.end, waiting.ticket));
        let before = self.by_end.insert((waiting.end, waiting.ticket), waiting);
        assert!(before.is_none(), "a ticket is used once");
    }

    /// Takes the first one if it waits for no more than `reached`.
    pub(super) fn take_reached(&mut self, reached: Offset) -> Option<Waiting> {
        let first = self.by_end.first_entry().filter(|first| first.key().0 <= reached)?;
        let waiting = first.remove();
        self.by_deadline.remove(&(waiting.deadline, waiting.end, waiting.ticket));
        Some(waiting)
    }

    /// Takes one that waits for more than `end`, last first.
    pub(super) fn take_above(&mut self, end: Offset) -> Option<Waiting> {
        let last = self.by_end.last_entry().filter(|last| last.key().0 > end)?;
        let waiting = last.remove();
        self.by_deadline.remove(&(waiting.deadline, waiting.end, waiting.ticket));
        Some(waiting)
    }

    /// Takes one whose deadline has come.
    pub(super) fn take_expired(&mut self, now: Now) -> Option<Waiting> {
        let (deadline, end, ticket) = *self.by_deadline.first()?;
        if deadline > now {
            return None;
        }
        self.by_deadline.pop_first();
        self.by_end.remove(&(end, ticket))
    }

    /// Takes the first one, whatever it waits for.
    pub(super) fn take_first(&mut self) -> Option<Waiting> {
        self.take_reached(Offset(u64::MAX))
    }

    pub(super) fn next_deadline(&self) -> Option<Now> {
        self.by_deadline.first().map(|(deadline, ..)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(ticket: u64, end: u64, deadline: u64) -> Waiting {
        Waiting {
            ticket: Ticket(ticket),
            end: Offset(end),
            base: None,
            lowest: Offset::ZERO,
            firsts: Vec::new(),
            deadline: Now(deadline),
        }
    }

    #[test]
    fn each_publish_is_taken_once_whatever_ends_its_wait() {
        let mut pending = Pending::default();
        for (ticket, end, deadline) in [(1, 10, 50), (2, 20, 40), (3, 30, 60), (4, 30, 70)] {
            pending.insert(waiting(ticket, end, deadline));
        }
        assert_eq!(pending.next_deadline(), Some(Now(40)));
        assert_eq!(pending.take_reached(Offset(9)), None);
        assert_eq!(pending.take_reached(Offset(10)).map(|w| w.ticket), Some(Ticket(1)));
        assert_eq!(pending.take_expired(Now(39)), None);
        assert_eq!(pending.take_expired(Now(40)).map(|w| w.ticket), Some(Ticket(2)));
        assert_eq!(pending.take_above(Offset(30)), None);
        assert_eq!(pending.take_above(Offset(29)).map(|w| w.ticket), Some(Ticket(4)));
        assert_eq!(pending.take_first().map(|w| w.ticket), Some(Ticket(3)));
        assert_eq!(pending, Pending::default());
    }
}
