//! The tools that show frames: `yak decode`, `encode`, `proxy` and `tap`.

pub mod decode;
pub mod encode;
mod events;
mod lines;
mod printer;
pub mod proxy;
pub mod tap;

use crate::exit::{self, Failure};
use yak_protocol::decode::Filter;

pub(super) use events::{Batch, batch as batch_object};
pub(super) use lines::batch as batch_lines;

/// What is shown of keys, values and headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Payload {
    /// What they are, or how they begin.
    Shown,
    /// Only how long they are.
    Masked,
}

/// A filter from the words of `--filter`.
fn filter(words: &[String]) -> anyhow::Result<Filter> {
    let filter = Filter::parse(words.iter().map(String::as_str));
    filter.map_err(|what| Failure::new(exit::USAGE, format!("--filter: {what}")).into())
}
