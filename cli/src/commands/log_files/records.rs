//! Batches of files, as the tools for frames show them.

use crate::commands::wire::{self, Payload};
use serde::Serialize;
use yak_protocol::decode::{OpenedBatch, open_batch};
use yak_storage::inspect::{Bad, Batch};

/// A batch with its records, and what is wrong with it.
pub(super) struct Opened {
    batch: OpenedBatch,
    problem: Option<String>,
}

/// Opens a batch of the partition `place`, if that does not go without saying.
pub(super) fn open(place: &str, batch: &Batch) -> Opened {
    let (opened, wrong) = open_batch(place, batch.at, batch.header, &batch.bytes);
    Opened { batch: opened, problem: batch.problem.clone().or(wrong.map(|found| found.problem.to_string())) }
}

impl Opened {
    pub(super) fn is_sound(&self) -> bool {
        self.problem.is_none()
    }

    /// As lines for people.
    pub(super) fn lines(&self, payload: Payload) -> Vec<String> {
        let mut lines = wire::batch_lines(&self.batch, payload);
        lines.extend(self.problem.iter().map(|what| format!("!! byte {}: {what}", self.batch.at)));
        lines
    }

    /// As an object.
    pub(super) fn object(&self, payload: Payload) -> impl Serialize {
        #[derive(Serialize)]
        struct Object {
            #[serde(flatten)]
            batch: wire::Batch,
            #[serde(skip_serializing_if = "Option::is_none")]
            problem: Option<String>,
        }
        Object { batch: wire::batch_object(&self.batch, payload), problem: self.problem.clone() }
    }
}

/// Bytes that are no batch, as a line for people.
pub(super) fn bad_line(bad: &Bad) -> String {
    let Bad { at, length, what, torn } = bad;
    let torn = if *torn { "torn: " } else { "" };
    format!("!! byte {at}: {length} bytes: {torn}{what}")
}

/// The same as an object.
pub(super) fn bad_object(bad: &Bad) -> impl Serialize {
    #[derive(Serialize)]
    struct Object {
        at: u64,
        bytes: u64,
        torn: bool,
        problem: String,
    }
    Object { at: bad.at, bytes: bad.length, torn: bad.torn, problem: bad.what.clone() }
}
