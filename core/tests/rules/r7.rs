//! R7: who may join the ISR.

use crate::harness::World;
use crate::script::*;
use yak_core::rules::Rule;

#[test]
fn r7_a_follower_joins_below_the_start_of_the_epoch() {
    shows(Rule::EpochStart, setup, "I4", joins_below_the_start_of_the_epoch);
}

/// A new leader does not know yet that its log is committed. A follower that has what it does know lacks the
/// rest, and joins the ISR.
pub fn joins_below_the_start_of_the_epoch(w: &mut World) -> Result<(), String> {
    // Broker 3 gets nothing; broker 2 gets the record, and does not hear that it is committed.
    w.hold_streams(ONE, THREE);
    publish(w, ONE);
    w.hold_streams(ONE, TWO);
    lag(w);
    assert_eq!(isr(w), [1, 2]);
    // Broker 2 leads. Broker 3 opens there, and gets nothing.
    w.hold_streams(TWO, THREE);
    fence(w, ONE);
    assert_eq!(leader(w), Some(TWO));
    w.advance(700);
    Ok(())
}
