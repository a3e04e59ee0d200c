//! The simulated network: connections with one queue in each direction. Within a direction, first in is
//! first out; between connections everything may be reordered. A connection's end is one more message, so
//! one side can take it for alive long after the other is gone.

use super::log::Batch;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use yak_core::cluster::{Loss, Reply, Request};
use yak_core::partition::StreamClass;
use yak_protocol::error::WireError;
use yak_protocol::ids::{BrokerEpoch, BrokerId, Offset, SessionId, TopicPartition};
use yak_protocol::message::{Ack, Acked, Acks, LeaderInfo, Open, Opened};

/// A process's place in the network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Place {
    Coordinator,
    /// A coordinator in whose place another one has come, and which may not know it.
    Deposed,
    Broker(BrokerId),
    Client(usize),
}

impl Place {
    fn number(self) -> u64 {
        match self {
            Self::Coordinator => 0,
            Self::Deposed => 99,
            Self::Broker(id) => u64::from(id.0),
            Self::Client(number) => 100 + number as u64,
        }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Purpose {
    /// A broker's session with the coordinator.
    Control,
    /// Replication, dialled by the follower.
    Stream(StreamClass),
    /// A producer's.
    Publish,
}

impl Purpose {
    fn number(self) -> u64 {
        match self {
            Self::Control => 0,
            Self::Stream(StreamClass::InSync) => 1,
            Self::Stream(StreamClass::CatchUp) => 2,
            Self::Publish => 3,
        }
    }
}

/// Names a connection; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// A publish on its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PublishRequest {
    pub id: TopicPartition,
    pub request: u64,
    pub batch: Batch,
    pub acks: Acks,
    pub timeout_ms: u64,
}

impl PublishRequest {
    /// Whether a refusal of it says nothing about earlier attempts.
    pub fn can_be_sent_again(&self) -> bool {
        self.batch.sequence.is_some() || self.batch.ids.is_some()
    }
}

/// What travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    Request(u64, Box<Request>),
    Reply(u64, Box<Result<Reply, WireError>>),
    /// Pushed metadata.
    Info(Box<LeaderInfo>),
    AskInfo,
    Probe,
    ProbeAnswer(BrokerId),
    Open(BrokerEpoch, Open),
    Ack(BrokerEpoch, Ack),
    Close(TopicPartition, SessionId),
    Opened(Opened),
    Push {
        id: TopicPartition,
        session: SessionId,
        from: Offset,
        high_watermark: Offset,
        log_start: Offset,
        batches: Vec<Batch>,
    },
    Publish(PublishRequest),
    Answer(u64, Box<Result<Acked, WireError>>),
    /// The last message of a direction.
    End(Loss),
}

/// One direction of a connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pipe {
    /// Messages, each with the moment from which it can arrive.
    queue: VecDeque<(u64, Message)>,
    /// The sender will send nothing more.
    ended: bool,
    /// The receiver is gone: what arrives falls on the floor.
    deaf: bool,
}

/// A connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    pub from: Place,
    pub to: Place,
    pub purpose: Purpose,
    forth: Pipe,
    back: Pipe,
}

/// A direction of a connection: `true` = from its dialler.
pub type Direction = (ConnId, bool);

/// All connections, and what is cut or held.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Net {
    connections: BTreeMap<ConnId, Connection>,
    /// How often each pair has connected for a purpose: ids do not depend on what others did.
    dialled: BTreeMap<(Place, Place, Purpose), u32>,
    /// Directions between places in which nothing passes.
    cuts: BTreeSet<(Place, Place)>,
    /// Directions whose messages wait until a script lets them go.
    held: BTreeSet<(Place, Place, Option<Purpose>)>,
}

impl Net {
    pub fn get(&self, id: ConnId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    pub fn connections(&self) -> impl Iterator<Item = (ConnId, &Connection)> {
        self.connections.iter().map(|(id, c)| (*id, c))
    }

    /// Dials; `None` while the way is cut in either direction.
    pub fn connect(&mut self, from: Place, to: Place, purpose: Purpose) -> Option<ConnId> {
        if self.is_cut(from, to) || self.is_cut(to, from) {
            return None;
        }
        let count = self.dialled.entry((from, to, purpose)).or_default();
        *count += 1;
        let id = ConnId(u64::from(*count) << 32 | from.number() << 16 | to.number() << 8 | purpose.number());
        let (forth, back) = (Pipe::default(), Pipe::default());
        self.connections.insert(id, Connection { from, to, purpose, forth, back });
        Some(id)
    }

    /// The other end of `at`'s connection.
    pub fn peer(&self, id: ConnId, at: Place) -> Option<Place> {
        self.get(id).map(|c| if c.from == at { c.to } else { c.from })
    }

    fn outgoing(&mut self, id: ConnId, at: Place) -> Option<&mut Pipe> {
        self.connections.get_mut(&id).map(|c| if c.from == at { &mut c.forth } else { &mut c.back })
    }

    fn incoming(&mut self, id: ConnId, at: Place) -> Option<&mut Pipe> {
        self.connections.get_mut(&id).map(|c| if c.from == at { &mut c.back } else { &mut c.forth })
    }

    /// Queues a message; lost if the connection is over.
    pub fn send(&mut self, id: ConnId, at: Place, ready: u64, message: Message) {
        if let Some(pipe) = self.outgoing(id, at).filter(|p| !p.ended && !p.deaf) {
            let ready = pipe.queue.back().map_or(ready, |(last, _)| ready.max(*last));
            pipe.queue.push_back((ready, message));
        }
    }

    /// `at` closes: it hears nothing more, and the peer learns of it after what was sent.
    pub fn close(&mut self, id: ConnId, at: Place, ready: u64, loss: Loss) {
        self.send(id, at, ready, Message::End(loss));
        if let Some(pipe) = self.outgoing(id, at) {
            pipe.ended = true;
        }
        if let Some(pipe) = self.incoming(id, at) {
            pipe.deaf = true;
            pipe.queue.clear();
        }
        self.forget(id);
    }

    /// The connection breaks on its way: of each direction the first messages arrive, then the end.
    pub fn sever(&mut self, id: ConnId, keep: [usize; 2], ready: [u64; 2], loss: Loss) {
        let Some(c) = self.connections.get_mut(&id) else { return };
        for (pipe, (keep, ready)) in [&mut c.forth, &mut c.back].into_iter().zip(keep.into_iter().zip(ready))
        {
            if pipe.deaf || (pipe.ended && pipe.queue.is_empty()) {
                continue;
            }
            pipe.queue.truncate(keep);
            if !matches!(pipe.queue.back(), Some((_, Message::End(_)))) {
                pipe.queue.push_back((ready, Message::End(loss)));
            }
            pipe.ended = true;
        }
    }

    /// A connection is forgotten when neither direction has anything to deliver any more.
    fn forget(&mut self, id: ConnId) {
        let over = |p: &Pipe| p.deaf || (p.ended && p.queue.is_empty());
        if self.connections.get(&id).is_some_and(|c| over(&c.forth) && over(&c.back)) {
            self.connections.remove(&id);
        }
    }

    /// Everything that a process had open ends with it.
    pub fn drop_place(&mut self, at: Place, mut ready: impl FnMut() -> u64, loss: Loss) {
        let open: Vec<ConnId> =
            self.connections.iter().filter(|(_, c)| c.from == at || c.to == at).map(|(id, _)| *id).collect();
        for id in open {
            self.close(id, at, ready(), loss);
        }
    }

    /// Everything that one place has open, and what is cut and held there, is another's from here on.
    pub fn rename(&mut self, from: Place, to: Place) {
        let rename = |place: Place| if place == from { to } else { place };
        for connection in self.connections.values_mut() {
            (connection.from, connection.to) = (rename(connection.from), rename(connection.to));
        }
        self.cuts = self.cuts.iter().map(|(a, b)| (rename(*a), rename(*b))).collect();
        self.held = self.held.iter().map(|(a, b, purpose)| (rename(*a), rename(*b), *purpose)).collect();
    }

    pub fn cut(&mut self, from: Place, to: Place) {
        self.cuts.insert((from, to));
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    pub fn is_cut(&self, from: Place, to: Place) -> bool {
        self.cuts.contains(&(from, to))
    }

    pub fn cuts(&self) -> usize {
        self.cuts.len()
    }

    /// Messages from one place to another wait, of one purpose or all.
    pub fn hold(&mut self, from: Place, to: Place, purpose: Option<Purpose>) {
        self.held.insert((from, to, purpose));
    }

    pub fn release(&mut self, from: Place, to: Place, purpose: Option<Purpose>) {
        self.held.remove(&(from, to, purpose));
    }

    pub fn release_all(&mut self) {
        self.held.clear();
    }

    /// Ends of the direction: sender, receiver.
    pub fn ends(&self, (id, forth): Direction) -> Option<(Place, Place)> {
        self.get(id).map(|c| if forth { (c.from, c.to) } else { (c.to, c.from) })
    }

    /// Every direction that has a message which may arrive, with the moment.
    pub fn deliverable(&self) -> impl Iterator<Item = (u64, Direction)> {
        self.connections.iter().flat_map(move |(id, c)| {
            [(true, &c.forth, c.from, c.to), (false, &c.back, c.to, c.from)].into_iter().filter_map(
                move |(forth, pipe, from, to)| {
                    let (ready, _) = pipe.queue.front()?;
                    let free = !self.is_cut(from, to)
                        && !self.held.contains(&(from, to, None))
                        && !self.held.contains(&(from, to, Some(c.purpose)));
                    free.then_some((*ready, (*id, forth)))
                },
            )
        })
    }

    /// Takes the first message of a direction. After an [`Message::End`] the connection may be gone.
    pub fn take(&mut self, (id, forth): Direction) -> Option<Message> {
        let c = self.connections.get_mut(&id)?;
        let (pipe, other) = if forth { (&mut c.forth, &mut c.back) } else { (&mut c.back, &mut c.forth) };
        let (_, message) = pipe.queue.pop_front()?;
        if matches!(message, Message::End(_)) {
            // Whoever hears the end sends nothing more on it.
            other.ended = true;
            if other.queue.is_empty() {
                other.deaf = true;
            }
        }
        self.forget(id);
        Some(message)
    }

    /// The queue of a direction, for scripts and digests.
    pub fn queue(&self, (id, forth): Direction) -> impl Iterator<Item = &Message> {
        let pipe = self.get(id).map(|c| if forth { &c.forth } else { &c.back });
        pipe.into_iter().flat_map(|p| p.queue.iter().map(|(_, m)| m))
    }

    /// Breaks all connections between two places; what is on its way is lost.
    pub fn sever_between(&mut self, a: Place, b: Place, loss: Loss, now: u64) {
        let both = |c: &Connection| (c.from == a && c.to == b) || (c.from == b && c.to == a);
        let which: Vec<ConnId> =
            self.connections.iter().filter(|(_, c)| both(c)).map(|(id, _)| *id).collect();
        for id in which {
            self.sever(id, [0, 0], [now, now], loss);
        }
    }
}
