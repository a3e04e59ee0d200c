//! How other protocols begin: what the front of a server and the decoder of the tools tell them by.

/// A TLS record that carries a handshake.
#[cfg(feature = "net")]
pub(crate) const TLS: &[u8] = b"\x16\x03";
/// The PROXY protocol, version 1.
pub(crate) const PROXY_1: &[u8] = b"PROXY ";
/// The PROXY protocol, version 2.
pub(crate) const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// With what HTTP requests begin. None of these is a command.
pub(crate) const HTTP_METHODS: [&str; 9] =
    ["GET", "PUT", "POST", "HEAD", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"];

/// Whether a map or an array of `MessagePack` begins so.
pub(crate) fn opens_message_pack(first: u8) -> bool {
    matches!(first, 0x80..=0x9f | 0xdc..=0xdf)
}

/// Whether this request, without its length, is that with which sessions of `ZooKeeper` begin: protocol
/// version 0, and a password of 16 bytes at its place.
pub(crate) fn greets_zookeeper(frame: &[u8]) -> bool {
    frame.starts_with(&[0; 4]) && frame.get(24..28) == Some(&[0, 0, 0, 16])
}
