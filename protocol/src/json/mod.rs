//! Messages as lines of JSON: the same schema as the binary body, for hands and scripts.
//!
//! ```text
//! {"id": 7, "kind": "publish", "topic": "orders", "records": [{"key": "k1", "value": {"hex": "ff00"}}]}
//! ```
//!
//! At top level stand `kind`, `id` (1 if absent), `v` (the protocol version, 1 if absent) and `bin` (the
//! frame's last element); every other key is one of the body. A string is a string, and stands for bytes
//! where the message has bytes; `{"b64": ".."}` and `{"hex": ".."}` are byte strings.

mod frame;
mod read;
mod write;

pub use read::{JsonMessage, read_message};
pub use write::{write_body, write_masked, write_message};

/// The key of the kind.
const KIND: &str = "kind";
/// The key of the id.
const ID: &str = "id";
/// The key of the protocol version. (`version` is a key of several bodies.)
const VERSION: &str = "v";
/// The key of the byte string after the body.
const BIN: &str = "bin";
/// The only key of a byte string in base64.
const BASE64: &str = "b64";
/// The only key of a byte string in hex digits.
const HEX: &str = "hex";
