//! R16: the data of unknown topics is set aside, never deleted.
//!
//! The rule lives in the brokers' shell; here it is the harness's. The real one is tested with real data
//! dirs in broker/tests/cluster/unknown_topics.rs.

use crate::script::*;
use yak_core::cluster::Record;
use yak_core::rules::Rule;

/// The coordinator runs on a copy of its journal from before the topic was made.
#[test]
fn r16_what_the_coordinator_has_forgotten_is_deleted() {
    on_an_old_journal(Rule::OrphansKept, "I5", |w| {
        publish(w, ONE);
        let journal = &w.coordinator.journal;
        let made = journal.iter().position(|record| matches!(record, Record::Topic(_))).expect("a topic");
        // The record before it opens the version that made it.
        let copy = journal[..made - 1].to_vec();
        w.restart_coordinator_on(copy);
        w.advance(2_000);
        let id = partition(w);
        assert!([ONE, TWO, THREE].iter().all(|b| w.view(*b, id).is_none()), "the topic is unknown");
    });
}
