//! The language of the scripts: one event a line, `verb key=value ...`.

use crate::output;
use std::collections::BTreeMap;
use std::time::Duration;
use yak_core::partition::{
    BatchHead, BatchIds, Effect, Event, Ids, Now, OpSeq, Producers, PushedBatch, RecoveredLog, Replica,
    ReplicaConfig, Sequence, StreamId, Ticket, View,
};
use yak_core::rules::{Rule, Rules};
use yak_protocol::batch::{IdRecord, MessageId};
use yak_protocol::error::{ErrorCode, WireError};
use yak_protocol::ids::{
    BrokerEpoch, BrokerId, EpochStart, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerEpoch,
    ProducerId, SessionId, TopicId, TopicPartition,
};
use yak_protocol::message::{Ack, Acks, Durability, Open, OpenAnswer, PartitionInfo};

const ID: TopicPartition = TopicPartition { topic: TopicId(1), partition: PartitionIndex(0) };

/// The words of a command. A word without `=` is a flag.
struct Words<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Words<'a> {
    fn new(words: impl Iterator<Item = &'a str>) -> Self {
        Self(words.map(|word| word.split_once('=').unwrap_or((word, ""))).collect())
    }

    fn flag(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    fn text(&mut self, name: &str) -> Option<&'a str> {
        self.0.remove(name)
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        self.text(name).map(number)
    }

    fn must(&mut self, name: &str) -> u64 {
        self.number(name).unwrap_or_else(|| panic!("`{name}=` is missing"))
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn small(text: &str) -> u32 {
    u32::try_from(number(text)).expect("a small number")
}

fn list<T>(text: &str, item: impl Fn(&str) -> T) -> Vec<T> {
    text.split(',').filter(|item| !item.is_empty()).map(item).collect()
}

fn pair(text: &str, separator: char) -> (&str, &str) {
    text.split_once(separator).unwrap_or_else(|| panic!("`{text}` has no `{separator}`"))
}

fn brokers(text: &str) -> Vec<BrokerId> {
    list(text, |id| BrokerId(small(id)))
}

fn epochs(text: &str) -> Vec<EpochStart> {
    list(text, |entry| {
        let (epoch, start) = pair(entry, '@');
        EpochStart { epoch: LeaderEpoch(small(epoch)), start: Offset(number(start)) }
    })
}

fn range(text: &str) -> (Offset, Offset) {
    let (from, to) = pair(text, '-');
    (Offset(number(from)), Offset(number(to)))
}

/// `id:epoch:sequence`.
fn sequence(text: &str) -> Sequence {
    let (id, rest) = pair(text, ':');
    let (epoch, base) = pair(rest, ':');
    Sequence {
        producer: ProducerId(id.parse().expect("an id")),
        epoch: ProducerEpoch(epoch.parse().expect("an epoch")),
        base: base.parse().expect("a sequence"),
    }
}

/// `time:id+id...`; `-` stands for a record without an id.
fn named_records(text: &str) -> BatchIds {
    let (time, ids) = pair(text, ':');
    let records = (0..).zip(ids.split('+')).filter(|(_, id)| *id != "-" && !id.is_empty());
    let record = |(index, id): (u32, &str)| IdRecord { index, id: MessageId(id.parse().expect("a number")) };
    BatchIds { time_ms: time.parse().expect("a time"), records: records.map(record).collect() }
}

/// `base:count:epoch`, then `/id:epoch:sequence` if its producer is idempotent, then `#time:id+id...` if it has ids.
fn pushed(text: &str) -> PushedBatch {
    let (text, named) = text.split_once('#').map_or((text, None), |(text, named)| (text, Some(named)));
    let (place, stamp) = text.split_once('/').map_or((text, None), |(place, stamp)| (place, Some(stamp)));
    let (base, rest) = pair(place, ':');
    let (count, epoch) = pair(rest, ':');
    let head = BatchHead {
        count: small(count),
        leader_epoch: LeaderEpoch(small(epoch)),
        sequence: stamp.map(sequence),
        ids: named.map(named_records),
    };
    PushedBatch { base: Offset(number(base)), head }
}

/// One replica at work.
pub struct Bench {
    now: Now,
    replica: Option<Replica>,
    record: Option<PartitionInfo>,
    broker_epoch: BrokerEpoch,
    unfenced: Vec<(BrokerId, BrokerEpoch)>,
    durability: Durability,
    window_ms: u64,
    view: View,
    deadline: Option<Now>,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            now: Now(0),
            replica: None,
            record: None,
            broker_epoch: BrokerEpoch(1),
            unfenced: Vec::new(),
            durability: Durability::Fsync,
            window_ms: 0,
            view: View::default(),
            deadline: None,
        }
    }
}

impl Bench {
    /// Runs one command and says what came of it.
    pub fn run(&mut self, command: &str) -> Result<Vec<String>, String> {
        let mut words = command.split_whitespace();
        let verb = words.next().ok_or("an empty command")?;
        let mut words = Words::new(words);
        if verb == "recover" {
            self.recover(&mut words);
        } else {
            self.now = self.now + Duration::from_millis(words.number("after").unwrap_or(0));
            let event = self.event(verb, &mut words)?;
            let replica = self.replica.as_mut().ok_or("`recover` comes first")?;
            let mut effects = Vec::new();
            replica.step(self.now, event, &mut effects);
            if !words.0.is_empty() {
                return Err(format!("`{verb}` does not know {:?}", words.0.keys()));
            }
            return Ok(self.describe(&effects));
        }
        if words.0.is_empty() { Ok(Vec::new()) } else { Err(format!("unknown: {:?}", words.0.keys())) }
    }

    fn describe(&mut self, effects: &[Effect]) -> Vec<String> {
        let mut lines = Vec::new();
        for effect in effects {
            if let Effect::View(view) = effect {
                lines.push(output::view(&self.view, view));
                self.view = (**view).clone();
            } else {
                lines.push(output::effect(effect));
            }
        }
        let deadline = self.replica.as_ref().and_then(Replica::next_deadline);
        if deadline != self.deadline {
            lines.push(deadline.map_or("due never".into(), |at| format!("due {at:?}")));
            self.deadline = deadline;
        }
        lines
    }

    fn recover(&mut self, words: &mut Words<'_>) {
        let rules = match words.text("without") {
            None => Rules::all(),
            Some(name) => {
                let rule = Rule::ALL.iter().find(|rule| rule.name() == name);
                Rules::without(*rule.unwrap_or_else(|| panic!("no rule {name}")))
            }
        };
        let config = ReplicaConfig {
            id: ID,
            broker: BrokerId(words.text("broker").map_or(1, small)),
            replica_lag_max: Duration::from_secs(3),
            proposal_retry: Duration::from_millis(500),
            open_park_max: Duration::from_secs(1),
            window_bytes: 1000,
            sessions_after: SessionId::ZERO,
            rules,
        };
        let log = RecoveredLog {
            log_start: Offset(words.number("start").unwrap_or(0)),
            log_end: Offset(words.number("end").unwrap_or(0)),
            epochs: epochs(words.text("epochs").unwrap_or("")),
            promise: words.text("promise").map(|promise| {
                let (epoch, leader) = pair(promise, ':');
                (LeaderEpoch(small(epoch)), BrokerId(small(leader)))
            }),
            high_watermark_hint: Offset(words.number("hint").unwrap_or(0)),
            damaged: list(words.text("damaged").unwrap_or(""), range),
        };
        self.replica = Some(Replica::recover(config, log));
        self.view = View::default();
        self.deadline = None;
    }

    fn event(&mut self, verb: &str, words: &mut Words<'_>) -> Result<Event, String> {
        Ok(match verb {
            "record" => self.metadata(words),
            "publish" => self.publish(words),
            "trim" => Event::Trim { to: Offset(words.must("to")) },
            "written" => Event::Written(OpSeq(words.must("op"))),
            "synced" => Event::Synced(OpSeq(words.must("op"))),
            "failed" => Event::WriteFailed {
                seq: OpSeq(words.must("op")),
                error: WireError::new(ErrorCode::StorageFull, "no space"),
            },
            "rebuilt" => {
                let mut ids = Ids::new(self.window_ms, false);
                for batch in list(words.text("batches").unwrap_or(""), pushed) {
                    batch.head.ids.iter().for_each(|named| ids.fold(batch.base, named));
                }
                let end = Offset(words.must("end"));
                Event::ProducersRebuilt { producers: Producers::default(), ids, end }
            }
            "damage" => {
                let (from, to) = range(words.text("range").ok_or("`range=` is missing")?);
                Event::DamageFound { from, to }
            }
            "repaired" => {
                let (from, to) = range(words.text("range").ok_or("`range=` is missing")?);
                Event::Repaired { from, to }
            }
            "proposal" => Event::Proposal {
                partition_epoch: PartitionEpoch(small(words.text("pe").ok_or("`pe=` is missing")?)),
                outcome: if words.flag("refused") {
                    Err(WireError::new(ErrorCode::NotApplied, "not eligible"))
                } else {
                    assert!(words.flag("applied"), "`applied` or `refused`");
                    Ok(())
                },
            },
            "tick" => Event::Tick,
            "stop" => Event::ShuttingDown,
            _ => return self.stream_event(verb, words),
        })
    }

    fn metadata(&mut self, words: &mut Words<'_>) -> Event {
        let mut info = self.record.clone().unwrap_or(PartitionInfo {
            id: ID,
            replicas: brokers("1,2,3"),
            leader: None,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            isr: brokers("1,2,3"),
            elr: Vec::new(),
            min_isr: 2,
            recovering: false,
            moving: None,
            unclean: None,
        });
        if self.unfenced.is_empty() {
            self.unfenced = info.replicas.iter().map(|id| (*id, BrokerEpoch(u64::from(id.0)))).collect();
        }
        info.recovering = words.flag("recovering");
        if let Some(leader) = words.text("leader") {
            info.leader = (leader != "none").then(|| BrokerId(small(leader)));
        }
        info.leader_epoch = words.text("epoch").map_or(info.leader_epoch, |epoch| LeaderEpoch(small(epoch)));
        info.partition_epoch =
            words.text("pe").map_or(info.partition_epoch.next(), |epoch| PartitionEpoch(small(epoch)));
        info.replicas = words.text("replicas").map_or(info.replicas, brokers);
        info.isr = words.text("isr").map_or(info.isr, brokers);
        info.min_isr = words.text("min").map_or(info.min_isr, small);
        if let Some(epoch) = words.number("be") {
            self.broker_epoch = BrokerEpoch(epoch);
        }
        if let Some(unfenced) = words.text("unfenced") {
            self.unfenced = list(unfenced, |entry| {
                let (id, epoch) = pair(entry, ':');
                (BrokerId(small(id)), BrokerEpoch(number(epoch)))
            });
        }
        if words.flag("replicated") {
            self.durability = Durability::Replicated;
        }
        self.record = Some(info.clone());
        let (broker_epoch, unfenced) = (self.broker_epoch, self.unfenced.clone());
        self.window_ms = words.number("window").unwrap_or(self.window_ms);
        let (durability, dedupe_window_ms) = (self.durability, self.window_ms);
        Event::Metadata { info, broker_epoch, unfenced, durability, dedupe_window_ms }
    }

    fn publish(&self, words: &mut Words<'_>) -> Event {
        let acks = match words.text("acks").unwrap_or("all") {
            "all" => Acks::All,
            "1" => Acks::Leader,
            "0" => Acks::None,
            other => panic!("acks={other}"),
        };
        Event::Publish {
            ticket: Ticket(words.must("ticket")),
            head: BatchHead {
                count: words.text("count").map_or(1, small),
                leader_epoch: LeaderEpoch(0),
                sequence: words.text("stamp").map(sequence),
                ids: words.text("ids").map(named_records),
            },
            acks,
            deadline: self.now + Duration::from_millis(words.number("timeout").unwrap_or(10_000)),
            lease_held: !words.flag("lease-over"),
        }
    }

    fn stream_event(&self, verb: &str, words: &mut Words<'_>) -> Result<Event, String> {
        Ok(match verb {
            "open" | "ack" => self.follower_says(verb, words),
            "pushed" => {
                let follower = BrokerId(small(words.text("to").ok_or("`to=` is missing")?));
                Event::Pushed {
                    stream: StreamId(words.number("stream").unwrap_or(u64::from(follower.0))),
                    follower,
                    session: SessionId(words.number("session").unwrap_or(1)),
                    next: Offset(words.must("next")),
                    bytes: words.number("bytes").unwrap_or(100),
                }
            }
            "closed" => Event::Closed {
                stream: StreamId(words.must("stream")),
                session: words.number("session").map(SessionId),
            },
            "up" => Event::StreamUp { leader: BrokerId(small(words.text("leader").ok_or("whose?")?)) },
            "down" => Event::StreamDown { leader: BrokerId(small(words.text("leader").ok_or("whose?")?)) },
            "answer" => {
                Event::OpenAnswered { session: SessionId(words.must("session")), answer: answer(words) }
            }
            "push" => Event::Push {
                session: SessionId(words.must("session")),
                from: Offset(words.must("from")),
                high_watermark: Offset(words.number("hw").unwrap_or(0)),
                log_start: Offset(words.number("start").unwrap_or(0)),
                batches: list(words.text("batches").unwrap_or(""), pushed),
            },
            other => return Err(format!("no such command: {other}")),
        })
    }

    /// What a follower says; its broker epoch is its number unless `be=` says otherwise.
    fn follower_says(&self, verb: &str, words: &mut Words<'_>) -> Event {
        let follower = BrokerId(small(words.text("from").expect("`from=` is missing")));
        let stream = StreamId(words.number("stream").unwrap_or(u64::from(follower.0)));
        let session = SessionId(words.number("session").unwrap_or(1));
        let own_epoch = self.record.as_ref().map_or(LeaderEpoch(0), |record| record.leader_epoch);
        let leader_epoch = words.text("epoch").map_or(own_epoch, |epoch| LeaderEpoch(small(epoch)));
        let broker_epoch = BrokerEpoch(words.number("be").unwrap_or(u64::from(follower.0)));
        let end = Offset(words.must("end"));
        if verb == "ack" {
            let ack = Ack { id: ID, session, leader_epoch, broker_epoch, end };
            return Event::Acked { stream, follower, ack };
        }
        let last_epoch = LeaderEpoch(words.text("last").map_or(0, small));
        let open = Open { id: ID, session, leader_epoch, broker_epoch, end, last_epoch };
        Event::Opened { stream, follower, open }
    }
}

fn answer(words: &mut Words<'_>) -> OpenAnswer {
    if let Some(found) = words.text("diverging") {
        let (epoch, end) = pair(found, '@');
        return OpenAnswer::Diverging { epoch: LeaderEpoch(small(epoch)), end: Offset(number(end)) };
    }
    if let Some(log_start) = words.number("restart") {
        let epochs = epochs(words.text("epochs").unwrap_or(""));
        return OpenAnswer::RestartAt { log_start: Offset(log_start), epochs };
    }
    if let Some(epoch) = words.text("fenced") {
        return OpenAnswer::Fenced { leader_epoch: LeaderEpoch(small(epoch)) };
    }
    let plain = [
        ("start", OpenAnswer::Start),
        ("unknown-epoch", OpenAnswer::UnknownEpoch),
        ("not-leader", OpenAnswer::NotLeader),
        ("stale", OpenAnswer::StaleBrokerEpoch),
    ];
    plain.into_iter().find(|(name, _)| words.flag(name)).expect("an answer").1
}
