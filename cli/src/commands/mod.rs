//! One command, one file: its arguments and what it does.

pub mod broker;
pub mod coordinator;
pub mod demo;
pub mod dev;
