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
use std::time::Duration;

const PCAP_MICRO: u32 = 0xa1b2_c3d4;
const PCAP_NANO: u32 = 0xa1b2_3c4d;
const PCAPNG: u32 = 0x0a0d_0d0a;
const PCAPNG_ORDER: u32 = 0x1a2b_3c4d;

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
    let mut reader = Reader { bytes, at: 0, swapped: false };
    let magic = reader.u32().ok_or_else(|| InputError("this is no capture: it is too short".to_owned()))?;
    let mut packets = Vec::new();
    let outcome = match magic {
        PCAPNG => read_ng(bytes, &mut packets),
        PCAP_MICRO | PCAP_NANO => read_classic(reader, magic, &mut packets),
        _ if matches!(magic.swap_bytes(), PCAP_MICRO | PCAP_NANO) => {
            reader.swapped = true;
            read_classic(reader, magic.swap_bytes(), &mut packets)
        }
        _ => Err(Stop::Wrong(format!("this is no capture: it begins with 0x{magic:08x}"))),
    };
    match outcome {
        Ok(()) => Ok(Input::Packets { packets, cut_off: None }),
        Err(Stop::CutOff(at)) => {
            Ok(Input::Packets { packets, cut_off: Some(format!("the file ends in the packet at byte {at}")) })
        }
        Err(Stop::Wrong(what)) => Err(InputError(what)),
    }
}

/// Why reading ended before the end.
enum Stop {
    CutOff(usize),
    Wrong(String),
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

fn read_classic(mut reader: Reader<'_>, magic: u32, packets: &mut Vec<Packet>) -> Result<(), Stop> {
    let header = |reader: &mut Reader<'_>| {
        reader.take(16)?;
        reader.u32()
    };
    // The upper bits say something about checksums.
    let link = link(header(&mut reader).ok_or(Stop::CutOff(0))? & 0xffff)?;
    while reader.at < reader.bytes.len() {
        let start = reader.at;
        let one = |reader: &mut Reader<'_>| {
            let (seconds, fraction) = (reader.u32()?, reader.u32()?);
            let (captured, original) = (reader.u32()? as usize, reader.u32()? as usize);
            let nanos = if magic == PCAP_NANO { fraction } else { fraction.checked_mul(1000)? };
            let time = Duration::from_secs(seconds.into()).checked_add(Duration::from_nanos(nanos.into()));
            let bytes = reader.take(captured)?.to_vec();
            Some(Packet { time, link, bytes, missing: original.saturating_sub(captured) })
        };
        packets.push(one(&mut reader).ok_or(Stop::CutOff(start))?);
    }
    Ok(())
}

/// What packets of one interface are.
struct Interface {
    link: u32,
    snap_length: usize,
    /// So many units of its times are a second.
    units: u64,
}

fn read_ng(bytes: &[u8], packets: &mut Vec<Packet>) -> Result<(), Stop> {
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut reader = Reader { bytes, at: 0, swapped: false };
    while reader.at < bytes.len() {
        let start = reader.at;
        let cut_off = Stop::CutOff(start);
        let kind = reader.u32().ok_or(Stop::CutOff(start))?;
        if kind == PCAPNG {
            // A new section may have another byte order, and it begins with no interfaces.
            let order = bytes.get(start + 8..start + 12).and_then(<[u8]>::first_chunk);
            reader.swapped = match order.map(|order| u32::from_be_bytes(*order)) {
                Some(PCAPNG_ORDER) => false,
                Some(order) if order.swap_bytes() == PCAPNG_ORDER => true,
                _ => return Err(Stop::Wrong(format!("byte {start}: a section without a byte order"))),
            };
            interfaces.clear();
        }
        let Some(length) = reader.u32().map(|length| length as usize) else { return Err(cut_off) };
        if length < 12 || !length.is_multiple_of(4) {
            return Err(Stop::Wrong(format!("byte {start}: a block cannot have {length} bytes")));
        }
        let Some(body) = reader.take(length - 8) else { return Err(cut_off) };
        let mut body = Reader { bytes: &body[..body.len() - 4], at: 0, swapped: reader.swapped };
        let broken = || Stop::Wrong(format!("byte {start}: a block that contradicts itself"));
        match kind {
            1 => interfaces.push(interface(&mut body).ok_or_else(broken)?),
            3 | 6 => packets.push(packet(kind, &mut body, &interfaces).ok_or_else(broken)??),
            _ => {}
        }
    }
    Ok(())
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
