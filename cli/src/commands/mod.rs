//! One command, one file: its arguments and what it does.

pub mod bench;
pub mod broker;
mod broker_verbs;
pub mod by_hand;
pub mod cluster;
pub mod config;
pub mod consume;
pub mod coordinator;
pub mod demo;
pub mod dev;
pub mod embedded;
pub mod group;
pub mod log_files;
pub mod metadata;
pub mod peers;
pub mod produce;
pub mod rebuild;
pub mod topic;
pub mod why;
pub mod wire;
