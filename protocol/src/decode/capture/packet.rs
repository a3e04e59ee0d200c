use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What the bytes of a packet begin with, by the numbers of <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Link {
    /// A frame of Ethernet, as `tcpdump -i lo` has it on Linux too.
    Ethernet,
    /// An IP packet, after so many bytes of a header without interest.
    Ip(usize),
}

impl Link {
    /// The link with this number; `None` if it is not read here.
    #[must_use]
    pub fn numbered(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Ip(0)),
            // BSD's loopback.
            0 | 108 => Some(Self::Ip(4)),
            // What `tcpdump -i any` has: two generations of it.
            113 => Some(Self::Ip(16)),
            276 => Some(Self::Ip(20)),
            _ => None,
        }
    }
}

/// A packet as it was captured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// When, since 1970.
    pub time: Option<Duration>,
    /// What it begins with.
    pub link: Link,
    /// As much of it as was captured.
    pub bytes: Vec<u8>,
    /// How many bytes were not captured.
    pub missing: usize,
}

/// A segment of TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The number of its first byte.
    pub sequence: u32,
    /// It opens a direction.
    pub syn: bool,
    /// It acknowledges something.
    pub ack: bool,
    /// It ends its direction.
    pub fin: bool,
    /// It ends the connection at once.
    pub rst: bool,
    /// Its bytes.
    pub payload: &'a [u8],
}

impl Packet {
    /// The segment of TCP in the packet; `None` if there is none.
    #[must_use]
    pub fn segment(&self) -> Option<Segment<'_>> {
        let sliced = match self.link {
            Link::Ethernet => LaxSlicedPacket::from_ethernet(&self.bytes).ok()?,
            Link::Ip(header) => LaxSlicedPacket::from_ip(self.bytes.get(header..)?).ok()?,
        };
        let (from, to): (IpAddr, IpAddr) = match sliced.net? {
            LaxNetSlice::Ipv4(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            LaxNetSlice::Ipv6(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let TransportSlice::Tcp(tcp) = sliced.transport? else { return None };
        Some(Segment {
            from: SocketAddr::new(from, tcp.source_port()),
            to: SocketAddr::new(to, tcp.destination_port()),
            sequence: tcp.sequence_number(),
            syn: tcp.syn(),
            ack: tcp.ack(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            payload: tcp.payload(),
        })
    }
}
