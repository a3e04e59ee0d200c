//! The decisions of YAK, pure: replication of one partition, the cluster around it,
//! and consumer groups.
//!
//! Everything here is a machine `step(now, event, &mut effects)`. No socket, file, task, clock or
//! randomness: a simulation drives the same code as the shipped processes.

pub mod cluster;
pub mod group;
pub mod partition;
pub mod retention;
pub mod rules;
pub mod time;
pub mod why;
