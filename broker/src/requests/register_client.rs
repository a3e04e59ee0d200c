//! `register_producer` and `register_consumer`: sessions that live with their connection.

use crate::broker::Broker;
use std::sync::atomic::Ordering;
use yak_protocol::error::WireError;
use yak_protocol::ids::ProducerEpoch;
use yak_protocol::message::{
    RegisterConsumer, RegisterConsumerReply, RegisterProducer, RegisterProducerReply,
};

/// Hands out a producer id from this broker's own block, so that it works while the coordinator is away.
pub(crate) fn register_producer(
    broker: &Broker,
    request: &RegisterProducer,
) -> Result<RegisterProducerReply, WireError> {
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
