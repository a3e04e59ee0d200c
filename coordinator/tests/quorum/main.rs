//! A quorum of coordinators keeps every decision, whoever of them dies, sleeps, or is cut off.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod changes;
mod harness;
mod leaders;
mod stores;
