//! One port, four ways in: what is recognised, what is answered, and what is never run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod desk;
mod first_bytes;
mod json_lines;
#[path = "../net/mod.rs"]
mod net;
mod others;
mod sessions;
mod shared_verbs;
mod splits;
