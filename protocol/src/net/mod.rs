//! Sockets: the client's [`Connection`], the server's [`Listener`] and [`serve`], and the [`Cluster`] client.
//!
//! A server's port takes frames, text, JSON lines and HTTP: see the table at the head of `front`.

mod cluster;
mod connection;
mod front;
mod intake;
pub mod limits;
mod lines;
mod listener;
mod loss;
mod observe;
mod outbox;
mod peer;
mod pending;
mod roles;
mod serve;
mod service;
mod session;
mod stream;
mod verbs;

pub use cluster::{ClientOptions, Cluster, ClusterError, Leader, Trouble, default_bootstrap, with_port};
pub use connection::{ConnectError, ConnectOptions, Connection};
pub use front::HttpStream;
pub use lines::{Asker, CommandError, Gone, Interrupt, TextSession};
pub use listener::{BindError, Listener, ListenerConfig, TextAccess, UnknownTextAccess, allowed_by_hand};
pub use loss::{ConnectionLost, Loss};
pub use observe::{
    ConnectionInfo, ConnectionTotals, Connections, Direction, Event, Events, Levels, Mode, Observer,
    ProcessLog, Tap, TapFilter, Tapped, Taps,
};
pub use peer::Peer;
pub use pending::{Answer, PendingAnswer, RequestError};
pub use roles::{RoleSet, UnknownRole};
pub use serve::serve;
pub use service::{Closed, Incoming, Replier, Service};
pub use verbs::{Found, environment, find, find_broker, may_pass, place, stat_of_connections};
