//! Addresses as they are typed.

use crate::config::table::masked;

/// `host:port`, as it is given to others.
///
/// # Errors
/// When it is not that.
pub fn address(text: &str) -> Result<String, String> {
    let wrong = || format!("{:?} is no address; one is host:port, as in 127.0.0.1:9700", masked(text));
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if host.is_empty() || host.contains(['/', ' ']) || bare_ipv6 || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

/// An address that others are to reach: no port is left open.
///
/// # Errors
/// When it is not that.
pub fn reachable(text: &str) -> Result<String, String> {
    match address(text)?.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>() == Ok(0) => {
            Err(format!("{text:?} cannot be reached: port 0 is any port that is free; write the real one"))
        }
        _ => Ok(text.to_owned()),
    }
}

/// Where coordinators are: an address, or the word that puts one into this process.
///
/// # Errors
/// When it is neither.
pub fn coordinator(text: &str) -> Result<String, String> {
    if text == "embedded" { Ok(text.to_owned()) } else { reachable(text) }
}

/// `host`, `host:port`, or both as a URL of http: what a list of brokers to start from may hold.
///
/// # Errors
/// When it is none of these.
pub fn bootstrap(text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    if trimmed.starts_with("https://") {
        return Err(format!("{}: TLS is not spoken yet; write host:port", masked(trimmed)));
    }
    let bare = trimmed.strip_prefix("http://").map_or(trimmed, |rest| rest.split('/').next().unwrap_or(rest));
    if bare.is_empty() || bare.contains(['/', ' ', '@', '\'', '"']) || !is_port_possible(bare) {
        let text = masked(text);
        return Err(format!("{text:?} is no address of a broker; write host:port, or host for port 9701"));
    }
    Ok(bare.to_owned())
}

/// Whether the port, if there is one, is one that somebody can listen on.
fn is_port_possible(text: &str) -> bool {
    let port = match text.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((_, "")) => return true,
            Some((_, rest)) => rest.strip_prefix(':'),
            None => None,
        },
        None => match text.split_once(':') {
            None => return true,
            // An IPv6 address without a port.
            Some((_, rest)) if rest.contains(':') => return true,
            Some((host, port)) => Some(port).filter(|_| !host.is_empty()),
        },
    };
    port.and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port != 0)
}

/// The bounds of a time that one is asked to wait: less is noise, more is a slip.
const SECONDS: std::ops::RangeInclusive<f64> = 0.01..=86_400.0;

/// A time in seconds, such as 3 or 0.5.
///
/// # Errors
/// When it is none, or none that can be waited.
pub fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 =
        text.parse().map_err(|_| format!("{text:?} is no number of seconds, such as 3 or 0.5"))?;
    if SECONDS.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (SECONDS.start(), SECONDS.end());
    Err(format!("{text} s is not between {least} and {most} (a day); write a number such as 3 or 0.5"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for right in ["127.0.0.1:9700", "kiwi:0", "[::1]:9700"] {
            assert_eq!(address(right), Ok(right.to_owned()));
        }
        for wrong in ["", "kiwi", ":9700", "kiwi:", "kiwi:x", "kiwi:70000", "::1", "http://kiwi:1", "a b:1"] {
            assert!(address(wrong).expect_err(wrong).contains("host:port"), "{wrong}");
        }
        assert!(reachable("kiwi:0").expect_err("port 0").contains("port 0"));
        assert!(coordinator("kiwi:0").is_err());
        assert!(!address("u:hunter2@kiwi").expect_err("user").contains("hunter2"));
        assert_eq!(coordinator("embedded"), Ok("embedded".to_owned()));
        assert!(coordinator("embeded").is_err());
    }

    #[test]
    fn a_broker_to_start_from_may_be_a_url() {
        for (text, bare) in [
            ("kiwi", "kiwi"),
            ("kiwi:5001", "kiwi:5001"),
            (" kiwi:5001 ", "kiwi:5001"),
            ("http://kiwi:5001", "kiwi:5001"),
            ("http://kiwi:5001/produce", "kiwi:5001"),
            ("http://[::1]:5001/", "[::1]:5001"),
            ("::1", "::1"),
        ] {
            assert_eq!(bootstrap(text), Ok(bare.to_owned()));
        }
        assert!(bootstrap("https://kiwi").expect_err("no TLS").contains("TLS"));
        for wrong in [
            "",
            "http://",
            "tcp://kiwi:1",
            "['kiwi:1'",
            "u:p@kiwi",
            "kiwi:",
            ":1",
            "kiwi:0",
            "kiwi:70000",
            "kiwi:x",
            "[::1]:0",
            "[::1",
            "[::1]x",
        ] {
            assert!(bootstrap(wrong).expect_err(wrong).contains("host:port"), "{wrong}");
        }
    }

    #[test]
    fn seconds_are_above_nothing() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for wrong in ["", "x", "0", "-1", "inf", "NaN", "1e300", "1e-6", "86401", "1e19"] {
            assert!(seconds(wrong).expect_err(wrong).contains("0.5"), "{wrong}");
        }
    }
}
