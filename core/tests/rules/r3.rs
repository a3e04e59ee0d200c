//! R3: a leader serves only followers of its own epoch.

use crate::harness::Place;
use crate::harness::World;
use crate::script::*;
use yak_core::cluster::Loss;
use yak_core::rules::Rule;

#[test]
fn r3_a_follower_of_an_older_epoch_is_counted() {
    shows(Rule::LeaderEpochFence, setup, "I4", counts_a_follower_of_an_older_epoch);
}

/// Broker 3 still lives in epoch 1 and is counted by the leader of epoch 3. It then learns of epoch 2, whose
/// leader never had what epoch 3 has committed with its help, and cuts it.
pub fn counts_a_follower_of_an_older_epoch(w: &mut World) -> Result<(), String> {
    // A record that only broker 1 has, which is left alone in the ISR.
    w.hold_streams(ONE, TWO);
    w.hold_streams(ONE, THREE);
    publish(w, ONE);
    lag(w);
    assert_eq!(isr(w), [1]);
    // Epoch 2: broker 2 leads. Broker 3 does not hear of it, broker 1 hears nothing from it.
    hold_news(w, THREE);
    w.hold_streams(TWO, ONE);
    fence(w, ONE);
    w.rejoin(ONE);
    // Epoch 3: broker 1 leads. Broker 2 goes on in epoch 2.
    fence(w, TWO);
    assert_eq!(leader(w), Some(ONE));
    // Broker 3 opens again in epoch 1, and gets the record, but not the word that it is committed now.
    w.release_streams(ONE, THREE);
    let now = w.now;
    w.net.sever_between(Place::Broker(THREE), Place::Broker(ONE), Loss::Unknown, now);
    w.settle();
    w.hold_streams(ONE, THREE);
    w.advance(1_400);
    w.deliver_one(Place::Broker(ONE), Place::Broker(THREE));
    w.deliver_one(Place::Broker(ONE), Place::Broker(THREE));
    // Of what it has missed it hears of epoch 2 first.
    deliver_news_until_epoch(w, 2);
    Ok(())
}

/// Lets broker 3 hear the coordinator's words one by one, until it knows of that epoch.
fn deliver_news_until_epoch(w: &mut World, epoch: u32) {
    let id = partition(w);
    for _ in 0..20 {
        if w.view(THREE, id).is_some_and(|v| v.leader_epoch.0 >= epoch) {
            return;
        }
        w.deliver_one(Place::Coordinator, Place::Broker(THREE));
    }
}
