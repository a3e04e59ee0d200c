//! R10: who may be elected.

use crate::harness::World;
use crate::script::*;
use yak_core::rules::{Rule, Rules};

#[test]
fn r10_anybody_is_elected() {
    shows(Rule::CleanElection, setup, "I4", elects_who_was_left_behind);
}

/// A replica that was shrunk long ago is elected because nobody else is there.
pub fn elects_who_was_left_behind(w: &mut World) -> Result<(), String> {
    w.hold_streams(ONE, TWO);
    publish(w, ONE);
    lag(w);
    assert_eq!(isr(w), [1, 3]);
    w.hold_streams(TWO, THREE);
    w.truth.ignored.insert("I6");
    w.kill(ONE);
    w.kill(THREE);
    Ok(())
}

/// Without an ELR the last member of the ISR takes the partition with it, though others have everything.
#[test]
fn r10_who_left_the_isr_last_is_not_eligible() {
    shows(Rule::EligibleReplicas, setup, "liveness", |w| {
        publish(w, ONE);
        // Fewer candidates than `min_isr` are the rule's absence itself; this is what it costs.
        w.truth.ignored.insert("I6");
        w.kill(TWO);
        w.kill(THREE);
        w.kill(ONE);
        w.start(TWO);
        w.start(THREE);
        w.advance(5_000);
        leader(w).map(|_| ()).ok_or_else(|| "brokers 2 and 3 have everything, and nobody leads".to_owned())
    });
}

/// With acknowledgements before the sync it costs data: the last member comes back without its tail, and is
/// still the only one who may lead.
#[test]
fn r10_without_an_elr_a_lossy_last_member_leads_again() {
    let both = |rules: Rules| {
        let lossy = Rules { r12_lossy_stop: rules.r10_eligible_replicas, ..rules };
        replicated(lossy)
    };
    shows(Rule::EligibleReplicas, both, "I4", |w| {
        w.broker(ONE).hold_sync = true;
        publish(w, ONE);
        w.truth.ignored.insert("I6");
        w.kill(TWO);
        w.kill(THREE);
        w.loses_data(ONE);
        w.power_off(ONE);
        w.broker(ONE).hold_sync = false;
        w.start(ONE);
        w.advance(700);
        Ok(())
    });
}
