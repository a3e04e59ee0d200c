//! R2: only what is on disk counts.

use crate::script::*;
use yak_core::rules::Rule;

/// The leader acknowledges while its own disk has not synced; power fails, and it may lead again.
#[test]
fn r2_a_leader_counts_what_it_may_lose() {
    shows(Rule::LeaderCountsSynced, setup, "I10", |w| {
        w.kill(TWO);
        w.broker(ONE).hold_sync = true;
        publish(w, ONE);
        w.power_off(ONE);
        Ok(())
    });
}

/// A follower acknowledges before its disk has synced; power fails, and it may lead.
#[test]
fn r2_a_follower_reports_what_it_may_lose() {
    shows(Rule::FollowerReportsSynced, setup, "I10", |w| {
        w.kill(TWO);
        w.broker(THREE).hold_sync = true;
        publish(w, ONE);
        w.power_off(THREE);
        Ok(())
    });
}
