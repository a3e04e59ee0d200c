//! R11: a restart is fenced first.

use crate::harness::Place;
use crate::harness::World;
use crate::script::*;
use yak_core::cluster::Loss;
use yak_core::rules::{Rule, Rules};

/// A leader that restarts without being fenced first is asked to lead an epoch that it led before its
/// restart. It refuses (R14), so nobody leads.
#[test]
fn r11_a_restart_goes_unnoticed_and_nobody_leads() {
    shows(Rule::RestartFences, setup, "liveness", |w| {
        restarts_quickly(w);
        Ok(())
    });
}

/// And where it does not refuse, it leads one epoch twice, and writes other records under the same epoch and
/// offset.
#[test]
fn r11_a_restart_goes_unnoticed_and_an_epoch_is_led_twice() {
    let neither = |rules: Rules| setup(Rules { r14_promise: rules.r11_restart_fences, ..rules });
    shows(Rule::RestartFences, neither, "I7", |w| {
        restarts_quickly(w);
        if leader(w) == Some(ONE) {
            publish(w, ONE);
        }
        Ok(())
    });
}

/// Broker 1 loses a record that its followers have, and registers again before anybody has missed it.
fn restarts_quickly(w: &mut World) {
    w.broker(ONE).hold_sync = true;
    publish(w, ONE);
    w.linger_ms = 60_000;
    w.power_off(ONE);
    w.linger_ms = 0;
    w.broker(ONE).hold_sync = false;
    let now = w.now;
    for other in [TWO, THREE] {
        w.net.sever_between(Place::Broker(ONE), Place::Broker(other), Loss::Unknown, now);
    }
    w.start(ONE);
    w.advance(2_000);
}
