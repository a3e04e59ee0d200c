//! What operators ask for: the coordinator decides.

use super::create_topic::pass_on;
use crate::broker::Broker;
use std::sync::Arc;
use yak_protocol::message::Message;
use yak_protocol::net::{Incoming, Replier};

/// Passes a request on to the coordinator as it is.
pub(crate) fn to_coordinator<M: Message + Sync>(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    pass_on::<M, _>(broker, request, reply, |broker, asked| async move { broker.link.ask(&asked).await });
}
