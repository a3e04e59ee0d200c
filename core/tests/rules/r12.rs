//! R12: who comes back with less is a new replica.

use crate::harness::World;
use crate::script::*;
use yak_core::rules::Rule;

/// A broker comes back with an empty disk, and may lead.
#[test]
fn r12_a_wiped_replica_may_lead() {
    shows(Rule::RegressionCheck, setup, "I4", |w| {
        w.hold_streams(ONE, TWO);
        publish(w, ONE);
        lag(w);
        assert_eq!(isr(w), [1, 3]);
        w.power_off(THREE);
        w.wipe(THREE);
        w.hold_streams(ONE, THREE);
        w.start(THREE);
        Ok(())
    });
}

#[test]
fn r12_a_restored_backup_may_lead() {
    shows(Rule::RegressionCheck, setup, "I4", leads_from_a_restored_backup);
}

/// A broker comes back with the disk of an earlier session, and may lead.
pub fn leads_from_a_restored_backup(w: &mut World) -> Result<(), String> {
    w.kill(THREE);
    w.back_up(THREE);
    w.start(THREE);
    w.settle_until("broker 3 is back in sync", |w| isr(w) == [1, 2, 3]);
    w.hold_streams(ONE, TWO);
    publish(w, ONE);
    lag(w);
    assert_eq!(isr(w), [1, 3]);
    w.power_off(THREE);
    assert!(w.restore_backup(THREE));
    w.hold_streams(ONE, THREE);
    w.start(THREE);
    Ok(())
}

/// On a topic that is acknowledged before it is synced, a machine that lost power has lost its tail.
#[test]
fn r12_a_lossy_stop_costs_nothing() {
    shows(Rule::LossyStop, replicated, "I4", |w| {
        w.kill(TWO);
        w.broker(THREE).hold_sync = true;
        publish(w, ONE);
        w.loses_data(THREE);
        w.power_off(THREE);
        w.broker(THREE).hold_sync = false;
        w.hold_streams(ONE, THREE);
        w.start(THREE);
        Ok(())
    });
}
