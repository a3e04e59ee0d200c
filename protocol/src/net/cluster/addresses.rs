use crate::defaults::BROKER_PORT;

/// The brokers of a cluster on this machine: 127.0.0.1:9701, 9702 and 9703.
#[must_use]
pub fn default_bootstrap() -> Vec<String> {
    (0..3).map(|index| format!("127.0.0.1:{}", BROKER_PORT + index)).collect()
}

/// The address with a port: `host` means a broker's first one there. `[::1]` and `::1` are hosts, too.
#[must_use]
pub fn with_port(address: &str) -> String {
    let address = address.trim();
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{address}]:{BROKER_PORT}");
    }
    let host_end = address.rfind(']').map_or(0, |end| end + 1);
    if address[host_end..].contains(':') { address.to_owned() } else { format!("{address}:{BROKER_PORT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_alone_means_the_first_brokers_port() {
        assert_eq!(with_port("kiwi"), "kiwi:9701");
        assert_eq!(with_port(" kiwi:1 "), "kiwi:1");
        assert_eq!(with_port("10.0.0.1"), "10.0.0.1:9701");
        assert_eq!(with_port("::1"), "[::1]:9701");
        assert_eq!(with_port("[::1]"), "[::1]:9701");
        assert_eq!(with_port("[::1]:5"), "[::1]:5");
        assert_eq!(default_bootstrap(), ["127.0.0.1:9701", "127.0.0.1:9702", "127.0.0.1:9703"]);
    }
}
