use super::frame::Frame;
use super::problem::{Found, Problem};
use crate::batch::{BatchHeader, OwnedRecords, batches, verify};
use crate::defaults::UNPACKED_BATCH_BYTES_MAX;
use crate::envelope::{self, Envelope};
use crate::message::{ConsumeReply, Message, Publish, ReadRange, Replicate, ReplicateReply, Shape};
use bytes::Bytes;

/// One batch of a frame.
#[derive(Clone, Debug)]
pub struct OpenedBatch {
    /// The partition it belongs to: `orders/2`, or with the topic's id where the frame says no name. Empty
    /// where it goes without saying.
    pub place: String,
    /// Where in the stream it begins.
    pub at: u64,
    /// What its header says.
    pub header: BatchHeader,
    /// How many bytes it has.
    pub size_bytes: usize,
    /// Whether its checksum is that of its bytes.
    pub crc_is_good: bool,
    /// Its records, if it is sound.
    pub records: Option<OwnedRecords>,
}

/// Opens the batches of a sound frame, each with its checksum, and says what is wrong with them. Records
/// of an unsound batch are not looked at.
#[must_use]
pub fn open_batches(frame: &Frame) -> (Vec<OpenedBatch>, Vec<Found>) {
    let (mut opened, mut problems) = (Vec::new(), Vec::new());
    let Some(envelope) = &frame.envelope else { return (opened, problems) };
    let sections = sections(envelope);
    let there = envelope.bin.len() as u64;
    let said: u64 = sections.iter().map(|(_, bytes)| *bytes).sum();
    let mut from = 0;
    for (place, bytes) in sections {
        let to = (from + usize::try_from(bytes).unwrap_or(usize::MAX)).min(envelope.bin.len());
        let at = frame.bin_at() + from as u64;
        open_section(&place, at, &envelope.bin.slice(from..to), &mut opened, &mut problems);
        from = to;
    }
    if said != there {
        problems.push(Problem::BatchBytes { said, there }.at(frame.bin_at() + said.min(there)));
    }
    (opened, problems)
}

/// Opens one batch, of which `header` is the header, and says what is wrong with it.
#[must_use]
pub fn open_batch(place: &str, at: u64, header: BatchHeader, batch: &Bytes) -> (OpenedBatch, Option<Found>) {
    let records = OwnedRecords::open(batch, UNPACKED_BATCH_BYTES_MAX);
    let records = records.and_then(|records| {
        // One that breaks the format in the middle is not shown in part.
        records.iter().try_for_each(|record| record.map(drop)).map(|()| records)
    });
    let (records, wrong) = match records {
        Ok(records) => (Some(records), None),
        Err(error) => {
            let problem = Problem::Batch { place: place.to_owned(), what: error.problem.to_string() };
            (None, Some(problem.at(at)))
        }
    };
    let crc_is_good = verify(batch).is_ok();
    let (place, size_bytes) = (place.to_owned(), batch.len());
    (OpenedBatch { place, at, header, size_bytes, crc_is_good, records }, wrong)
}

fn open_section(
    place: &str,
    at: u64,
    section: &Bytes,
    opened: &mut Vec<OpenedBatch>,
    problems: &mut Vec<Found>,
) {
    let problem = |what: String| Problem::Batch { place: place.to_owned(), what };
    let mut walk = batches(section);
    let mut position = 0;
    while let Some(batch) = walk.next() {
        let at = at + position as u64;
        match batch {
            Ok((header, batch)) => {
                let batch = section.slice(position..position + batch.len());
                let (batch, wrong) = open_batch(place, at, header, &batch);
                opened.push(batch);
                problems.extend(wrong);
            }
            Err(error) => problems.push(problem(error.problem.to_string()).at(at)),
        }
        position = walk.position();
    }
}

/// Which parts of `bin` belong to which partition, in order, as the body says.
fn sections(envelope: &Envelope) -> Vec<(String, u64)> {
    let Envelope { id, kind, body, bin, .. } = envelope;
    let shape = Shape::of(*id, kind, body);
    match (kind.as_str(), shape) {
        (Publish::KIND, Shape::Request) => envelope::body::<Publish>(body).map_or_else(
            |_| Vec::new(),
            |publish| {
                let batches = publish.batches.iter();
                batches.map(|batch| (format!("{}/{}", batch.0, batch.1), u64::from(batch.2))).collect()
            },
        ),
        (crate::message::Consume::KIND, Shape::Reply) => envelope::body::<ConsumeReply>(body).map_or_else(
            |_| Vec::new(),
            |reply| {
                let found = reply.partitions.iter();
                found
                    .map(|found| (format!("{}/{}", found.topic, found.partition), found.bytes.into()))
                    .collect()
            },
        ),
        (Replicate::KIND, Shape::Push) => envelope::body::<ReplicateReply>(body).map_or_else(
            |_| Vec::new(),
            |reply| reply.push.iter().map(|push| (push.id.to_string(), push.bytes.into())).collect(),
        ),
        (ReadRange::KIND, Shape::Reply) => vec![("range".to_owned(), bin.len() as u64)],
        _ => Vec::new(),
    }
}
