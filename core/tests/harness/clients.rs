//! Producers and consumers. A producer is idempotent: it numbers its batches, keeps a few in flight, and
//! after any trouble sends again from the first one that is not answered. It calls a batch failed only if
//! every attempt was definitely refused.

use super::log::Batch;
use super::net::{ConnId, Message, Place, PublishRequest, Purpose};
use super::world::World;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use yak_core::partition::Sequence;
use yak_protocol::error::{Action, ErrorCode, WireError};
use yak_protocol::ids::{BrokerId, ProducerEpoch, ProducerId, TopicPartition};
use yak_protocol::message::{Acked, Acks};

/// Batches of one lane on their way at once.
const IN_FLIGHT: usize = 3;
/// How long a publish waits at the broker, and then at the producer.
const PUBLISH_MS: u64 = 2_000;
const GIVE_UP_MS: u64 = 3_500;

/// A batch that waits for its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unanswered {
    batch: Batch,
    /// The request of the attempt that is under way, and when it was sent.
    sent: Option<(u64, u64)>,
    /// An attempt may have been appended.
    in_doubt: bool,
}

/// One partition's batches.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lane {
    queue: VecDeque<Unanswered>,
    next_sequence: i32,
    leader: Option<BrokerId>,
    retry_at: u64,
}

/// A producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Producer {
    number: usize,
    id: ProducerId,
    /// Without it every batch is sent once and has no stamp.
    pub idempotent: bool,
    /// Its records have ids; without idempotence they are what lets it send a batch again.
    pub with_ids: bool,
    /// The ids that it has given.
    pub used: BTreeMap<TopicPartition, Vec<u128>>,
    pub acks: Acks,
    lanes: BTreeMap<TopicPartition, Lane>,
    connections: BTreeMap<BrokerId, ConnId>,
    /// How many more batches it wants to send.
    pub wanted: u32,
    next_at: u64,
    pub pace_ms: u64,
}

/// A consumer: remembers where it is in each partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Consumer {
    pub positions: BTreeMap<TopicPartition, u64>,
}

impl Producer {
    pub fn new(number: usize, idempotent: bool, acks: Acks, wanted: u32, pace_ms: u64) -> Self {
        let id = ProducerId(1000 + number as i64);
        let (lanes, connections) = (BTreeMap::new(), BTreeMap::new());
        let used = BTreeMap::new();
        let with_ids = false;
        Self { number, id, idempotent, with_ids, used, acks, lanes, connections, wanted, next_at: 0, pace_ms }
    }

    /// Whether what is in doubt may be sent again.
    fn repeats(&self) -> bool {
        self.idempotent || self.with_ids
    }

    /// Whether nothing is waited for any more.
    pub fn done(&self) -> bool {
        self.wanted == 0 && self.lanes.values().all(|l| l.queue.is_empty())
    }

    /// When its next timer is due.
    pub fn next_timer(&self) -> Option<u64> {
        let more = (self.wanted > 0).then_some(self.next_at);
        let lanes = self.lanes.values().filter(|l| !l.queue.is_empty()).map(|lane| {
            let sent = lane.queue.iter().filter_map(|u| u.sent).map(|(_, at)| at + GIVE_UP_MS).min();
            match sent {
                Some(at) => at,
                None => lane.retry_at,
            }
        });
        lanes.chain(more).min()
    }
}

impl World {
    pub fn producer_timer(&mut self, number: usize) {
        let now = self.now;
        if self.producers[number].wanted > 0 && self.producers[number].next_at <= now {
            self.new_batch(number);
        }
        let producer = &mut self.producers[number];
        let lost: Vec<TopicPartition> = producer
            .lanes
            .iter()
            .filter(|(_, l)| l.queue.iter().filter_map(|u| u.sent).any(|(_, at)| at + GIVE_UP_MS <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            // No answer: the connection is given up with everything on it.
            let leader = self.producers[number].lanes[&id].leader;
            let connection = leader.and_then(|l| self.producers[number].connections.get(&l).copied());
            match connection {
                Some(connection) => {
                    let ready = self.later();
                    self.net.close(
                        connection,
                        Place::Client(number),
                        ready,
                        yak_core::cluster::Loss::PeerClosed,
                    );
                    self.producer_lost(number, connection);
                }
                None => self.lane_in_trouble(number, id, true),
            }
        }
        let lanes: Vec<TopicPartition> = self.producers[number].lanes.keys().copied().collect();
        for id in lanes {
            self.pump(number, id);
        }
    }

    fn new_batch(&mut self, number: usize) {
        let id = self.partitions[self.rng.usize(0..self.partitions.len())];
        let (value, count) = (self.fresh(), self.rng.u32(1..4));
        let pace = self.producers[number].pace_ms;
        let wait = self.rng.u64(1..=pace.max(1) * 2);
        let producer = &mut self.producers[number];
        producer.next_at = self.now + wait;
        producer.wanted -= 1;
        let lane = producer.lanes.entry(id).or_default();
        let sequence = producer.idempotent.then_some(Sequence {
            producer: producer.id,
            epoch: ProducerEpoch(0),
            base: lane.next_sequence,
        });
        lane.next_sequence += i32::try_from(count).expect("small");
        let ids = producer.with_ids.then(|| self.names(number, id, value, count));
        let batch = Batch { base: 0, count, epoch: 0, value, sequence, ids };
        let lane = self.producers[number].lanes.entry(id).or_default();
        lane.queue.push_back(Unanswered { batch, sent: None, in_doubt: false });
    }

    /// Sends what may be sent.
    fn pump(&mut self, number: usize, id: TopicPartition) {
        let now = self.now;
        let Some(lane) = self.producers[number].lanes.get(&id) else { return };
        if lane.retry_at > now || lane.queue.iter().take(IN_FLIGHT).all(|u| u.sent.is_some()) {
            return;
        }
        let leader = lane.leader.or_else(|| self.any_leader(id));
        let connection = leader.and_then(|l| self.producer_connection(number, l));
        let Some(connection) = connection else {
            let lane = self.producers[number].lanes.get_mut(&id).expect("just read");
            lane.leader = None;
            lane.retry_at = now + 100;
            return;
        };
        for place in 0..IN_FLIGHT {
            let request = self.fresh();
            let acks = self.producers[number].acks;
            let lane = self.producers[number].lanes.get_mut(&id).expect("just read");
            lane.leader = leader;
            let Some(unanswered) = lane.queue.get_mut(place) else { return };
            if unanswered.sent.is_some() {
                continue;
            }
            unanswered.sent = Some((request, now));
            let batch = unanswered.batch.clone();
            let message =
                Message::Publish(PublishRequest { id, request, batch, acks, timeout_ms: PUBLISH_MS });
            self.send(connection, Place::Client(number), message);
        }
    }

    /// What metadata says: the newest view of a leader that any broker has, most of the time.
    fn any_leader(&mut self, id: TopicPartition) -> Option<BrokerId> {
        let known: Vec<(yak_protocol::ids::LeaderEpoch, BrokerId)> = self
            .brokers
            .keys()
            .filter_map(|b| self.view(*b, id))
            .filter_map(|v| v.leader.map(|l| (v.leader_epoch, l)))
            .collect();
        let newest = known.iter().max().map(|(_, l)| *l);
        if known.is_empty() || self.setup.delay_ms == 0 || self.rng.u32(0..10) > 0 {
            return newest;
        }
        Some(known[self.rng.usize(0..known.len())].1)
    }

    fn producer_connection(&mut self, number: usize, leader: BrokerId) -> Option<ConnId> {
        if let Some(connection) = self.producers[number].connections.get(&leader) {
            return Some(*connection);
        }
        self.brokers.get(&leader)?.process.as_ref()?;
        let connection = self.net.connect(Place::Client(number), Place::Broker(leader), Purpose::Publish)?;
        self.producers[number].connections.insert(leader, connection);
        Some(connection)
    }

    pub fn producer_receives(&mut self, number: usize, on: ConnId, message: Message) {
        match message {
            Message::Answer(request, outcome) => self.producer_answered(number, request, *outcome),
            Message::End(_) => self.producer_lost(number, on),
            other => panic!("not for a client: {other:?}"),
        }
    }

    fn producer_lost(&mut self, number: usize, on: ConnId) {
        let Some(broker) =
            self.producers[number].connections.iter().find(|(_, c)| **c == on).map(|(b, _)| *b)
        else {
            return;
        };
        self.producers[number].connections.remove(&broker);
        let lanes = self.producers[number].lanes.iter().filter(|(_, l)| l.leader == Some(broker));
        let lanes: Vec<TopicPartition> = lanes.map(|(id, _)| *id).collect();
        for id in lanes {
            self.lane_in_trouble(number, id, true);
        }
    }

    /// Everything on its way is sent again, later and perhaps elsewhere.
    fn lane_in_trouble(&mut self, number: usize, id: TopicPartition, in_doubt: bool) {
        let now = self.now;
        let wait = 50 + self.rng.u64(0..200);
        let producer = &mut self.producers[number];
        let repeats = producer.repeats();
        let Some(lane) = producer.lanes.get_mut(&id) else { return };
        lane.leader = None;
        lane.retry_at = now + wait;
        for unanswered in &mut lane.queue {
            if unanswered.sent.take().is_some() {
                unanswered.in_doubt |= in_doubt;
            }
        }
        if !repeats && in_doubt {
            // Not to be sent twice.
            lane.queue.retain(|u| !u.in_doubt);
        }
    }

    fn producer_answered(&mut self, number: usize, request: u64, outcome: Result<Acked, WireError>) {
        let producer = &mut self.producers[number];
        let found = producer.lanes.iter().find_map(|(id, lane)| {
            let place = lane.queue.iter().position(|u| u.sent.is_some_and(|(r, _)| r == request))?;
            Some((*id, place))
        });
        // An answer to an attempt that was given up.
        let Some((id, place)) = found else { return };
        let repeats = producer.repeats();
        let lane = producer.lanes.get_mut(&id).expect("just found");
        match outcome {
            Ok(_) => {
                lane.queue.remove(place);
                self.pump(number, id);
            }
            Err(error) if !repeats => {
                lane.queue.remove(place);
                if error.code == ErrorCode::NotLeader {
                    lane.leader = None;
                }
            }
            Err(error) => {
                let unknown = error.code.action() == Action::Unknown;
                lane.queue[place].in_doubt |= unknown;
                lane.queue[place].sent = None;
                self.coverage.hit("a publish is sent again");
                if error.code == ErrorCode::UnknownProducerId {
                    self.new_identity(number, id);
                    return;
                }
                // Answers of one lane come in order, so those behind it are refused or known to be open.
                let last = self.producers[number].lanes[&id].queue.len() == place + 1;
                let clean = !self.producers[number].lanes[&id].queue[place].in_doubt;
                if last && clean && self.rng.u32(0..8) == 0 {
                    self.give_up(number, id);
                }
                self.lane_in_trouble(number, id, true);
                let hint = error.leader.map(|h| h.leader);
                let lane = self.producers[number].lanes.get_mut(&id).expect("just found");
                lane.leader = hint.filter(|l| self.brokers.contains_key(l));
                if lane.leader.is_some() {
                    lane.retry_at = self.now;
                }
            }
        }
    }

    /// The last batch of the lane was refused every time: it failed, and its number is free again.
    fn give_up(&mut self, number: usize, id: TopicPartition) {
        let lane = self.producers[number].lanes.get_mut(&id).expect("known");
        if let Some(failed) = lane.queue.pop_back() {
            lane.next_sequence = failed.batch.sequence.map_or(0, |s| s.base);
            self.truth.definitely_refused(id, failed.batch.value);
            self.coverage.hit("a publish has definitely failed");
        }
    }

    /// The partition has forgotten the producer: start again under another id. What is in doubt stays so.
    fn new_identity(&mut self, number: usize, id: TopicPartition) {
        let fresh = self.fresh();
        let producer = &mut self.producers[number];
        producer.id = ProducerId(10_000 + i64::try_from(fresh).expect("small"));
        let Some(lane) = producer.lanes.get_mut(&id) else { return };
        lane.queue.clear();
        for lane in producer.lanes.values_mut() {
            lane.next_sequence = 0;
            lane.queue.clear();
        }
    }

    /// Where the first committed batch lies whose producer still waits for its answer: retention keeps
    /// things for longer than any producer tries.
    pub fn oldest_unanswered(&self, id: TopicPartition) -> u64 {
        let lanes = self.producers.iter().filter_map(|p| p.lanes.get(&id));
        let open: BTreeSet<u64> = lanes.flat_map(|l| l.queue.iter().map(|u| u.batch.value)).collect();
        let committed = self.truth.committed(id);
        let first = committed.and_then(|c| c.batches().find(|b| open.contains(&b.value)).map(|b| b.base));
        first.unwrap_or(u64::MAX)
    }

    /// A consumer polls one partition at one broker.
    pub fn poll(&mut self, consumer: usize, broker: BrokerId, id: TopicPartition) {
        let Some(view) = self.view(broker, id).filter(|v| v.leads).cloned() else { return };
        let Some(log) = self.brokers[&broker].disk.live(id) else { return };
        let position = self.consumers[consumer].positions.get(&id).copied().unwrap_or(0).max(log.start());
        let batches = log.read(position, usize::MAX);
        let visible: Vec<Batch> =
            batches.into_iter().take_while(|b| b.end() <= view.high_watermark.0).collect();
        for batch in &visible {
            let true_one = self.truth.committed(id).and_then(|c| c.batch_at(batch.base));
            if true_one != Some(batch) {
                let text = format!("{broker:?} {id:?}: read {batch:?}, committed is {true_one:?}");
                self.truth.violate("inconsistent-offsets", text);
            }
        }
        let next = visible.last().map_or(position, Batch::end);
        self.consumers[consumer].positions.insert(id, next);
        if next < view.high_watermark.0 {
            self.look_for_damage(broker, id, next);
        }
    }
}
