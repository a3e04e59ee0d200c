//! Looks whether a broker that has not come back still exists.

use std::io::ErrorKind;
use tokio::net::TcpStream;
use yak_protocol::ids::{BrokerEpoch, BrokerId};
use yak_protocol::message::BrokerInfo;

/// A broker that died with the coordinator before this one can tell nobody; the kernel that it ran on does, at
/// once, where the whole lease would have to run out.
pub(crate) async fn knock(broker: BrokerInfo) -> Option<(BrokerId, BrokerEpoch)> {
    let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    let gone = TcpStream::connect(&broker.address).await.err().is_some_and(refused);
    gone.then_some((broker.id, broker.broker_epoch))
}
