use super::cut::{Cutter, Piece, What};
use super::filter::Filter;
use super::frame::Frame;
use super::problem::Found;
use crate::message::Shape;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How many requests without an answer are remembered: those of streams and of `acks: 0` never get one.
const UNANSWERED_MAX: usize = 4096;

/// Which way bytes went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// From who opened the connection.
    ToServer,
    /// To who opened it.
    ToClient,
    /// The bytes came without saying.
    Unknown,
}

impl Direction {
    pub(super) fn index(self) -> usize {
        match self {
            Self::ToServer | Self::Unknown => 0,
            Self::ToClient => 1,
        }
    }

    /// The other way.
    #[must_use]
    pub fn back(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// What was seen on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Which way it went.
    pub direction: Direction,
    /// When its last byte was seen, since 1970.
    pub time: Option<Duration>,
    /// Where it begins in its direction's bytes.
    pub at: u64,
    /// What it is.
    pub seen: Seen,
    /// Of an answer: how long after its request it came.
    pub latency: Option<Duration>,
    /// Whether the filter lets it pass. An answer passes with its request.
    pub passes: bool,
}

/// What an event is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A frame.
    Frame(Frame),
    /// A line of a text session, its line break included.
    Line(Bytes),
    /// Bytes that cannot be read; the first time, why.
    Unknown(Bytes, Option<Found>),
}

/// One connection, both ways.
#[derive(Debug, Default)]
pub struct Conversation {
    filter: Filter,
    ways: [Cutter; 2],
    unanswered: Unanswered,
}

#[derive(Debug, Default)]
struct Unanswered {
    by_id: HashMap<(usize, u64), (Option<Duration>, bool)>,
    order: VecDeque<(usize, u64)>,
}

impl Unanswered {
    fn asked(&mut self, way: usize, id: u64, time: Option<Duration>, passes: bool) {
        if self.order.len() == UNANSWERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.by_id.insert((way, id), (time, passes));
        self.order.push_back((way, id));
    }

    fn answered(&mut self, way: usize, id: u64) -> Option<(Option<Duration>, bool)> {
        let request = self.by_id.remove(&(way, id))?;
        // Answers come in about the order of their requests, so this looks at few.
        if let Some(place) = self.order.iter().position(|known| *known == (way, id)) {
            self.order.remove(place);
        }
        Some(request)
    }
}

impl Conversation {
    /// A connection of which nothing has been seen.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self { filter, ..Self::default() }
    }

    /// Takes bytes that went one way, and gives what they complete.
    pub fn push(&mut self, direction: Direction, time: Option<Duration>, bytes: &[u8]) -> Vec<Event> {
        let way = direction.index();
        self.ways[way].push(bytes);
        let mut events = Vec::new();
        while let Some(piece) = self.ways[way].next_piece() {
            events.push(self.event(direction, time, piece));
        }
        events
    }

    /// Takes the end of one way, and gives what was left of it.
    pub fn end(&mut self, direction: Direction, time: Option<Duration>) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(piece) = self.ways[direction.index()].last_piece() {
            events.push(self.event(direction, time, piece));
        }
        events
    }

    /// Takes note that bytes of one way were not captured: nothing after them can be read.
    pub fn lose(&mut self, direction: Direction, time: Option<Duration>, bytes: u64) -> Event {
        let piece = self.ways[direction.index()].lose(bytes);
        self.event(direction, time, piece)
    }

    fn event(&mut self, direction: Direction, time: Option<Duration>, piece: Piece) -> Event {
        let (at, mut latency, mut passes) = (piece.at, None, self.filter.is_empty());
        let seen = match piece.what {
            What::Frame(bytes) => {
                let frame = Frame::decode(at, bytes);
                passes = self.filter.passes(&frame);
                if let (Some(shape), Some((_, id, _))) = (frame.shape(), &frame.head) {
                    let asker = direction.back().index();
                    match shape {
                        Shape::Request => self.unanswered.asked(direction.index(), *id, time, passes),
                        Shape::Reply | Shape::Refusal => {
                            if let Some((asked, passed)) = self.unanswered.answered(asker, *id) {
                                latency = time.zip(asked).and_then(|(time, asked)| time.checked_sub(asked));
                                passes |= passed;
                            }
                        }
                        Shape::Push => {}
                    }
                }
                Seen::Frame(frame)
            }
            What::Line(bytes) => Seen::Line(bytes),
            What::Unknown(bytes, found) => Seen::Unknown(bytes, found),
        };
        Event { direction, time, at, seen, latency, passes }
    }
}
