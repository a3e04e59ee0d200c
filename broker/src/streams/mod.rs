//! Replication streams: connections between two brokers that carry the words of many partitions.
//!
//! A follower opens two to each leader broker: one for partitions that are in sync, one for those
//! that catch up, so that a long catch-up never delays a live commit. Both sides collect what their
//! partitions say while the last frame was being written and send it as one; a side that has nothing
//! to say for a while says so.

mod connected;
mod follower;
mod leader;
mod outbox;

pub(crate) use follower::FollowerStreams;
pub(crate) use leader::{LeaderStream, LeaderStreams, wrong_cluster};
