//! R9: which proposals the coordinator applies.

use crate::script::*;
use yak_core::rules::Rule;

/// A proposal adds a follower as it was before its disk was replaced.
#[test]
fn r9_a_follower_joins_with_a_life_that_is_over() {
    shows(Rule::BrokerEpoch, setup, "I4", |w| {
        w.hold_streams(ONE, THREE);
        publish(w, ONE);
        lag(w);
        assert_eq!(isr(w), [1, 2]);
        // Broker 3 catches up; the proposal to add it stays on its way.
        hold_requests(w, ONE);
        w.release_streams(ONE, THREE);
        w.settle();
        w.hold_streams(ONE, THREE);
        w.power_off(THREE);
        w.wipe(THREE);
        w.start(THREE);
        release_requests(w, ONE);
        Ok(())
    });
}

/// A proposal to remove one follower arrives after another one was removed, and brings that one back.
#[test]
fn r9_a_proposal_is_applied_to_another_record() {
    shows(Rule::PartitionEpoch, setup, "I4", |w| {
        w.hold_streams(ONE, TWO);
        publish(w, ONE);
        w.advance(2_900);
        hold_requests(w, ONE);
        w.advance(300);
        // Brokers 1 and 3 were proposed. Broker 2 catches up, broker 3 is fenced and misses a record.
        w.release_streams(ONE, TWO);
        w.settle();
        fence(w, THREE);
        assert_eq!(isr(w), [1, 2]);
        w.hold_streams(ONE, THREE);
        publish(w, ONE);
        w.rejoin(THREE);
        release_requests(w, ONE);
        Ok(())
    });
}
