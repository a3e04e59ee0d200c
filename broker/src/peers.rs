//! Connections to other processes of the cluster.

use crate::broker::Broker;
use crate::config::CONNECT_TIMEOUT;
use dashmap::DashMap;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::BrokerId;
use yak_protocol::net::{ConnectOptions, Connection, Incoming};

/// Connects to `host:port`.
///
/// # Errors
/// What was tried and what was found, in words.
pub(crate) async fn connect(
    address: &str,
) -> Result<(Connection, mpsc::UnboundedReceiver<Incoming>), String> {
    let options = ConnectOptions { connect_timeout: CONNECT_TIMEOUT, ..ConnectOptions::default() };
    Connection::connect(address, &options).await.map_err(|error| error.to_string())
}

/// One shared connection to each broker that something is passed on to; made when needed.
#[derive(Default)]
pub(crate) struct Peers {
    connections: DashMap<String, Arc<Mutex<Option<Connection>>>>,
}

impl Peers {
    /// The connection to a broker.
    ///
    /// # Errors
    /// `NO_LEADER` when it is not known or cannot be reached: that is what it was wanted for.
    pub(crate) async fn to(&self, broker: &Broker, id: BrokerId) -> Result<Connection, WireError> {
        let unreachable = |reason: String| {
            WireError::new(ErrorCode::NoLeader, format!("broker {id} cannot be reached from here: {reason}"))
        };
        let Some(info) = broker.cluster.broker(id) else {
            return Err(unreachable("it is not known".to_owned()));
        };
        let slot = self.connections.entry(info.address.clone()).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.closed()) {
            return Ok(connection.clone());
        }
        let (connection, _) = connect(&info.address).await.map_err(unreachable)?;
        *slot = Some(connection.clone());
        Ok(connection)
    }
}
