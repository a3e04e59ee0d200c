//! `docs/PROTOCOL.md` is true: its examples are what the codec reads and writes, its tables are those of
//! the code, and no kind and no key is missing.

mod blocks;
mod examples;
mod tables;
#[path = "../messages/tree.rs"]
mod tree;

/// The page itself.
pub const PAGE: &str = include_str!("../../../docs/PROTOCOL.md");
