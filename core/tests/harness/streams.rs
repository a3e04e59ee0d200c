//! A broker's shell, between brokers: the replication streams that it dials and those that it takes.

use super::broker::OutStream;
use super::coordinator::RECONNECT;
use super::net::{ConnId, Message, Place, Purpose};
use super::replica::head;
use super::world::World;
use yak_core::cluster::Loss;
use yak_core::partition::{Event, PushedBatch, StreamClass, StreamId};
use yak_protocol::defaults;
use yak_protocol::ids::{BrokerId, Offset, TopicPartition};
use yak_protocol::message::{OpenAnswer, Opened};

impl World {
    /// The stream of that class to a leader, dialled if need be; `None` = it will be tried again.
    pub fn stream_to(&mut self, id: BrokerId, leader: BrokerId, class: StreamClass) -> Option<ConnId> {
        let now = self.clock(Place::Broker(id));
        let reachable = self.brokers.get(&leader).is_some_and(|b| b.process.is_some());
        let stream = self.process(id)?.dialled.entry((leader, class)).or_default();
        if stream.connection.is_some() {
            return stream.connection;
        }
        let to = Place::Broker(leader);
        let dialled =
            if reachable { self.net.connect(Place::Broker(id), to, Purpose::Stream(class)) } else { None };
        let stream = OutStream { connection: dialled, heard: now, retry_at: now + RECONNECT };
        self.process(id)?.dialled.insert((leader, class), stream);
        dialled
    }

    /// The stream on which a partition's session runs.
    pub fn session_stream(
        &mut self,
        id: BrokerId,
        leader: BrokerId,
        partition: TopicPartition,
    ) -> Option<ConnId> {
        let process = self.process(id)?;
        let class = process.hosted.get(&partition)?.class;
        process.dialled.get(&(leader, class))?.connection
    }

    /// Looks after streams: dial again what broke, give up what is silent.
    pub fn care_for_streams(&mut self, id: BrokerId) {
        let now = self.clock(Place::Broker(id));
        let place = Place::Broker(id);
        let Some(process) = self.process(id) else { return };
        let dialled: Vec<((BrokerId, StreamClass), OutStream)> =
            process.dialled.iter().map(|(key, stream)| (*key, stream.clone())).collect();
        for ((leader, class), stream) in dialled {
            match stream.connection {
                None if stream.retry_at <= now && self.stream_to(id, leader, class).is_some() => {
                    self.tell_followers(id, leader, || Event::StreamUp { leader });
                }
                None => {}
                Some(connection) => {
                    if self.hears(place, Place::Broker(leader), connection) {
                        if let Some(out) = self.process(id).and_then(|p| p.dialled.get_mut(&(leader, class)))
                        {
                            out.heard = now;
                        }
                    } else if now.since(stream.heard) > defaults::STREAM_SILENT {
                        self.coverage.hit("a stream falls silent");
                        self.report_silence(id, leader, now.since(stream.heard));
                        let ready = self.later();
                        self.net.close(connection, place, ready, Loss::Unknown);
                        self.stream_lost(id, connection);
                    }
                }
            }
        }
        self.care_for_followers(id);
    }

    fn care_for_followers(&mut self, id: BrokerId) {
        let now = self.clock(Place::Broker(id));
        let Some(process) = self.process(id) else { return };
        let accepted: Vec<(ConnId, BrokerId)> = process.accepted.iter().map(|(c, (f, _))| (*c, *f)).collect();
        for (connection, follower) in accepted {
            let hears = self.hears(Place::Broker(id), Place::Broker(follower), connection);
            let Some(heard) = self.process(id).and_then(|p| p.accepted.get_mut(&connection)) else {
                continue;
            };
            if hears {
                heard.1 = now;
            } else if now.since(heard.1) > defaults::STREAM_SILENT {
                let ready = self.later();
                self.net.close(connection, Place::Broker(id), ready, Loss::Unknown);
                self.stream_lost(id, connection);
            }
        }
    }

    /// Whether keep-alives of the peer would arrive.
    fn hears(&self, at: Place, peer: Place, connection: ConnId) -> bool {
        let Place::Broker(broker) = peer else { return false };
        self.brokers[&broker].runs() && self.net.get(connection).is_some() && !self.net.is_cut(peer, at)
    }

    fn tell_followers(&mut self, id: BrokerId, leader: BrokerId, event: impl Fn() -> Event) {
        let Some(process) = self.process(id) else { return };
        let concerned: Vec<TopicPartition> =
            process.hosted.iter().filter(|(_, h)| h.view.leader == Some(leader)).map(|(p, _)| *p).collect();
        for partition in concerned {
            self.step_replica(id, partition, event(), Vec::new());
        }
    }

    /// A stream is over, at whichever side this broker is.
    fn stream_lost(&mut self, id: BrokerId, connection: ConnId) {
        let now = self.clock(Place::Broker(id));
        let Some(process) = self.process(id) else { return };
        if process.accepted.remove(&connection).is_some() {
            let all: Vec<TopicPartition> = process.hosted.keys().copied().collect();
            for partition in all {
                let event = Event::Closed { stream: StreamId(connection.0), session: None };
                self.step_replica(id, partition, event, Vec::new());
            }
            return;
        }
        let key = process.dialled.iter().find(|(_, s)| s.connection == Some(connection)).map(|(key, _)| *key);
        let Some((leader, class)) = key else { return };
        let stream = OutStream { connection: None, heard: now, retry_at: now + RECONNECT };
        process.dialled.insert((leader, class), stream);
        let all: Vec<TopicPartition> =
            process.hosted.iter().filter(|(_, h)| h.class == class).map(|(p, _)| *p).collect();
        for partition in all {
            self.step_replica(id, partition, Event::StreamDown { leader }, Vec::new());
        }
    }

    /// A message arrived on a stream or from a client.
    pub fn stream_receives(&mut self, id: BrokerId, on: ConnId, from: Place, message: Message) {
        let stream = StreamId(on.0);
        let now = self.clock(Place::Broker(id));
        match (message, from) {
            (Message::Open(_, open), Place::Broker(follower)) => {
                let Some(process) = self.process(id) else { return };
                process.accepted.insert(on, (follower, now));
                if !process.hosted.contains_key(&open.id) {
                    let opened = Opened { id: open.id, session: open.session, answer: OpenAnswer::NotLeader };
                    self.send(on, Place::Broker(id), Message::Opened(opened));
                    return;
                }
                self.step_replica(id, open.id, Event::Opened { stream, follower, open }, Vec::new());
            }
            (Message::Ack(_, ack), Place::Broker(follower)) => {
                self.step_replica(id, ack.id, Event::Acked { stream, follower, ack }, Vec::new());
            }
            (Message::Close(partition, session), _) => {
                self.step_replica(
                    id,
                    partition,
                    Event::Closed { stream, session: Some(session) },
                    Vec::new(),
                );
            }
            (Message::Opened(opened), _) => {
                let event = Event::OpenAnswered { session: opened.session, answer: opened.answer };
                self.step_replica(id, opened.id, event, Vec::new());
            }
            (Message::Push { id: partition, session, from, high_watermark, log_start, batches }, _) => {
                let heads =
                    batches.iter().map(|b| PushedBatch { base: Offset(b.base), head: head(b) }).collect();
                let event = Event::Push { session, from, high_watermark, log_start, batches: heads };
                self.step_replica(id, partition, event, batches);
            }
            (Message::Publish(request), _) => self.publish_arrives(id, Some(on), request),
            (Message::End(_), _) => self.stream_lost(id, on),
            (other, _) => panic!("not for a broker: {other:?}"),
        }
    }
}
