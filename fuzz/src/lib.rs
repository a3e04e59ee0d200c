//! What each fuzz target does with its bytes. Nothing may panic, take memory without end, or contradict
//! itself; what holds besides is asserted here.
//!
//! `cli/tests/corpus.rs` runs the seeds through these very functions in every test run.

mod batches;
mod decode;
mod disk;
mod frames;
mod json;
mod segment;
mod text;
mod wal;

pub use batches::batches;
pub use decode::decode;
pub use frames::frames;
pub use json::json;
pub use segment::segment;
pub use text::text;
pub use wal::wal;

/// A target: it takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its folder of seeds.
pub const TARGETS: &[(&str, Target)] = &[
    ("frames", frames),
    ("batches", batches),
    ("text", text),
    ("json", json),
    ("decode", decode),
    ("segment", segment),
    ("wal", wal),
];
