//! R15: nobody goes back to less than was known.

use crate::harness::World;
use crate::script::*;
use yak_core::cluster::Record;
use yak_core::rules::{Rule, Rules};

/// Brokers that have seen term 3 are talked to by a coordinator that runs in term 2 on an old copy.
#[test]
fn r15_an_older_coordinator_is_obeyed() {
    on_an_old_journal(Rule::Ratchet, "I1", |w| {
        let copy = w.coordinator.journal.clone();
        for _ in 0..2 {
            w.crash_coordinator();
            w.start_coordinator();
        }
        w.settle_until("all are back", |w| w.unfenced().len() == 3 && w.is_whole());
        goes_back_to(w, copy);
    });
}

/// The same within one term: the journal lacks the end, and brokers know more than it does.
#[test]
fn r15_a_shorter_journal_is_obeyed() {
    on_an_old_journal(Rule::Ratchet, "I1", |w| {
        let copy = w.coordinator.journal.clone();
        goes_back_to(w, copy);
    });
}

/// An old copy that hears of a later term stands still, though nobody stays with it: what it decided in the
/// meantime would look newer than what the brokers know, once its own term has caught up with theirs.
#[test]
fn r15_a_copy_that_hears_of_a_later_term_decides_nothing() {
    let mut w = World::new(setup(Rules::all()));
    publish(&mut w, ONE);
    let copy = w.coordinator.journal.clone();
    for _ in 0..3 {
        w.crash_coordinator();
        w.start_coordinator();
    }
    w.advance(1_000);
    let before = w.record(partition(&w)).cloned().expect("a record");
    w.restart_coordinator_on(copy);
    // All leases run out, for nobody is let in.
    w.advance(10_000);
    let after = w.record(partition(&w)).cloned().expect("a record");
    assert!(after.recovering, "{after:?}");
    assert_eq!((after.leader, after.leader_epoch), (before.leader, before.leader_epoch));
    for _ in 0..5 {
        w.crash_coordinator();
        w.start_coordinator();
        w.advance(1_000);
    }
    assert_eq!(w.unfenced().len(), 3, "its term has caught up: {}", w.describe());
    let after = w.record(partition(&w)).cloned().expect("a record");
    assert!(after.recovering, "{after:?}");
    assert_eq!(w.truth.violations, [], "{}", w.describe());
}

/// Broker 3 has left the ISR and lacks a record. On the copy it is in it, and the others are away soon.
fn goes_back_to(w: &mut World, copy: Vec<Record>) {
    w.hold_streams(ONE, THREE);
    publish(w, ONE);
    lag(w);
    assert_eq!(isr(w), [1, 2]);
    // The journal is not what it was: only what brokers do counts from here on.
    w.truth.ignored.extend(["I4", "I6", "I9"]);
    w.restart_coordinator_on(copy);
    w.advance(1_000);
    w.hold_streams(THREE, TWO);
    w.kill(ONE);
    w.kill(TWO);
    w.advance(5_000);
}
