//! The dialect of people: what is typed with `nc` in one hand, and how it is answered.
//!
//! ```text
//! PUB orders key=u1 forward=off -- hello world
//! │   │      │                     └ payload: everything after ` -- `, as it is
//! │   │      └ options: name=value
//! │   └ words
//! └ verb: in any case
//!
//! +OK topic=orders partition=1 offset=0        it is done
//! -ERR UNKNOWN_TOPIC ordrs | hint: ...         it is not; codes are those of the one error table
//! ```
//!
//! - Blanks part a line; `"..."`, `'...'` and `\` keep them, as in a shell. `\xNN` is a byte of UTF-8.
//! - A line that begins with `#` says nothing, so that a file of commands can be piped in.
//! - Several lines of data end with a line that holds only a `.`; a data line that begins with one has it
//!   doubled. The status line follows.
//! - `FORMAT table|kv|json` chooses how data and status lines look; `json` is one object a line.
//!
//! Everything in here is pure: lines in, values out. The connections are in `net`.

pub mod cluster;
mod command;
mod count;
mod escape;
mod format;
mod metric;
mod setting;
mod status;
mod table;
mod time;
mod value;
mod verb;
mod word;

pub use command::Command;
#[cfg(feature = "net")]
pub(crate) use command::switch;
pub use count::{count, thousands};
pub use escape::{escaped, quoted, quoted_value, undotted};
pub use format::{Format, UnknownFormat};
pub use metric::{Measured, Metric, MetricKind, Metrics};
pub use setting::{Settings, Sources};
pub use status::{Status, error_line};
pub use table::Table;
pub use time::{moment, rfc3339};
pub use value::Value;
pub use verb::{Access, Verb, unknown_verb};
pub use word::Word;
