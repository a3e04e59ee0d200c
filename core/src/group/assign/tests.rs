use super::*;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use yak_protocol::ids::TopicId;
use yak_protocol::message::{TopicConfig, TopicInfo};

fn topics(partitions: &[u32]) -> Topics {
    let info = |(index, partitions): (usize, &u32)| TopicInfo {
        id: TopicId(index as u128 + 1),
        name: format!("t{index}"),
        partitions: *partitions,
        wanted_replicas: 1,
        min_isr: 1,
        config: TopicConfig::default(),
        key_slots: Default::default(),
    };
    let infos: Vec<_> = partitions.iter().enumerate().map(info).collect();
    Topics::new(&infos, BTreeSet::new())
}

fn candidate(member: usize, topics: impl IntoIterator<Item = usize>) -> Candidate {
    let member = format!("m{member:02}");
    let topics = topics.into_iter().map(|topic| format!("t{topic}")).collect();
    Candidate { place: member.clone(), member, topics }
}

fn everybody(members: usize, topics: usize) -> Vec<Candidate> {
    (0..members).map(|member| candidate(member, 0..topics)).collect()
}

fn sizes(target: &Target) -> Vec<usize> {
    target.values().map(BTreeSet::len).collect()
}

/// How many partitions have an owner in both that is not the same.
fn moved(before: &Target, after: &Target) -> usize {
    let owner = |target: &Target, id: TopicPartition| {
        target.iter().find(|(_, has)| has.contains(&id)).map(|(member, _)| member.clone())
    };
    let all = before.values().flatten();
    all.filter(|id| owner(after, **id) != owner(before, **id)).count()
}

/// Everything that somebody wants is given once, to somebody who wants it.
fn check_whole(target: &Target, candidates: &[Candidate], topics: &Topics) {
    let mut given = BTreeSet::new();
    for candidate in candidates {
        for id in &target[&candidate.member] {
            assert!(given.insert(*id), "{id:?} is given twice");
            assert!(candidate.topics.contains(topics.name(id.topic).expect("it exists")));
        }
    }
    let all: usize = wanted(candidates, topics).values().map(|(partitions, _)| partitions.len()).sum();
    assert_eq!(given.len(), all);
}

#[test]
fn ranges_keep_partitions_of_the_same_number_together() {
    let topics = topics(&[7, 7]);
    let target = assign(Assignor::Range, everybody(3, 2), &topics, &Target::new());
    assert_eq!(sizes(&target), [6, 4, 4]);
    for has in target.values() {
        let of = |topic: u128| -> Vec<_> {
            has.iter().filter(|id| id.topic == TopicId(topic)).map(|id| id.partition).collect()
        };
        assert_eq!(of(1), of(2));
    }
}

#[test]
fn who_joins_takes_its_share_and_no_more_and_gives_it_back() {
    let topics = topics(&[12]);
    let two = assign(Assignor::Uniform, everybody(2, 1), &topics, &Target::new());
    assert_eq!(sizes(&two), [6, 6]);
    let three = assign(Assignor::Uniform, everybody(3, 1), &topics, &two);
    assert_eq!((sizes(&three), moved(&two, &three)), (vec![4, 4, 4], 4));
    let back = assign(Assignor::Uniform, everybody(2, 1), &topics, &three);
    assert_eq!((sizes(&back), moved(&three, &back)), (vec![6, 6], 4));
}

#[test]
fn more_members_than_partitions_leave_some_idle() {
    let topics = topics(&[2]);
    for assignor in [Assignor::Range, Assignor::Uniform] {
        let target = assign(assignor, everybody(5, 1), &topics, &Target::new());
        assert_eq!(sizes(&target).iter().sum::<usize>(), 2, "{assignor:?}");
    }
}

#[test]
fn a_topic_that_does_not_exist_gives_nobody_anything() {
    let target = assign(Assignor::Uniform, everybody(2, 3), &topics(&[1, 1]), &Target::new());
    assert_eq!(sizes(&target).iter().sum::<usize>(), 2);
}

proptest! {
    #[test]
    fn with_equal_wishes_uniform_is_even_and_moves_the_least(
        partitions in vec(0..20u32, 1..4), first in 1..9usize, then in 1..9usize,
    ) {
        let topics = topics(&partitions);
        let count = partitions.len();
        let before = assign(Assignor::Uniform, everybody(first, count), &topics, &Target::new());
        let after = assign(Assignor::Uniform, everybody(then, count), &topics, &before);
        check_whole(&after, &everybody(then, count), &topics);
        let sizes = sizes(&after);
        let (most, least) = (sizes.iter().max().expect("members"), sizes.iter().min().expect("members"));
        prop_assert!(most - least <= 1, "{sizes:?}");
        // What must move: what those have who went, or what those are short of who came.
        let total: usize = sizes.iter().sum();
        let least_moves = if then <= first {
            before.iter().skip(then).map(|(_, has)| has.len()).sum::<usize>()
        } else {
            (first..then).map(|_| total / then).sum::<usize>()
        };
        let moves = moved(&before, &after);
        prop_assert!(moves >= least_moves.min(total) && moves <= least_moves + total % then, "{moves} moves, {least_moves} needed");
    }

    #[test]
    fn with_any_wishes_nothing_is_left_out_and_no_single_move_helps(
        partitions in vec(0..12u32, 1..4), wishes in vec(btree_set(0..4usize, 0..4), 1..7),
        before in vec(btree_set(0..4usize, 0..4), 1..7), range in any::<bool>(),
    ) {
        let topics = topics(&partitions);
        let of = |wishes: Vec<BTreeSet<usize>>| -> Vec<_> {
            wishes.into_iter().enumerate().map(|(member, topics)| candidate(member, topics)).collect()
        };
        let assignor = if range { Assignor::Range } else { Assignor::Uniform };
        let before = assign(assignor, of(before), &topics, &Target::new());
        let candidates = of(wishes);
        let target = assign(assignor, candidates.clone(), &topics, &before);
        check_whole(&target, &candidates, &topics);
        if !range {
            for giver in &candidates {
                for id in &target[&giver.member] {
                    let name = topics.name(id.topic).expect("it exists");
                    let takers = candidates.iter().filter(|taker| taker.topics.contains(name));
                    let least = takers.map(|taker| target[&taker.member].len()).min().expect("its owner");
                    prop_assert!(least + 1 >= target[&giver.member].len());
                }
            }
        }
        // Nothing has changed: nothing moves.
        let again = assign(assignor, candidates, &topics, &target);
        prop_assert_eq!(again, target);
    }
}
