//! The producer: publishes records so that what was acknowledged is kept, once and in order.
//!
//! ```text
//! send() -> Intake (one per partition: fills batches)
//!              -> sender task -> Lane (what was sent, what is due again) -> leader
//!                             <- acknowledgement -> Delivery of every record of the batch
//! ```
//!
//! Each partition has its own task and its own order: up to five batches are on their way at a time.
//! When one fails or the connection breaks, the sender waits for the answers that are still due, then
//! sends everything unacknowledged again, in order and with the original sequence numbers, to whoever
//! leads by then. The broker recognises what it has already appended.
//!
//! A publish *failed* only if every attempt was definitely refused; after any attempt whose fate is
//! not known the error is [`ProduceError::OutcomeUnknown`] (see docs/REPLICATION.md).

mod config;
mod delivery;
mod error;
mod event;
mod intake;
mod lane;
mod leader;
mod producer;
mod sender;
mod topic;
mod wait;

pub use config::ProducerConfig;
pub use delivery::{Delivered, Delivery};
pub use error::ProduceError;
pub use event::{Event, EventHook};
pub use producer::{Producer, ProducerRecord};
