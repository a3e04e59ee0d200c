//! R18: moves.

use crate::harness::{Place, Setup, World};
use crate::script::*;
use yak_core::cluster::Loss;
use yak_core::rules::{Rule, Rules};
use yak_protocol::ids::BrokerId;

pub const FOUR: BrokerId = BrokerId(4);
pub const FIVE: BrokerId = BrokerId(5);

/// Five brokers, one partition on the first three.
fn five(rules: Rules) -> Setup {
    Setup { brokers: 5, ..setup(rules) }
}

/// A move away from two of three while the new replicas have nothing yet: the one that stays has the only copy,
/// and one lost disk, which `min_isr` 2 is to survive, takes everything.
#[test]
fn r18_the_old_replicas_go_before_the_new_ones_have_anything() {
    shows(Rule::AddBeforeRemove, five, "I5", |w| {
        publish(w, ONE);
        w.hold_streams(FOUR, ONE);
        w.hold_streams(FIVE, ONE);
        // Fewer candidates than `min_isr` are the rule's absence itself; this is what it costs.
        w.truth.ignored.extend(["I6", "I13"]);
        let id = partition(w);
        assert!(w.move_to(id, &[ONE, FOUR, FIVE]));
        w.settle();
        w.loses_data(ONE);
        w.truth.copies_lost = 1;
        w.power_off(ONE);
        w.wipe(ONE);
        w.start(ONE);
        w.advance(1_000);
        Ok(())
    });
}

/// Broker 3 does not hear that it has gone and come back, and its leader does: the one waits for ever in a session
/// that the other has forgotten.
#[test]
fn r18_a_replica_that_missed_its_leaving_is_stuck() {
    shows(Rule::NewEpoch, five, "liveness", |w| {
        publish(w, ONE);
        let id = partition(w);
        hold_news(w, THREE);
        assert!(w.move_to(id, &[ONE, TWO, FOUR]));
        w.settle();
        assert_eq!(isr(w), [1, 2, 4]);
        assert!(w.move_to(id, &[ONE, TWO, THREE]));
        w.settle();
        tell_anew(w, THREE);
        Ok(())
    });
}

/// The other way round: the leader takes what it last knew of broker 3 for what it has now.
#[test]
fn r18_a_leader_that_missed_a_leaving_counts_a_copy_that_is_gone() {
    let script: Script = |w| {
        publish(w, ONE);
        w.advance(1_000);
        let id = partition(w);
        w.hold_streams(THREE, ONE);
        w.hold_streams(FOUR, ONE);
        assert!(w.move_to(id, &[ONE, TWO, FOUR]));
        w.settle();
        hold_news(w, ONE);
        w.release_streams(FOUR, ONE);
        w.settle();
        assert!(w.move_to(id, &[ONE, TWO, THREE]));
        w.settle();
        tell_anew(w, ONE);
        Ok(())
    };
    let with = play(five(Rules::all()), script);
    assert_eq!(with.name(), "nothing", "with every rule in force: {}", with.text());
    let rules = Rules { r18_new_epoch: false, r18_newer_record_removes: false, ..Rules::all() };
    let without = play(five(rules), script);
    assert_eq!(without.name(), "I4", "with the epoch that it had: {}", without.text());
}

/// On another connection the broker is told what holds now, and not what was.
fn tell_anew(w: &mut World, broker: BrokerId) {
    let now = w.now;
    w.net.sever_between(Place::Broker(broker), Place::Coordinator, Loss::Unknown, now);
    w.net.release(Place::Coordinator, Place::Broker(broker), None);
    w.advance(500);
}

/// The coordinator runs on a copy of its journal from before a move, and the brokers that have the partition by
/// now have restarted: on the copy they are no replicas of it, but the copy is older than theirs. Whoever has a
/// partition is heard first (R15), and a lower epoch is not acted on (R14); this rule is what is left without the two, which
/// are off here in both cases.
#[test]
fn r18_an_old_journal_deletes_what_was_moved() {
    let deaf = Rules { r14_promise: false, ..Rules::without(Rule::Ratchet) };
    for (rule, rules, broken) in [
        (Rule::NewerRecordRemoves, Rules { r18_newer_record_removes: false, ..deaf }, Some("I5")),
        (Rule::Ratchet, deaf, None),
    ] {
        let mut w = World::new(five(rules));
        moved_on_an_old_journal(&mut w);
        let found = w.truth.violations.first().map(|v| v.invariant);
        assert_eq!(found, broken, "without {}\n{}", rule.name(), w.describe());
    }
}

fn moved_on_an_old_journal(w: &mut World) {
    publish(w, ONE);
    let copy = w.coordinator.journal.clone();
    let id = partition(w);
    assert!(w.move_to(id, &[ONE, FOUR, FIVE]));
    w.settle_until("it has moved", World::is_whole);
    w.advance(1_000);
    w.loses_data(ONE);
    w.truth.copies_lost = 1;
    w.crash_coordinator();
    for broker in [ONE, FOUR, FIVE] {
        w.power_off(broker);
    }
    w.wipe(ONE);
    // What is decided on the copy is known to be wrong; whether anything is left is the question.
    w.truth.ignored.extend(["I1", "I2", "I3", "I4", "I6", "I9", "I13"]);
    w.restart_coordinator_on(copy);
    for broker in [ONE, FOUR, FIVE] {
        w.start(broker);
    }
    w.advance(2_000);
}

/// A replica that is removed and comes back within one life of its broker does not take up old sessions: what it
/// said before may arrive after what it says now.
#[test]
fn r18_what_a_removed_replica_said_counts_for_nobody() {
    let played = play(five(Rules::all()), |w| {
        publish(w, ONE);
        let id = partition(w);
        w.hold_streams(THREE, ONE);
        publish(w, ONE);
        assert!(w.move_to(id, &[ONE, TWO, FOUR]));
        w.advance(4_000);
        assert_eq!(isr(w), [1, 2, 4]);
        assert!(w.move_to(id, &[ONE, TWO, THREE]));
        w.advance(1_000);
        w.release_streams(THREE, ONE);
        w.settle_until("it is back", World::is_whole);
        assert_eq!(isr(w), [1, 2, 3]);
        Ok(())
    });
    assert_eq!(played.name(), "nothing", "{}", played.text());
}

/// The leader is told last that it goes: what it appends meanwhile is acknowledged by nobody.
#[test]
fn r18_a_leader_that_has_moved_away_commits_nothing() {
    let played = play(five(Rules::all()), |w| {
        publish(w, ONE);
        let id = partition(w);
        hold_news(w, ONE);
        assert!(w.move_to(id, &[FOUR, FIVE, TWO]));
        w.advance(100);
        // Its followers have to be told of the new ones before they can catch up.
        w.net.release_all();
        w.settle_until("it has moved", |w| leader(w) == Some(TWO) || leader(w) == Some(FOUR));
        let value = publish(w, ONE);
        w.settle();
        if w.truth.is_acked(value) {
            return Err("a leader that has moved away acknowledges".to_owned());
        }
        Ok(())
    });
    assert_eq!(played.name(), "nothing", "{}", played.text());
}

/// A partition has moved, and the coordinator goes back to before the move: whoever has it by now says so, though
/// it is no replica on the old copy, and nothing is decided (R15).
#[test]
fn r18_who_has_a_moved_partition_is_heard_on_an_old_journal() {
    let mut w = World::new(five(Rules::all()));
    publish(&mut w, ONE);
    let copy = w.coordinator.journal.clone();
    let id = partition(&w);
    assert!(w.move_to(id, &[FOUR, FIVE, TWO]));
    w.settle_until("it has moved", World::is_whole);
    w.kill(TWO);
    w.advance(1_000);
    w.truth.ignored.extend(["I4", "I6", "I9"]);
    w.restart_coordinator_on(copy);
    w.advance(1_000);
    assert!(w.record(id).is_some_and(|record| record.recovering), "{}", w.describe());
    assert_eq!(w.truth.violations, [], "{}", w.describe());
}
