use super::problem::{Found, Problem};
use crate::defaults::{FRAME_PREFIX_BYTES, PROTOCOL_VERSION};
use crate::envelope::{self, Envelope, decode_head};
use crate::error::ErrorCode;
use crate::frame::FrameError;
use crate::json;
use crate::message::{Shape, typed};
use bytes::Bytes;

/// A frame taken apart for people: as much of it as can be read, and what cannot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Where in the stream its length begins.
    pub at: u64,
    /// Its bytes, without the length.
    pub bytes: Bytes,
    /// Version, id and kind, if they can be read.
    pub head: Option<(u8, u64, String)>,
    /// All of it, if it is sound.
    pub envelope: Option<Envelope>,
    /// What is wrong with it or not known here, the batches aside.
    pub problems: Vec<Found>,
}

impl Frame {
    /// Takes a frame apart whose length stood at `at` of its stream.
    #[must_use]
    pub fn decode(at: u64, bytes: Bytes) -> Self {
        let mut frame = Self { at, bytes, head: None, envelope: None, problems: Vec::new() };
        let head = match decode_head(&frame.bytes) {
            Ok(head) => head,
            Err(error) => {
                let found = frame.malformed(&error);
                frame.problems.push(found);
                return frame;
            }
        };
        let opened = head.open(&frame.bytes);
        let body_at = at + (FRAME_PREFIX_BYTES + head.body_at()) as u64;
        frame.head = Some((head.version, head.id, head.kind.to_owned()));
        match opened {
            Ok(envelope) => {
                frame.judge(&envelope, body_at);
                frame.envelope = Some(envelope);
            }
            Err(error) => {
                let found = frame.malformed(&error);
                frame.problems.push(found);
            }
        }
        frame
    }

    /// The kind; `?` if not even that can be read.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.head.as_ref().map_or("?", |(_, _, kind)| kind)
    }

    /// Which of the kind's bodies it carries, if it is sound.
    #[must_use]
    pub fn shape(&self) -> Option<Shape> {
        self.envelope.as_ref().map(|envelope| Shape::of(envelope.id, &envelope.kind, &envelope.body))
    }

    /// The frame as one line of JSON, if it is sound.
    #[must_use]
    pub fn json(&self) -> Option<String> {
        json::write_message(&self.bytes).ok()
    }

    /// Where in the stream `bin` begins.
    #[must_use]
    pub fn bin_at(&self) -> u64 {
        let bin = self.envelope.as_ref().map_or(0, |envelope| envelope.bin.len());
        self.at + (FRAME_PREFIX_BYTES + self.bytes.len() - bin) as u64
    }

    fn malformed(&self, error: &FrameError) -> Found {
        match error {
            FrameError::Malformed { at, what } => {
                let at = self.at + (FRAME_PREFIX_BYTES + at) as u64;
                Problem::Malformed { what: what.clone() }.at(at)
            }
            other => Problem::Malformed { what: other.to_string() }.at(self.at),
        }
    }

    /// Holds a sound frame, whose body stands at `at`, against the types of this version.
    fn judge(&mut self, envelope: &Envelope, at: u64) {
        let Envelope { version, id, kind, body, .. } = envelope;
        if *version != PROTOCOL_VERSION {
            self.problems.push(Problem::UnknownVersion { version: *version }.at(self.at));
        }
        match typed(*id, kind, body, Bytes::new()) {
            Ok(typed) => {
                let keys = typed.unknown_keys.into_iter();
                self.problems.extend(keys.map(|path| Problem::UnknownKey { path }.at(at)));
            }
            Err(error) if error.code == ErrorCode::UnknownKind => {
                let problem = Problem::UnknownKind { kind: kind.to_string(), version: *version };
                self.problems.push(problem.at(self.at));
            }
            Err(error) => self.problems.push(Problem::Body { what: error.message }.at(at)),
        }
        if Shape::of(*id, kind, body) == Shape::Refusal
            && let Some(code) = envelope::unsigned_at(body, "code")
            && u16::try_from(code).ok().and_then(ErrorCode::from_number).is_none()
        {
            self.problems.push(Problem::UnknownErrorCode(code).at(at));
        }
    }
}
