//! What the first bytes of a connection say. Pure.

use super::foreign::Foreign;
use crate::defaults::FRAME_BYTES_CEILING;
use crate::net::limits::{SILENCE, SNIFF_MAX};
use crate::signature::{PROXY_2, TLS, opens_message_pack};
use std::time::Duration;

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sniff {
    /// Frames.
    Frames,
    /// Lines of text or JSON, or HTTP; after `skip` bytes that are no part of it.
    Lines { skip: usize },
    /// Something that is not spoken here.
    Foreign(Foreign),
    /// That takes another byte, or so much silence.
    More(Duration),
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How much of [`PROXY_2`] no line session begins with.
const PROXY_2_BYTES: usize = 5;

/// Judges a connection by its first bytes; `over` if no more of them will come in time.
///
/// One byte is enough for everything that is spoken here by machines, so that no client waits for
/// another; only what may begin a greeting of several bytes takes those.
pub(super) fn sniff(bytes: &[u8], over: bool) -> Sniff {
    let Some(first) = bytes.first().copied() else { return Sniff::More(SNIFF_MAX) };
    let unknown = Sniff::Foreign(Foreign::Unknown(first));
    match first {
        _ if first <= FRAME_BYTES_CEILING.to_be_bytes()[0] => Sniff::Frames,
        b'*' => Sniff::Foreign(Foreign::Redis),
        b'\r' => match begins(bytes, &PROXY_2[..PROXY_2_BYTES]) {
            Begins::Yes => Sniff::Foreign(Foreign::Proxy),
            // Somebody may just have pressed Enter, and waits for the banner.
            Begins::SoFar if !over => Sniff::More(SILENCE),
            _ => Sniff::Lines { skip: 0 },
        },
        b'\t' | b'\n' | b' '..=b'~' => Sniff::Lines { skip: 0 },
        // Telnet: its negotiation is taken out of the lines.
        0xff => Sniff::Lines { skip: 0 },
        0x16 => match begins(bytes, TLS) {
            Begins::Yes => Sniff::Foreign(Foreign::Tls),
            Begins::SoFar if !over => Sniff::More(SNIFF_MAX),
            _ => unknown,
        },
        0xef => match begins(bytes, BYTE_ORDER_MARK) {
            Begins::Yes => Sniff::Lines { skip: BYTE_ORDER_MARK.len() },
            Begins::SoFar if !over => Sniff::More(SNIFF_MAX),
            _ => unknown,
        },
        _ if opens_message_pack(first) => Sniff::Foreign(Foreign::MessagePack),
        _ => unknown,
    }
}

enum Begins {
    Yes,
    /// All that is there does.
    SoFar,
    No,
}

fn begins(bytes: &[u8], with: &[u8]) -> Begins {
    if bytes.starts_with(with) {
        Begins::Yes
    } else if with.starts_with(bytes) {
        Begins::SoFar
    } else {
        Begins::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_has_one_meaning() {
        for first in 0..=u8::MAX {
            let told = sniff(&[first], true);
            let expected = match first {
                0x00..=0x07 => Sniff::Frames,
                b'*' => Sniff::Foreign(Foreign::Redis),
                0x09 | 0x0a | 0x0d | 0x20..=0x7e | 0xff => Sniff::Lines { skip: 0 },
                0x80..=0x9f | 0xdc..=0xdf => Sniff::Foreign(Foreign::MessagePack),
                _ => Sniff::Foreign(Foreign::Unknown(first)),
            };
            assert_eq!(told, expected, "{first:#04x}");
            // Only what may begin a longer greeting asks for more.
            let asks = matches!(sniff(&[first], false), Sniff::More(_));
            assert_eq!(asks, matches!(first, 0x0d | 0x16 | 0xef), "{first:#04x}");
        }
    }

    #[test]
    fn greetings_of_several_bytes() {
        assert_eq!(sniff(b"\x16\x03", false), Sniff::Foreign(Foreign::Tls));
        assert_eq!(sniff(b"\x16\x04", false), Sniff::Foreign(Foreign::Unknown(0x16)));
        assert_eq!(sniff(b"\xef\xbb\xbfPING", false), Sniff::Lines { skip: 3 });
        assert_eq!(sniff(b"\xef\xbb", true), Sniff::Foreign(Foreign::Unknown(0xef)));
        assert_eq!(sniff(b"\r\nPING", false), Sniff::Lines { skip: 0 });
        assert_eq!(sniff(b"\r\n\r\n", true), Sniff::Lines { skip: 0 });
        assert_eq!(sniff(b"\r\n\r\n\0\r\nQUIT\n", false), Sniff::Foreign(Foreign::Proxy));
    }
}
