//! The classic ways in which a replicated log loses what it acknowledged, by the tags of the table in
//! docs/REPLICATION.md. Each is played against the rule that stands in its way, and does its harm without it.

use crate::script::*;
use crate::{r3, r4, r7, r10, r12, r14};
use yak_core::rules::Rule;

/// The watermark passes what the leader itself has on disk, and a power cut leaves it past the log.
#[test]
fn z2_the_watermark_passes_the_leaders_own_log() {
    shows(Rule::LeaderCountsSynced, setup, "I10", |w| {
        w.broker(ONE).hold_sync = true;
        publish(w, ONE);
        w.power_off(ONE);
        w.broker(ONE).hold_sync = false;
        Ok(())
    });
}

/// After a failover the new leader's watermark is behind what is committed, and is taken for the truth.
#[test]
fn z2_the_watermark_is_behind_after_a_failover() {
    shows(Rule::EpochStart, setup, "I4", r7::joins_below_the_start_of_the_epoch);
}

/// A follower serves two masters: what it is sent is taken, counted and cut without a word about epochs.
#[test]
fn z3_what_another_epoch_has_sent_counts() {
    shows(Rule::LeaderEpochFence, setup, "I4", r3::counts_a_follower_of_an_older_epoch);
}

/// A follower does not compare its log with the leader's before it goes on, but guesses where they part.
#[test]
fn z3_logs_are_continued_uncompared() {
    shows(Rule::TruncateByEpoch, setup, "I4", r4::cuts_at_the_high_watermark);
}

/// A leader is frozen, another one is named for its epoch meanwhile, and both find followers.
#[test]
fn z4_a_frozen_leader_has_a_second_one_beside_it() {
    on_an_old_journal(Rule::Promise, "I4", |w| {
        r14::leads_one_epoch_twice(w, |w, id| w.broker(id).frozen = true);
    });
}

/// Any live replica may lead, one that was left behind long ago, too.
#[test]
fn z5_a_stale_follower_is_elected() {
    shows(Rule::CleanElection, setup, "I4", r10::elects_who_was_left_behind);
}

/// A replica counts as what it was, though its disk has gone back in time.
#[test]
fn z5_a_restored_disk_is_elected() {
    shows(Rule::RegressionCheck, setup, "I4", r12::leads_from_a_restored_backup);
}

/// "Replicated" is said of records that lie in page caches: all machines lose power, those that come back
/// first have nothing, and one of them leads.
#[test]
fn z6_replicated_means_written_somewhere() {
    shows(Rule::FollowerReportsSynced, setup, "I1", |w| {
        // That too few disks have the record shows at once; this is what comes of it.
        w.truth.ignored.extend(["I10", "I4"]);
        for id in [TWO, THREE] {
            w.broker(id).hold_sync = true;
        }
        publish(w, ONE);
        for id in [ONE, TWO, THREE] {
            w.power_off(id);
            w.broker(id).hold_sync = false;
        }
        w.start(TWO);
        w.start(THREE);
        w.advance(1_000);
        Ok(())
    });
}
