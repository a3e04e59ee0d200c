//! One commit round: what was queued while the last one was being synced.
//!
//! ```text
//!  +--------+----------------+----------------------------+----------------+--------+
//!  | header |     table      |  batches of the appends,   |  table again   | header |
//!  |  64 B  | 72 B per entry |  zeros up to 8 bytes       |                | again  |
//!  +--------+----------------+----------------------------+----------------+--------+
//!
//!  header 0       4     8     16       20        24           32         36          40
//!         +-------+-----+-----+--------+---------+------------+----------+-----------+------+
//!         | magic | crc | LSN | length | entries | synced LSN | prev crc | table crc | zero |
//!         +-------+-----+-----+--------+---------+------------+----------+-----------+------+
//!
//!  entry  0      1       2      4     8       24          28      32       40    48
//!         +------+-------+------+-----+-------+-----------+-------+--------+-----+----------+
//!         | what | flags | zero | crc | topic | partition | epoch | offset | end | position |
//!         +------+-------+------+-----+-------+-----------+-------+--------+-----+----------+
//!         56           60             64            68
//!         +------------+--------------+-------------+------+
//!         | payload at | payload len  | payload crc | zero |
//!         +------------+--------------+-------------+------+
//! ```
//!
//! Big-endian. All checksums are CRC-32C, seeded with the file's id and salt. `crc` of the header covers
//! the rest of it, hence through `table crc` and each entry's `payload crc` the whole round; it is what
//! the next round carries as `prev crc`. Each entry has its own checksum too, and table and header are
//! there twice: a round that is damaged after it was synced still tells which offsets of which partition
//! it held, so that exactly those are marked. The trailing header has its own magic, so that a scan past
//! damage finds both ends.

use super::{NUMBER_MAX, u32_at, u64_at};
use bytes::Bytes;
use yak_protocol::batch;
use yak_protocol::ids::{BrokerId, EpochStart, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

pub(crate) const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 72;
/// Rounds start at multiples of this.
pub(crate) const ALIGN: usize = 8;
const FRONT: u32 = u32::from_be_bytes(*b"YKr1");
const BACK: u32 = u32::from_be_bytes(*b"YKe1");
const ROLL: u8 = 1;

/// Which of the two headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Front,
    Back,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RoundHeader {
    pub(crate) lsn: u64,
    /// Of the whole round, in bytes.
    pub(crate) length: u32,
    entries: u32,
    /// The LSN of the last round that was synced when this one was written.
    pub(crate) synced: u64,
    pub(crate) previous_crc: u32,
    table_crc: u32,
    pub(crate) crc: u32,
}

impl RoundHeader {
    fn encode(&mut self, seed: u32, end: End) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[8..16].copy_from_slice(&self.lsn.to_be_bytes());
        out[16..20].copy_from_slice(&self.length.to_be_bytes());
        out[20..24].copy_from_slice(&self.entries.to_be_bytes());
        out[24..32].copy_from_slice(&self.synced.to_be_bytes());
        out[32..36].copy_from_slice(&self.previous_crc.to_be_bytes());
        out[36..40].copy_from_slice(&self.table_crc.to_be_bytes());
        self.crc = crc32c::crc32c_append(seed, &out[8..]);
        let magic = if end == End::Front { FRONT } else { BACK };
        out[..4].copy_from_slice(&magic.to_be_bytes());
        out[4..8].copy_from_slice(&self.crc.to_be_bytes());
        out
    }

    /// The header at the front of `bytes`, if there is one.
    pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<(Self, End)> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let end = match u32_at(bytes, 0) {
            FRONT => End::Front,
            BACK => End::Back,
            _ => return None,
        };
        let crc = u32_at(bytes, 4);
        if crc != crc32c::crc32c_append(seed, &bytes[8..]) {
            return None;
        }
        let header = Self {
            lsn: u64_at(bytes, 8),
            length: u32_at(bytes, 16),
            entries: u32_at(bytes, 20),
            synced: u64_at(bytes, 24),
            previous_crc: u32_at(bytes, 32),
            table_crc: u32_at(bytes, 36),
            crc,
        };
        let least = 2 * (HEADER_BYTES as u64 + u64::from(header.entries) * ENTRY_BYTES as u64);
        let fits = u64::from(header.length) >= least && (header.length as usize).is_multiple_of(ALIGN);
        (fits && header.lsn <= NUMBER_MAX).then_some((header, end))
    }

    fn table_bytes(&self) -> usize {
        self.entries as usize * ENTRY_BYTES
    }
}

/// Where an append's batches lie in its round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Payload {
    at: u32,
    length: u32,
    crc: u32,
}

impl Payload {
    /// The bytes' place in the round.
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.at as usize..self.at as usize + self.length as usize
    }
}

/// One change of one partition (or topic).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Batches of one leader epoch for the offsets `[base, end)`; `roll` = they begin a new segment.
    Append { base: Offset, end: Offset, epoch: LeaderEpoch, roll: bool, payload: Payload },
    /// Cut at `to`, which lies at this byte of the segment with this base.
    Truncate { to: Offset, segment: u64, position: u64 },
    /// The log ends at `to`, and the bytes of the damaged offsets from `from` on went with what was cut there.
    Lose { from: Offset, to: Offset },
    /// Begin again at `start` without an epoch history; `Epoch` entries follow.
    Reset { start: Offset },
    /// The epoch starts here.
    Epoch(EpochStart),
    /// Drop everything below.
    MoveLogStart { to: Offset },
    /// The replica acts in this epoch under this leader.
    Promise { epoch: LeaderEpoch, leader: BrokerId },
    /// The topic has been deleted, for ever.
    Delete,
    /// The partition's folder is set aside.
    SetAside,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) id: TopicPartition,
    pub(crate) change: Change,
}

impl Entry {
    fn encode(&self, seed: u32) -> [u8; ENTRY_BYTES] {
        let (mut epoch, mut offset, mut end, mut position, mut flags) = (0, 0, 0, 0, 0);
        let mut payload = Payload::default();
        let what: u8 = match self.change {
            Change::Append { base, end: to, epoch: of, roll, payload: bytes } => {
                (offset, end, epoch, payload) = (base.0, to.0, of.0, bytes);
                flags = if roll { ROLL } else { 0 };
                1
            }
            Change::Truncate { to, segment, position: at } => {
                (offset, end, position) = (to.0, segment, at);
                2
            }
            Change::Reset { start } => {
                offset = start.0;
                3
            }
            Change::Epoch(start) => {
                (epoch, offset) = (start.epoch.0, start.start.0);
                4
            }
            Change::MoveLogStart { to } => {
                offset = to.0;
                5
            }
            Change::Promise { epoch: promised, leader } => {
                (epoch, end) = (promised.0, u64::from(leader.0));
                6
            }
            Change::Delete => 7,
            Change::SetAside => 8,
            Change::Lose { from, to } => {
                (offset, end) = (from.0, to.0);
                9
            }
        };
        let mut out = [0; ENTRY_BYTES];
        (out[0], out[1]) = (what, flags);
        out[8..24].copy_from_slice(&self.id.topic.0.to_be_bytes());
        out[24..28].copy_from_slice(&self.id.partition.0.to_be_bytes());
        out[28..32].copy_from_slice(&epoch.to_be_bytes());
        out[32..40].copy_from_slice(&offset.to_be_bytes());
        out[40..48].copy_from_slice(&end.to_be_bytes());
        out[48..56].copy_from_slice(&position.to_be_bytes());
        out[56..60].copy_from_slice(&payload.at.to_be_bytes());
        out[60..64].copy_from_slice(&payload.length.to_be_bytes());
        out[64..68].copy_from_slice(&payload.crc.to_be_bytes());
        let crc = Self::checksum(&out, seed);
        out[4..8].copy_from_slice(&crc.to_be_bytes());
        out
    }

    fn checksum(bytes: &[u8], seed: u32) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(seed, &bytes[..4]), &bytes[8..])
    }

    fn decode(bytes: &[u8], seed: u32) -> Option<Self> {
        if u32_at(bytes, 4) != Self::checksum(bytes, seed) {
            return None;
        }
        let (offset, end) = (Offset(u64_at(bytes, 32)), u64_at(bytes, 40));
        let epoch = LeaderEpoch(u32_at(bytes, 28));
        let mut topic = [0; 16];
        topic.copy_from_slice(&bytes[8..24]);
        let payload = Payload { at: u32_at(bytes, 56), length: u32_at(bytes, 60), crc: u32_at(bytes, 64) };
        let change = match bytes[0] {
            // The header and this entry itself come before any batches.
            1 if (payload.at as usize) < HEADER_BYTES + ENTRY_BYTES => return None,
            1 => {
                Change::Append { base: offset, end: Offset(end), epoch, roll: bytes[1] & ROLL != 0, payload }
            }
            2 => Change::Truncate { to: offset, segment: end, position: u64_at(bytes, 48) },
            3 => Change::Reset { start: offset },
            4 => Change::Epoch(EpochStart { epoch, start: offset }),
            5 => Change::MoveLogStart { to: offset },
            6 => Change::Promise { epoch, leader: BrokerId(u32::try_from(end).ok()?) },
            7 => Change::Delete,
            8 => Change::SetAside,
            9 => Change::Lose { from: offset, to: Offset(end) },
            _ => return None,
        };
        let topic = TopicId(u128::from_be_bytes(topic));
        Some(Self { id: TopicPartition { topic, partition: PartitionIndex(u32_at(bytes, 24)) }, change })
    }
}

/// An entry on its way into a round; an append brings its bytes and, on a leader, the epoch to stamp.
pub(crate) struct Draft {
    pub(crate) entry: Entry,
    pub(crate) batches: Bytes,
    pub(crate) stamp: Option<LeaderEpoch>,
}

/// What a round is built from, beside its entries.
pub(crate) struct RoundAt {
    pub(crate) seed: u32,
    pub(crate) lsn: u64,
    pub(crate) synced: u64,
    pub(crate) previous_crc: u32,
}

/// How long a round of so many entries and bytes of batches is.
pub(crate) fn length_of(entries: usize, payload_bytes: usize) -> usize {
    2 * (HEADER_BYTES + entries * ENTRY_BYTES) + payload_bytes.next_multiple_of(ALIGN)
}

/// Builds the round: the one copy that a publish's bytes undergo, stamped on the way. The drafts'
/// payloads are filled in. Returns the round and its CRC, which the next one carries.
pub(crate) fn build(at: &RoundAt, drafts: &mut [Draft]) -> (Bytes, u32) {
    let payload_bytes = drafts.iter().map(|draft| draft.batches.len()).sum();
    let length = length_of(drafts.len(), payload_bytes);
    let table_bytes = drafts.len() * ENTRY_BYTES;
    let mut out = Vec::with_capacity(length);
    out.resize(HEADER_BYTES + table_bytes, 0);
    for draft in drafts.iter_mut() {
        if let Change::Append { base, payload, .. } = &mut draft.entry.change {
            let from = out.len();
            out.extend_from_slice(&draft.batches);
            if let Some(epoch) = draft.stamp {
                stamp(&mut out[from..], *base, epoch);
            }
            *payload = Payload {
                at: position_u32(from),
                length: position_u32(out.len() - from),
                crc: crc32c::crc32c_append(at.seed, &out[from..]),
            };
        }
    }
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    let mut table_crc = at.seed;
    for (index, draft) in drafts.iter().enumerate() {
        let encoded = draft.entry.encode(at.seed);
        table_crc = crc32c::crc32c_append(table_crc, &encoded);
        let from = HEADER_BYTES + index * ENTRY_BYTES;
        out[from..from + ENTRY_BYTES].copy_from_slice(&encoded);
    }
    out.extend_from_within(HEADER_BYTES..HEADER_BYTES + table_bytes);
    let mut header = RoundHeader {
        lsn: at.lsn,
        length: position_u32(length),
        entries: position_u32(drafts.len()),
        synced: at.synced,
        previous_crc: at.previous_crc,
        table_crc,
        crc: 0,
    };
    out[..HEADER_BYTES].copy_from_slice(&header.encode(at.seed, End::Front));
    out.extend_from_slice(&header.encode(at.seed, End::Back));
    assert_eq!(out.len(), length, "a round is as long as was reckoned");
    (Bytes::from(out), header.crc)
}

fn position_u32(value: usize) -> u32 {
    u32::try_from(value).expect("a round is shorter than 4 GiB: the writer closes it long before")
}

/// Stamps base offset and epoch into each of the batches; they were walked before, so they parse.
fn stamp(mut bytes: &mut [u8], mut base: Offset, epoch: LeaderEpoch) {
    while !bytes.is_empty() {
        let header = batch::BatchHeader::parse(bytes).expect("the batches of a draft have been walked");
        let (this, rest) = bytes.split_at_mut(header.size_bytes());
        batch::patch(this, base, epoch);
        base = base.advance(u64::from(header.count()));
        bytes = rest;
    }
}

/// A round as found in a file.
pub(crate) struct Found {
    pub(crate) header: RoundHeader,
    /// Each entry with the state of its batches; `None` where both copies of an entry are damaged.
    pub(crate) entries: Vec<Option<(Entry, bool)>>,
    /// Whether every byte that matters is as it was written.
    pub(crate) whole: bool,
}

impl Found {
    /// Whether it is sound and follows the round with this CRC.
    pub(crate) fn is_next(&self, previous_crc: u32) -> bool {
        self.whole && self.header.previous_crc == previous_crc
    }
}

/// Reads the round that starts at the front of `bytes` and whose header (either copy) is known.
pub(crate) fn read(bytes: &[u8], header: RoundHeader, seed: u32) -> Found {
    let length = header.length as usize;
    let table_bytes = header.table_bytes();
    let first = bytes.get(HEADER_BYTES..HEADER_BYTES + table_bytes);
    let second = bytes.get(length - HEADER_BYTES - table_bytes..length - HEADER_BYTES);
    let ends = [0, length - HEADER_BYTES].map(|at| {
        bytes.get(at..).and_then(|bytes| RoundHeader::decode(bytes, seed)).map(|(found, _)| found.crc)
    });
    let mut whole = ends == [Some(header.crc); 2]
        && [first, second]
            .iter()
            .all(|table| table.is_some_and(|table| crc32c::crc32c_append(seed, table) == header.table_crc));
    let mut entries = Vec::with_capacity(header.entries as usize);
    for index in 0..header.entries as usize {
        let entry = [first, second].into_iter().flatten().find_map(|table| {
            let from = index * ENTRY_BYTES;
            Entry::decode(&table[from..from + ENTRY_BYTES], seed)
        });
        let entry = entry.map(|entry| (entry, payload_is_good(bytes, &entry, seed)));
        whole &= entry.is_some_and(|(_, good)| good);
        entries.push(entry);
    }
    Found { header, entries, whole }
}

fn payload_is_good(round: &[u8], entry: &Entry, seed: u32) -> bool {
    let Change::Append { payload, .. } = entry.change else { return true };
    round.get(payload.range()).is_some_and(|bytes| crc32c::crc32c_append(seed, bytes) == payload.crc)
}
