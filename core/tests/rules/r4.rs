//! R4: a follower cuts by the epoch histories of both logs.

use crate::harness::World;
use crate::script::*;
use yak_core::rules::Rule;

#[test]
fn r4_a_follower_cuts_at_its_high_watermark() {
    shows(Rule::TruncateByEpoch, setup, "I4", cuts_at_the_high_watermark);
}

/// A follower that cuts its log at its own high watermark, which is always late, cuts what is committed.
pub fn cuts_at_the_high_watermark(w: &mut World) -> Result<(), String> {
    // All have the record and have said so; that it is committed does not reach the followers.
    w.broker(ONE).hold_sync = true;
    publish(w, ONE);
    w.hold_streams(ONE, TWO);
    w.hold_streams(ONE, THREE);
    w.broker(ONE).hold_sync = false;
    w.settle();
    fence(w, ONE);
    Ok(())
}

/// A follower that cuts only where the leader's epoch ends keeps its own records of a later epoch, and both
/// say the same to each other for ever.
#[test]
fn r4_a_follower_cuts_at_the_leaders_end_alone() {
    shows(Rule::LeastOfBothEnds, setup, "liveness", |w| {
        publish(w, ONE);
        // Broker 1 has one more record of epoch 1 than broker 2.
        w.hold_streams(ONE, TWO);
        w.hold_streams(ONE, THREE);
        publish(w, ONE);
        lag(w);
        assert_eq!(isr(w), [1]);
        // Broker 2 leads epoch 2 and appends two records of its own.
        w.hold_streams(TWO, ONE);
        w.hold_streams(THREE, TWO);
        fence(w, ONE);
        assert_eq!(leader(w), Some(TWO));
        publish_to_leader(w, TWO);
        publish_to_leader(w, TWO);
        // Broker 1 leads epoch 3.
        w.rejoin(ONE);
        fence(w, TWO);
        assert_eq!(leader(w), Some(ONE));
        Ok(())
    });
}
