//! Producers and consumers that have registered here, as long as their connections stand.

use std::collections::BTreeMap;
use yak_core::cluster::ConnectionId;

/// What somebody registered as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientKind {
    Producer,
    Consumer,
}

/// One that has registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Client {
    pub(crate) kind: ClientKind,
    /// What it calls itself.
    pub(crate) name: String,
    /// The producer id, or the number of the consumer.
    pub(crate) number: i64,
    pub(crate) address: String,
    /// When, in ms since 1970.
    pub(crate) since_ms: i64,
}

/// How many registrations of one connection are remembered.
const PER_CONNECTION_MAX: usize = 64;

/// See the module.
#[derive(Default)]
pub(crate) struct Clients(BTreeMap<ConnectionId, Vec<Client>>);

impl Clients {
    pub(crate) fn add(&mut self, connection: ConnectionId, client: Client) {
        let clients = self.0.entry(connection).or_default();
        if clients.len() == PER_CONNECTION_MAX {
            clients.remove(0);
        }
        clients.push(client);
    }

    pub(crate) fn closed(&mut self, connection: ConnectionId) {
        self.0.remove(&connection);
    }

    /// All of them, by connection.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Client)> {
        self.0.iter().flat_map(|(connection, clients)| clients.iter().map(|client| (*connection, client)))
    }
}

impl ClientKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}
