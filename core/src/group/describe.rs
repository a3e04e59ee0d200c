//! What there is to say about groups.

use super::event::Clock;
use super::state::{Group, Standing, ms};
use super::topics::Topics;
use yak_protocol::message::{GroupDescription, GroupMember, GroupState, GroupSummary};

impl Group {
    pub(super) fn state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.is_settled() {
            GroupState::Stable
        } else {
            GroupState::Rebalancing
        }
    }

    pub(super) fn summary(&self) -> GroupSummary {
        GroupSummary {
            group: self.name.clone(),
            state: self.state(),
            members: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            generation: self.generation,
            coordinator: None,
        }
    }

    pub(super) fn describe(&self, topics: &Topics, clock: Clock) -> GroupDescription {
        let member = |(name, member): (&String, &super::state::Member)| {
            let to_give_up = |id: &_| !self.is_for(*id, name) || member.standing == Standing::Evicted;
            GroupMember {
                member: name.clone(),
                instance: member.instance.clone(),
                client: member.client.clone(),
                host: member.host.clone(),
                generation: member.generation,
                heard_ms: ms(clock.now.since(member.heard)),
                topics: member.topics.iter().cloned().collect(),
                assignment: topics.listed(member.owned.keys().copied().filter(|id| !to_give_up(id))),
                revoking: topics.listed(member.owned.keys().copied().filter(to_give_up)),
            }
        };
        GroupDescription {
            group: self.name.clone(),
            state: self.state(),
            generation: self.generation,
            why: self.why.clone(),
            assignor: self.assignor,
            members: self.members.iter().map(member).collect(),
            offsets: self.offsets.keys().map(|id| self.fetched(*id, topics)).collect(),
            moves: self.moves.values().cloned().collect(),
            coordinator: None,
        }
    }
}
