//! R17: who is damaged does not lead if another can.

use crate::script::*;
use yak_core::rules::Rule;

/// A leader whose log is damaged goes on leading: nobody can read the range, and nobody repairs it.
#[test]
fn r17_a_damaged_leader_goes_on() {
    shows(Rule::DamageDemotes, setup, "liveness", |w| {
        publish(w, ONE);
        let id = partition(w);
        w.kill(TWO);
        w.kill(THREE);
        w.kill(ONE);
        w.broker(ONE).disk.tamper(id, |log| log.damaged.push((0, 1)));
        w.loses_data(ONE);
        w.start(ONE);
        w.start(TWO);
        w.start(THREE);
        Ok(())
    });
}
