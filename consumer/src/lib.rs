//! The consumer: reads committed records of assigned partitions, in order, across leader changes.
//!
//! ```text
//! Consumer::next() <- Position (one per partition: what to ask for, what to hand out)
//!                       ^ answers          | asks, grouped by leader, long-polling
//!                       +---- tasks <------+
//! ```
//!
//! A partition's position is the offset of the next record to hand out; it only moves when records are
//! handed out. Whatever happens to leaders and connections, the next question asks from where the last
//! good answer ended, so nothing is lost, repeated or reordered. Every batch's checksum is verified; a
//! damaged one is an error that names topic, partition and offset, and the partition waits there until
//! it is moved by [`Consumer::seek`].

mod ask;
mod batch;
mod config;
mod consumer;
mod error;
mod event;
mod group;
mod position;
mod start;
mod wait;

pub use ask::offsets;
pub use batch::{Batch, BatchRecords};
pub use config::{ConsumerConfig, OnOutOfRange};
pub use consumer::{Consumer, Polled};
pub use error::ConsumeError;
pub use event::{Event, EventHook};
pub use group::{GroupConfig, GroupConsumer, GroupError, GroupPolled, Place};
pub use start::Start;
