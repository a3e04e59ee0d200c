//! `elect` and `drain`: the coordinator decides.

use super::create_topic::pass_on;
use crate::broker::Broker;
use std::sync::Arc;
use yak_protocol::message::{Drain, Elect};
use yak_protocol::net::{Incoming, Replier};

/// Passes `elect` on.
pub(crate) fn elect(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    pass_on::<Elect, _>(broker, request, reply, |broker, elect| async move { broker.link.ask(&elect).await });
}

/// Passes `drain` on.
pub(crate) fn drain(broker: &Arc<Broker>, request: &Incoming, reply: Replier) {
    pass_on::<Drain, _>(broker, request, reply, |broker, drain| async move { broker.link.ask(&drain).await });
}
