//! `hello`: who answers, and whether it can do its job.

use crate::broker::Broker;
use yak_protocol::defaults::PROTOCOL_VERSION;
use yak_protocol::error::WireError;
use yak_protocol::message::{Hello, HelloReply};

/// Agrees on the only version there is so far.
pub(crate) fn hello(broker: &Broker, _hello: &Hello) -> Result<HelloReply, WireError> {
    let identity = broker.store.identity();
    Ok(HelloReply {
        version: PROTOCOL_VERSION,
        process: "broker".to_owned(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_id: identity.cluster_id,
        broker_id: identity.broker_id,
        max_frame_bytes: broker.max_frame_bytes,
        insecure: broker.insecure,
        unhealthy: broker.unhealthy(),
    })
}
