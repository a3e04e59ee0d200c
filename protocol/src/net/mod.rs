//! Sockets: the client's [`Connection`], the server's [`Listener`] and [`serve`], and the [`Cluster`] client.

mod cluster;
mod connection;
pub mod limits;
mod listener;
mod loss;
mod outbox;
mod peer;
mod pending;
mod roles;
mod serve;
mod service;
mod session;
mod stream;

pub use cluster::{ClientOptions, Cluster, ClusterError, Leader, Trouble, default_bootstrap, with_port};
pub use connection::{ConnectError, ConnectOptions, Connection};
pub use listener::{BindError, Listener, ListenerConfig};
pub use loss::{ConnectionLost, Loss};
pub use peer::Peer;
pub use pending::{Answer, PendingAnswer, RequestError};
pub use roles::{RoleSet, UnknownRole};
pub use serve::serve;
pub use service::{Closed, Incoming, Replier, Service};
