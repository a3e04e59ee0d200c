//! The coordinator: the shell around the cluster machine. A journal, leases, a server.

pub mod journal;
