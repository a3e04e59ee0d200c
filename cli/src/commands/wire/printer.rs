//! Prints what was seen, in one of three ways, and counts it.

use super::events::{self, Ends};
use super::{Payload, lines};
use crate::text;
use std::io::{self, Write};
use yak_protocol::decode::{Direction, Event, Found, Seen, annotate, open_batches, render};

/// How events are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// Lines for people.
    Text,
    /// One line of JSON each.
    Json,
    /// Every byte with what it is; everything else is a comment.
    Hex,
}

/// What was seen in all.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Tally {
    pub(super) frames: u64,
    pub(super) lines: u64,
    pub(super) problems: u64,
    pub(super) unknown_bytes: u64,
}

impl Tally {
    /// In words.
    pub(super) fn words(&self) -> String {
        let Self { frames, lines, problems, unknown_bytes } = *self;
        let mut parts = vec![text::count(frames, "frame")];
        if lines > 0 {
            parts.push(format!("{} of text", text::count(lines, "line")));
        }
        parts.push(match problems {
            0 => "no problem".to_owned(),
            problems => text::count(problems, "problem"),
        });
        parts.push(match unknown_bytes {
            0 => "every byte known".to_owned(),
            bytes => format!("{} not decoded", text::count(bytes, "byte")),
        });
        parts.join(", ")
    }
}

pub(super) struct Printer<W> {
    out: W,
    style: Style,
    /// Whether batches are opened.
    bodies: bool,
    tally: Tally,
    /// Connections whose ends have been said.
    introduced: usize,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(out: W, style: Style, bodies: bool) -> Self {
        Self { out, style, bodies, tally: Tally::default(), introduced: 0 }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Prints an event, if the filter lets it pass or there is something wrong with it; `fault` is what was
    /// done to it on its way.
    pub(super) fn show(&mut self, ends: Option<&Ends>, event: &Event, fault: Option<&str>) -> io::Result<()> {
        let (batches, problems) = self.count(event);
        if !event.passes && problems.is_empty() {
            return Ok(());
        }
        if self.style == Style::Json {
            let line = events::line(ends, event, self.bodies.then_some(&batches), &problems, fault);
            serde_json::to_writer(&mut self.out, &line)?;
            return self.out.write_all(b"\n");
        }
        let sign = if self.style == Style::Hex { "# " } else { "" };
        if let Some(ends) = ends.filter(|ends| ends.connection > self.introduced) {
            writeln!(self.out, "{sign}#{} {} -> {}", ends.connection, ends.client, ends.server)?;
            self.introduced = ends.connection;
        }
        writeln!(self.out, "{sign}{}", lines::head(ends, event, fault))?;
        match (&event.seen, self.style) {
            (Seen::Frame(frame), Style::Hex) => {
                let length = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
                let whole = [&length, &frame.bytes[..]].concat();
                self.out.write_all(render(event.at, &whole, &annotate(&whole)).as_bytes())?;
            }
            (Seen::Frame(frame), _) => {
                if let Some(body) = lines::body(frame) {
                    writeln!(self.out, "    {body}")?;
                }
                if self.bodies {
                    for line in batches.iter().flat_map(|batch| lines::batch(batch, Payload::Shown)) {
                        writeln!(self.out, "    {line}")?;
                    }
                }
            }
            _ => {}
        }
        problems.iter().try_for_each(|found| writeln!(self.out, "{sign}  !! {found}"))
    }

    /// Says something that is no event.
    pub(super) fn note(&mut self, ends: &Ends, direction: Direction, what: &str) -> io::Result<()> {
        if self.style == Style::Json {
            let direction = events::direction(direction);
            let line = serde_json::json!({
                "connection": ends.connection, "client": ends.client, "server": ends.server,
                "direction": direction, "fault": what,
            });
            return writeln!(self.out, "{line}");
        }
        let sign = if self.style == Style::Hex { "# " } else { "" };
        writeln!(self.out, "{sign}#{} {what}", ends.connection)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// What is wrong with an event, its batches included: they are always looked into, shown or not.
    fn count(&mut self, event: &Event) -> (Vec<yak_protocol::decode::OpenedBatch>, Vec<Found>) {
        let (batches, problems) = match &event.seen {
            Seen::Frame(frame) => {
                self.tally.frames += 1;
                let (batches, in_batches) = open_batches(frame);
                let problems = frame.problems.iter().cloned().chain(in_batches).collect();
                if frame.envelope.is_none() {
                    self.tally.unknown_bytes += frame.bytes.len() as u64;
                }
                (batches, problems)
            }
            Seen::Line(_) => {
                self.tally.lines += 1;
                (Vec::new(), Vec::new())
            }
            Seen::Unknown(bytes, found) => {
                self.tally.unknown_bytes += bytes.len() as u64;
                (Vec::new(), found.iter().cloned().collect::<Vec<_>>())
            }
        };
        self.tally.problems += problems.len() as u64;
        (batches, problems)
    }
}
