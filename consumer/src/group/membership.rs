//! What a member knows of its membership: pure.

use super::GroupConfig;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use yak_protocol::error::{Action, ErrorCode, WireError};
use yak_protocol::ids::{Generation, PartitionIndex, TopicId};
use yak_protocol::message::{GroupHeartbeat, GroupHeartbeatReply, GroupTopic, Leave};

/// A partition of a topic that was not deleted and made again meanwhile.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The topic.
    pub topic: Arc<str>,
    /// Its id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What comes of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The next heartbeat is due then.
    After(Duration),
    /// The stay is over; a new one begins at once.
    Again(String),
    /// It is over for good.
    Over(WireError),
}

/// How long to wait after a refusal that may pass.
const PAUSE: Duration = Duration::from_millis(200);

/// One member of a group. What it holds is what it was given and has not given up; what it may hand out is what
/// of that the last answer assigned, until its session is over.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) member: String,
    pub(super) generation: Generation,
    pub(super) held: BTreeSet<Place>,
    pub(super) assigned: BTreeSet<Place>,
    /// Counts the stays: whoever was put out comes back as somebody else.
    pub(super) stay: u64,
    pub(super) over: Option<WireError>,
    beat: u64,
    believes_until_ms: u64,
}

impl Membership {
    pub(super) fn new(member: String) -> Self {
        Self {
            member,
            generation: Generation::ZERO,
            held: BTreeSet::new(),
            assigned: BTreeSet::new(),
            stay: 1,
            over: None,
            beat: 0,
            believes_until_ms: 0,
        }
    }

    /// Whether records of this partition may be handed out now.
    pub(super) fn may_hand_out(&self, place: &Place, now_ms: u64) -> bool {
        self.believes(now_ms) && self.held.contains(place) && self.assigned.contains(place)
    }

    /// Whether the coordinator cannot have given it up yet.
    pub(super) fn believes(&self, now_ms: u64) -> bool {
        now_ms < self.believes_until_ms
    }

    pub(super) fn heartbeat(&mut self, config: &GroupConfig) -> GroupHeartbeat {
        self.beat += 1;
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        GroupHeartbeat {
            group: config.group.clone(),
            member: self.member.clone(),
            generation: self.generation,
            beat: self.beat,
            instance: config.instance.clone(),
            client: config.client.clone(),
            topics: config.topics.clone(),
            owned: Some(listed(&self.held)),
            session_ms: ms(config.session),
            rebalance_ms: ms(config.rebalance),
            assignor: config.assignor,
            leave: None,
            forward: true,
        }
    }

    /// The last word. From now on nothing may be handed out.
    pub(super) fn leave(&mut self, config: &GroupConfig) -> GroupHeartbeat {
        self.held.clear();
        self.assigned.clear();
        let leave = if config.instance.is_some() { Leave::ForAWhile } else { Leave::ForGood };
        GroupHeartbeat { leave: Some(leave), ..self.heartbeat(config) }
    }

    /// Takes the answer to the last heartbeat, which was sent at `sent_ms`. Only ever the answer to the last
    /// one: an older one may assign what this one has taken away.
    pub(super) fn answered(&mut self, sent_ms: u64, reply: GroupHeartbeatReply) -> Verdict {
        self.generation = reply.generation;
        self.believes_until_ms = self.believes_until_ms.max(sent_ms.saturating_add(reply.session_ms));
        if let Some(assignment) = reply.assignment {
            self.assigned = places(assignment);
            self.held.extend(self.assigned.iter().cloned());
        }
        Verdict::After(Duration::from_millis(reply.heartbeat_ms))
    }

    /// Takes a refusal.
    pub(super) fn refused(&mut self, error: WireError, name: String) -> Verdict {
        match error.code {
            ErrorCode::UnknownMember | ErrorCode::UnknownGroup => {
                self.start_over(name);
                Verdict::Again(error.to_string())
            }
            _ if error.code.action() == Action::GiveUp => {
                self.start_over(name);
                self.over = Some(error.clone());
                Verdict::Over(error)
            }
            _ => Verdict::After(PAUSE),
        }
    }

    fn start_over(&mut self, name: String) {
        *self = Self { stay: self.stay + 1, ..Self::new(name) };
    }
}

fn places(topics: Vec<GroupTopic>) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for topic in topics {
        let (name, topic_id): (Arc<str>, _) = (topic.topic.into(), topic.topic_id.unwrap_or_default());
        let of = |partition| Place { topic: Arc::clone(&name), topic_id, partition };
        places.extend(topic.partitions.into_iter().map(of));
    }
    places
}

pub(super) fn listed<'a>(places: impl IntoIterator<Item = &'a Place>) -> Vec<GroupTopic> {
    let mut listed: Vec<GroupTopic> = Vec::new();
    for place in places {
        match listed.last_mut().filter(|last| last.topic_id == Some(place.topic_id)) {
            Some(last) => last.partitions.push(place.partition),
            None => listed.push(GroupTopic {
                topic: place.topic.to_string(),
                topic_id: Some(place.topic_id),
                partitions: vec![place.partition],
            }),
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(partitions: &[u32], generation: u32) -> GroupHeartbeatReply {
        let partitions = partitions.iter().copied().map(PartitionIndex).collect();
        let topic = GroupTopic { topic: "orders".to_owned(), topic_id: Some(TopicId(1)), partitions };
        GroupHeartbeatReply {
            generation: Generation(generation),
            assignment: Some(vec![topic]),
            heartbeat_ms: 1000,
            session_ms: 5000,
            coordinator: None,
        }
    }

    fn place(partition: u32) -> Place {
        Place { topic: "orders".into(), topic_id: TopicId(1), partition: PartitionIndex(partition) }
    }

    #[test]
    fn a_session_counts_from_when_the_answered_heartbeat_was_sent() {
        let mut member = Membership::new("a".to_owned());
        assert!(!member.may_hand_out(&place(0), 0));
        member.answered(1000, assign(&[0, 1], 1));
        assert!(member.may_hand_out(&place(0), 5999));
        assert!(
            !member.may_hand_out(&place(0), 6000),
            "it was stopped, say, and nobody has been asked since"
        );
        member.answered(7000, GroupHeartbeatReply { assignment: None, ..assign(&[], 1) });
        assert!(member.may_hand_out(&place(0), 7001), "it is still its own");
    }

    #[test]
    fn what_is_taken_away_is_held_until_it_is_given_up() {
        let config = GroupConfig::new("g", vec!["orders".to_owned()]);
        let mut member = Membership::new("a".to_owned());
        member.answered(0, assign(&[0, 1], 1));
        member.answered(0, assign(&[0], 1));
        assert!(!member.may_hand_out(&place(1), 1));
        assert_eq!(member.heartbeat(&config).owned, Some(listed(&[place(0), place(1)])));
        member.held.remove(&place(1));
        assert_eq!(member.heartbeat(&config).owned, Some(listed(&[place(0)])));
        assert_eq!(member.heartbeat(&config).beat, 3);
    }

    #[test]
    fn who_is_put_out_starts_over_as_somebody_else() {
        let mut member = Membership::new("a".to_owned());
        member.answered(0, assign(&[0], 1));
        let error = |code| WireError::new(code, "no");
        assert_eq!(member.refused(error(ErrorCode::NotCoordinator), "b".to_owned()), Verdict::After(PAUSE));
        assert!(member.may_hand_out(&place(0), 1), "nothing is lost by that");
        let again = member.refused(error(ErrorCode::UnknownMember), "b".to_owned());
        assert!(matches!(again, Verdict::Again(_)));
        assert_eq!((member.member.as_str(), member.stay, member.held.len()), ("b", 2, 0));
        assert!(!member.believes(1));
        assert!(matches!(member.refused(error(ErrorCode::FencedInstance), String::new()), Verdict::Over(_)));
    }
}
