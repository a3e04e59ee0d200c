//! R5: a new epoch begins with an empty follower table.

use crate::harness::Place;
use crate::script::*;
use yak_core::cluster::Loss;
use yak_core::rules::Rule;

/// What a follower had acknowledged in an earlier term of the same leader counts again, though it has cut it
/// since.
#[test]
fn r5_the_table_of_an_earlier_term_counts() {
    shows(Rule::SeenThisEpoch, setup, "I4", |w| {
        // Alone in the ISR, broker 1 has a record which broker 3 acknowledges in vain.
        w.hold_streams(ONE, TWO);
        w.hold_streams(ONE, THREE);
        publish(w, ONE);
        lag(w);
        assert_eq!(isr(w), [1]);
        hold_requests(w, ONE);
        w.release_streams(ONE, THREE);
        w.settle();
        // Broker 2 leads epoch 2 without it, and broker 3 follows, and is not proposed before broker 2 is gone.
        w.hold_streams(TWO, ONE);
        hold_requests(w, TWO);
        let now = w.now;
        w.net.sever_between(Place::Broker(ONE), Place::Coordinator, Loss::PeerClosed, now);
        release_requests(w, ONE);
        w.stay_away(ONE);
        assert_eq!(leader(w), Some(TWO));
        // Broker 1 leads epoch 3. Broker 3 cannot open there.
        w.hold_streams(THREE, ONE);
        w.rejoin(ONE);
        let now = w.now;
        w.net.sever_between(Place::Broker(TWO), Place::Coordinator, Loss::PeerClosed, now);
        release_requests(w, TWO);
        w.stay_away(TWO);
        assert_eq!(leader(w), Some(ONE));
        w.advance(700);
        Ok(())
    });
}
