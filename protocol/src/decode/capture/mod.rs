//! What people have at hand: files of bytes, hex dumps, base64, pcap and pcapng, and what is in them.

mod assemble;
mod dump;
mod file;
mod packet;
mod write;

pub use assemble::{Assembler, Sighting};
pub use file::CaptureReader;
pub use packet::{Link, Packet, Segment};
pub use write::{CaptureWriter, Written};

use std::fmt;
use std::str::FromStr;

/// The form in which bytes come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// As they are.
    Raw,
    /// Hex digits: plain ones, `xxd`, `hexdump -C`, `tcpdump -X`, or what this tool prints.
    Hex,
    /// Base64.
    Base64,
    /// A file of packets: pcap or pcapng.
    Pcap,
}

const FORMS: [(Form, &str); 4] =
    [(Form::Raw, "raw"), (Form::Hex, "hex"), (Form::Base64, "base64"), (Form::Pcap, "pcap")];

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMS.iter().find(|(form, _)| form == self).map_or("?", |(_, name)| name))
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let form = FORMS.iter().find(|(_, known)| *known == name).map(|(form, _)| *form);
        form.ok_or_else(|| format!("{name:?} is no form of input; there are raw, hex, base64 and pcap"))
    }
}

impl Form {
    /// The form of these bytes. What begins as a frame or a capture is one; hex and base64 must be so from
    /// the first byte to the last.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if file::is_capture(bytes) {
            Self::Pcap
        } else if bytes.first().is_none_or(|first| *first < b'\t') {
            Self::Raw
        } else if let Ok(text) = std::str::from_utf8(bytes) {
            dump::form_of(text)
        } else {
            Self::Raw
        }
    }
}

impl Form {
    /// The form of a stream that begins with these bytes, if they tell: frames and captures can be read as they
    /// come, of everything else all must be seen.
    #[must_use]
    pub fn of_stream(begin: &[u8]) -> Option<Self> {
        match Self::of(begin) {
            form @ Self::Pcap => Some(form),
            form if begin.first().is_some_and(|first| *first < b'\t') => Some(form),
            _ => None,
        }
    }
}

/// What there is to decode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// One stream of bytes, without saying which way they went.
    Stream(Vec<u8>),
    /// Packets, in the order of the capture.
    Packets {
        /// The packets.
        packets: Vec<Packet>,
        /// Why the file could not be read to its end.
        cut_off: Option<String>,
    },
}

/// Input that is not of its form.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct InputError(pub(super) String);

/// Takes bytes for what their form says.
///
/// # Errors
/// With the place of what is not of that form.
pub fn read(bytes: Vec<u8>, form: Form) -> Result<Input, InputError> {
    match form {
        Form::Raw => Ok(Input::Stream(bytes)),
        Form::Hex => dump::read_hex(&text(&bytes)?),
        Form::Base64 => dump::read_base64(&text(&bytes)?).map(Input::Stream),
        Form::Pcap => file::read(&bytes),
    }
}

fn text(bytes: &[u8]) -> Result<String, InputError> {
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|error| InputError(format!("byte {} is no text", error.utf8_error().valid_up_to())))
}
