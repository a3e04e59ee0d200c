//! Members of consumer groups: which partitions to read comes from the group's coordinator, and where to begin
//! from what the group has committed.
//!
//! ```text
//! heart (a task): group_heartbeat ──▶ Membership: what is held, what may be handed out, until when
//! GroupConsumer::next(): Membership ──▶ assign, give up ──▶ Consumer ──▶ records ──▶ group_commit
//! ```
//!
//! Nothing is handed out that another member may have: before every batch the membership is asked whether the
//! partition is still this one's and the session, on a clock that counts suspend, still runs. What has been
//! handed out counts as processed with the next call, and only that is committed: a member that dies leaves
//! at most what it was processing to be read again, in a newer generation.

mod ask;
mod clock;
mod commits;
mod config;
mod consumer;
mod heart;
mod membership;
mod start;

pub use config::GroupConfig;
pub use consumer::{GroupConsumer, GroupError, GroupPolled};
pub use membership::Place;
