//! The header that a proxy puts in front of a connection to say where it comes from.
//!
//! ```text
//! 1:  PROXY TCP4 192.0.2.7 198.51.100.1 56324 9701\r\n      (or TCP6, or UNKNOWN and anything)
//! 2:  0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A | 2:version 4:command | family | u16 length | addresses, more
//! ```
//!
//! Source: "The PROXY protocol, versions 1 & 2", W. Tarreau, `HAProxy`.

use crate::signature::{PROXY_1, PROXY_2};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A header that has arrived whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// How long it is.
    pub(super) bytes: usize,
    /// Where the connection comes from, unless the proxy speaks for itself or does not know.
    pub(super) address: Option<SocketAddr>,
}

/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// The longest rest of version 2: addresses of local sockets and a few extensions are far below.
const REST_BYTES_MAX: usize = 4096;

/// Reads the header at the front of `bytes`; `None` until all of it is there.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, String> {
    if bytes.starts_with(PROXY_2) {
        return binary(bytes);
    }
    if bytes.starts_with(PROXY_1) {
        return line(bytes);
    }
    if PROXY_2.starts_with(bytes) || PROXY_1.starts_with(bytes) {
        return Ok(None);
    }
    Err("the connection does not begin with a PROXY protocol header".to_owned())
}

fn line(bytes: &[u8]) -> Result<Option<Header>, String> {
    let within = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        let longest = bytes.len() >= LINE_BYTES_MAX;
        return if longest { Err("the PROXY line does not end".to_owned()) } else { Ok(None) };
    };
    let wrong = || format!("not a PROXY line: {}", bytes[..end].escape_ascii());
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| wrong())?;
    let fields: Vec<&str> = text.split(' ').collect();
    let address = match fields[..] {
        [_, "UNKNOWN", ..] => None,
        [_, "TCP4", source, target, port, target_port] => {
            let (source, _): (Ipv4Addr, Ipv4Addr) = both(source, target).ok_or_else(wrong)?;
            let (port, _): (u16, u16) = both(port, target_port).ok_or_else(wrong)?;
            Some(SocketAddr::new(source.into(), port))
        }
        [_, "TCP6", source, target, port, target_port] => {
            let (source, _): (Ipv6Addr, Ipv6Addr) = both(source, target).ok_or_else(wrong)?;
            let (port, _): (u16, u16) = both(port, target_port).ok_or_else(wrong)?;
            Some(SocketAddr::new(source.into(), port))
        }
        _ => return Err(wrong()),
    };
    Ok(Some(Header { bytes: end + 2, address }))
}

fn both<T: std::str::FromStr>(a: &str, b: &str) -> Option<(T, T)> {
    Some((a.parse().ok()?, b.parse().ok()?))
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, String> {
    let Some(&[version, family, high, low]) = bytes[PROXY_2.len()..].first_chunk::<4>() else {
        return Ok(None);
    };
    let rest_bytes = usize::from(u16::from_be_bytes([high, low]));
    if version >> 4 != 2 || version & 0x0f > 1 || rest_bytes > REST_BYTES_MAX {
        return Err(format!(
            "not a PROXY header of version 2: {version:02x} {family:02x}, {rest_bytes} bytes"
        ));
    }
    let start = PROXY_2.len() + 4;
    let Some(rest) = bytes.get(start..start + rest_bytes) else { return Ok(None) };
    let local = version & 0x0f == 0;
    let address = match family {
        _ if local => None,
        0x11 => {
            let all = rest.first_chunk::<12>().ok_or("the PROXY header lacks its IPv4 addresses")?;
            let source: [u8; 4] = [all[0], all[1], all[2], all[3]];
            Some((IpAddr::from(source), [all[8], all[9]]))
        }
        0x21 => {
            let all = rest.first_chunk::<36>().ok_or("the PROXY header lacks its IPv6 addresses")?;
            let source: [u8; 16] = *all.first_chunk().ok_or("the PROXY header lacks its IPv6 addresses")?;
            Some((IpAddr::from(source), [all[32], all[33]]))
        }
        _ => None,
    };
    let address = address.map(|(ip, port)| SocketAddr::new(ip, u16::from_be_bytes(port)));
    Ok(Some(Header { bytes: start + rest_bytes, address }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8], address: Option<&str>) {
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut} bytes of {}", bytes.escape_ascii());
        }
        let more = [bytes, b"PING\n"].concat();
        let address = address.map(|text| text.parse().expect("an address"));
        assert_eq!(parse(&more), Ok(Some(Header { bytes: bytes.len(), address })));
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [PROXY_2, &[0x20 | command, family], &length, rest].concat()
    }

    #[test]
    fn both_versions() {
        whole(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 9701\r\n", Some("192.0.2.7:56324"));
        whole(b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 9701\r\n", Some("[2001:db8::7]:56324"));
        whole(b"PROXY UNKNOWN\r\n", None);
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x25, 0xe5];
        whole(&version_2(1, 0x11, &v4), Some("192.0.2.7:56324"));
        whole(&version_2(1, 0x11, &[&v4[..], &[4, 0, 1, 7]].concat()), Some("192.0.2.7:56324"));
        whole(&version_2(0, 0x11, &v4), None);
        whole(&version_2(0, 0, &[]), None);
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 7, 9);
        whole(&version_2(1, 0x21, &v6), Some("[2001::7]:9"));
    }

    #[test]
    fn anything_else() {
        for wrong in [
            &b"PING\n"[..],
            b"\x00\x00",
            b"PROXY TCP4 1.2.3.4\r\n",
            b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY SCTP 1.2.3.4 1.2.3.4 1 2\r\n",
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(),
            &version_2(2, 0x11, &[0; 12]),
            &version_2(1, 0x11, &[0; 11]),
            &[PROXY_2, &[0x11, 0x11, 0, 12]].concat(),
            &[PROXY_2, &[0x21, 0x11, 0xff, 0xff]].concat(),
        ] {
            assert!(parse(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
