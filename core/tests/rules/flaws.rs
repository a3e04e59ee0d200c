//! The classic ways in which a replicated log loses what it acknowledged, by the tags of the table in
//! docs/REPLICATION.md. Each is played against the rule that stands in its way, and does its harm without it.

use crate::harness::{Setup, World};
use crate::script::*;
use crate::{r3, r4, r7, r10, r12, r14};
use yak_core::rules::{Rule, Rules};
use yak_protocol::ids::BrokerId;
use yak_protocol::message::Acks;

fn publish_named(w: &mut World, to: BrokerId, partition: usize, name: u128) -> u64 {
    let id = w.partition(partition);
    w.publish_named(to, id, Acks::All, None, Some(name))
}

fn elected(w: &mut World) -> BrokerId {
    w.advance(4_000);
    leader(w).expect("another one leads")
}

/// A name is taken before its record is kept: the first one is on the leader alone and gone with it, and whoever
/// sends it again is told that it is there.
#[test]
fn z1_a_repeat_is_acknowledged_only_with_what_it_repeats() {
    let played = play(setup(Rules::all()), |w| {
        w.hold_streams(ONE, TWO);
        w.hold_streams(ONE, THREE);
        let (first, again) = (publish_named(w, ONE, 0, 7), publish_named(w, ONE, 0, 7));
        assert!(!w.truth.is_acked(first) && !w.truth.is_acked(again), "nobody else has it");
        w.power_off(ONE);
        let next = elected(w);
        let third = publish_named(w, next, 0, 7);
        assert!(w.truth.is_acked(third), "it is new to the next leader");
        let fourth = publish_named(w, next, 0, 7);
        assert!(w.truth.is_acked(fourth));
        let log = w.truth.committed(partition(w)).expect("something is committed");
        assert_eq!(log.batches().map(|batch| batch.value).collect::<Vec<_>>(), [third]);
        Ok(())
    });
    assert_eq!(played.name(), "nothing", "{}", played.text());
}

/// Names expire by each broker's clock, and are one space for everybody: here they go by the times in the log, by
/// partition.
#[test]
fn z7_names_are_forgotten_by_the_log_and_not_by_a_clock() {
    let setup = Setup { partitions: 2, dedupe_window_ms: 60_000, ..setup(Rules::all()) };
    let played = play(setup, |w| {
        let values = |w: &World, partition: usize| -> Vec<u64> {
            let log = w.truth.committed(w.partition(partition));
            log.map(|log| log.batches().map(|batch| batch.value).collect()).unwrap_or_default()
        };
        let first = publish_named(w, ONE, 0, 7);
        let elsewhere = w.record(w.partition(1)).and_then(|info| info.leader).expect("it has a leader");
        let other = publish_named(w, elsewhere, 1, 7);
        assert_eq!(values(w, 1), [other], "another partition has names of its own");
        w.power_off(ONE);
        let next = elected(w);
        publish_named(w, next, 0, 7);
        assert_eq!(values(w, 0), [first], "it is known to the next leader");
        w.advance(70_000);
        let late = publish_named(w, next, 0, 7);
        assert_eq!(values(w, 0), [first, late], "its window is over");
        Ok(())
    });
    assert_eq!(played.name(), "nothing", "{}", played.text());
}

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
