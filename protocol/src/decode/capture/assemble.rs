//! Connections from segments of TCP: what came twice is dropped, what came early waits.

use super::packet::{Packet, Segment};
use crate::decode::{Conversation, Direction, Event, Filter};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

/// Follows all connections of a capture.
#[derive(Debug)]
pub struct Assembler {
    filter: Filter,
    /// The ports of servers; none = all.
    ports: Vec<u16>,
    /// The connection of two ends that goes on now, as an index. The lesser end first.
    open: HashMap<(SocketAddr, SocketAddr), usize>,
    connections: Vec<Connection>,
}

/// An event, and on which connection.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The number of the connection in the capture, from 1.
    pub connection: usize,
    /// Who opened it.
    pub client: SocketAddr,
    /// To whom.
    pub server: SocketAddr,
    /// Whether its beginning is in the capture.
    pub from_its_beginning: bool,
    /// What was seen.
    pub event: Event,
}

#[derive(Debug)]
struct Connection {
    client: SocketAddr,
    server: SocketAddr,
    opened: bool,
    conversation: Conversation,
    ways: [Way; 2],
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Way {
    /// The sequence number of the first byte, once it is known.
    base: Option<u32>,
    /// How many bytes were delivered.
    delivered: u64,
    /// Where what has been seen ends, captured or not.
    seen: u64,
    /// What came too early, by its place.
    waiting: BTreeMap<u64, Vec<u8>>,
    /// Where it ends, once that is known.
    end: Option<u64>,
    ended: bool,
}

impl Way {
    /// The place of a sequence number, as near to what was delivered as can be.
    fn place(&mut self, sequence: u32) -> i64 {
        let base = *self.base.get_or_insert(sequence);
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap round")]
        let next = base.wrapping_add(self.delivered as u32);
        let distance = sequence.wrapping_sub(next).cast_signed();
        self.delivered.cast_signed() + i64::from(distance)
    }

    /// Takes bytes at their place, without those that have been there.
    fn take(&mut self, place: i64, mut payload: &[u8]) {
        let delivered = self.delivered.cast_signed();
        if place < delivered {
            let known = usize::try_from(delivered - place).unwrap_or(usize::MAX);
            payload = payload.get(known..).unwrap_or_default();
        }
        if payload.is_empty() {
            return;
        }
        let place = place.max(delivered).cast_unsigned();
        let longer = self.waiting.get(&place).is_none_or(|known| known.len() < payload.len());
        if longer {
            self.waiting.insert(place, payload.to_vec());
        }
    }

    /// The next bytes in order.
    fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(entry) = self.waiting.first_entry() {
            let place = *entry.key();
            if place > self.delivered {
                return None;
            }
            let mut bytes = entry.remove();
            let known = usize::try_from(self.delivered - place).unwrap_or(usize::MAX).min(bytes.len());
            bytes.drain(..known);
            if !bytes.is_empty() {
                self.delivered += bytes.len() as u64;
                return Some(bytes);
            }
        }
        None
    }

    /// How many bytes lack before anything that is known to come; 0 if nothing lacks.
    fn lacks(&self) -> u64 {
        let next = self.waiting.first_key_value().map_or(self.seen, |(place, _)| *place);
        next.saturating_sub(self.delivered)
    }
}

impl Assembler {
    /// Follows the connections to these ports; without any, all of them.
    #[must_use]
    pub fn new(filter: Filter, ports: Vec<u16>) -> Self {
        Self { filter, ports, open: HashMap::new(), connections: Vec::new() }
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Takes the next packet, and gives what it completes.
    pub fn push(&mut self, packet: &Packet) -> Vec<Sighting> {
        let mut events = Vec::new();
        let Some(segment) = packet.segment() else { return events };
        let wanted = |end: &SocketAddr| self.ports.contains(&end.port());
        if !self.ports.is_empty() && !wanted(&segment.from) && !wanted(&segment.to) {
            return events;
        }
        let index = self.connection(&segment, packet.time, &mut events);
        self.take(index, &segment, packet.missing, packet.time, &mut events);
        events
    }

    /// Takes the end of the capture, and gives what was left.
    pub fn finish(&mut self) -> Vec<Sighting> {
        let mut events = Vec::new();
        for index in 0..self.connections.len() {
            self.end(index, None, &mut events);
        }
        events
    }

    /// The connection of a segment; a new one if there is none, or if the segment opens another one.
    fn connection(
        &mut self,
        segment: &Segment<'_>,
        time: Option<Duration>,
        events: &mut Vec<Sighting>,
    ) -> usize {
        let ends = (segment.from.min(segment.to), segment.from.max(segment.to));
        if let Some(&index) = self.open.get(&ends) {
            let connection = &self.connections[index];
            let way = &connection.ways[connection.direction(segment).index()];
            let again = segment.syn && way.base.is_some_and(|base| base != segment.sequence.wrapping_add(1));
            if !again {
                return index;
            }
            self.end(index, time, events);
        }
        let to_server = match (segment.syn, segment.ack) {
            (true, ack) => !ack,
            _ if self.ports.contains(&segment.to.port()) => true,
            _ if self.ports.contains(&segment.from.port()) => false,
            // Servers have the lower port, as a rule.
            _ => segment.to.port() <= segment.from.port(),
        };
        let (client, server) =
            if to_server { (segment.from, segment.to) } else { (segment.to, segment.from) };
        let conversation = Conversation::new(self.filter.clone());
        let ways = [Way::default(), Way::default()];
        self.connections.push(Connection { client, server, opened: segment.syn, conversation, ways });
        self.open.insert(ends, self.connections.len() - 1);
        self.connections.len() - 1
    }

    fn take(
        &mut self,
        index: usize,
        segment: &Segment<'_>,
        missing: usize,
        time: Option<Duration>,
        events: &mut Vec<Sighting>,
    ) {
        let connection = &mut self.connections[index];
        let direction = connection.direction(segment);
        let way = &mut connection.ways[direction.index()];
        let mut place = way.place(segment.sequence.wrapping_add(u32::from(segment.syn)));
        if way.ended {
            return;
        }
        way.take(place, segment.payload);
        place += i64::try_from(segment.payload.len() + missing).unwrap_or(i64::MAX / 2);
        way.seen = way.seen.max(u64::try_from(place).unwrap_or(0));
        if segment.fin {
            way.end = u64::try_from(place).ok();
        }
        self.deliver(index, direction, time, events);
        let way = &self.connections[index].ways[direction.index()];
        if segment.rst {
            self.end(index, time, events);
        } else if way.end == Some(way.delivered) {
            self.end_way(index, direction, time, events);
        }
    }

    fn deliver(
        &mut self,
        index: usize,
        direction: Direction,
        time: Option<Duration>,
        events: &mut Vec<Sighting>,
    ) {
        while let Some(bytes) = self.connections[index].ways[direction.index()].next() {
            let found = self.connections[index].conversation.push(direction, time, &bytes);
            self.note(index, found, events);
        }
    }

    fn end(&mut self, index: usize, time: Option<Duration>, events: &mut Vec<Sighting>) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.end_way(index, direction, time, events);
        }
    }

    fn end_way(
        &mut self,
        index: usize,
        direction: Direction,
        time: Option<Duration>,
        events: &mut Vec<Sighting>,
    ) {
        if std::mem::replace(&mut self.connections[index].ways[direction.index()].ended, true) {
            return;
        }
        // What lacks will not come any more.
        loop {
            self.deliver(index, direction, time, events);
            let connection = &mut self.connections[index];
            let way = &mut connection.ways[direction.index()];
            let lacks = way.lacks();
            if lacks == 0 {
                break;
            }
            way.delivered += lacks;
            let found = connection.conversation.lose(direction, time, lacks);
            self.note(index, vec![found], events);
        }
        let found = self.connections[index].conversation.end(direction, time);
        self.note(index, found, events);
    }

    fn note(&self, index: usize, found: Vec<Event>, events: &mut Vec<Sighting>) {
        let Connection { client, server, opened, .. } = self.connections[index];
        events.extend(found.into_iter().map(|event| Sighting {
            connection: index + 1,
            client,
            server,
            from_its_beginning: opened,
            event,
        }));
    }
}

impl Connection {
    fn direction(&self, segment: &Segment<'_>) -> Direction {
        if segment.from == self.client { Direction::ToServer } else { Direction::ToClient }
    }
}
