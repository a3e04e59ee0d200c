//! One element of the journal's list in Redis.
//!
//! ```text
//! | YAKJ1 | kind  | sequence  | epoch     | previous      | CRC32C of     | payload:     |
//! |       | E S   | 20 digits | 20 digits | entry's CRC   | all the rest  | MessagePack: |
//! |       |       | no gaps   |           | 8 hex digits  | 8 hex digits  | list of      |
//! |       |       |           |           |               |               | records      |
//! '------- one blank behind each: 68 bytes that redis-cli shows as text ---'
//! ```
//!
//! `E` is one decision, all of its records or none. `S` is a snapshot: it stands for everything before it.
//! Each entry carries the CRC of the one before it, so two journals that agree on an entry agree on
//! everything up to it.

use std::fmt;
use yak_core::cluster::Record;
use yak_protocol::defaults::NESTING_MAX;

/// How long the header is, in bytes.
pub(super) const HEADER_BYTES: usize = 68;
const MAGIC: &str = "YAKJ1";
/// How much of the header the CRC covers.
const COVERED_BYTES: usize = 59;

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// One decision.
    Decision,
    /// Everything up to here.
    Snapshot,
}

/// The readable part of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub kind: Kind,
    pub sequence: u64,
    /// The token of the term that wrote it.
    pub epoch: u64,
    /// The CRC of the entry before it; 0 for the first one ever.
    pub previous: u32,
    pub crc: u32,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Decision => 'E',
            Kind::Snapshot => 'S',
        };
        let Self { sequence, epoch, previous, crc, .. } = self;
        write!(f, "{MAGIC} {kind} {sequence:020} {epoch:020} {previous:08x} {crc:08x} ")
    }
}

impl Header {
    /// The header that `bytes` begin with, if they do.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes.get(..HEADER_BYTES)?).ok()?;
        let mut fields = text.split(' ');
        let magic = fields.next()?;
        let kind = match fields.next()? {
            "E" => Kind::Decision,
            "S" => Kind::Snapshot,
            _ => return None,
        };
        let header = Self {
            kind,
            sequence: fields.next()?.parse().ok()?,
            epoch: fields.next()?.parse().ok()?,
            previous: u32::from_str_radix(fields.next()?, 16).ok()?,
            crc: u32::from_str_radix(fields.next()?, 16).ok()?,
        };
        // What reads the same and is written otherwise would not be what the scripts compare.
        (magic == MAGIC && header.to_string() == text).then_some(header)
    }
}

/// One entry, ready to be kept.
///
/// # Errors
/// When the records cannot be encoded.
pub(super) fn encode(
    kind: Kind,
    sequence: u64,
    epoch: u64,
    previous: u32,
    records: &[Record],
) -> Result<(Header, Vec<u8>), rmp_serde::encode::Error> {
    let payload = rmp_serde::to_vec_named(records)?;
    let mut header = Header { kind, sequence, epoch, previous, crc: 0 };
    header.crc = checksum(&header.to_string(), &payload);
    let mut bytes = header.to_string().into_bytes();
    bytes.extend(payload);
    Ok((header, bytes))
}

fn checksum(header: &str, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header.as_bytes()[..COVERED_BYTES]), payload)
}

/// A journal as it is read, entry by entry.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The records since the last snapshot, that included.
    pub records: Vec<Record>,
    /// The last entry's header.
    pub end: Option<Header>,
    /// How many entries there are.
    pub entries: u64,
    /// How long they are together, in bytes.
    pub bytes: u64,
    /// How long the last snapshot is, in bytes.
    pub snapshot_bytes: u64,
    /// The highest epoch.
    pub epoch: u64,
}

impl Reading {
    /// Takes the next entry.
    ///
    /// # Errors
    /// In words, when it is damaged or cannot follow what came before.
    pub(super) fn take(&mut self, entry: &[u8]) -> Result<Header, String> {
        let at = self.entries;
        let header =
            Header::parse(entry).ok_or_else(|| format!("element {at} of the list is not an entry"))?;
        let text = Header { crc: 0, ..header }.to_string();
        let payload = &entry[HEADER_BYTES..];
        let sequence = header.sequence;
        if checksum(&text, payload) != header.crc {
            return Err(format!("the CRC of entry {sequence} is wrong"));
        }
        match self.end {
            None if header.kind != Kind::Snapshot => {
                return Err(format!("it begins with entry {sequence}; what was before that is missing"));
            }
            None => {}
            Some(end) if end.sequence.checked_add(1) != Some(sequence) => {
                return Err(format!("entry {} is followed by entry {sequence}", end.sequence));
            }
            Some(end) if end.crc != header.previous => {
                return Err(format!("entry {sequence} does not belong behind entry {}", end.sequence));
            }
            Some(_) => {}
        }
        if header.epoch < self.epoch {
            return Err(format!(
                "entry {sequence} is of term {}, behind one of term {}",
                header.epoch, self.epoch
            ));
        }
        let records =
            decode(payload).map_err(|error| format!("entry {sequence} does not decode: {error}"))?;
        if header.kind == Kind::Snapshot {
            self.records.clear();
            self.snapshot_bytes = entry.len() as u64;
        }
        self.records.extend(records);
        self.bytes += entry.len() as u64;
        self.entries += 1;
        self.epoch = header.epoch;
        self.end = Some(header);
        Ok(header)
    }
}

fn decode(payload: &[u8]) -> Result<Vec<Record>, rmp_serde::decode::Error> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(payload);
    decoder.set_max_depth(NESTING_MAX);
    serde::Deserialize::deserialize(&mut decoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use yak_protocol::ids::{ClusterId, CoordinatorEpoch};

    fn journal(decisions: u64) -> Vec<Vec<u8>> {
        let format = vec![Record::Cluster { cluster_id: ClusterId(7) }];
        let (mut end, first) = encode(Kind::Snapshot, 1, 1, 0, &format).unwrap();
        let mut entries = vec![first];
        for n in 1..=decisions {
            let records = vec![Record::CoordinatorEpoch { epoch: CoordinatorEpoch(n) }];
            let (header, entry) = encode(Kind::Decision, end.sequence + 1, n, end.crc, &records).unwrap();
            entries.push(entry);
            end = header;
        }
        entries
    }

    fn read(entries: &[Vec<u8>]) -> Result<Reading, String> {
        let mut reading = Reading::default();
        entries.iter().try_for_each(|entry| reading.take(entry).map(|_| ()))?;
        Ok(reading)
    }

    #[test]
    fn the_header_is_text_of_a_fixed_length() {
        let header =
            Header { kind: Kind::Decision, sequence: 42, epoch: 7, previous: 0xab, crc: 0x1a2b_3c4d };
        assert_eq!(
            header.to_string(),
            "YAKJ1 E 00000000000000000042 00000000000000000007 000000ab 1a2b3c4d "
        );
        assert_eq!(header.to_string().len(), HEADER_BYTES);
        assert_eq!(Header::parse(header.to_string().as_bytes()), Some(header));
        let widest = Header { sequence: u64::MAX, epoch: u64::MAX, ..header };
        assert_eq!(widest.to_string().len(), HEADER_BYTES);
    }

    #[test]
    fn a_journal_reads_back_and_a_snapshot_in_it_stands_for_what_is_before() {
        let mut entries = journal(3);
        let reading = read(&entries).unwrap();
        assert_eq!((reading.records.len(), reading.entries, reading.epoch), (4, 4, 3));
        let end = reading.end.unwrap();
        let (_, snapshot) =
            encode(Kind::Snapshot, end.sequence + 1, 3, end.crc, &reading.records[..1]).unwrap();
        entries.push(snapshot);
        assert_eq!(read(&entries).unwrap().records, reading.records[..1]);
        assert_eq!(read(&entries[4..]).unwrap().records, reading.records[..1], "alone, after it was cut");
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let entries = journal(1);
        for byte in 0..entries[1].len() {
            for bit in 0..8 {
                let mut damaged = entries.clone();
                damaged[1][byte] ^= 1 << bit;
                assert!(read(&damaged).is_err(), "byte {byte} bit {bit}");
            }
        }
    }

    #[test]
    fn missing_swapped_and_foreign_entries_are_named() {
        let entries = journal(3);
        assert!(read(&entries[1..]).unwrap_err().contains("before that is missing"));
        let gap = [entries[0].clone(), entries[2].clone()];
        assert_eq!(read(&gap).unwrap_err(), "entry 1 is followed by entry 3");
        let other = encode(Kind::Decision, 3, 2, 99, &[]).unwrap().1;
        let spliced = [entries[0].clone(), entries[1].clone(), other];
        assert_eq!(read(&spliced).unwrap_err(), "entry 3 does not belong behind entry 2");
        assert_eq!(read(&[b"x".to_vec()]).unwrap_err(), "element 0 of the list is not an entry");
    }
}
