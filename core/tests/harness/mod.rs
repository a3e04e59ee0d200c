//! A world in which the real machines run: simulated disks, network and clocks, and somebody who sees
//! everything and checks the invariants of docs/REPLICATION.md after every step.
//!
//! Shared by the random simulation, the exhaustive search and the directed rule scripts; each of them is
//! a test target of its own and uses a part of this.
#![allow(dead_code, reason = "each test target uses its part of the harness")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of a simulation are small"
)]
#![allow(missing_docs, reason = "not an interface")]

pub mod broker;
pub mod clients;
pub mod coordinator;
pub mod coverage;
pub mod disk;
pub mod faults;
pub mod fingerprint;
pub mod ids;
pub mod log;
pub mod net;
pub mod replica;
pub mod session;
pub mod streams;
pub mod truth;
pub mod world;

pub use net::Place;
pub use world::{Setup, World};
