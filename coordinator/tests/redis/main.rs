//! The metadata log in Redis, against a real server: of Debian's package, or the one in `YAK_REDIS_SERVER`.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod coordinators;
mod durability;
mod failures;
mod journal;
mod lease;
mod lost_data;
mod pause;
mod proxy;
mod server;
mod tls;
