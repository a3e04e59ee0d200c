//! What arrives on the port and is not spoken here, and how that is said.

use crate::error::{ErrorCode, WireError};
use crate::net::limits::DUMP_BYTES_MAX;
use crate::net::observe::Observer;
use crate::net::peer::Peer;
use crate::signature::greets_zookeeper;
use crate::text::{Format, error_line};
use std::fmt::Write;

/// Another protocol, recognised by how it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::net) enum Foreign {
    Tls,
    Redis,
    Kafka,
    ZooKeeper,
    /// `MessagePack` without a length before it.
    MessagePack,
    /// A PROXY header that this listener was not told to expect.
    Proxy,
    /// No PROXY header where this listener was told to expect one.
    NotProxied,
    /// The name of an HTTP method, and no HTTP version behind it.
    HttpMethod,
    /// A `Host:` line: HTTP whose first line was none.
    HttpHeader,
    /// Nothing that is known, with its first byte.
    Unknown(u8),
}

/// How long the first request of `ZooKeeper` clients is.
const ZOOKEEPER_HELLO_BYTES: std::ops::RangeInclusive<usize> = 44..=45;

impl Foreign {
    /// The client that begins with this frame, if it is known. A frame of ours begins with an array.
    pub(in crate::net) fn in_frame(frame: &[u8]) -> Option<Self> {
        if frame.first() != Some(&0) {
            return None;
        }
        let zookeeper = greets_zookeeper(frame) && ZOOKEEPER_HELLO_BYTES.contains(&frame.len());
        Some(if zookeeper { Self::ZooKeeper } else { Self::Kafka })
    }

    /// The error that its client is told, where it can be told.
    pub(in crate::net) fn to_wire(self) -> WireError {
        let (what, hint) = match self {
            Self::Tls => ("a TLS client on a port without TLS", "connect without TLS"),
            Self::Redis => ("this is YAK, not Redis", "HELP lists the commands"),
            Self::Kafka => (
                "a Kafka client connected; YAK does not speak Kafka",
                "docs/PROTOCOL.md shows what it speaks",
            ),
            Self::ZooKeeper => (
                "a ZooKeeper client connected; YAK does not speak ZooKeeper",
                "its words (ruok, stat, ...) are answered as text",
            ),
            Self::MessagePack => (
                "looks like MessagePack without the 4-byte length prefix",
                "put its length in front, 4 bytes, big-endian",
            ),
            Self::Proxy => (
                "a PROXY protocol header that this listener does not expect",
                "set proxy_protocol=on for it, or off in the proxy",
            ),
            Self::NotProxied => (
                "this listener expects a PROXY protocol header first",
                "connect through the proxy, or set proxy_protocol=off",
            ),
            Self::HttpMethod => (
                "looks like HTTP without a version at the end of its first line",
                "GET / HTTP/1.1, or HELP for the commands",
            ),
            Self::HttpHeader => ("looks like the header of an HTTP request", "HELP lists the commands"),
            Self::Unknown(first) => {
                let what = format!("first byte 0x{first:02X} is neither a frame length nor text");
                let hint = "a frame is a 4-byte length and a MessagePack value; HELP and Enter is text";
                return WireError::new(ErrorCode::Proto, what).hint(hint);
            }
        };
        WireError::new(ErrorCode::Proto, what).hint(hint)
    }

    /// What is sent before the connection closes.
    pub(super) fn reply(self) -> Vec<u8> {
        match self {
            // Record: alert (21), version 3.3, 2 bytes: fatal (2), handshake_failure (40).
            Self::Tls => vec![21, 3, 3, 0, 2, 2, 40],
            // Redis clients end their lines so, and look for it.
            Self::Redis => format!("{}\r\n", error_line(&self.to_wire(), Format::Table)).into_bytes(),
            _ => format!("{}\n", error_line(&self.to_wire(), Format::Table)).into_bytes(),
        }
    }

    /// Tells the log and whoever watches. `begun` is what has been read.
    pub(in crate::net) fn report(self, peer: &Peer, observer: Option<&Observer>, begun: &[u8]) {
        let (what, address) = (self.to_wire().message, peer.address());
        let begun = begun.get(..DUMP_BYTES_MAX).unwrap_or(begun);
        tracing::info!(peer = peer.id(), %address, begun = hex(begun), "connection refused: {what}");
        if let Some(observer) = observer {
            observer.events.note("foreign", format!("{address}: {what}"));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_others_are_told_apart_by_their_first_frame() {
        // ApiVersions, version 3, correlation 1, client "rdkafka".
        let kafka = b"\x00\x12\x00\x03\x00\x00\x00\x01\x00\x07rdkafka\x00";
        assert_eq!(Foreign::in_frame(kafka), Some(Foreign::Kafka));
        let mut zookeeper = vec![0; 28];
        zookeeper[13] = 0x75;
        zookeeper[27] = 16;
        zookeeper.extend([0; 16]);
        assert_eq!(Foreign::in_frame(&zookeeper), Some(Foreign::ZooKeeper));
        zookeeper.push(0);
        assert_eq!(Foreign::in_frame(&zookeeper), Some(Foreign::ZooKeeper));
        zookeeper.push(0);
        assert_eq!(Foreign::in_frame(&zookeeper), Some(Foreign::Kafka));
        for ours in [&b"\x94\x01\x01\xa5hello\x80"[..], b"\xc1", b""] {
            assert_eq!(Foreign::in_frame(ours), None);
        }
    }
}
