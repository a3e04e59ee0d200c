//! Producer ids, in blocks that nobody else will ever get.

use super::{Cluster, Effect, Record, Step};
use yak_protocol::defaults::PRODUCER_ID_BLOCK;
use yak_protocol::error::WireError;
use yak_protocol::message::{ProducerIds, ProducerIdsReply};

impl Cluster {
    /// A block for the coordinator's own use: its first id and how many. `effects` gets the journal entry
    /// that has to be durable before one of them is handed out.
    pub fn reserve_producer_ids(&mut self, effects: &mut Vec<Effect>) -> (i64, u32) {
        let mut step = Step::default();
        let block = self.producer_id_block(&mut step);
        self.finish(step, effects);
        block
    }

    pub(super) fn producer_ids(
        &mut self,
        request: &ProducerIds,
        step: &mut Step,
    ) -> Result<ProducerIdsReply, WireError> {
        self.check_session(request.broker_id, request.broker_epoch)?;
        let (from, count) = self.producer_id_block(step);
        Ok(ProducerIdsReply { from, count })
    }

    /// A fresh block: its first id and how many.
    ///
    /// # Panics
    /// When 63 bits of ids have been given out.
    pub(super) fn producer_id_block(&mut self, step: &mut Step) -> (i64, u32) {
        let from = self.state.next_producer_id();
        let next = from.checked_add(i64::from(PRODUCER_ID_BLOCK)).expect("producer ids exhausted");
        self.record(step, Record::ProducerIds { next });
        (from, PRODUCER_ID_BLOCK)
    }
}
