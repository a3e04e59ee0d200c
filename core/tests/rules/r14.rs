//! R14: a promise is kept.

use crate::harness::World;
use crate::script::*;
use yak_core::rules::Rule;
use yak_protocol::ids::BrokerId;

#[test]
fn r14_two_leaders_are_followed_in_one_epoch() {
    on_an_old_journal(Rule::Promise, "I4", |w| leads_one_epoch_twice(w, World::isolate));
}

/// The coordinator runs on an old copy of its journal and names another leader for an epoch that has had
/// one, which is away. Broker 1 followed the first one; it joins the second with a different record at the
/// same place.
pub fn leads_one_epoch_twice(w: &mut World, goes_away: fn(&mut World, BrokerId)) {
    let copy = w.coordinator.journal.clone();
    // In truth broker 3 leads epoch 2 and broker 1 follows it.
    fence(w, TWO);
    fence(w, ONE);
    assert_eq!(leader(w), Some(THREE));
    hold_requests(w, THREE);
    w.rejoin(ONE);
    publish_to_leader(w, THREE);
    fence(w, ONE);
    goes_away(w, THREE);
    w.net.release_all();
    // That there are two leaders in epoch 2, with different records, cannot be helped any more.
    w.truth.ignored.extend(["I7", "I8"]);
    // The copy lets broker 2 lead epoch 2: the others do not come in time.
    w.restart_coordinator_on(copy);
    w.rejoin(TWO);
    w.advance(3_600);
    assert_eq!(leader(w), Some(TWO));
    publish_to_leader(w, TWO);
    w.rejoin(ONE);
    w.advance(2_000);
}
