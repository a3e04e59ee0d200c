use etherparse::PacketBuilder;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::decode::Direction;

/// Writes connections as a pcap file of made-up packets: who reads it sees what would have been on the
/// wire, with every byte, every moment and both ends as they were. Checksums are right; acknowledgements
/// are those of a network that loses nothing.
#[derive(Debug)]
pub struct CaptureWriter<W> {
    out: W,
}

/// The most bytes of one made-up packet: what fits into the length of IP, beside two headers.
const PAYLOAD_BYTES_MAX: usize = 65_000;
const WINDOW: u16 = u16::MAX;
const HOPS: u8 = 64;

/// A connection that is being written.
#[derive(Clone, Debug)]
pub struct Written {
    client: SocketAddr,
    server: SocketAddr,
    /// The next sequence number of each way.
    next: [u32; 2],
}

/// What a packet says besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Open,
    Data,
    End,
    Reset,
}

impl<W: Write> CaptureWriter<W> {
    /// Begins a file: pcap with nanoseconds, packets that begin with IP.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(mut out: W) -> io::Result<Self> {
        for number in [0xa1b2_3c4d, 2 << 16 | 4, 0, 0, 1 << 18, 101] {
            out.write_all(&u32::to_be_bytes(number))?;
        }
        out.flush()?;
        Ok(Self { out })
    }

    /// A connection is opened.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(&mut self, time: Duration, client: SocketAddr, server: SocketAddr) -> io::Result<Written> {
        let mut written = Written { client, server, next: [0, 0] };
        self.packet(time, &mut written, Direction::ToServer, Sign::Open, &[])?;
        self.packet(time, &mut written, Direction::ToClient, Sign::Open, &[])?;
        self.packet(time, &mut written, Direction::ToServer, Sign::Data, &[])?;
        Ok(written)
    }

    /// Bytes went one way.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn data(
        &mut self,
        time: Duration,
        connection: &mut Written,
        direction: Direction,
        bytes: &[u8],
    ) -> io::Result<()> {
        bytes
            .chunks(PAYLOAD_BYTES_MAX)
            .try_for_each(|part| self.packet(time, connection, direction, Sign::Data, part))
    }

    /// One way has ended; with `cut` the whole connection, at once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(
        &mut self,
        time: Duration,
        connection: &mut Written,
        direction: Direction,
        cut: bool,
    ) -> io::Result<()> {
        self.packet(time, connection, direction, if cut { Sign::Reset } else { Sign::End }, &[])
    }

    fn packet(
        &mut self,
        time: Duration,
        connection: &mut Written,
        direction: Direction,
        sign: Sign,
        bytes: &[u8],
    ) -> io::Result<()> {
        let way = direction.index();
        let (from, to) = match direction {
            Direction::ToClient => (connection.server, connection.client),
            Direction::ToServer | Direction::Unknown => (connection.client, connection.server),
        };
        let sequence = connection.next[way];
        let ip = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), HOPS),
            (from, to) => PacketBuilder::ipv6(as_v6(from).octets(), as_v6(to).octets(), HOPS),
        };
        let mut tcp = ip.tcp(from.port(), to.port(), sequence, WINDOW);
        let first = sign == Sign::Open && way == Direction::ToServer.index();
        if !first {
            tcp = tcp.ack(connection.next[1 - way]);
        }
        tcp = match sign {
            Sign::Open => tcp.syn(),
            Sign::End => tcp.fin(),
            Sign::Reset => tcp.rst(),
            Sign::Data if bytes.is_empty() => tcp,
            Sign::Data => tcp.psh(),
        };
        let mut packet = Vec::with_capacity(tcp.size(bytes.len()));
        tcp.write(&mut packet, bytes).map_err(io::Error::other)?;
        let length = u32::try_from(packet.len()).map_err(io::Error::other)?;
        let seconds = u32::try_from(time.as_secs()).map_err(io::Error::other)?;
        // A reader that looks while it is written finds whole packets.
        let mut record = Vec::with_capacity(packet.len() + 16);
        for number in [seconds, time.subsec_nanos(), length, length] {
            record.extend_from_slice(&number.to_be_bytes());
        }
        record.extend_from_slice(&packet);
        self.out.write_all(&record)?;
        self.out.flush()?;
        let flags = u32::from(matches!(sign, Sign::Open | Sign::End));
        let bytes = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        connection.next[way] = sequence.wrapping_add(bytes).wrapping_add(flags);
        Ok(())
    }
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}
