//! R6: what counts for a commit.

use crate::script::*;
use yak_core::rules::Rule;

/// A leader that is alone in the ISR commits what nobody else has.
#[test]
fn r6_a_lone_leader_commits() {
    shows(Rule::StrictMinIsr, setup, "I10", |w| {
        w.hold_streams(ONE, TWO);
        w.hold_streams(ONE, THREE);
        publish(w, ONE);
        lag(w);
        assert_eq!(isr(w), [1]);
        Ok(())
    });
}

/// Broker 3 is in the ISR, though the leader does not know that yet and commits without it.
#[test]
fn r6_a_proposed_member_is_not_waited_for() {
    shows(Rule::MaximalIsr, setup, "I4", |w| {
        joins_unheard(w);
        publish(w, ONE);
        Ok(())
    });
}
