//! A replica is fed events at random, sensible and senseless ones. It must keep its invariants (they are
//! asserted in every step), answer every publish once at most, and never ask for a tick that changes
//! nothing.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;
use yak_protocol::batch::{IdRecord, MessageId};
use yak_protocol::ids::{
    BrokerEpoch, EpochStart, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerEpoch, ProducerId,
    SessionId, TopicId,
};
use yak_protocol::message::{Ack, Acks, Durability, Open, PartitionInfo};

const ID: TopicPartition = TopicPartition { topic: TopicId(1), partition: PartitionIndex(0) };

/// A disk and a coordinator of sorts around one replica.
struct Bench {
    now: Now,
    replica: Replica,
    effects: Vec<Effect>,
    /// Operations that are neither synced nor failed, and how many of them are written.
    operations: Vec<OpSeq>,
    written: usize,
    /// Pushes that were asked for.
    pushes: Vec<(StreamId, BrokerId, SessionId, Offset, Offset)>,
    /// The session that the replica asked for last.
    asked: SessionId,
    leader_epoch: u32,
    partition_epoch: u32,
    tickets: u64,
    answered: BTreeSet<Ticket>,
    rebuilds: Vec<Offset>,
}

fn pick(dice: &mut impl Iterator<Item = u8>, sides: u8) -> u8 {
    dice.next().unwrap_or(0) % sides
}

impl Bench {
    fn new(end: u64) -> Self {
        let config = ReplicaConfig {
            id: ID,
            broker: BrokerId(1),
            replica_lag_max: Duration::from_secs(3),
            proposal_retry: Duration::from_millis(500),
            open_park_max: Duration::from_secs(1),
            window_bytes: 300,
            sessions_after: SessionId::ZERO,
            rules: Rules::all(),
        };
        let epochs =
            if end == 0 { Vec::new() } else { vec![EpochStart { epoch: LeaderEpoch(1), start: Offset(0) }] };
        let log = RecoveredLog { log_end: Offset(end), epochs, ..RecoveredLog::default() };
        Self {
            now: Now(0),
            replica: Replica::recover(config, log),
            effects: Vec::new(),
            operations: Vec::new(),
            written: 0,
            pushes: Vec::new(),
            asked: SessionId::ZERO,
            leader_epoch: 1,
            partition_epoch: 1,
            tickets: 0,
            answered: BTreeSet::new(),
            rebuilds: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) {
        let mut effects = std::mem::take(&mut self.effects);
        self.replica.step(self.now, event, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Disk(seq, _) => self.operations.push(seq),
                Effect::Answer { ticket, .. } => assert!(self.answered.insert(ticket), "{ticket:?} twice"),
                Effect::Push { stream, follower, session, from, .. } => {
                    let end = self.replica.view().log_end;
                    assert!(from <= end, "nothing but what is written is pushed");
                    self.pushes.push((stream, follower, session, from, end));
                }
                Effect::Open { open, .. } => {
                    assert!(self.operations.is_empty(), "R2, R14: opened before everything is synced");
                    self.asked = open.session;
                }
                Effect::Ack { ack, .. } => assert!(ack.end <= self.replica.local.durable_end(), "R2"),
                Effect::RebuildProducers { end, .. } => self.rebuilds.push(end),
                _ => {}
            }
        }
        self.effects = effects;
        assert!(self.rebuilds.len() <= 1, "one rebuild at a time");
    }

    fn record(&mut self, dice: &mut impl Iterator<Item = u8>) {
        self.partition_epoch += 1;
        let leader = match pick(dice, 6) {
            0 => None,
            1 | 2 => Some(BrokerId(2)),
            _ => Some(BrokerId(1)),
        };
        self.leader_epoch += u32::from(pick(dice, 2));
        let mut isr: Vec<_> = (1..=3).filter(|_| pick(dice, 3) > 0).map(BrokerId).collect();
        isr.extend(leader.filter(|leader| !isr.contains(leader)));
        isr.sort();
        let unfenced = [1, 2, 3].map(|id| (BrokerId(id), BrokerEpoch(u64::from(id))));
        let info = PartitionInfo {
            id: ID,
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            leader,
            leader_epoch: LeaderEpoch(self.leader_epoch),
            partition_epoch: PartitionEpoch(self.partition_epoch),
            isr,
            elr: Vec::new(),
            min_isr: 1 + u32::from(pick(dice, 2)),
            recovering: pick(dice, 12) == 0,
            moving: None,
            unclean: None,
        };
        let durability = if pick(dice, 4) == 0 { Durability::Replicated } else { Durability::Fsync };
        let unfenced = unfenced.into_iter().filter(|_| pick(dice, 5) > 0).collect();
        let dedupe_window_ms = [0, 500, 2000][usize::from(pick(dice, 3))];
        let broker_epoch = BrokerEpoch(1);
        self.step(Event::Metadata { info, broker_epoch, unfenced, durability, dedupe_window_ms });
    }

    fn ids(&self, count: u32, dice: &mut impl Iterator<Item = u8>) -> BatchIds {
        let time_ms = i64::try_from(self.now.0).unwrap() - i64::from(pick(dice, 3)) * 300;
        let record = |index| IdRecord { index, id: MessageId(u128::from(pick(dice, 6))) };
        BatchIds { time_ms, records: (0..count).map(record).collect() }
    }

    fn publish(&mut self, dice: &mut impl Iterator<Item = u8>) {
        self.tickets += 1;
        let sequence = (pick(dice, 2) == 0).then(|| Sequence {
            producer: ProducerId(i64::from(pick(dice, 2))),
            epoch: ProducerEpoch(i16::from(pick(dice, 2))),
            base: i32::from(pick(dice, 6)),
        });
        let count = 1 + u32::from(pick(dice, 2));
        let ids = (pick(dice, 2) == 0).then(|| self.ids(count, dice));
        self.step(Event::Publish {
            ticket: Ticket(self.tickets),
            head: BatchHead { count, leader_epoch: LeaderEpoch(0), sequence, ids },
            acks: [Acks::All, Acks::All, Acks::Leader, Acks::None][usize::from(pick(dice, 4))],
            deadline: self.now + Duration::from_millis(u64::from(pick(dice, 4)) * 400),
            lease_held: pick(dice, 5) > 0,
        });
    }

    fn disk(&mut self, dice: &mut impl Iterator<Item = u8>) {
        let unwritten = self.operations.len() - self.written;
        match pick(dice, 8) {
            0 if unwritten > 0 => {
                let failed = self.operations[self.written];
                self.operations.truncate(self.written);
                let error = WireError::new(ErrorCode::StorageFull, "no space");
                self.step(Event::WriteFailed { seq: failed, error });
            }
            1..4 if unwritten > 0 => {
                self.written += 1;
                self.step(Event::Written(self.operations[self.written - 1]));
            }
            _ if !self.operations.is_empty() => {
                let count = 1 + usize::from(pick(dice, 3)).min(self.operations.len() - 1);
                let seq = self.operations[count - 1];
                self.operations.drain(..count);
                self.written = self.written.saturating_sub(count);
                self.step(Event::Synced(seq));
            }
            _ => {}
        }
    }

    fn follower_says(&mut self, dice: &mut impl Iterator<Item = u8>) {
        let follower = BrokerId(2 + u32::from(pick(dice, 2)));
        let stream = StreamId(u64::from(follower.0) + 10 * u64::from(pick(dice, 2)));
        let session = SessionId(1 + u64::from(pick(dice, 3)));
        let view = self.replica.view();
        let leader_epoch = LeaderEpoch(view.leader_epoch.0 + 1 - u32::from(pick(dice, 3)).min(1));
        let broker_epoch = BrokerEpoch(u64::from(follower.0) - u64::from(pick(dice, 8) == 0));
        let end = Offset(view.log_end.0.saturating_sub(u64::from(pick(dice, 4))));
        if pick(dice, 2) == 0 {
            let last_epoch = LeaderEpoch(u32::from(pick(dice, 4)));
            let open = Open { id: ID, session, leader_epoch, broker_epoch, end, last_epoch };
            self.step(Event::Opened { stream, follower, open });
        } else {
            let ack = Ack { id: ID, session, leader_epoch, broker_epoch, end };
            self.step(Event::Acked { stream, follower, ack });
        }
    }

    fn leader_says(&mut self, dice: &mut impl Iterator<Item = u8>) {
        let session = SessionId(self.asked.0.saturating_sub(u64::from(pick(dice, 6) == 0)));
        let view = self.replica.view();
        let end = view.log_end;
        let log_start = Offset(u64::from(pick(dice, 3)));
        match pick(dice, 6) {
            0 | 1 => self.step(Event::OpenAnswered { session, answer: OpenAnswer::Start }),
            2 => {
                let cut = Offset(end.0.saturating_sub(u64::from(pick(dice, 3))).max(view.high_watermark.0));
                let epoch = LeaderEpoch(u32::from(pick(dice, 5)));
                self.step(Event::OpenAnswered { session, answer: OpenAnswer::Diverging { epoch, end: cut } });
            }
            3 => {
                let log_start = end.advance(u64::from(pick(dice, 3)));
                let answer = OpenAnswer::RestartAt { log_start, epochs: Vec::new() };
                self.step(Event::OpenAnswered { session, answer });
            }
            _ => {
                let leader_epoch =
                    LeaderEpoch(view.leader_epoch.0.saturating_sub(u32::from(pick(dice, 4) == 0)));
                let ids = (pick(dice, 2) == 0).then(|| self.ids(1, dice));
                let head = BatchHead { count: 1, leader_epoch, sequence: None, ids };
                let from = self.replica.local.log.end();
                let batch = PushedBatch { base: from.advance(u64::from(pick(dice, 8) == 0)), head };
                let high_watermark = Offset(u64::from(pick(dice, 30)));
                let batches = if pick(dice, 4) == 0 { Vec::new() } else { vec![batch] };
                self.step(Event::Push { session, from, high_watermark, log_start, batches });
            }
        }
    }

    fn shell(&mut self, dice: &mut impl Iterator<Item = u8>) {
        match pick(dice, 6) {
            0 | 1 => {
                if let Some((stream, follower, session, from, end)) = self.pushes.pop() {
                    let next = if pick(dice, 6) == 0 { from } else { end };
                    let bytes = if next == from { 0 } else { 120 };
                    self.step(Event::Pushed { stream, follower, session, next, bytes });
                }
            }
            2 => {
                let stream = StreamId(2 + u64::from(pick(dice, 2)));
                self.step(Event::Closed { stream, session: None });
            }
            3 => self.step(Event::StreamDown { leader: BrokerId(2) }),
            4 => self.step(Event::StreamUp { leader: BrokerId(2) }),
            _ => {
                if let Some(end) = self.rebuilds.pop() {
                    self.step(Event::ProducersRebuilt {
                        producers: Producers::default(),
                        ids: Ids::default(),
                        end,
                    });
                }
            }
        }
    }

    fn time_passes(&mut self, dice: &mut impl Iterator<Item = u8>) {
        self.now = self.now + Duration::from_millis(u64::from(pick(dice, 10)) * 200);
        self.step(Event::Tick);
        let due = self.replica.next_deadline();
        assert!(due.is_none_or(|at| at > self.now), "a tick at {:?} leaves {due:?}", self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_events_keep_the_invariants(
        end in 0u64..4,
        bytes in prop::collection::vec(any::<u8>(), 100..900),
    ) {
        let mut bench = Bench::new(end);
        let mut dice = bytes.into_iter().peekable();
        while dice.peek().is_some() {
            match pick(&mut dice, 16) {
                0 => bench.record(&mut dice),
                1..4 => bench.publish(&mut dice),
                4..8 => bench.disk(&mut dice),
                8..10 => bench.follower_says(&mut dice),
                10..12 => bench.leader_says(&mut dice),
                12 | 13 => bench.shell(&mut dice),
                14 => {
                    let partition_epoch = PartitionEpoch(bench.partition_epoch);
                    let refusal = WireError::new(ErrorCode::NotApplied, "");
                    let outcome = if pick(&mut dice, 2) == 0 { Ok(()) } else { Err(refusal) };
                    bench.step(Event::Proposal { partition_epoch, outcome });
                }
                _ => bench.time_passes(&mut dice),
            }
        }
        bench.step(Event::ShuttingDown);
    }
}
