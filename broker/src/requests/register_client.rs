//! `register_producer` and `register_consumer`: sessions that live with their connection.

use super::to_coordinator;
use crate::broker::Broker;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use yak_protocol::error::WireError;
use yak_protocol::ids::ProducerEpoch;
use yak_protocol::message::{
    RegisterConsumer, RegisterConsumerReply, RegisterProducer, RegisterProducerReply,
};
use yak_protocol::net::{Incoming, Replier};

/// Who has a name is the coordinator's to know; others get an id from this broker's own block.
pub(crate) fn register_producer(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    match request.parse::<RegisterProducer>() {
        Ok(named) if named.name.is_some() => to_coordinator::<RegisterProducer>(broker, request, reply),
        Ok(unnamed) => {
            let outcome = unnamed_producer(broker, &unnamed);
            reply.reply::<RegisterProducer>(outcome.as_ref().map_err(Clone::clone), Vec::new());
        }
        Err(error) => reply.refuse(&error),
    }
}

/// Hands out a producer id from this broker's own block, so that it works while the coordinator is away.
fn unnamed_producer(broker: &Broker, request: &RegisterProducer) -> Result<RegisterProducerReply, WireError> {
    let Some(producer_id) = broker.link.producer_ids.take() else {
        let error = broker.link.unavailable();
        return Err(WireError {
            message: format!("this broker has no producer ids left, and {}", error.message),
            ..error
        });
    };
    tracing::debug!(client = request.client, producer = producer_id.0, "a producer registered");
    Ok(RegisterProducerReply { producer_id, producer_epoch: ProducerEpoch(0) })
}

/// Numbers a consumer, for logs.
pub(crate) fn register_consumer(broker: &Broker, request: &RegisterConsumer) -> RegisterConsumerReply {
    let consumer = broker.consumers.fetch_add(1, Ordering::Relaxed) + 1;
    tracing::debug!(client = request.client, consumer, "a consumer registered");
    RegisterConsumerReply { consumer }
}
