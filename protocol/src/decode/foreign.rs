use crate::defaults::FRAME_PREFIX_BYTES;
use crate::envelope::decode_head;
use crate::signature::{HTTP_METHODS, PROXY_1, PROXY_2, greets_zookeeper, opens_message_pack};
use std::fmt;

/// Another protocol, by the first bytes of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Foreign {
    /// HTTP: the beginning of its first line.
    Http(String),
    /// TLS: a handshake or an alert.
    Tls,
    /// Redis: a request in its own framing.
    Redis,
    /// Kafka: the number of the request, its name if it is a usual one, and its version.
    Kafka(u16, &'static str, u16),
    /// ZooKeeper: the request with which its sessions begin.
    ZooKeeper,
    /// An envelope, or other MessagePack, without the length before it; the envelope's kind.
    BareMessagePack(Option<String>),
    /// The header of a proxy, before the connection's own bytes.
    ProxyHeader,
    /// SSH.
    Ssh,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(line) => write!(f, "HTTP `{line}`"),
            Self::Tls => f.write_str("TLS hello (or alert): the bytes are encrypted"),
            Self::Redis => f.write_str("Redis"),
            Self::Kafka(key, name, version) => write!(f, "Kafka {name} (api key {key}, version {version})"),
            Self::ZooKeeper => f.write_str("ZooKeeper"),
            Self::BareMessagePack(Some(kind)) => {
                write!(f, "bare MessagePack: a `{kind}` envelope without the 4-byte length before it")
            }
            Self::BareMessagePack(None) => {
                f.write_str("bare MessagePack, without the 4-byte length of a frame")
            }
            Self::ProxyHeader => f.write_str("a PROXY protocol header"),
            Self::Ssh => f.write_str("SSH"),
        }
    }
}

/// What HTTP begins with besides the name of a method: version 2, and answers.
const HTTP_OTHERS: [&[u8]; 2] = [b"PRI * HTTP/2", b"HTTP/"];
/// How much of a first line is repeated, in bytes.
const SHOWN_BYTES: usize = 60;
/// Kafka's requests with which clients begin, by number.
const KAFKA: [(u16, &str); 5] =
    [(0, "Produce"), (1, "Fetch"), (3, "Metadata"), (17, "SaslHandshake"), (18, "ApiVersions")];

impl Foreign {
    /// What these first bytes of a stream belong to, if they are famous. Frames and text are none of it.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x16 | 0x15, 0x03, ..] => return Some(Self::Tls),
            [b'*', b'0'..=b'9', ..] => return Some(Self::Redis),
            [first, ..] if opens_message_pack(*first) => {
                return Some(Self::BareMessagePack(decode_head(bytes).ok().map(|head| head.kind.to_owned())));
            }
            _ => {}
        }
        if bytes.starts_with(PROXY_1) || bytes.starts_with(PROXY_2) {
            return Some(Self::ProxyHeader);
        }
        if bytes.starts_with(b"SSH-") {
            return Some(Self::Ssh);
        }
        let request =
            |method: &&str| bytes.strip_prefix(method.as_bytes()).is_some_and(|rest| rest.starts_with(b" "));
        let http =
            HTTP_METHODS.iter().any(request) || HTTP_OTHERS.iter().any(|begin| bytes.starts_with(begin));
        http.then(|| {
            let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
            Self::Http(line[..line.len().min(SHOWN_BYTES)].escape_ascii().to_string())
        })
    }

    /// Who else sends requests with a length that looks like that of a frame. Kafka: `length | api key |
    /// api version | correlation id | client id ..`; the key's high byte is 0, where a frame has its array.
    #[must_use]
    pub(super) fn framed(frame: &[u8]) -> Option<Self> {
        if greets_zookeeper(frame) {
            return Some(Self::ZooKeeper);
        }
        let [0, key, high, low, ..] = *frame else { return None };
        let (key, version) = (u16::from(key), u16::from_be_bytes([high, low]));
        let name = KAFKA.iter().find(|(known, _)| *known == key).map_or("request", |(_, name)| name);
        (frame.len() >= 2 * FRAME_PREFIX_BYTES && version < 64 && key < 128)
            .then_some(Self::Kafka(key, name, version))
    }
}
