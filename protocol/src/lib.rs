//! The words of YAK: ids, messages, error codes and record batches, and the frames that carry them.
//!
//! Without the feature `net` this crate knows no socket, file, task or clock, and never who leads.

pub mod batch;
pub mod decode;
pub mod defaults;
pub mod envelope;
pub mod error;
pub mod frame;
pub mod ids;
pub mod json;
pub mod message;
pub mod names;
#[cfg(feature = "net")]
pub mod net;
pub mod partitioner;
mod signature;
pub mod text;
pub mod topic_settings;
