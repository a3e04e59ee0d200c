//! Whole clusters in one process, on port 0: a coordinator, brokers, and a client that speaks frames.

mod harness;

mod coordinator_away;
mod fencing;
mod followers;
mod identity;
mod publishing;
mod reading;
mod replication;
mod stopping;
mod topics;
