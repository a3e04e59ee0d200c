//! Files of packets. The two formats are small and every length in them is checked here against what is
//! there; a file that ends in the middle of a packet, as they do when a capture is killed, is read up to it.
//!
//! ```text
//! pcap:    magic u32 | version u16 u16 | 8 bytes | snap length u32 | link u32
//!          then packets:  seconds u32 | micro- or nanoseconds u32 | captured u32 | original u32 | bytes
//! pcapng:  blocks:  type u32 | length u32 | body, padded to 4 | length u32
//!          section 0x0a0d0d0a:  byte order 0x1a2b3c4d ..       interface 1:  link u16 | u16 | snap u32 | options
//!          packet 6:  interface u32 | time u64 | captured u32 | original u32 | bytes     simple packet 3
//! ```

use super::packet::{Link, Packet};
use super::{Input, InputError};
use bytes::{Buf as _, BytesMut};
use std::time::Duration;

const PCAP_MICRO: u32 = 0xa1b2_c3d4;
const PCAP_NANO: u32 = 0xa1b2_3c4d;
const PCAPNG: u32 = 0x0a0d_0d0a;
const PCAPNG_ORDER: u32 = 0x1a2b_3c4d;

/// Both formats are told by so many bytes.
const MAGIC_BYTES: usize = 4;
/// The option of an interface with the unit of its times.
const TIME_UNIT: u16 = 9;

/// Whether the bytes begin as one of the formats does.
pub(super) fn is_capture(bytes: &[u8]) -> bool {
    let Some(magic) = bytes.first_chunk().map(|magic| u32::from_be_bytes(*magic)) else { return false };
    let either = [magic, magic.swap_bytes()];
    magic == PCAPNG || either.contains(&PCAP_MICRO) || either.contains(&PCAP_NANO)
}

/// Reads all packets.
pub(super) fn read(bytes: &[u8]) -> Result<Input, InputError> {
    let mut reader = CaptureReader::default();
    reader.push(bytes);
    let mut packets = Vec::new();
    while let Some(packet) = reader.next_packet()? {
        packets.push(packet);
    }
    Ok(Input::Packets { packets, cut_off: reader.end()? })
}

/// Takes the bytes of a capture as they come, and gives the packets that are whole.
#[derive(Debug, Default)]
pub struct CaptureReader {
    buffer: BytesMut,
    /// Where in the file the buffer begins.
    at: u64,
    format: Option<Format>,
}

#[derive(Debug)]
enum Format {
    Classic { swapped: bool, nanos: bool, link: Link },
    Ng { swapped: bool, interfaces: Vec<Interface> },
}

/// Why there is no packet.
enum Stop {
    /// Its bytes are not all there.
    Short,
    Wrong(String),
}

impl CaptureReader {
    /// Takes what came next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next packet; `None` until more comes.
    ///
    /// # Errors
    /// With the place of what is no capture.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, InputError> {
        loop {
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let (taken, packet) = match self.step() {
                Ok(step) => step,
                Err(Stop::Short) => return Ok(None),
                Err(Stop::Wrong(what)) => return Err(InputError(what)),
            };
            self.buffer.advance(taken);
            self.at += taken as u64;
            if packet.is_some() {
                return Ok(packet);
            }
        }
    }

    /// Why the capture could not be read to its end, if it ends here.
    ///
    /// # Errors
    /// When it is too short to be one.
    pub fn end(&self) -> Result<Option<String>, InputError> {
        if self.at == 0 && self.buffer.len() < MAGIC_BYTES {
            return Err(InputError("this is no capture: it is too short".to_owned()));
        }
        let at = self.at;
        Ok((!self.buffer.is_empty()).then(|| format!("the file ends in the packet at byte {at}")))
    }

    /// Reads one thing: how many bytes it took, and the packet if it is one.
    fn step(&mut self) -> Result<(usize, Option<Packet>), Stop> {
        let mut reader = Reader { bytes: &self.buffer, at: 0, swapped: false };
        let packet = match &mut self.format {
            None => {
                self.format = Some(format(&mut reader)?);
                None
            }
            Some(Format::Classic { swapped, nanos, link }) => {
                reader.swapped = *swapped;
                Some(classic(&mut reader, *nanos, *link).ok_or(Stop::Short)?)
            }
            Some(Format::Ng { swapped, interfaces }) => block(&mut reader, self.at, swapped, interfaces)?,
        };
        Ok((reader.at, packet))
    }
}

/// The format, by the first bytes. Sections of pcapng are blocks like others: nothing is taken of them here.
fn format(reader: &mut Reader<'_>) -> Result<Format, Stop> {
    let magic = reader.u32().ok_or(Stop::Short)?;
    if magic == PCAPNG {
        reader.at = 0;
        return Ok(Format::Ng { swapped: false, interfaces: Vec::new() });
    }
    reader.swapped = matches!(magic.swap_bytes(), PCAP_MICRO | PCAP_NANO);
    let in_order = if reader.swapped { magic.swap_bytes() } else { magic };
    if !matches!(in_order, PCAP_MICRO | PCAP_NANO) {
        return Err(Stop::Wrong(format!("this is no capture: it begins with 0x{magic:08x}")));
    }
    reader.take(16).ok_or(Stop::Short)?;
    // The upper bits say something about checksums.
    let link = link(reader.u32().ok_or(Stop::Short)? & 0xffff)?;
    Ok(Format::Classic { swapped: reader.swapped, nanos: in_order == PCAP_NANO, link })
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    swapped: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = *self.take(2)?.first_chunk()?;
        Some(if self.swapped { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(&mut self) -> Option<u32> {
        let bytes = *self.take(4)?.first_chunk()?;
        Some(if self.swapped { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
}

fn link(number: u32) -> Result<Link, Stop> {
    Link::numbered(number).ok_or_else(|| {
        Stop::Wrong(format!("packets of link type {number} are not read here; capture Ethernet or IP"))
    })
}

fn classic(reader: &mut Reader<'_>, nanos: bool, link: Link) -> Option<Packet> {
    let (seconds, fraction) = (reader.u32()?, reader.u32()?);
    let (captured, original) = (reader.u32()? as usize, reader.u32()? as usize);
    let nanos = if nanos { u64::from(fraction) } else { u64::from(fraction) * 1000 };
    let time = Duration::from_secs(seconds.into()).checked_add(Duration::from_nanos(nanos));
    let bytes = reader.take(captured)?.to_vec();
    Some(Packet { time, link, bytes, missing: original.saturating_sub(captured) })
}

/// A block of pcapng, which begins at byte `start` of the file.
fn block(
    reader: &mut Reader<'_>,
    start: u64,
    swapped: &mut bool,
    interfaces: &mut Vec<Interface>,
) -> Result<Option<Packet>, Stop> {
    let whole = *reader;
    reader.swapped = *swapped;
    let kind = reader.u32().ok_or(Stop::Short)?;
    let section = kind == PCAPNG;
    if section {
        // A new section may have another byte order, and it begins with no interfaces.
        let order = whole.bytes.get(8..12).and_then(<[u8]>::first_chunk);
        reader.swapped = match order.map(|order| u32::from_be_bytes(*order)) {
            Some(PCAPNG_ORDER) => false,
            Some(order) if order.swap_bytes() == PCAPNG_ORDER => true,
            None => return Err(Stop::Short),
            Some(_) => return Err(Stop::Wrong(format!("byte {start}: a section without a byte order"))),
        };
    }
    let length = reader.u32().ok_or(Stop::Short)? as usize;
    if length < 12 || !length.is_multiple_of(4) {
        return Err(Stop::Wrong(format!("byte {start}: a block cannot have {length} bytes")));
    }
    let body = reader.take(length - 8).ok_or(Stop::Short)?;
    if section {
        *swapped = reader.swapped;
        interfaces.clear();
    }
    let mut body = Reader { bytes: &body[..body.len() - 4], at: 0, swapped: reader.swapped };
    let broken = || Stop::Wrong(format!("byte {start}: a block that contradicts itself"));
    match kind {
        1 => interfaces.push(interface(&mut body).ok_or_else(broken)?),
        3 | 6 => return packet(kind, &mut body, interfaces).ok_or_else(broken)?.map(Some),
        _ => {}
    }
    Ok(None)
}

/// What packets of one interface are.
#[derive(Debug)]
struct Interface {
    link: u32,
    snap_length: usize,
    /// So many units of its times are a second.
    units: u64,
}

fn interface(body: &mut Reader<'_>) -> Option<Interface> {
    let link = u32::from(body.u16()?);
    body.u16()?;
    let snap_length = body.u32()? as usize;
    let mut units = 1_000_000;
    while let (Some(option), Some(length)) = (body.u16(), body.u16()) {
        let value = body.take(usize::from(length).next_multiple_of(4))?;
        match (option, value) {
            (0, _) => break,
            (TIME_UNIT, [unit, ..]) if unit & 0x80 == 0 => units = 10u64.checked_pow(u32::from(*unit))?,
            (TIME_UNIT, [unit, ..]) => units = 1u64.checked_shl(u32::from(unit & 0x7f))?,
            _ => {}
        }
    }
    Some(Interface { link, snap_length, units })
}

fn packet(kind: u32, body: &mut Reader<'_>, interfaces: &[Interface]) -> Option<Result<Packet, Stop>> {
    let simple = kind == 3;
    let interface = if simple { 0 } else { body.u32()? as usize };
    let interface = interfaces.get(interface)?;
    let time = if simple {
        None
    } else {
        let units = u64::from(body.u32()?) << 32 | u64::from(body.u32()?);
        let nanos = u128::from(units % interface.units) * 1_000_000_000 / u128::from(interface.units);
        Some(Duration::new(units / interface.units, u32::try_from(nanos).ok()?))
    };
    let captured = if simple { None } else { Some(body.u32()? as usize) };
    let original = body.u32()? as usize;
    let limit = if interface.snap_length == 0 { usize::MAX } else { interface.snap_length };
    let captured = captured.unwrap_or_else(|| original.min(limit));
    let bytes = body.take(captured)?.to_vec();
    let missing = original.saturating_sub(captured);
    Some(link(interface.link).map(|link| Packet { time, link, bytes, missing }))
}
