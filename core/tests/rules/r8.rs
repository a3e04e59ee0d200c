//! R8: a proposal stays until it is answered.

use crate::script::*;
use yak_core::rules::Rule;

/// The same after the proposal was not answered in time.
#[test]
fn r8_a_timeout_forgets_the_proposal() {
    shows(Rule::PendingStays, setup, "I4", |w| {
        joins_unheard(w);
        w.advance(700);
        publish(w, ONE);
        Ok(())
    });
}
