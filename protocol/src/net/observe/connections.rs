use super::super::peer::Peer;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Mode {
    /// Nothing yet, or nothing that is spoken here.
    #[default]
    Unknown,
    /// Length-prefixed frames.
    Frames,
    /// Lines of text.
    Text,
    /// Lines of JSON.
    Json,
    /// HTTP.
    Http,
}

impl Mode {
    const ALL: [Self; 5] = [Self::Unknown, Self::Frames, Self::Text, Self::Json, Self::Http];

    pub(crate) fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Frames => "frames",
            Self::Text => "text",
            Self::Json => "json",
            Self::Http => "http",
        })
    }
}

/// One open connection at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionInfo {
    /// Its number, for [`Connections::kill`] and [`super::TapFilter::Connection`].
    pub id: u64,
    /// Where it comes from; behind a proxy that says so, where the proxy's client comes from.
    pub address: SocketAddr,
    /// What it speaks.
    pub mode: Mode,
    /// What the peer calls itself, once it has said so.
    pub client: Option<String>,
    /// When it was accepted.
    pub opened: Instant,
    /// How many requests have come.
    pub requests: u64,
    /// Bytes of the requests that have come.
    pub bytes_in: u64,
    /// Bytes that have been sent.
    pub bytes_out: u64,
    /// How many requests are not answered yet.
    pub unanswered: usize,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
}

/// What went over all connections of a process since it started, those that are open included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConnectionTotals {
    /// How many connections were accepted.
    pub opened: u64,
    /// How many requests have come.
    pub requests: u64,
    /// Bytes of the requests that have come.
    pub bytes_in: u64,
    /// Bytes that have been sent.
    pub bytes_out: u64,
}

impl ConnectionTotals {
    fn add(&mut self, connection: &ConnectionInfo) {
        self.requests += connection.requests;
        self.bytes_in += connection.bytes_in;
        self.bytes_out += connection.bytes_out;
    }
}

/// The open connections of a process. Clones share the list.
#[derive(Clone, Default)]
pub struct Connections(Arc<State>);

#[derive(Default)]
struct State {
    last_id: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    peers: BTreeMap<u64, Peer>,
    /// Of the connections that are over.
    closed: ConnectionTotals,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Each change is one call; a poisoned lock still guards a whole map.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no other connection of the process has or had.
    pub(crate) fn next_id(&self) -> u64 {
        self.0.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Lists the connection until the returned value is dropped.
    pub(crate) fn enter(&self, peer: &Peer) -> Entered {
        self.open().peers.insert(peer.id(), peer.clone());
        Entered { connections: self.clone(), id: peer.id() }
    }

    /// The open connections, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<ConnectionInfo> {
        let peers: Vec<Peer> = self.open().peers.values().cloned().collect();
        peers.iter().map(Peer::info).collect()
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open().peers.len()
    }

    /// What went over all of them, the closed ones included.
    #[must_use]
    pub fn totals(&self) -> ConnectionTotals {
        let open = self.open();
        let mut totals = ConnectionTotals { opened: self.0.last_id.load(Ordering::Relaxed), ..open.closed };
        open.peers.values().for_each(|peer| totals.add(&peer.info()));
        totals
    }

    /// Ends a connection at once, and says whether there was one.
    pub fn kill(&self, id: u64, why: &str) -> bool {
        let peer = self.open().peers.get(&id).cloned();
        let found = peer.is_some();
        if let Some(peer) = peer {
            peer.cut(why);
        }
        found
    }
}

/// A connection that is listed; until this is dropped.
pub(crate) struct Entered {
    connections: Connections,
    id: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        if let Some(peer) = open.peers.remove(&self.id) {
            open.closed.add(&peer.info());
        }
    }
}
