//! Captured bytes as frames, for people: what `yak decode`, `yak proxy` and `yak tap` show.
//!
//! Everything here is pure, and nothing is guessed. Bytes go in ([`Cutter`] takes one direction of a
//! connection, [`Conversation`] both), pieces come out that together are the very same bytes; what cannot
//! be read is a [`Problem`] with its place.
//!
//! ```text
//! bytes -> Cutter -> Piece -> Frame -> json, annotate, open_batches
//!          '------ Conversation ------'  (both directions, who answers whom, after how long)
//! ```

mod annotate;
mod batches;
#[cfg(feature = "capture")]
pub mod capture;
mod conversation;
mod cut;
mod filter;
mod foreign;
mod frame;
mod problem;
mod wireshark;

pub use annotate::{Label, annotate, render};
pub use batches::{OpenedBatch, open_batch, open_batches};
pub use conversation::{Conversation, Direction, Event, Seen};
pub use cut::{Cutter, Piece, What};
pub use filter::Filter;
pub use foreign::Foreign;
pub use frame::Frame;
pub use problem::{Found, Problem};
pub use wireshark::wireshark_dissector;
