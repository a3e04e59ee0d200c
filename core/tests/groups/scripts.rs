//! What one coordinator does, step by step, with a member's eyes.

use std::collections::BTreeSet;
use std::time::Duration;
use yak_core::group::{Clock, Effect, Event, GroupSet, Key, Reply, Request, Ticket, Topics, Value};
use yak_core::time::Now;
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{Generation, Offset, PartitionIndex, TopicId};
use yak_protocol::message::{
    CommitOffset, GroupCommit, GroupDelete, GroupDescribe, GroupDescription, GroupFetch, GroupHeartbeat,
    GroupHeartbeatReply, GroupState, GroupTopic, Leave, TopicConfig, TopicInfo,
};

const NO_GRACE: Duration = Duration::ZERO;

/// A coordinator whose log commits at once.
struct Desk {
    set: GroupSet,
    now: u64,
    log: Vec<(Key, Option<Value>)>,
    tickets: u64,
}

fn topics(list: &[(u128, &str, u32)], deleted: &[u128]) -> Topics {
    let info = |(id, name, partitions): &(u128, &str, u32)| TopicInfo {
        id: TopicId(*id),
        name: (*name).to_owned(),
        partitions: *partitions,
        wanted_replicas: 1,
        min_isr: 1,
        config: TopicConfig::default(),
        key_slots: Default::default(),
    };
    let infos: Vec<_> = list.iter().map(info).collect();
    Topics::new(&infos, deleted.iter().copied().map(TopicId).collect::<BTreeSet<_>>())
}

fn clock(now: u64) -> Clock {
    Clock { now: Now(now), wall_ms: 1000 }
}

fn list(partitions: &[u32]) -> Vec<GroupTopic> {
    let partitions = partitions.iter().copied().map(PartitionIndex).collect();
    vec![GroupTopic { topic: "orders".to_owned(), topic_id: None, partitions }]
}

fn numbers(reply: &GroupHeartbeatReply) -> Option<Vec<u32>> {
    let topics = reply.assignment.as_ref()?;
    Some(topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.0).collect())
}

impl Desk {
    fn new() -> Self {
        Self::over(Vec::new(), topics(&[(1, "orders", 4)], &[]), NO_GRACE)
    }

    fn over(log: Vec<(Key, Option<Value>)>, topics: Topics, grace: Duration) -> Self {
        let mut effects = Vec::new();
        let set = GroupSet::load(clock(0), grace, log.clone(), topics, &mut effects);
        let mut desk = Self { set, now: 0, log, tickets: 0 };
        desk.carry_out(effects);
        desk
    }

    /// The next coordinator.
    fn fail_over(self, grace: Duration) -> Self {
        Self::over(self.log, topics(&[(1, "orders", 4)], &[]), grace)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) -> Option<Result<Reply, WireError>> {
        let (mut answer, mut more) = (None, Vec::new());
        for effect in effects {
            match effect {
                Effect::Persist { seq, key, value } => {
                    self.log.push((key, value));
                    self.set.step(clock(self.now), Event::Committed(seq), &mut more);
                }
                Effect::Answer { outcome, .. } => answer = Some(outcome),
            }
        }
        if more.is_empty() { answer } else { self.carry_out(more).or(answer) }
    }

    fn event(&mut self, event: Event) -> Option<Result<Reply, WireError>> {
        let mut effects = Vec::new();
        self.set.step(clock(self.now), event, &mut effects);
        self.carry_out(effects)
    }

    fn ask(&mut self, request: Request) -> Result<Reply, WireError> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let host = "kiwi".to_owned();
        self.event(Event::Request { ticket, request, vouched: true, host }).expect("an answer")
    }

    fn beat(
        &mut self,
        member: &str,
        generation: u32,
        owned: &[u32],
    ) -> Result<GroupHeartbeatReply, WireError> {
        self.send(GroupHeartbeat {
            member: member.to_owned(),
            generation: Generation(generation),
            owned: Some(list(owned)),
            ..GroupHeartbeat::default()
        })
    }

    fn send(&mut self, beat: GroupHeartbeat) -> Result<GroupHeartbeatReply, WireError> {
        let beat = GroupHeartbeat { group: "g".to_owned(), topics: vec!["orders".to_owned()], ..beat };
        match self.ask(Request::Heartbeat(beat))? {
            Reply::Heartbeat(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, commit: GroupCommit, offset: u64) -> Option<ErrorCode> {
        let offsets = vec![CommitOffset {
            topic: "orders".to_owned(),
            offset: Offset(offset),
            metadata: format!("at {offset}"),
            ..CommitOffset::default()
        }];
        match self.ask(Request::Commit(GroupCommit { group: "g".to_owned(), offsets, ..commit })) {
            Ok(Reply::Commit(reply)) => reply.results[0].error.as_ref().map(|error| error.code),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Some(error.code),
        }
    }

    fn committed(&mut self) -> Option<(u64, String)> {
        let request = GroupFetch { group: "g".to_owned(), topics: list(&[0]), ..GroupFetch::default() };
        match self.ask(Request::Fetch(request)).expect("it is answered") {
            Reply::Fetch(reply) => {
                let found = reply.offsets.into_iter().next()?;
                Some((found.offset?.0, found.metadata))
            }
            other => panic!("{other:?}"),
        }
    }

    fn describe(&mut self) -> Result<GroupDescription, WireError> {
        let request = GroupDescribe { group: "g".to_owned(), forward: false };
        match self.ask(Request::Describe(request))? {
            Reply::Describe(description) => Ok(*description),
            other => panic!("{other:?}"),
        }
    }

    /// Time passes, with a tick whenever one is due.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(due) = self.set.next_deadline().filter(|due| due.0 <= end) {
            self.now = self.now.max(due.0);
            self.event(Event::Tick);
        }
        self.now = end;
    }
}

fn of(member: &str, generation: u32) -> GroupCommit {
    GroupCommit {
        member: Some(member.to_owned()),
        generation: Generation(generation),
        ..GroupCommit::default()
    }
}

#[test]
fn the_first_member_gets_everything_and_the_second_only_what_the_first_has_given_up() {
    let mut desk = Desk::new();
    let a = desk.beat("a", 0, &[]).expect("it joins");
    assert_eq!((a.generation.0, numbers(&a)), (1, Some(vec![0, 1, 2, 3])));
    let b = desk.beat("b", 0, &[]).expect("it joins");
    assert_eq!((b.generation.0, numbers(&b)), (2, Some(vec![])), "nothing is free");
    // The first is told to give two up; it goes on in its generation until it has.
    let a = desk.beat("a", 1, &[0, 1, 2, 3]).expect("a member");
    assert_eq!((a.generation.0, numbers(&a)), (1, Some(vec![0, 1])));
    let b = desk.beat("b", 2, &[]).expect("a member");
    assert_eq!(numbers(&b), None, "still nothing is free, and it knows");
    assert_eq!(desk.describe().expect("known").state, GroupState::Rebalancing);
    let a = desk.beat("a", 1, &[0, 1]).expect("a member");
    assert_eq!((a.generation.0, numbers(&a)), (2, None));
    let b = desk.beat("b", 2, &[]).expect("a member");
    assert_eq!((b.generation.0, numbers(&b)), (2, Some(vec![2, 3])));
    let seen = desk.describe().expect("known");
    assert_eq!(seen.state, GroupState::Stable);
    let moved = seen.moves.iter().find(|moved| moved.partition.0 == 3).expect("it moved");
    assert_eq!((moved.from.as_deref(), moved.to.as_deref()), (Some("a"), Some("b")));
    assert_eq!(moved.why, "b joined");
}

#[test]
fn who_is_not_heard_for_its_session_is_gone_and_what_it_says_later_is_refused() {
    let mut desk = Desk::new();
    desk.beat("a", 0, &[]).expect("it joins");
    desk.pass(5000);
    desk.beat("b", 0, &[]).expect("it joins");
    desk.pass(4900);
    assert_eq!(desk.describe().expect("known").members.len(), 2);
    desk.pass(200);
    let seen = desk.describe().expect("known");
    assert_eq!((seen.members.len(), seen.why.as_str()), (1, "a was not heard for 10 s"));
    let b = desk.beat("b", 2, &[]).expect("a member");
    assert_eq!((b.generation.0, numbers(&b)), (3, Some(vec![0, 1, 2, 3])));
    assert_eq!(desk.beat("a", 1, &[0]).expect_err("it is out").code, ErrorCode::UnknownMember);
    assert_eq!(desk.commit(of("a", 1), 7), Some(ErrorCode::UnknownMember));
}

#[test]
fn a_coordinator_that_did_not_run_gives_nobody_up_for_that() {
    let mut desk = Desk::new();
    desk.beat("a", 0, &[]).expect("it joins");
    desk.now = 60_000;
    desk.event(Event::Tick);
    desk.beat("a", 1, &[0, 1, 2, 3]).expect("it is still a member");
}

#[test]
fn who_does_not_give_up_is_out_but_holds_until_its_session_is_over() {
    let mut desk = Desk::new();
    let slow = |generation, owned: &[u32]| GroupHeartbeat {
        member: "a".to_owned(),
        generation: Generation(generation),
        rebalance_ms: 3000,
        owned: Some(list(owned)),
        ..GroupHeartbeat::default()
    };
    desk.send(slow(0, &[])).expect("it joins");
    desk.beat("b", 0, &[]).expect("it joins");
    desk.send(slow(1, &[0, 1, 2, 3])).expect("it is told to give up");
    desk.pass(3100);
    assert_eq!(desk.send(slow(1, &[0, 1, 2, 3])).expect_err("out").code, ErrorCode::UnknownMember);
    let b = desk.beat("b", 2, &[]).expect("a member");
    assert_eq!(numbers(&b), None, "it may still hand out");
    desk.pass(7000);
    let b = desk.beat("b", 3, &[]).expect("a member");
    assert_eq!(numbers(&b), Some(vec![0, 1, 2, 3]));
}

#[test]
fn who_leaves_frees_what_it_held_at_once() {
    let mut desk = Desk::new();
    desk.beat("a", 0, &[]).expect("it joins");
    let leave = Some(Leave::ForGood);
    desk.send(GroupHeartbeat { member: "a".to_owned(), leave, ..GroupHeartbeat::default() })
        .expect("it leaves");
    let b = desk.beat("b", 0, &[]).expect("it joins");
    assert_eq!(numbers(&b), Some(vec![0, 1, 2, 3]));
}

#[test]
fn a_static_member_finds_its_partitions_again() {
    let mut desk = Desk::new();
    let place = |member: &str, generation, owned: &[u32]| GroupHeartbeat {
        member: member.to_owned(),
        instance: Some("one".to_owned()),
        generation: Generation(generation),
        owned: Some(list(owned)),
        ..GroupHeartbeat::default()
    };
    desk.send(place("a", 0, &[])).expect("it joins");
    desk.beat("b", 0, &[]).expect("it joins");
    desk.send(place("a", 1, &[0, 1])).expect("it gives up");
    desk.beat("b", 2, &[]).expect("it gets");
    let away = GroupHeartbeat { leave: Some(Leave::ForAWhile), ..place("a", 2, &[]) };
    desk.send(away).expect("it leaves");
    let b = desk.beat("b", 2, &[2, 3]).expect("a member");
    assert_eq!(numbers(&b), None, "nothing moves");
    let again = desk.send(place("c", 0, &[])).expect("it comes back");
    assert_eq!((again.generation.0, numbers(&again)), (3, Some(vec![0, 1])));
    // And one that is killed: the next takes its place at once, and it hears of it.
    let killed = desk.send(place("d", 0, &[])).expect("it takes over");
    assert_eq!(numbers(&killed), Some(vec![0, 1]));
    assert_eq!(desk.send(place("c", 3, &[0, 1])).expect_err("fenced").code, ErrorCode::FencedInstance);
    let commit = GroupCommit { instance: Some("one".to_owned()), ..of("c", 3) };
    assert_eq!(desk.commit(commit, 7), Some(ErrorCode::FencedInstance));
}

#[test]
fn a_heartbeat_that_was_overtaken_gives_nothing_up() {
    let mut desk = Desk::new();
    let numbered = |beat, generation, owned: &[u32]| GroupHeartbeat {
        member: "a".to_owned(),
        beat,
        generation: Generation(generation),
        owned: Some(list(owned)),
        ..GroupHeartbeat::default()
    };
    desk.send(numbered(1, 0, &[])).expect("it joins");
    let copy = desk.send(numbered(1, 0, &[])).expect("the same again");
    assert_eq!((copy.generation.0, numbers(&copy)), (1, Some(vec![0, 1, 2, 3])), "it does not join anew");
    desk.send(numbered(3, 1, &[0, 1, 2, 3])).expect("a member");
    desk.beat("b", 0, &[]).expect("it joins");
    assert_eq!(desk.send(numbered(2, 1, &[])).expect_err("overtaken").code, ErrorCode::StaleGeneration);
    // A copy of the last one knows nothing of its answer, either.
    desk.send(numbered(3, 1, &[])).expect("it is answered");
    assert_eq!(numbers(&desk.beat("b", 2, &[]).expect("a member")), None);
}

#[test]
fn commits_are_the_holders_and_go_back_only_on_request() {
    let mut desk = Desk::new();
    assert_eq!(desk.commit(GroupCommit::default(), 3), None, "nobody is in the group");
    desk.beat("a", 0, &[]).expect("it joins");
    assert_eq!(desk.commit(GroupCommit::default(), 9), Some(ErrorCode::GroupNotEmpty));
    assert_eq!(desk.commit(of("x", 1), 9), Some(ErrorCode::UnknownMember));
    assert_eq!(desk.commit(of("a", 2), 9), Some(ErrorCode::NotCoordinator), "from a newer generation");
    assert_eq!(desk.commit(of("a", 1), 9), None);
    assert_eq!(desk.commit(of("a", 1), 8), Some(ErrorCode::CommitBehind));
    assert_eq!(desk.committed(), Some((9, "at 9".to_owned())));
    assert_eq!(desk.commit(GroupCommit { rewind: true, ..of("a", 1) }, 5), None);
    assert_eq!(desk.committed(), Some((5, "at 5".to_owned())));
    // It comes back after another one had the partition: its old generation is no good any more.
    desk.pass(11_000);
    desk.beat("b", 0, &[]).expect("it joins");
    desk.beat("a", 0, &[]).expect("it joins anew");
    assert_eq!(desk.commit(of("a", 1), 9), Some(ErrorCode::StaleGeneration));
}

#[test]
fn the_next_coordinator_knows_everything_that_was_answered() {
    let mut desk = Desk::new();
    desk.beat("a", 0, &[]).expect("it joins");
    assert_eq!(desk.commit(of("a", 1), 9), None);
    let mut desk = desk.fail_over(Duration::from_secs(3));
    assert_eq!(desk.committed(), Some((9, "at 9".to_owned())));
    let a = desk.beat("a", 1, &[0, 1, 2, 3]).expect("still a member");
    assert_eq!((a.generation.0, numbers(&a)), (2, None), "nothing moves");
    // One that is not heard again is given up after a lease and its session: it may have been answered by the
    // one before for so long.
    let mut desk = desk.fail_over(Duration::from_secs(3));
    desk.pass(12_900);
    assert_eq!(desk.describe().expect("known").members.len(), 1);
    desk.pass(200);
    assert_eq!(desk.describe().expect("known").members.len(), 0);
    assert_eq!(desk.committed(), Some((9, "at 9".to_owned())));
}

#[test]
fn without_a_lease_every_answer_waits_for_a_write() {
    let mut desk = Desk::new();
    desk.beat("a", 0, &[]).expect("it joins");
    let request = Request::List;
    let mut effects = Vec::new();
    let host = "kiwi".to_owned();
    let event = Event::Request { ticket: Ticket(99), request, vouched: false, host };
    desk.set.step(clock(1), event, &mut effects);
    assert!(matches!(&effects[..], [Effect::Persist { key: Key::Alive, value: None, .. }]), "{effects:?}");
    assert!(desk.carry_out(effects).is_some());
}

#[test]
fn topics_that_grow_or_go_make_a_new_generation() {
    let mut desk = Desk::new();
    desk.beat("a", 0, &[]).expect("it joins");
    assert_eq!(desk.commit(of("a", 1), 9), None);
    desk.event(Event::Topics(topics(&[(1, "orders", 5), (2, "other", 1)], &[])));
    let a = desk.beat("a", 1, &[0, 1, 2, 3]).expect("a member");
    assert_eq!((a.generation.0, numbers(&a)), (2, Some(vec![0, 1, 2, 3, 4])));
    assert_eq!(desk.describe().expect("known").why, "topic orders has 5 partitions now, it had 4");
    // Deleted and made again: its offsets are gone, and the partitions are others.
    desk.event(Event::Topics(topics(&[(3, "orders", 2)], &[1])));
    assert_eq!(desk.committed(), None);
    let old = |partitions: &[u32]| {
        let mut listed = list(partitions);
        listed[0].topic_id = Some(TopicId(1));
        Some(listed)
    };
    let beat = |generation, owned| GroupHeartbeat {
        member: "a".to_owned(),
        generation: Generation(generation),
        owned,
        ..GroupHeartbeat::default()
    };
    let a = desk.send(beat(2, old(&[0, 1, 2, 3, 4]))).expect("a member");
    assert_eq!((a.generation.0, numbers(&a)), (2, Some(vec![])));
    let a = desk.send(beat(2, Some(Vec::new()))).expect("a member");
    assert_eq!((a.generation.0, numbers(&a)), (3, Some(vec![0, 1])));
    assert_eq!(a.assignment.expect("new")[0].topic_id, Some(TopicId(3)));
    // A topic that is missing without a word is not forgotten.
    desk.commit(of("a", 3), 4);
    desk.event(Event::Topics(topics(&[], &[1])));
    desk.event(Event::Topics(topics(&[(3, "orders", 2)], &[1])));
    assert_eq!(desk.committed(), Some((4, "at 4".to_owned())));
}

#[test]
fn a_group_without_members_can_be_deleted() {
    let mut desk = Desk::new();
    let delete = || Request::Delete(GroupDelete { group: "g".to_owned(), forward: false });
    assert_eq!(desk.ask(delete()).expect_err("none").code, ErrorCode::UnknownGroup);
    desk.beat("a", 0, &[]).expect("it joins");
    assert_eq!(desk.commit(of("a", 1), 9), None);
    assert_eq!(desk.ask(delete()).expect_err("in use").code, ErrorCode::GroupNotEmpty);
    desk.pass(11_000);
    let Reply::Delete(gone) = desk.ask(delete()).expect("it is gone") else { panic!("a delete") };
    assert_eq!(gone.offsets, 1);
    let mut desk = desk.fail_over(NO_GRACE);
    assert_eq!(desk.describe().expect_err("gone for good").code, ErrorCode::UnknownGroup);
    assert_eq!(desk.committed(), None);
}

#[test]
fn nonsense_is_refused_with_reasons() {
    let mut desk = Desk::new();
    let cases = [
        (GroupHeartbeat { member: String::new(), ..GroupHeartbeat::default() }, "a member's name"),
        (
            GroupHeartbeat { member: "a".to_owned(), session_ms: 10, ..GroupHeartbeat::default() },
            "session_ms must be 1000 to 1800000",
        ),
    ];
    for (beat, why) in cases {
        let error = desk.send(beat).expect_err(why);
        assert!(error.message.contains(why), "{error}");
    }
    let nameless =
        GroupHeartbeat { group: "a b".to_owned(), member: "a".to_owned(), ..GroupHeartbeat::default() };
    let error = desk.ask(Request::Heartbeat(nameless)).expect_err("no name");
    assert_eq!(error.code, ErrorCode::BadRequest);
    let nothing =
        GroupHeartbeat { group: "g".to_owned(), member: "a".to_owned(), ..GroupHeartbeat::default() };
    let error = desk.ask(Request::Heartbeat(nothing)).expect_err("no topics");
    assert!(error.message.contains("which topics"), "{error}");
}
