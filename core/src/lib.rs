//! The decisions of YAK, pure: replication of one partition, and the cluster around it.
//!
//! Everything here is a machine `step(now, event, &mut effects)`. No socket, file, task, clock or
//! randomness: a simulation drives the same code as the shipped processes.

pub mod cluster;
pub mod partition;
pub mod retention;
pub mod rules;
pub mod time;
pub mod why;
