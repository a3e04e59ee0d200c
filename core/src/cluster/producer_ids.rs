//! Producer ids, in blocks that nobody else will ever get.
//!
//! The journal counts them, so no term gives out what an earlier one has. That is not enough where a
//! coordinator starts on an old copy of its journal: what was given out since the copy is not in it, and a
//! producer under an id that another one has had would find its first records taken for repeats. Nobody
//! who could warn the coordinator has to be there when it gives out its first id. So each term begins at a
//! random place ahead, among far more ids than are ever given out in one.

use super::{Cluster, Effect, Record, Step};
use yak_protocol::defaults::PRODUCER_ID_BLOCK;
use yak_protocol::error::WireError;
use yak_protocol::message::{ProducerIds, ProducerIdsReply};

/// How many blocks a new term may leave out. 63 bits of ids have room for two million such leaps, and a
/// term on an old copy that gives out a million ids meets a million others with odds of one in two million.
const LEAP_BLOCKS: u128 = 1 << 32;

impl Cluster {
    /// A block for the coordinator's own use: its first id and how many. `effects` gets the journal entry
    /// that has to be durable before one of them is handed out.
    pub fn reserve_producer_ids(&mut self, entropy: u128, effects: &mut Vec<Effect>) -> (i64, u32) {
        let mut step = Step::default();
        let block = self.producer_id_block(entropy, &mut step);
        self.finish(step, effects);
        block
    }

    pub(super) fn producer_ids(
        &mut self,
        request: &ProducerIds,
        entropy: u128,
        step: &mut Step,
    ) -> Result<ProducerIdsReply, WireError> {
        self.check_session(request.broker_id, request.broker_epoch)?;
        let (from, count) = self.producer_id_block(entropy, step);
        Ok(ProducerIdsReply { from, count })
    }

    /// A fresh block: its first id and how many.
    ///
    /// # Panics
    /// When 63 bits of ids have been given out.
    pub(super) fn producer_id_block(&mut self, entropy: u128, step: &mut Step) -> (i64, u32) {
        let block = i64::from(PRODUCER_ID_BLOCK);
        let leap = if self.gave_producer_ids { 0 } else { entropy % LEAP_BLOCKS };
        self.gave_producer_ids = true;
        let left_out = block * i64::try_from(leap).expect("a leap fits into 32 bits");
        let from = self.state.next_producer_id().checked_add(left_out);
        let next = from.and_then(|from| from.checked_add(block)).expect("producer ids exhausted");
        self.record(step, Record::ProducerIds { next });
        (next - block, PRODUCER_ID_BLOCK)
    }
}
