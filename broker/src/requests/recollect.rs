//! `recollect`: what coordinators that have lost their journal begin again from.

use crate::broker::Broker;
use crate::coordinator_link::registration;
use yak_protocol::error::WireError;
use yak_protocol::message::{LeaderInfo, RecollectReply};

/// How this broker would register, and its copy of the metadata.
pub(crate) fn recollect(broker: &Broker) -> Result<RecollectReply, WireError> {
    let registration = registration(broker, broker.link.granted().as_ref());
    let coordinator_epoch = registration.coordinator_epoch;
    Ok(RecollectReply {
        broker: registration,
        leader_info: LeaderInfo { coordinator_epoch, ..broker.cluster.leader_info(None)? },
        coordinator: broker.link.address(),
    })
}
